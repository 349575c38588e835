"""From an experiment to its runs."""

from dataclasses import replace

import pytest

from tests.fakes import fake_spec
from tui_datasize.errors import ConfigError, DataError
from tui_datasize.experiments.catalogue import DATASETS, dataset_info
from tui_datasize.experiments.load import ORDER_WORDS, Project, load_project
from tui_datasize.experiments.spec import Budget, ClassSplit, SubsetSpec
from tui_datasize.experiments.subsets import largest_imbalanced, restrict
from tui_datasize.experiments.sweep import expand, further_runs, order_key, plan_runs, select
from tui_datasize.experiments.variants import variant_labels

DIGITS = DATASETS["digits"]


@pytest.fixture
def experiment(tmp_path):
    def build(body: str):
        file = tmp_path / "experiments.toml"
        file.write_text(
            "[experiments.e]\ndataset = 'digits'\nmodel = 'mlp'\n"
            + ("" if "budget" in body else "budget = { updates = 10 }\n")
            + f"{body}\n"
        )
        return load_project(file, environment={}).experiment("e")

    return build


def test_a_sweep_is_the_product_of_its_lists_and_every_run_is_another(experiment):
    specs = expand(experiment("sizes = [40, 80]\nseeds = [1, 2, 3]\nsubset = { seeds = [0, 1] }"), DIGITS)
    assert len({s.run_id for s in specs}) == 12
    assert {(s.train_size, s.seed, s.subset.seed) for s in specs} == {
        (n, s, d) for n in (40, 80) for s in (1, 2, 3) for d in (0, 1)
    }


@pytest.mark.parametrize(
    ("order", "first_four"),
    [
        ("curve-first", [(40, 5), (80, 5), (40, 2), (80, 2)]),
        ("by-size", [(40, 5), (40, 2), (80, 5), (80, 2)]),
        ("by-seed", [(40, 5), (80, 5), (40, 2), (80, 2)]),
    ],
)
def test_order_of_a_sweep(experiment, order, first_four):
    specs = expand(experiment(f"sizes = [80, 40]\nseeds = [5, 2]\norder = '{order}'"), DIGITS)
    assert [(s.train_size, s.seed) for s in specs] == first_four


@pytest.mark.parametrize("order", ORDER_WORDS)
@pytest.mark.parametrize("own", ORDER_WORDS)
def test_a_sweep_in_any_order_is_put_into_another_as_if_the_file_said_so(experiment, own, order):
    body = (
        "sizes = [80, 40]\nseeds = [5, 2, 9]\nsubset = { seeds = [1, 0] }\nsweep = { batch_size = [8, 4] }\n"
    )
    stands = expand(experiment(f"{body}order = '{own}'"), DIGITS)
    wanted = expand(experiment(f"{body}order = '{order}'"), DIGITS)
    assert tuple(sorted(stands, key=order_key(stands, order))) == wanted


def test_queued_runs_that_a_sweep_does_not_list_are_known_by_size_draw_and_seed_alone(experiment):
    listed = expand(experiment("sizes = [40]\nsubset = { strategy = 'random', nested = false }"), DIGITS)
    own = [
        replace(listed[0], train_size=size, seed=seed, subset=replace(listed[0].subset, seed=draw))
        for size, seed, draw in ((40, 0, 0), (40, 7, 0), (90, 0, 3))
    ]
    others = [replace(listed[0], batch_size=8, seed=1), replace(listed[0], subset=SubsetSpec(), seed=2)]
    shapes = {n: replace(run, seed=0, subset=SubsetSpec()) for n, run in enumerate([*own, *others])}
    shape_of = {run.run_id: n for n, run in enumerate([*own, *others])}
    assert further_runs(listed, shapes, shape_of) == own


TWO_SIZES = "sizes = [40, 640]\nbatch_size = 32\n"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "budget = { samples = 100 }\nevaluate = { times = 12 }",
            "experiments.e.evaluate.times: 12 evaluations, but runs of 40 images make 4 updates; "
            "ask for at most 4",
        ),
        (
            "budget = { samples = 20 }",
            "experiments.e.batch_size: one update of 32 images is more than the budget of 20; ",
        ),
        (
            "budget = { epochs = 3 }\nschedule = { name = 'step', step = 0.2 }",
            "experiments.e.schedule.step: a step of 0.2 of the budget is less than one update: runs of 40 ",
        ),
    ],
)
def test_what_does_not_fit_into_the_updates_is_refused(experiment, body, message):
    with pytest.raises(ConfigError) as caught:
        expand(experiment(TWO_SIZES + body), DIGITS)
    assert message in caught.value.line


@pytest.mark.parametrize(
    "body", ["budget = { samples = 100 }", "budget = { epochs = 1 }\nevaluate = { times = 12 }"]
)
def test_short_runs_of_a_sweep_are_evaluated_after_each_update(experiment, body):
    assert {spec.evaluations for spec in expand(experiment(TWO_SIZES + body), DIGITS)} == {12}


def test_extending_a_sweep_renames_nothing(experiment):
    short = expand(experiment("sizes = [40]\nseeds = [0]"), DIGITS)
    long = expand(experiment("sizes = [20, 40, 80]\nseeds = [0, 1]\norder = 'by-size'"), DIGITS)
    assert {s.run_id for s in short} < {s.run_id for s in long}


def test_fractions_and_images_per_class(experiment):
    assert [s.train_size for s in expand(experiment("fractions = [0.05, 0.5, 1]"), DIGITS)] == [72, 718, 1437]
    balanced = expand(experiment("per_class = [4, 139]"), DIGITS)
    assert [(s.train_size, s.subset.strategy) for s in balanced] == [(40, "balanced"), (1390, "balanced")]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("sizes = [40, 1438]", "experiments.e.sizes: 1438 images, but digits has 1437 to train on"),
        ("per_class = [140]", "140 images per class, but the smallest of digits has 139"),
        ("fractions = [0.0001]", "rounds to 0, which is nothing"),
        ("fractions = [0.5, 0.4999]", "0.4999 of 1437 images rounds to 718, which is listed already"),
        ("sizes = [45]\nsubset = { strategy = 'balanced' }", "45 is not a multiple of the 10 classes"),
    ],
)
def test_sizes_are_checked_against_the_data_set(experiment, body, message):
    with pytest.raises(DataError, match=message):
        expand(experiment(body), DIGITS)


def test_only_image_files_are_resized(experiment):
    resized = experiment("sizes = [40]\nimage_px = 16")
    with pytest.raises(ConfigError, match=r"e\.image_px: digits is no folder of image files"):
        expand(resized, DIGITS)
    (run,) = {spec.image_px for spec in expand(resized, DATASETS["tiny-imagenet"])}
    assert run == 16


def test_a_long_tail_is_checked_for_every_draw_and_half(experiment):
    tail = 'sizes = [{}]\nimbalance = 10\nclasses = "target"\nsubset = {{ seeds = [0, 1, 2] }}'
    half = restrict(DIGITS, ClassSplit("target", 0))
    largest = min(
        largest_imbalanced(half.train_per_class, SubsetSpec(seed=seed, imbalance=10.0)) for seed in range(3)
    )
    assert expand(experiment(tail.format(largest)), DIGITS)
    with pytest.raises(DataError, match=f"{largest + 1} images, but digits has {largest} .*imbalance 10"):
        expand(experiment(tail.format(largest + 1)), DIGITS)


def test_two_equal_cells_are_refused(experiment):
    with pytest.raises(ConfigError, match="are the same run"):
        expand(experiment("sizes = [40]\n[experiments.e.sweep]\n'optimizer.lr' = [1, 1.0]"), DIGITS)


def test_filters(experiment):
    specs = expand(experiment("sizes = [40, 80]\nseeds = [0, 1]"), DIGITS)
    assert {s.train_size for s in select(specs, sizes=[80])} == {80}
    assert len(select(specs, sizes=[80], seeds=[1])) == 1
    assert select(specs) == specs
    with pytest.raises(ConfigError, match="no size 90 in the sweep; it has 40, 80"):
        select(specs, sizes=[90])


def test_variants_are_what_differs_beside_the_axes(experiment):
    specs = expand(experiment("sizes = [40, 80]\n[experiments.e.sweep]\n'model.hidden' = [64, 128]"), DIGITS)
    assert set(variant_labels(specs).values()) == {"hidden=64", "hidden=128"}
    alone = [s for s in specs if not s.model.options]
    assert set(variant_labels(alone).values()) == {""}
    moved = replace(alone[0], dataset="mnist")
    assert variant_labels([*alone, moved])[moved.run_id] == "dataset=mnist"


def test_image_folders_are_listed_not_decoded(tmp_path):
    for split, images in (("train", 6), ("val", 2)):
        for name in ("cat", "dog"):
            folder = tmp_path / "pets" / split / name
            folder.mkdir(parents=True)
            for i in range(images):
                (folder / f"{i}.png").write_bytes(b"not an image")
            (folder / ".hidden.png").write_bytes(b"")
            (folder / "notes.txt").write_bytes(b"")
    info = dataset_info("imagefolder:pets", tmp_path)
    assert (info.classes, info.train_images, info.test_images, info.smallest_class) == (2, 12, 4, 6)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("imagefolder:nowhere", "nowhere: no such image folder"),
        ("imagefolder:bare", "bare/train: no such folder; an image folder holds"),
        ("imagefolder:flat", "flat: 2 images and no folders of classes; put each class into a folder of"),
        ("imagefolder:half", "half/test: no such folder"),
        ("imagefolder:uneven", "uneven: train/ and test/ differ in classes dog"),
        ("imagefolder:empty", "empty/train/cat: no images"),
        ("mnst", "unknown data set 'mnst'; known are digits, mnist"),
    ],
)
def test_missing_data_sets_are_one_line(tmp_path, name, message):
    for folder in (
        "bare", "flat", "half/train/cat", "uneven/train/cat", "uneven/train/dog", "uneven/test/cat",
        "empty/train/cat", "empty/test/cat",
    ):  # fmt: skip
        (tmp_path / folder).mkdir(parents=True)
    for image in ("0.png", "1.JPG", "notes.txt"):
        (tmp_path / "flat" / image).touch()
    with pytest.raises(DataError) as caught:
        dataset_info(name, tmp_path)
    assert message in caught.value.line


def test_the_first_files_of_a_folder_are_refused_since_they_are_of_one_class(experiment):
    first = experiment("sizes = [40]\nsubset = { strategy = 'first' }")
    assert expand(first, DIGITS)
    with pytest.raises(ConfigError, match="the first n belong to few classes; take random, or stratified"):
        expand(first, replace(DIGITS, is_files=True))


def test_plan_names_the_experiment_of_a_missing_folder(experiment, tmp_path):
    missing = replace(experiment("sizes = [40]"), dataset="imagefolder:nowhere")
    with pytest.raises(DataError, match=r"experiments\.toml: experiments\.e\.dataset: .*nowhere"):
        plan_runs(missing, Project(tmp_path / "experiments.toml", {}, tmp_path))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("per_class = [5]\nimbalance = 5", "an imbalance and equal images per class exclude each other"),
        ("sizes = [40]\naugmentation = { crop_px = 9 }", "a crop of 9 px, but the images have 8"),
        (
            "sizes = [40]\nsweep = { model = ['mlp', 'alexnet'] }",
            "alexnet takes images of at least 39 px, these have 8",
        ),
        (
            "sizes = [1400]\nsubset = { strategy = 'balanced' }",
            "1390 to train on in equal parts, 139 of each",
        ),
    ],
)
def test_what_does_not_suit_the_data_set_is_refused(experiment, body, message):
    with pytest.raises((ConfigError, DataError), match=message):
        expand(experiment(body), DIGITS)


def test_budgets_are_labelled_by_their_unit():
    specs = [fake_spec(budget=Budget("updates", amount)) for amount in (400, 2000)]
    assert list(variant_labels(specs).values()) == ["updates=400", "updates=2000"]

"""The key of generated images: what it means, what it refuses, and that it renames no run."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from tests.fakes import fake_spec
from tui_datasize.cli.tables import _curve
from tui_datasize.errors import ConfigError, DatasizeError
from tui_datasize.experiments.catalogue import NEWEST, dataset_info
from tui_datasize.experiments.load import load_project
from tui_datasize.experiments.packing import memory_key, pack_key
from tui_datasize.experiments.recipe_columns import recipe_values
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.experiments.sweep import expand, plan_runs
from tui_datasize.experiments.synthetic import Synthetic
from tui_datasize.experiments.variants import variant_labels
from tui_datasize.jobs.queue.image_files import check_images, has_image_files
from tui_datasize.stats.levers import baseline_of

CVAE = Synthetic("cvae")


@pytest.fixture
def read(tmp_path):
    def runs(body: str):
        file = tmp_path / "experiments.toml"
        file.write_text(
            "[experiments.e]\ndataset = 'digits'\nmodel = 'mlp'\nsizes = [40]\n"
            f"budget = {{ updates = 10 }}\n{body}\n"
        )
        return expand(load_project(file, environment={}).experiment("e"), dataset_info("digits", Path()))

    return runs


@pytest.mark.parametrize(
    ("body", "value"),
    [
        ("synthetic = 'none'", Synthetic()),
        ("synthetic = 'cvae'", CVAE),
        ("synthetic = { model = 'cvae', ratio = 1, latent = 16, epochs = 200, beta = 1 }", CVAE),
        ("synthetic = { model = 'cvae', likelihood = 'gaussian' }", replace(CVAE, likelihood="gaussian")),
        (
            "synthetic = { from = 'imagefolder:x', ratio = 0.5 }",
            Synthetic(source="imagefolder:x", ratio=0.5),
        ),
    ],
)
def test_what_the_table_means_and_survives_its_document(read, body, value):
    (spec,) = read(body)
    assert spec.synthetic == value
    assert RunSpec.from_dict(spec.to_dict()) == spec
    assert (spec.run_id == read("")[0].run_id) == (value == Synthetic())


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("synthetic = 'gan'", "model: expected one of none, cvae, got"),
        ("synthetic = { model = 'cvae', ratio = 0 }", "ratio: expected a number above 0"),
        ("synthetic = { model = 'cvae', ratio = -1 }", "ratio: expected a number above 0"),
        ("synthetic = { ratio = 2 }", "ratio needs model = 'cvae', or from, the folder"),
        ("synthetic = { model = 'none', ratio = 1.0 }", "ratio needs model = 'cvae', or from"),
        ("synthetic = { model = 'cvae', from = 'imagefolder:x' }", "from and model exclude each other"),
        ("synthetic = { from = 'imagefolder:x', latent = 3 }", "latent belongs to model = cvae; leave"),
        ("synthetic = { model = 'cvae', latent = 0 }", "latent: expected a whole number of at least 1"),
        ("synthetic = { model = 'cvae', epochs = 0 }", "epochs: expected a whole number of at least 1"),
        ("synthetic = { model = 'cvae', beta = 0 }", "beta: expected a number above 0"),
        ("synthetic = { model = 'cvae', likelihood = 'laplace' }", "likelihood: expected one of bernoulli"),
        ("synthetic = { from = 'x' }", "from: expected imagefolder:PATH, got"),
        ("synthetic = { from = 'imagefolder:' }", "from: expected imagefolder:PATH"),
        (
            "synthetic = 'cvae'\nprotocol = { partial_batches = true }",
            "partial batches and generated images exclude each other",
        ),
    ],
)
def test_what_is_refused_in_one_line(read, body, message):
    with pytest.raises(DatasizeError) as caught:
        read(body)
    assert message in caught.value.line
    assert "experiments.e" in caught.value.line
    assert "\n" not in caught.value.line


@pytest.mark.parametrize(
    ("ratio", "images", "wanted"),
    [(1.0, [5, 3, 1], [5, 3, 1]), (2.5, [2, 2], [5, 5]), (0.1, [2, 1], [1, 0]), (0.5, [3, 3, 1], [2, 2, 0])],
)
def test_generated_images_keep_the_ratio_of_classes(ratio, images, wanted):
    found = replace(CVAE, ratio=ratio).wanted(dict(enumerate(images)))
    assert [*found.values()] == wanted


def test_such_runs_share_no_process_and_their_memory_is_learned_apart():
    plain, other = fake_spec(), fake_spec(synthetic=CVAE)
    assert pack_key(plain)
    assert pack_key(other) == pack_key(fake_spec(synthetic=Synthetic(source="imagefolder:x"))) == ""
    larger = fake_spec(synthetic=CVAE, train_size=4 * plain.train_size)
    more = fake_spec(synthetic=replace(CVAE, ratio=2.0))
    assert len({memory_key(one) for one in (plain, other, larger, more)}) == 4


def test_tables_and_levers_name_it_in_a_word():
    specs = [fake_spec(), fake_spec(synthetic=CVAE), fake_spec(synthetic=Synthetic(source="imagefolder:x"))]
    labels = ["synthetic=none", "synthetic=cvae", "synthetic=imagefolder:x"]
    assert [*variant_labels(specs).values()] == labels
    both = [specs[1], fake_spec(synthetic=replace(CVAE, ratio=2.0))]
    assert [*variant_labels(both).values()] == ["synthetic.ratio=1.0", "synthetic.ratio=2.0"]
    words = [recipe_values(one)["synthetic"] for one in specs]
    assert words == ["none", "model=cvae", "source=imagefolder:x"]
    plain = {"parameters": 1, "label_noise": 0.0, "imbalance": 1.0}
    runs = [
        {"variant": variant, "synthetic": word} | plain for variant, word in zip(labels, words, strict=True)
    ]
    assert baseline_of(pl.DataFrame(runs[::-1])) == "synthetic=none"


LABELS = """
[experiments.e]
dataset = "digits"
model = "mlp"
sizes = [50]
budget = { updates = 5 }
[experiments.e.sweep]
"optimizer.lr" = [0.1, 0.2]
[experiments.e.levers]
synthetic = [{ model = "cvae", epochs = 5, lr = 0.01 }]
unlabelled = [{ method = "fixmatch", weight = 2.0 }]
[[experiments.e.also]]
sizes = [60]
variant = "VARIANT"
"""


def labels_of(tmp_path: Path, variant: str) -> tuple[set[str], set[str]]:
    """Of an experiment, and those that a further sweep of one has."""
    file = tmp_path / "experiments.toml"
    file.write_text(LABELS.replace("VARIANT", variant))
    project = load_project(file, environment={})
    runs = plan_runs(project.experiment("e"), project)
    labels = variant_labels(runs)
    return {*labels.values()}, {labels[run.run_id] for run in runs if run.train_size == 60}


def test_a_label_tells_only_what_a_run_does_and_whose_rate_it_is(tmp_path: Path) -> None:
    kinds = (
        "synthetic.epochs=5 synthetic.lr=0.01 synthetic=cvae unlabelled=none",
        "synthetic=none unlabelled=none",
        "synthetic=none unlabelled=fixmatch weight=2.0",
    )
    every = {f"lr={rate} {kind}" for rate in (0.1, 0.2) for kind in kinds}
    new = f"lr=0.2 {kinds[0]}"
    assert labels_of(tmp_path, new) == (every, {new})


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (
            "optimizer.lr=0.1 epochs=200 synthetic.lr=0.001 synthetic=none unlabelled=none weight=1.0",
            "lr=0.1 synthetic=none unlabelled=none",
        ),
        (
            "optimizer.lr=0.1 epochs=5 synthetic.lr=0.01 synthetic=cvae unlabelled=none weight=1.0",
            "lr=0.1 synthetic.epochs=5 synthetic.lr=0.01 synthetic=cvae unlabelled=none",
        ),
        (
            "optimizer.lr=0.1 epochs=200 synthetic.lr=0.001 synthetic=none unlabelled=fixmatch weight=2.0",
            "lr=0.1 synthetic=none unlabelled=fixmatch weight=2.0",
        ),
    ],
)
def test_a_file_and_a_command_may_name_a_variant_as_it_was_called(
    before: str, now: str, tmp_path: Path
) -> None:
    every, found = labels_of(tmp_path, before)
    assert found == {now}
    runs = pl.DataFrame({"variant": sorted(every)})
    assert _curve(runs, before)["variant"].to_list() == [now]
    wrong = before.replace("synthetic=", "rate=3 synthetic=")
    with pytest.raises(ConfigError, match="no variant"):
        _curve(runs, wrong)
    with pytest.raises(DatasizeError, match="variant"):
        labels_of(tmp_path, wrong)


def test_the_rules_of_a_folder_come_with_it() -> None:
    folder = fake_spec(synthetic=Synthetic(source="imagefolder:x"), images=NEWEST)
    assert folder.images != fake_spec().images
    found = [*variant_labels([fake_spec(), folder]).values()]
    assert found == ["synthetic=none", "synthetic=imagefolder:x"]


def made(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).mkdir(parents=True)
        Image.new("L", (9, 9)).save(folder / name / "1.png")
    return folder


def test_a_folder_that_cannot_be_learned_from_is_told_before_it_is_queued(tmp_path):
    for part in ("train", "test"):
        made(tmp_path / "real" / part, "a", "b")
    made(tmp_path / "right", "a", "b")
    made(tmp_path / "deeper/train", "a", "b")
    made(tmp_path / "few", "a")
    made(tmp_path / "other", "a", "b", "c")
    made(tmp_path / "real/generated", "a", "b")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real/train")
    file = tmp_path / "experiments.toml"

    def queue(source: str, more: str = ""):
        file.write_text(
            f"paths.data = '{tmp_path}'\n[experiments.e]\ndataset = 'imagefolder:real'\nmodel = 'mlp'\n"
            f"sizes = [1]\nbudget.updates = 20\nsynthetic = {{ from = 'imagefolder:{source}' }}\n{more}"
        )
        project = load_project(file, environment={})
        runs = plan_runs(project.experiment("e"), project)
        check_images(runs, project.data_dir)
        return runs

    inside = "lies in the folder of imagefolder:real, or holds it"
    for source, told in (
        ("far", "experiments.e.synthetic.from: DATA/far: is not there; correct the path"),
        ("empty", "experiments.e.synthetic.from: DATA/empty: no images"),
        ("few", "experiments.e.synthetic.from: imagefolder:few has no images of class b; put some there"),
        ("other", "imagefolder:other has classes that the data set has not: c"),
        ("real/train", inside),
        ("real/generated", inside),
        ("link", inside),
        (".", inside),
    ):
        with pytest.raises(DatasizeError) as caught:
            queue(source)
        assert told.replace("DATA", str(tmp_path)) in caught.value.line
    for source in ("right", "deeper"):
        (run,) = queue(source)
        assert has_image_files([run])
    # Of a half of the classes only its own are needed.
    assert len(queue("few", "classes = 'source'\n")) == 1

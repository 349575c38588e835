"""The key `task` and features to choose by: what they mean, what they refuse, and that they rename no run."""

import pytest

from tui_datasize.errors import DatasizeError
from tui_datasize.experiments.load import load_project
from tui_datasize.experiments.pretext import LearningTask
from tui_datasize.experiments.recipe_columns import recipe_values
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.experiments.sweep import listed_runs, plan_runs, select, source_runs
from tui_datasize.experiments.variants import variant_labels

SOURCE = """
[experiments.turned]
dataset = 'digits'
model = { name = 'resnet', depth = 8 }
fractions = [0.1, 1.0]
seeds = [5, 0]
subset = { seeds = [0, 1] }
budget = { updates = 10 }
validation = 0.1
task = 'rotation'
"""
LATER = """
[experiments.e]
dataset = 'digits'
model = { name = 'resnet', depth = 8 }
sizes = [40, 80]
seeds = [0, 5]
budget = { updates = 10 }
"""
CHOSEN = """
[experiments.c]
dataset = 'digits'
model = 'mlp'
sizes = [20, 40]
seeds = [0, 9]
subset = { strategy = 'k-center', path = [20, 40], features = 'turned', seeds = [0, 3] }
budget = { updates = 10 }
"""


@pytest.fixture
def project(tmp_path):
    def read(text: str):
        file = tmp_path / "experiments.toml"
        file.write_text(text)
        return load_project(file, environment={})

    return read


@pytest.fixture
def plan(project):
    def runs(text: str, name: str = "e"):
        loaded = project(text)
        return plan_runs(loaded.experiment(name), loaded)

    return runs


BASE = "[experiments.e]\ndataset = 'digits'\nmodel = 'mlp'\nbudget = { updates = 10 }\n"
VIEWS = "augmentation = { crop_padding_px = 1, grey = 0.2 }"


@pytest.mark.parametrize(
    ("body", "value"),
    [
        ("task = 'classification'", LearningTask()),
        ("task = 'rotation'\nvalidation = 0.1", LearningTask("rotation")),
        (f"task = 'simclr'\nvalidation = 0.1\nbatch_size = 16\n{VIEWS}", LearningTask("simclr")),
        (
            f"task = {{ name = 'simclr', temperature = 1, projection = 9 }}\nvalidation = 0.1\n"
            f"batch_size = 16\n{VIEWS}",
            LearningTask("simclr", 1.0, 9),
        ),
    ],
)
def test_what_the_key_means_and_survives_its_document(plan, body, value):
    (spec,) = plan(f"{BASE}sizes = [40]\n{body}\n")
    assert spec.task == value
    assert RunSpec.from_dict(spec.to_dict()) == spec
    assert recipe_values(spec)["task"] == value.name
    # Images are drawn without a look at their labels.
    assert spec.subset.strategy == ("stratified" if value.has_labels else "random")
    plain = plan(f"{BASE}sizes = [40]\n")[0]
    assert (spec.run_id == plain.run_id) == (value == LearningTask())


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("task = 'rotations'", "expected one of classification, rotation, simclr, got 'rotations'"),
        ("task = 'rotation'", "rotation is judged by images held out, and none are; give validation = 0.1"),
        ("task = { name = 'rotation', temperature = 1 }", "temperature belongs to name = simclr"),
        ("task = 'rotation'\nunlabelled = 'fixmatch'", "unlabelled and task = rotation exclude each other"),
        ("task = 'rotation'\nsynthetic = 'cvae'", "synthetic and task = rotation exclude each other"),
        ("task = 'rotation'\nlabel_noise = 0.1", "label_noise and task = rotation exclude each other"),
        ("task = 'rotation'\nlabel_smoothing = 0.1", "label_smoothing and task = rotation exclude"),
        ("task = 'rotation'\nimbalance = 2", "imbalance and task = rotation exclude each other"),
        ("task = 'rotation'\naugmentation = { cutmix = 1 }", "augmentation.cutmix and task = rotation"),
        ("task = 'rotation'\nrefit = true\nvalidation = 0.1", "refit and task = rotation exclude"),
        ("task = 'rotation'\ntests = { a = 'digits' }", "tests and task = rotation exclude each other"),
        ("task = 'rotation'\nprotocol = { f1 = 'micro' }", "protocol and task = rotation exclude each other"),
        (
            "task = 'rotation'\nvalidation = 0.1\ntransfer = { from = 'e', layers = 1, freeze = true }",
            "transfer and task = rotation exclude each other: no label and no test image is looked at",
        ),
        (
            "task = 'rotation'\nvalidation = 0.1\nsubset = { strategy = 'margin', path = [40] }",
            "subset.path and task = rotation exclude each other",
        ),
        (
            "task = 'rotation'\nvalidation = 0.1\nsubset = { strategy = 'stratified' }",
            "strategy stratified and task = rotation exclude each other: it draws by labels",
        ),
        (
            "validation = 0.1\n[experiments.e.sweep]\ntask = ['rotation', 'classification']",
            "runs of rotation and classification have no curve in common; make each task an experiment",
        ),
        (
            f"task = 'simclr'\nvalidation = 0.1\nbatch_size = 1\n{VIEWS}",
            "simclr tells the images of a batch apart, and 1 is alone",
        ),
        ("task = 'simclr'\nvalidation = 0.1\nbatch_size = 8", "simclr needs two views that differ"),
        (
            "task = 'simclr'\nvalidation = 0.1\naugmentation = { flip = 0.5, repeats = 2 }",
            "repeats and simclr exclude each other",
        ),
        (
            f"task = 'simclr'\nvalidation = 0.1\nbatch_size = 37\n{VIEWS}",
            "a batch of 37 different images, but size 40 trains on 36; give a smaller batch",
        ),
        (
            f"task = 'simclr'\nvalidation = 1\nbatch_size = 8\n{VIEWS}",
            "simclr tells images apart, and validation = 1 holds 1 of 40 out; hold out 2 or more",
        ),
        ("subset = { features = 'e' }", "features are chosen by along a path; give its sizes"),
        (
            "subset = { strategy = 'margin', path = [40], features = 'e' }",
            "margin looks at no features; k-center and typiclust do",
        ),
    ],
)
def test_what_makes_no_sense_is_one_line(plan, body, told):
    with pytest.raises(DatasizeError) as caught:
        plan(f"{BASE}sizes = [40]\n{body}\n")
    assert told in caught.value.line
    assert "\n" not in caught.value.line


def test_images_per_class_and_sizes_beyond_the_data_are_one_line(plan):
    for size, told in (
        ("per_class = [2]", "images per class and task = rotation exclude each other"),
        ("sizes = [1438]", "1438 images, but digits has 1437 to train on"),
    ):
        with pytest.raises(DatasizeError) as caught:
            plan(f"{BASE}{size}\nvalidation = 0.1\ntask = 'rotation'\n")
        assert told in caught.value.line


def test_a_source_without_labels_saw_the_same_images_and_is_queued_with_the_runs(project):
    loaded = project(f"{SOURCE}{LATER}transfer = {{ from = 'turned', layers = 'all', freeze = true }}\n")
    runs = plan_runs(loaded.experiment("e"), loaded)
    sources = plan_runs(loaded.experiment("turned"), loaded)
    taken = {spec.run_id: spec for spec in sources}
    for spec in runs:
        assert spec.transfer.task == "rotation"
        assert spec.condition == "rotation-SallT"
        source = taken[spec.transfer.source]
        assert (source.train_size, source.subset.seed, source.seed) == (1437, 0, spec.seed)
        assert RunSpec.from_dict(spec.to_dict()) == spec
    few = select(runs, sizes=[40], seeds=[0])
    assert [one.run_id for one in source_runs(few, loaded)] == [few[0].transfer.source]


def test_half_of_the_classes_is_that_of_the_run_and_not_the_other(plan):
    halves = SOURCE + "[experiments.turned.sweep]\nclasses = ['source', 'target']\n"
    taking = "transfer = { from = 'turned', layers = 'all', freeze = false }\n"
    for classes in ("source", "target"):
        (spec, *_) = plan(f"{halves}{LATER}classes = '{classes}'\n{taking}".replace("[0, 5]", "[0]"))
        (source,) = [one for one in plan(halves, "turned") if one.run_id == spec.transfer.source]
        assert source.classes == spec.classes
    with pytest.raises(DatasizeError) as caught:
        plan(f"{SOURCE}{LATER}classes = 'target'\n{taking}")
    assert "its runs saw all classes: classes of this experiment must be the same" in caught.value.line


def test_starts_from_labels_and_from_none_are_two_variants(plan):
    labelled = SOURCE.replace("task = 'rotation'", "").replace("turned", "taught")
    runs = plan(
        f"{SOURCE}{labelled}{LATER}[experiments.e.levers]\ntransfer = [\n"
        "{ from = 'taught', layers = 'all', freeze = false },\n"
        "{ from = 'turned', layers = 'all', freeze = false }]\n".replace("seeds = [0, 9]", "seeds = [0]")
    )
    assert set(variant_labels(runs).values()) == {"base", "FTall", "rotation-FTall"}


def test_features_are_those_of_one_run_whatever_the_seed_and_the_draw(project):
    loaded = project(SOURCE + CHOSEN)
    runs = plan_runs(loaded.experiment("c"), loaded)
    (network,) = {spec.subset.features for spec in runs}
    (one,) = [spec for spec in plan_runs(loaded.experiment("turned"), loaded) if spec.run_id == network]
    # The first seed and draw of the file, and the most images.
    assert (one.seed, one.subset.seed, one.train_size) == (5, 0, 1437)
    first = next(spec for spec in runs if spec.train_size == 20)
    later = next(spec for spec in runs if spec.train_size == 40)
    assert first.sources == (network,)
    assert later.sources == (network, later.before.run_id)
    assert [source.run_id for source in source_runs([first], loaded)] == [network]
    # Whatever part of them is asked for.
    assert listed_runs(loaded.experiment("c"), loaded, [later.run_id]) == {later.run_id}
    assert set(variant_labels(runs).values()) == {""}
    plain = project(CHOSEN.replace(", features = 'turned'", ""))
    without = plan_runs(plain.experiment("c"), plain)
    assert {spec.run_id for spec in without}.isdisjoint(spec.run_id for spec in runs)


def test_features_are_an_axis_of_what_looks_at_them(plan):
    runs = plan(
        SOURCE
        + CHOSEN.replace("strategy = 'k-center'", "strategy = 'random'")
        + "[experiments.c.levers]\n'subset.strategy' = ['k-center', 'margin']\n",
        "c",
    )
    used = {spec.subset.strategy: bool(spec.subset.features) for spec in runs}
    assert used == {"random": False, "k-center": True, "margin": False}
    swept = plan(
        SOURCE
        + CHOSEN.replace(", features = 'turned'", "")
        + "[experiments.c.sweep]\n'subset.features' = ['none', 'turned']\n",
        "c",
    )
    assert {bool(spec.subset.features) for spec in swept} == {True, False}
    assert len(set(variant_labels(swept).values())) == 2


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("'turned', seeds = [0, 3]", "'turn', seeds = [0, 3]"), "no experiment 'turn'"),
        (("task = 'rotation'", ""), "turned learns from labels, which must not choose images"),
        (
            ("validation = 0.1\ntask", "classes = 'target'\nvalidation = 0.1\ntask"),
            "turned did not see the images of this experiment",
        ),
    ],
)
def test_features_of_what_does_not_suit_are_one_line(plan, change, told):
    with pytest.raises(DatasizeError) as caught:
        plan((SOURCE + CHOSEN).replace(*change), "c")
    assert told in caught.value.line

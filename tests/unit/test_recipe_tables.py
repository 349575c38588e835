"""The tables of a recipe beyond model, budget and optimiser."""

from dataclasses import fields
from pathlib import Path

import pytest

from tui_datasize.errors import ConfigError
from tui_datasize.experiments.augmentation import AugmentationSpec
from tui_datasize.experiments.catalogue import dataset_info
from tui_datasize.experiments.load import load_project
from tui_datasize.experiments.schedule import ScheduleSpec
from tui_datasize.experiments.spec import ClassSplit, LabelNoise, Protocol, RunSpec, Transfer
from tui_datasize.experiments.sweep import expand

ALL_AUGMENTATION = """
augmentation = { resized_crop = 0.08, crop_px = 24, flip = 0.5, rotation_deg = 40, brightness = 0.2,
  contrast = 0.2, saturation = 0.2, sharpness = 0.5, grey = 0.2, trivial_augment = true, random_erasing = 0.1,
  mixup = 1.0, cutmix = 1.0, repeats = 4 }
"""


@pytest.fixture
def read(tmp_path):
    def experiment(body: str):
        file = tmp_path / "experiments.toml"
        file.write_text(
            "[experiments.e]\ndataset = 'digits'\nmodel = 'mlp'\nsizes = [40]\n"
            f"budget = {{ updates = 10 }}\n{body}\n"
        )
        return load_project(file, environment={}).experiment("e")

    return experiment


@pytest.fixture
def recipe(read):
    return lambda body: read(body).recipes[0].spec


@pytest.mark.parametrize(
    ("body", "field", "value"),
    [
        ("schedule = 'cosine'", "schedule", ScheduleSpec("cosine")),
        (
            "schedule = { name = 'multistep', milestones = [0.5, 0.75], warmup = 0.05 }",
            "schedule",
            ScheduleSpec("multistep", milestones=(0.5, 0.75), warmup=0.05),
        ),
        (
            "schedule = { name = 'step', unit = 'updates', step = 250, gamma = 0.98 }",
            "schedule",
            ScheduleSpec("step", "updates", step=250, gamma=0.98),
        ),
        ("augmentation = 'none'", "augmentation", AugmentationSpec()),
        ("label_noise = 0.2", "label_noise", LabelNoise(0.2)),
        (
            "label_noise = { fraction = 0.2, confusion = { 3 = '8', 1 = { 7 = 3, 4 = 1 } } }",
            "label_noise",
            LabelNoise(0.2, (("1", "4", 1.0), ("1", "7", 3.0), ("3", "8", 1.0))),
        ),
        ("classes = 'source'", "classes", ClassSplit("source", 0)),
        ("classes = { half = 'target', seed = 5 }", "classes", ClassSplit("target", 5)),
        (
            "transfer = { from = 'x', layers = 1, freeze = true }",
            "transfer",
            Transfer("x", 1, True),
        ),
        ("transfer = { from = 'x', layers = 'all' }", "transfer", Transfer("x", None, False)),
        ("transfer = 'none'", "transfer", None),
        (
            "protocol = { measured = 'last-batch', f1 = 'micro', partial_batches = true }",
            "protocol",
            Protocol("last-batch", "micro", True),
        ),
    ],
)
def test_what_the_tables_mean(recipe, body, field, value):
    assert getattr(recipe(body), field) == value


def test_every_augmentation_can_be_switched_on(recipe):
    augmentation = recipe(ALL_AUGMENTATION).augmentation
    unchanged = [f.name for f in fields(augmentation) if getattr(augmentation, f.name) == f.default]
    assert unchanged == ["crop_padding_px"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("schedule = { name = 'multistep' }", "schedule.milestones: expected a list of numbers"),
        ("schedule = { name = 'multistep', milestones = [0.7, 0.5] }", "expected numbers in ascending order"),
        ("schedule = { name = 'multistep', milestones = [30] }", "at most 1, got 30"),
        ("schedule = { name = 'cosine', step = 0.1 }", "step belongs to name = step; leave it out"),
        ("schedule = { name = 'step' }", "schedule.step: expected a number above 0"),
        ("augmentation = { flipp = 0.5 }", "unknown key 'flipp'; did you mean 'flip'?"),
        ("augmentation = { flip = 2 }", "augmentation.flip: expected a number of at least 0 and at most 1"),
        ("augmentation = { resized_crop = 0.1 }", "resized_crop needs crop_px"),
        ("augmentation = { repeats = 65 }", "65 repeats do not fit a batch of 64"),
        ("label_noise = 1.5", "label_noise.fraction: expected a number of at least 0 and below 1, got 1.5"),
        ("label_noise = 1.0", "label_noise.fraction: expected a number of at least 0 and below 1, got 1.0"),
        (
            "schedule = { name = 'step', unit = 'updates', step = 0.5 }",
            "schedule.step: expected a whole number of at least 1, got 0.5",
        ),
        (
            "schedule = { name = 'cosine', unit = 'updates', warmup = 0.5 }",
            "schedule.warmup: expected a whole number of at least 0, got 0.5",
        ),
        ("classes = 'both'", "classes.half: expected one of all, source, target, got 'both'"),
        ("transfer = { layers = 1 }", "transfer.from: expected a string, got nothing"),
        ("transfer = { from = 'x', layers = 0 }", 'expected a whole number of at least 1, or "all", got 0'),
        ("protocol = { measured = 'half' }", "expected one of full, last-batch, got 'half'"),
        ("label_smoothing = 1", "label_smoothing: expected a number of at least 0 and below 1, got 1"),
        ("imbalance = 0.5", "imbalance: expected a number of at least 1, got 0.5"),
        ("precision = 'fp16'", "precision: expected one of auto, fp32, tf32, bf16, got 'fp16'"),
        ("[experiments.e.sweep]\noptimizer.lr = [1]", 'write a key with a dot in quotes: "optimizer.lr" = '),
    ],
)
def test_what_is_refused_in_one_line(recipe, body, message):
    with pytest.raises(ConfigError) as caught:
        recipe(body)
    assert message in caught.value.line
    assert "experiments.e" in caught.value.line


def test_levers_are_pulled_one_at_a_time_with_all_that_is_swept(read):
    found = read(
        'sweep = { "optimizer.lr" = [0.1, 0.2] }\n'
        '[experiments.e.levers]\n"model.hidden" = [32, 128]\naugmentation = [{ flip = 0.5 }]'
    )
    told = [
        (one.spec.optimizer.lr, one.spec.augmentation.flip, one.spec.model.options.get("hidden", 64))
        for one in found.recipes
    ]
    alone = [(0, 64), (0.5, 64), (0, 32), (0, 128)]
    assert told == [(rate, *one) for rate in (0.1, 0.2) for one in alone]
    assert found.n_runs == 8


@pytest.mark.parametrize(
    ("levers", "message"),
    [
        ("flips = [1]", r"e\.levers: cannot sweep 'flips'"),
        ("augmentation = { flip = 0.5 }", r"e\.levers\.augmentation: expected a list of values, got a table"),
        ('"model.hidden" = [0]', r"e\.model\.hidden: expected .* got 0"),
        (
            '"optimizer.lr" = [1e-2]\n[experiments.e.sweep]\n"optimizer.lr" = [1e-3]',
            r"e\.levers\.optimizer\.lr: optimizer\.lr is swept too",
        ),
        (
            'augmentation = ["none"]\n[experiments.e.sweep]\n"augmentation.flip" = [0.1]',
            r"e\.levers\.augmentation: augmentation\.flip is swept too",
        ),
    ],
)
def test_levers_that_are_none_are_told(read, levers, message):
    with pytest.raises(ConfigError, match=message):
        read(f"[experiments.e.levers]\n{levers}")


def test_a_lever_that_is_the_default_is_no_other_way(read):
    project = read("[experiments.e.levers]\nlabel_smoothing = [0.0]")
    with pytest.raises(ConfigError, match="two combinations of swept values are the same run"):
        expand(project, dataset_info("digits", Path()))


@pytest.mark.parametrize("given", ["1.0", "12.0", "'x'", "-1", "true", "nan"])
def test_what_is_neither_a_share_nor_a_number_of_images_is_not_held_out(read, given):
    told = r"e\.validation: expected a share below 1, or a whole number of images, got "
    with pytest.raises(ConfigError, match=told):
        read(f"validation = {given}")


def test_one_image_may_be_held_out(read):
    assert read("validation = 1").recipes[0].spec.held_out == 1


def test_a_word_and_a_table_of_a_swept_key_mix(read):
    body = "classes = 'source'\n[experiments.e.sweep]\n'classes.half' = ['source', 'target']\n"
    assert [r.spec.classes for r in read(body).recipes] == [ClassSplit("source"), ClassSplit("target")]
    body = "[experiments.e.sweep]\naugmentation = ['none', { flip = 0.5 }]\n"
    assert [r.spec.augmentation.flip for r in read(body).recipes] == [0.0, 0.5]


def test_a_full_recipe_survives_its_document(read):
    from tui_datasize.experiments.catalogue import DATASETS
    from tui_datasize.experiments.sweep import expand

    body = (
        ALL_AUGMENTATION
        + "schedule = { name = 'multistep', milestones = [0.5, 0.75] }\nema_decay = 0.99\n"
        + "label_noise = { fraction = 0.1, confusion = { 1 = '7' } }\nprecision = 'bf16'\n"
        + "protocol = { f1 = 'micro' }\n"
    )
    (spec,) = expand(read(body), DATASETS["mnist"])
    again = RunSpec.from_dict(spec.to_dict())
    assert again == spec
    assert again.run_id == spec.run_id
    assert spec.is_as_published

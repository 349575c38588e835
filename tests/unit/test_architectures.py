"""The table of models, and what a plan may ask of them."""

from __future__ import annotations

import pytest

from tui_datasize.errors import ConfigError
from tui_datasize.experiments.architectures import MODELS, TORCHVISION_MODELS, layer_count, model_info
from tui_datasize.experiments.load import load_project
from tui_datasize.experiments.spec import ModelSpec
from tui_datasize.experiments.sweep import plan_runs
from tui_datasize.jobs.prune import planned_sources
from tui_datasize.jobs.queue.state import Job, JobState


@pytest.fixture
def load(tmp_path):
    def write_and_load(text):
        file = tmp_path / "experiments.toml"
        file.write_text(text, encoding="utf-8")
        return load_project(file, {})

    return write_and_load


def experiment(model, extra=""):
    return f"""
[experiments.e]
dataset = "digits"
model = {model}
sizes = [40]
seeds = [0]
budget = {{ updates = 10 }}
{extra}
"""


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ('{ name = "resnet", depth = 21 }', r"e\.model\.depth: expected 6n \+ 2 layers: 8, 14, 20,.*got 21"),
        ('{ name = "resnet", input_channels = 2 }', r"e\.model\.input_channels: expected 0 .* or 3, got 2"),
        ('{ name = "alexnet", initialisation = "x" }', r"expected one of caffe, kaiming-normal, got 'x'"),
        ('"torchvision:resnet51"', r"e\.model\.name: expected one of"),
        ('"timm:hf-hub:timm/resnet18"', r"e\.model\.name: expected one of .*timm:NAME"),
        ('{ name = "timm:resnet18", weights = "w.pth" }', r"weights: expected a whole path, .* got 'w.pth'"),
        ('{ name = "torchvision:resnet50", depth = 3 }', r"unknown key 'depth'"),
        ('{ name = "cnn3", published = 1 }', r"e\.model\.published: expected true or false, got 1"),
    ],
)
def test_options_that_no_model_has_are_refused(load, model, message):
    with pytest.raises(ConfigError, match=message):
        load(experiment(model))


@pytest.mark.parametrize("depth", [8, 20, 32, 44, 56, 110])
def test_depths_of_six_n_and_two_are_taken(load, depth):
    (recipe,) = load(experiment(f'{{ name = "resnet", depth = {depth} }}')).experiments["e"].recipes
    assert layer_count(recipe.spec.model) == depth


@pytest.mark.parametrize(
    ("model", "count"),
    [("cnn3", 5), ("mlp", 2), ("alexnet", 8), ("resnet", 20), ("torchvision:resnet18", None), ("none", None)],
)
def test_layers_are_counted_where_the_options_tell(model, count):
    assert layer_count(ModelSpec(model)) == count


def test_every_default_keeps_to_its_own_rules():
    for info in (*MODELS.values(), model_info(f"torchvision:{TORCHVISION_MODELS[0]}"), model_info("timm:a")):
        for row in info.rows:
            if row.kind in (int, float):
                assert row.key.at_least <= row.default <= row.key.at_most
            assert row.key.holds is None or row.key.holds(row.default)


def test_more_layers_than_a_model_can_give_are_refused(load):
    transfer = 'transfer = { from = "base", layers = 8, freeze = true }'
    with pytest.raises(
        ConfigError, match=r"e\.transfer\.layers: cannot take over 8 layers: .* has 8.*at most 7"
    ):
        load(experiment('"alexnet"', transfer))


def job(run, state):
    return Job(run.run_id, run.experiment, state, 0, 0, 1, 3, "", "", "", "", "")


def test_sources_are_wanted_until_every_planned_transfer_has_succeeded(load):
    source = experiment('"mlp"').replace("experiments.e", "experiments.base")
    transfer = 'transfer = { from = "base", layers = 1, freeze = true }'
    project = load(source + experiment('"mlp"', transfer))
    (base,) = plan_runs(project.experiments["base"], project)
    (run,) = plan_runs(project.experiments["e"], project)
    assert planned_sources(project, []) == {base.run_id}
    assert planned_sources(project, [job(run, JobState.FAILED)]) == {base.run_id}
    assert planned_sources(project, [job(run, JobState.SUCCEEDED)]) == frozenset()

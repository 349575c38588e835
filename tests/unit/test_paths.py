"""Runs along a path of labelling: their identity, what they wait for, and what cannot be one."""

from dataclasses import replace

import pytest

from tui_datasize.errors import ConfigError
from tui_datasize.experiments.load import load_project
from tui_datasize.experiments.sources import in_order_of_paths, needed
from tui_datasize.experiments.spec import RunSpec, SubsetSpec
from tui_datasize.experiments.sweep import further_runs, listed_runs, plan_runs, select, source_runs
from tui_datasize.experiments.variants import variant_labels
from tui_datasize.jobs.prune import planned_sources

STEPS = """
[experiments.steps]
dataset = "digits"
model   = "mlp"
sizes   = [20, 80]
seeds   = [0, 7]
subset  = { path = [20, 40, 80, 160] }
budget  = { updates = 10 }
levers  = { "subset.strategy" = ["margin"] }
"""


@pytest.fixture
def project(tmp_path):
    def load(text: str = STEPS):
        file = tmp_path / "experiments.toml"
        file.write_text(text)
        return load_project(file, environment={})

    return load


def planned(loaded) -> dict[tuple[str, int, int], RunSpec]:
    runs = plan_runs(loaded.experiment("steps"), loaded)
    return {(run.subset.strategy, run.train_size, run.seed): run for run in runs}


def test_a_run_has_the_path_up_to_its_size_and_a_longer_one_renames_none(project):
    runs = planned(project())
    assert runs["margin", 20, 0].subset == SubsetSpec("margin", path=(20,))
    assert runs["margin", 80, 7].subset == SubsetSpec("margin", path=(20, 40, 80))
    longer = planned(project(STEPS.replace("160]", "100, 200]")))
    assert [run.run_id for run in longer.values()] == [run.run_id for run in runs.values()]
    other = planned(project(STEPS.replace("40,", "50,")))
    assert other["margin", 80, 0].run_id != runs["margin", 80, 0].run_id
    assert RunSpec.from_dict(runs["margin", 80, 0].to_dict()) == runs["margin", 80, 0]


def test_random_along_a_path_is_the_plain_nested_draw(project):
    run = planned(project())["random", 80, 0]
    assert (run.subset, run.sources) == (SubsetSpec("random"), ())


def test_the_runs_before_are_queued_whether_or_not_the_experiment_lists_them(project):
    loaded = project()
    runs = planned(loaded)
    wanted = select(tuple(runs.values()), sizes=[80], seeds=[7])
    links = source_runs(wanted, loaded)
    assert [(run.train_size, run.seed, run.subset.path) for run in links] == [
        (20, 7, (20,)),
        (40, 7, (20, 40)),
    ]
    assert links[0] == runs["margin", 20, 7]
    assert links == needed(wanted, {})
    (waiting,) = (run for run in wanted if run.sources)
    assert (waiting.sources, links[1].sources) == ((links[1].run_id,), (links[0].run_id,))
    # Of those that are queued themselves none is queued twice.
    assert {run.train_size for run in source_runs(tuple(runs.values()), loaded)} == {40}


def test_runs_stand_behind_those_before_them_in_whatever_order_they_are_queued(project):
    runs = planned(project())
    last, first, other = runs["margin", 80, 0], runs["margin", 20, 0], runs["random", 80, 0]
    assert list(in_order_of_paths([other, last, first])) == [other.run_id, first.run_id, last.run_id]
    middle = last.before
    assert list(in_order_of_paths([last, middle])) == [middle.run_id, last.run_id]


def test_links_are_runs_of_their_experiment_and_of_the_same_variant(project):
    loaded = project()
    runs = planned(loaded)
    link = runs["margin", 80, 7].before
    labels = variant_labels([*runs.values(), link])
    assert labels[link.run_id] == labels[runs["margin", 20, 0].run_id] == "strategy=margin"
    shape = replace(link, seed=0, subset=SubsetSpec())
    assert further_runs(runs.values(), {1: shape}, {link.run_id: 1}) == [link]
    ids = [runs["margin", 80, 7].run_id, link.run_id]
    assert listed_runs(loaded.experiment("steps"), loaded, ids) == {ids[0]}


def test_checkpoints_of_links_stay_as_long_as_a_run_waits_for_them(project):
    loaded = project()
    runs = planned(loaded)
    kept = planned_sources(loaded, [])
    for last in (runs["margin", 80, 0], runs["margin", 80, 7]):
        assert {last.before.run_id, last.before.before.run_id} <= kept
    assert len(kept) == 4


BAD = {
    "path = [20, 40]": "steps.sizes: 80 images are no point of the path; 20, 40",
    "path = [20, 160, 80]": "subset.path: expected at most 100 numbers in ascending order, got [20, 160, 80]",
    "path = [20, 20, 80]": "steps.subset.path: 20 is listed twice",
    "path = 80": "steps.subset.path: expected a list of whole numbers above 0, got 80",
    "path = [20, 80], nested = false": "subset.nested: each step of a path keeps the images before it",
    "path = [20, 80], strategy = 'first'": "subset.strategy: expected one of margin, entropy, k-center, ",
    "path = [20, 80], strategy = 'magin'": "steps.subset.strategy: expected one of margin, entropy, ",
    "strategy = 'margin'": "steps.subset: strategies are swept along a path; give its sizes: path = [100, ",
    "strategy = 'random'": "steps.subset: strategies are swept along a path; give its sizes",
    "path = [20, 80] }\nimbalance = 2 #": "steps.imbalance: an imbalance and a path exclude each other",
    "path = [1, 20, 80] }\nvalidation = 0.2 #": "validation = 0.2 holds none of 1 image out",
    "path = [20, 80] }\nvalidation = 20 #": "validation = 20 holds all of 20 images out",
    "path = [20, 80] }\nalso = [{ sizes = [30] }] #": "also 1.sizes: 30 images are no point of the path",
}


@pytest.mark.parametrize(("subset", "message"), BAD.items(), ids=BAD)
def test_what_is_no_path_is_one_line(project, subset, message):
    text = STEPS.replace("path = [20, 40, 80, 160]", subset)
    with pytest.raises(ConfigError) as caught:
        planned(project(text))
    assert message in caught.value.line
    assert "\n" not in caught.value.line
    assert len(getattr(caught.value, "errors", "1")) == 1


@pytest.mark.parametrize("unit", ["per_class = [2, 8]", "fractions = [0.1, 0.5]"])
def test_a_path_needs_sizes(project, unit):
    text = STEPS.replace("sizes   = [20, 80]", unit)
    with pytest.raises(ConfigError, match="and a path exclude each other; give sizes"):
        project(text)
    with pytest.raises(ConfigError, match="along a path; give its sizes") as caught:
        project(text.replace("path = [20, 40, 80, 160]", "strategy = 'margin'"))
    assert len(getattr(caught.value, "errors", "1")) == 1

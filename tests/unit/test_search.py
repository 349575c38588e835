"""Searches in experiments.toml: what is drawn, what is refused, which rungs there are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tui_datasize.errors import ConfigError
from tui_datasize.experiments.load import Experiment, Project, load_project
from tui_datasize.experiments.rungs import climbed, later_runs, rungs_of
from tui_datasize.experiments.search import rungs
from tui_datasize.experiments.sweep import listed_runs, plan_runs
from tui_datasize.experiments.variants import variant_labels

TABLE = """
[experiments.e]
dataset = "digits"
model = "cnn3"
sizes = [40, 80]
seeds = { count = 2 }
budget = { updates = 40 }
validation = 0.25
evaluate = { times = 1 }
"""
WIDTH = '"model.width" = { low = 4, high = 32, log = true, integer = true }\n'
SEARCH = f"""[experiments.e.search]
count = 6
{WIDTH}
"optimizer.lr" = {{ low = 1e-4, high = 1e-1, log = true }}
"model.dropout" = {{ choices = [0.0, 0.5] }}
"""
HALVING = "halving = { keep = 0.5, from = 0.25 }\n"


def read(tmp_path: Path, search: str, table: str = TABLE) -> tuple[Experiment, Project]:
    file = tmp_path / "experiments.toml"
    file.write_text(table + search)
    project = load_project(file)
    return project.experiment("e"), project


def drawn(tmp_path: Path, search: str) -> list[str]:
    experiment, _ = read(tmp_path, search)
    assert experiment.search
    specs = [replace(recipe.spec, experiment="e") for recipe in experiment.search.candidates]
    labels = variant_labels(specs)
    return [labels[spec.run_id] for spec in specs]


def test_a_longer_search_begins_with_the_same_candidates(tmp_path: Path) -> None:
    few = drawn(tmp_path, SEARCH)
    many = drawn(tmp_path, SEARCH.replace("count = 6", "count = 12"))
    assert many[:6] == few == drawn(tmp_path, SEARCH)
    assert len(set(many)) == 12
    assert drawn(tmp_path, f"{SEARCH}seed = 1\n") != few


def test_names_of_candidates_are_short_and_values_lie_in_their_range(tmp_path: Path) -> None:
    experiment, _ = read(tmp_path, SEARCH.replace("count = 6", "count = 200"))
    assert experiment.search
    specs = [one.spec for one in experiment.search.candidates]
    assert all(4 <= int(spec.model.options.get("width", 32)) <= 32 for spec in specs)
    assert {int(spec.model.options.get("width", 32)) for spec in specs} >= {4, 32}
    assert all(1e-4 <= spec.optimizer.lr <= 1e-1 for spec in specs)
    assert sum(spec.optimizer.lr < 10**-2.5 for spec in specs) == pytest.approx(100, abs=25)
    assert max(map(len, drawn(tmp_path, SEARCH))) <= len("dropout=0.5 width=23 lr=0.000188")


def test_the_recipe_as_it_stands_is_run_in_full_beside_the_first_rung(tmp_path: Path) -> None:
    experiment, project = read(tmp_path, SEARCH + HALVING)
    runs = plan_runs(experiment, project)
    places = rungs_of(experiment, runs)
    assert [places[run.run_id].told for run in runs[:7]] == ["default", *["1 of 3"] * 6]
    assert [run.budget.amount for run in runs[:7]] == [40, *[10] * 6]
    assert len(runs) == 4 * 7
    # Six, three and one candidate, and the default, at two sizes with two seeds.
    assert experiment.n_runs == 4 * (1 + 6 + 3 + 1)
    other = plan_runs(*read(tmp_path, f"{SEARCH}{HALVING}default = {{ 'model.width' = 9 }}\n"))
    assert {run.model.options.get("width") for run in other if run.budget.amount == 40} == {9}


def test_the_last_rung_has_the_ids_of_a_search_without_halving(tmp_path: Path) -> None:
    whole, project = read(tmp_path, SEARCH)
    ids = {run.run_id for run in plan_runs(whole, project)}
    halved, project = read(tmp_path, SEARCH + HALVING)
    assert halved.search
    last = replace(halved, recipes=halved.search.on_rung(2))
    assert {run.run_id for run in plan_runs(last, project)} < ids
    # All that may be queued is listed, and what was promoted is known by its recipe.
    listed = {run.run_id for run in plan_runs(replace(halved, recipes=halved.search.on_rung(1)), project)}
    assert listed_runs(halved, project, listed | ids) == listed | ids
    assert climbed(halved, plan_runs(whole, project)) == plan_runs(last, project)
    assert len(later_runs(halved)) == 12


def test_a_search_is_another_for_other_candidates_seeds_or_rungs(tmp_path: Path) -> None:
    def name(search: str, table: str = TABLE) -> str:
        experiment, project = read(tmp_path, search, table)
        runs = plan_runs(experiment, project)
        return next(place.search for place in rungs_of(experiment, runs).values() if place.search)

    names = [
        name(SEARCH + HALVING),
        name(SEARCH.replace("count = 6", "count = 7") + HALVING),
        name(SEARCH + HALVING.replace("0.5", "0.25")),
        name(SEARCH + HALVING, TABLE.replace("count = 2", "count = 3")),
    ]
    assert len(set(names)) == 4
    assert name(SEARCH + HALVING) == names[0]


def test_rungs_end_with_the_whole_budget_and_pass_over_a_candidate_that_is_alone() -> None:
    assert rungs(20, 0.5, 0.25) == ((0.25, 0.5, 1.0), (20, 10, 5))
    assert rungs(27, 1 / 3, 1 / 27) == ((1 / 27, 0.111111111, 0.333333333, 1.0), (27, 9, 3, 1))
    assert rungs(3, 0.5, 0.01) == ((0.01, 1.0), (3, 1))
    assert rungs(1, 0.5, 0.25) == ((1.0,), (1,))
    assert rungs(8, 0.5, 0.9) == ((0.9, 1.0), (8, 4))


WRONG = {
    "count = 0": "count: expected a whole number of at least 1",
    "count = 20": "20 candidates, and there are 2 combinations",
    '"model.dropout" = 3': "expected { low",
    '"model.dropout" = { low = 0.5, high = 0.2 }': "low is 0.5, which is not below 0.2",
    '"optimizer.lr" = { low = 0, high = 1, log = true }': "log = true needs a low above 0",
    '"model.width" = { low = 4.5, high = 9, integer = true }': "low: expected a whole number",
    '"model.width" = { low = 4, high = 2000, integer = true }': "width: expected a whole number of at most",
    '"model.width" = { low = 4, high = 9 }': "; give integer = true",
    '"imbalance" = { choices = [2] }': "cannot search 'imbalance': candidates are chosen by the same images",
    '"label_noise.fraction" = { choices = [0.0, 0.4] }': "cannot search 'label_noise.fraction': candidates",
    '"task" = { choices = ["rotation"] }': "cannot search 'task': all learn the same",
    '"optimizer.lr" = { low = -1, high = 1 }': "search.optimizer.lr: expected a number above 0",
    '"model.width" = { choices = [4.0] }': "model.width: expected a whole number of at least 1, got 4.0",
    '"model.dropout" = { choices = [] }': "choices: expected a list of values",
    '"model.dropout" = { choices = [0, 0] }': "a value is listed twice",
    '"model.dropout" = { choices = [0], low = 1 }': "unknown key 'low'",
    '"model.depth" = { choices = [8] }': "depth",
    '"lr" = { low = 1, high = 2 }': "cannot search 'lr'; known are augmentation",
    '"batch_size" = { choices = [4] }': "batch_size is given in the experiment too",
    "validation = { choices = [0.1] }": "cannot search 'validation'",
    "halving = { keep = 1.0 }": "keep: expected a number above 0 and below 1",
    "halving = { from = 1 }": "from: expected a number above 0 and below 1",
    "halving = { form = 0.5 }": "unknown key 'form'",
    "default = { 'model.width' = 4 }": "model.width is not searched",
    '"budget.updates" = { choices = [5, 9] }\nhalving = {}': "halving has budgets of its own",
}


@pytest.mark.parametrize("line", WRONG)
def test_what_is_wrong_with_a_search_is_one_line(tmp_path: Path, line: str) -> None:
    key = line.partition(" = ")[0]
    given = {"count": "count = 2", '"model.dropout"': '"model.dropout" = { choices = [0.0, 0.5] }'}
    lines = [own for name, own in given.items() if name != key]
    table = TABLE.replace("budget = { updates = 40 }\n", "") if "budget" in line else TABLE
    table = table.replace("model =", "batch_size = 8\nmodel =")
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, "\n".join(["[experiments.e.search]", *lines, line, ""]), table)
    assert WRONG[line] in caught.value.line
    assert "\n" not in caught.value.line
    # No hint names what is refused.
    assert "classes" not in caught.value.line


BESIDE = {
    "[experiments.e.sweep]\n'model.width' = [8]\n": "sweep and search exclude each other",
    "[experiments.e.levers]\n'model.width' = [8]\n": "levers and search exclude each other",
    "[[experiments.e.also]]\nsizes = [50]\n": "also and halving exclude each other",
}


@pytest.mark.parametrize("table", BESIDE)
def test_no_search_beside_other_ways_to_vary_a_recipe(tmp_path: Path, table: str) -> None:
    with pytest.raises(ConfigError, match=BESIDE[table]):
        read(tmp_path, SEARCH + HALVING + table)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("subset = { strategy = 'margin', path = [40, 80] }", "a path and a search exclude each other"),
        ("schedule = { name = 'cosine', unit = 'updates', warmup = 5 }", "the schedule counts updates"),
    ],
)
def test_what_does_not_go_with_a_search(tmp_path: Path, line: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        read(tmp_path, SEARCH + HALVING, TABLE + line + "\n")
    with pytest.raises(ConfigError, match="a search chooses by images held out"):
        read(tmp_path, SEARCH, TABLE.replace("validation = 0.25", ""))


def test_evaluations_must_fit_into_the_first_rung(tmp_path: Path) -> None:
    experiment, project = read(tmp_path, SEARCH + HALVING, TABLE.replace("times = 1", "times = 20"))
    with pytest.raises(ConfigError, match="20 evaluations, but runs of 40 images make 10 updates"):
        plan_runs(experiment, project)

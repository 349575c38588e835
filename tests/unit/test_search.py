"""Searches in experiments.toml: what is drawn, what is refused, which rungs there are."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tui_datasize.errors import ConfigError
from tui_datasize.experiments.load import Experiment, Project, load_project
from tui_datasize.experiments.rungs import climbed, later_runs, outlook, rungs_of
from tui_datasize.experiments.search import Rung, rungs
from tui_datasize.experiments.sweep import listed_runs, plan_runs
from tui_datasize.experiments.toml import CollectedError
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


@pytest.mark.parametrize(
    ("values", "n_recipes"),
    [
        ('"optimizer.lr" = { choices = [1, 1.0] }', 1),
        ('augmentation = { choices = ["none", {}, { flip = 1 }] }', 2),
    ],
)
def test_a_recipe_that_is_written_in_two_ways_is_one_candidate(
    tmp_path: Path, values: str, n_recipes: int
) -> None:
    """Who has two names would be waited for on a rung that has one run of it."""
    search = f"[experiments.e.search]\n{values}\n{HALVING}"
    experiment, project = read(tmp_path, f"{search}count = {n_recipes}\n")
    runs = plan_runs(experiment, project)
    for place in rungs_of(experiment, runs).values():
        of_rung = [one for one in rungs_of(experiment, runs).values() if one.search == place.search]
        assert not place.search or len(of_rung) == place.n_runs
    with pytest.raises(ConfigError, match=f"{n_recipes + 1} candidates, and there (is|are) {n_recipes} comb"):
        read(tmp_path, f"{search}count = {n_recipes + 1}\n")


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
    '"model.width" = { low = 4, high = 9 }': "width: expected whole numbers; give integer = true",
    '"imbalance" = { choices = [2] }': "cannot search 'imbalance': candidates are chosen by the same images",
    '"transfer.layers" = { choices = [1] }': "all begin alike; give it in the experiment or as a lever",
    '"label_noise.fraction" = { choices = [0.0, 0.4] }': "cannot search 'label_noise.fraction': candidates",
    '"task" = { choices = ["rotation"] }': "'task': all learn the same; give it in the experiment",
    '"optimizer.lr" = { low = -1, high = 1 }': "search.optimizer.lr: expected a number above 0",
    '"model.width" = { choices = [4.0] }': "model.width: expected a whole number of at least 1, got 4.0",
    '"model.dropout" = { choices = [] }': "choices: expected a list of values",
    '"model.dropout" = { choices = [0, 0] }': "a value is listed twice",
    '"model.dropout" = { choices = [0], low = 1 }': "unknown key 'low'",
    '"model.depth" = { choices = [8] }': "depth",
    '"lr" = { low = 1, high = 2 }': "cannot search 'lr'; did you mean 'optimizer.lr'?",
    '"depth" = { choices = [2] }': "cannot search 'depth'; did you mean 'model.depth'?",
    "default = { dropout = 0.5 }": "dropout is not searched; did you mean 'model.dropout'?",
    '"batch_size" = { choices = [4] }': "batch_size is given in the experiment too",
    "validation = { choices = [0.1] }": "cannot search 'validation'",
    '"optimzer.lr" = { low = 1, high = 2 }': "cannot search 'optimzer.lr'; did you mean 'optimizer.lr'?",
    "sizes = { choices = [2] }": "cannot search 'sizes'; known are augmentation",
    '"split_seed" = { choices = [0, 1] }': "'split_seed': candidates are chosen by the same images",
    '"schedule" = { "min" = { low = 1, high = 2 } }': """dot in quotes: "schedule.min" = { low = ..., high""",
    '"schedule" = { "min" = {} }': "search.schedule: expected { low = ..., high = ... }, got a table of",
    "model = { choices = ['mlp'] }": "search.default: model is searched, and nothing says which one",
    "halving = { keep = 1.0 }": "keep: expected a number above 0 and below 1",
    "halving = { from = 1 }": "from: expected a number above 0 and below 1",
    "halving = true": "search.halving: expected { keep = 0.5, from = 0.25 }, or other shares, got true",
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
    if line.startswith("model ="):
        table, lines = table.replace('model = "cnn3"\n', ""), ["count = 1"]
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, "\n".join(["[experiments.e.search]", *lines, line, ""]), table)
    assert WRONG[line] in caught.value.line
    assert "\n" not in caught.value.line
    assert not isinstance(caught.value, CollectedError)
    # No hint names what is refused.
    assert "classes" not in caught.value.line


BESIDE = {
    "[experiments.e.sweep]\nlabel_smoothing = [0.0, 0.1]\n": (
        "sweep.label_smoothing: label_smoothing is swept beside a search that is not over it; "
        "search it, too, or make it a lever"
    ),
    "[experiments.e.sweep]\nimbalance = [1, 10]\n": "not over it; make it a lever",
    "default = { 'optimizer.lr' = 0.1 }\n[experiments.e.sweep]\n'optimizer.lr' = [0.1]\n": (
        "search.default: optimizer.lr is swept: the default has these values; leave it out here or there"
    ),
    "[experiments.e.levers]\n'budget.updates' = [80]\n": (
        "halving has budgets of its own; neither search the budget nor make it a lever"
    ),
    "[experiments.e.levers]\n'model.width' = [32]\n": "two combinations of swept values are the same run",
    "[[experiments.e.also]]\nsizes = [50]\n": "also and halving exclude each other",
}


@pytest.mark.parametrize("table", BESIDE)
def test_what_does_not_stand_beside_a_search(tmp_path: Path, table: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plan_runs(*read(tmp_path, SEARCH + HALVING + table))
    assert BESIDE[table] in caught.value.line


LEVERS = """[experiments.e.sweep]
"optimizer.lr" = [1e-3, 1e-2]
[experiments.e.levers]
augmentation = [{ rotation_deg = 15 }]
"model.width" = [16]
[experiments.e.search]
count = 6
"model.width" = { choices = [4, 8, 16] }
"optimizer.lr" = { choices = [1e-3, 1e-2] }
default = { "model.width" = 8 }
"""


def test_levers_and_swept_values_stand_beside_a_search_over_the_recipe_without_them(tmp_path: Path) -> None:
    beside, project = read(tmp_path, LEVERS + HALVING)
    runs = plan_runs(beside, project)
    places = rungs_of(beside, runs)
    told = Counter(places[run.run_id].told if run.run_id in places else "" for run in runs)
    assert told == {"": 4 * 4, "default": 4 * 2, "1 of 3": 4 * 6}
    assert beside.n_runs == len(runs) + 4 * (3 + 1)
    # What either has alone has the same ids beside the other.
    alone = LEVERS[LEVERS.index("[experiments.e.search]") :].replace("8 }", "8, 'optimizer.lr' = 0.01 }")
    searched = plan_runs(*read(tmp_path, alone + HALVING))
    pulled = plan_runs(
        *read(
            tmp_path,
            LEVERS[: LEVERS.index("[experiments.e.search]")],
            TABLE.replace('"cnn3"', "{ name = 'cnn3', width = 8 }"),
        )
    )
    assert {run.run_id for run in searched} | {run.run_id for run in pulled} == {run.run_id for run in runs}
    assert all(run.augmentation.rotation_deg == 0 for run in runs if run.run_id in places)
    lines = [one.line for one in outlook(beside, runs)]
    assert lines[:2] == [
        "levers: 16 runs, 640 updates, 40,960 images",
        "default: 8 runs, 320 updates, 20,480 images",
    ]


def test_further_runs_beside_a_search_that_halves_are_of_no_rung(tmp_path: Path) -> None:
    """So that what `plan` proposes for a lever can be written into the file."""
    also = "[[experiments.e.also]]\nsizes = [120]\n"
    experiment, project = read(tmp_path, LEVERS + HALVING + also)
    further = [run for run in plan_runs(experiment, project) if run.train_size == 120]
    assert {run.budget.amount for run in further} == {40}
    places = rungs_of(experiment, further)
    assert Counter(place.told for place in places.values()) == {"default": 2 * 2}
    assert len(further) == 2 * 6
    assert experiment.n_runs == len(plan_runs(experiment, project)) + 4 * (3 + 1)
    labels = variant_labels(plan_runs(experiment, project))
    lever = labels[next(run.run_id for run in further if run.augmentation.rotation_deg)]
    one, project = read(tmp_path, f"{LEVERS}{HALVING}{also}variant = '{lever}'\n")
    assert {labels.get(run.run_id) for run in plan_runs(one, project) if run.train_size == 120} == {lever}


@pytest.mark.parametrize("halving", [HALVING, ""])
def test_who_is_a_candidate_too_is_run_once_and_the_others_of_its_cell_tell_so(
    tmp_path: Path, halving: str
) -> None:
    experiment, project = read(tmp_path, LEVERS + halving)
    runs = plan_runs(experiment, project)
    assert len({run.run_id for run in runs}) == len(runs) == 4 * (6 + 6 if halving else 6 + 6 - 4)
    cell = [run for run in runs if (run.train_size, run.seed) == (80, 1)]
    in_full = [run for run in cell if run.budget.amount == 40]
    key = lambda run: (run.model.options["width"], run.optimizer.lr, run.augmentation.rotation_deg)  # noqa: E731
    ids = {key(run): run.run_id for run in in_full}
    defaults = {ids[8, rate, 0] for rate in (1e-3, 1e-2)}
    levers = {ids[16, rate, 0] for rate in (1e-3, 1e-2)}
    places = rungs_of(experiment, cell)
    for place in places.values():
        assert {*place.defaults} == defaults
        assert {*place.shared} == defaults | levers
        assert Rung.from_dict(json.loads(json.dumps(place.to_dict()))) == place
    assert places.keys().isdisjoint({*levers, ids[8, 1e-3, 15]})
    # Older ones did not tell.
    old = {key: value for key, value in place.to_dict().items() if key not in ("defaults", "shared")}
    assert Rung.from_dict(old) == replace(place, defaults=(), shared=())


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


@pytest.mark.parametrize(
    ("budget", "halving", "told"),
    [
        ("updates = 2", "keep = 0.5, from = 0.25", "rungs 1 and 2 both have 1 update; give a larger from"),
        ("samples = 20", "keep = 0.99, from = 0.2", "rungs 1 and 2 both have 4 samples; give a larger from"),
    ],
)
def test_rungs_with_the_same_budget_are_refused(tmp_path: Path, budget: str, halving: str, told: str) -> None:
    """They would be the same runs, counted twice."""
    table = TABLE.replace("updates = 40", budget)
    with pytest.raises(ConfigError, match=told):
        read(tmp_path, f"{SEARCH}halving = {{ {halving} }}\n", table)
    experiment, _ = read(tmp_path, SEARCH + "halving = { keep = 0.5, from = 0.5 }\n", table)
    assert experiment.search
    assert experiment.search.kept == (6, 3)


def test_evaluations_must_fit_into_the_first_rung(tmp_path: Path) -> None:
    experiment, project = read(tmp_path, SEARCH + HALVING, TABLE.replace("times = 1", "times = 20"))
    with pytest.raises(ConfigError, match="20 evaluations, but runs of 40 images make 10 updates"):
        plan_runs(experiment, project)

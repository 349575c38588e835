"""What a search has found: the choice of each size, its test value, what every rung saw, and what it cost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from tests.unit.record_desk import record_of, said
from tests.unit.test_tuned import table
from tui_datasize.answers import first_answer, levers, search
from tui_datasize.answers.checks.sweep import check_one_recipe
from tui_datasize.answers.tables import TABLES
from tui_datasize.metric import metric_named
from tui_datasize.runlog.schema import PREDICTIONS
from tui_datasize.stats.levers import BASELINE, lever_runs
from tui_datasize.stats.search import full_runs, rung_reached, rung_table, search_runs

FULL = {"updates=40 width=8": "2 of 2", "updates=40 width=9": "2 of 2", "updates=40 width=32": "default"}


def climbed(shift: float = 0.0) -> pl.DataFrame:
    """Widths 4 to 9 at 20 updates, of which two go on; 8 is best at 40 images, 9 at 80, 32 is the default."""
    rows = []
    for size, best in ((40, 8), (80, 9)):
        for seed in range(5):
            luck = (seed % 3) / 100
            for width in (4, 6, 8, 9):
                rows.append((f"updates=20 width={width}", size, seed, width / 20 + luck, 0.1))
            for width in (8, 9, 32):
                better = 0.1 if width == best else 0.0
                value = 0.5 + better + luck
                test = value - 0.05 + shift * (width == best) + (seed * width % 4) / 1000
                rows.append((f"updates=40 width={width}", size, seed, value, test))
    runs = table(rows)
    named = pl.col("variant").replace_strict(FULL, default="1 of 2")
    return runs.with_columns(rung=named, wall_s=pl.lit(2.0), device=pl.lit("cpu"), updates=pl.lit(40))


def test_only_what_trained_in_full_is_compared_and_named_without_its_budget() -> None:
    record = record_of(climbed())
    assert record.all_runs["variant"].unique().sort().to_list() == ["width=32", "width=8", "width=9"]
    assert record.counted == "30 runs used, 40 of earlier rungs left out"
    assert TABLES["runs"](record).height == 70
    plain = table([("updates=1 lr=1", 40, 0, 0.5, 0.5)]).with_columns(experiment=pl.lit("other"))
    assert full_runs(plain) is plain
    # Of all experiments together one that sweeps its budget keeps its names.
    assert "updates=1 lr=1" in full_runs(pl.concat([climbed(), plain], how="diagonal_relaxed"))["variant"]


def test_each_size_has_the_choice_of_its_validation() -> None:
    runs, choices = search_runs(full_runs(climbed()), "test_accuracy")
    assert choices.select("train_size", "options", "n_options", "n_runs").rows() == [
        (40, "width=8", 3, 5),
        (80, "width=9", 3, 5),
    ]
    assert runs["variant"].value_counts().sort("variant").rows() == [("search", 10), ("width=32", 10)]
    rungs = rung_table(climbed(), "test_accuracy")
    told = rungs.select("train_size", "rung", "candidates", "went_on", "n_runs", "best", "wall_s").rows()
    assert told == [
        (40, "1 of 2", 4, 2, 20, "width=9", 40.0),
        (40, "2 of 2", 2, None, 10, "width=8", 20.0),
        (80, "1 of 2", 4, 2, 20, "width=9", 40.0),
        (80, "2 of 2", 2, None, 10, "width=9", 20.0),
    ]
    assert rungs["lowest"].to_list()[0] == pytest.approx(8 / 20 + 0.008)
    assert rung_reached(climbed(), "width=4", 40) == "1 of 2"


def test_the_answer_tells_the_choice_against_the_default_and_where_it_changes() -> None:
    answer = search.ask(record_of(climbed()))
    assert answer.headline.startswith(
        "55.92 % at 80 images with width=9, chosen of 5 recipes, 3 of them trained in full, on validation; "
    )
    assert "a difference of 10.12 points, 95 % 9.96 to 10.28 points (p = 1.3e-08" in answer.headline
    words = said(answer)
    assert "From 40 to 80 images the choice changes from width=8 to width=9: on the test there" in words
    assert "70 runs of the search, 2:20 of training: 7.0 times the 20 s of it that the default took." in words
    loss = search.ask(replace(record_of(climbed()), metric=metric_named("wall_s")))
    assert loss.why_not


def test_a_mean_of_runs_that_chose_differently_is_of_no_single_recipe() -> None:
    """By seed 1 width=32 leads, by seed 0 width=8 does, which is the best of both together."""
    runs = table(
        [
            ("width=8", 40, 0, 0.90, 0.70),
            ("width=8", 40, 1, 0.60, 0.71),
            ("width=32", 40, 0, 0.70, 0.80),
            ("width=32", 40, 1, 0.70, 0.81),
        ]
    )
    for default in ("width=8", "width=32"):
        stands = pl.when(pl.col("variant") == default).then(pl.lit("default")).otherwise(pl.lit("1 of 1"))
        told = search.ask(record_of(runs.with_columns(rung=stands, wall_s=pl.lit(1.0)))).headline
        assert told.startswith(
            "75.50 % at 40 images, each run with what the others choose (width=8 in 1 of 2 "
        )
        # That the choice of all runs is the default says nothing of these.
        assert "the default itself" not in told
        assert f"{70.5 if default == 'width=8' else 80.5:.2f} % with the default" in told


@pytest.mark.parametrize(("state", "told"), [("running", True), ("queued", True), ("failed", False)])
def test_a_choice_that_a_run_may_change_is_told_so(state: str, told: bool) -> None:
    is_last = (
        (pl.col("variant") == "updates=40 width=8") & (pl.col("seed") == 4) & (pl.col("train_size") == 40)
    )
    changed = pl.when(is_last).then(pl.lit(state)).otherwise("state")
    words = said(search.ask(record_of(climbed().with_columns(state=changed))))
    assert ("1 run of the search has not ended: what is chosen may change." in words) == told


def test_one_that_was_left_behind_is_told_with_its_rung() -> None:
    gone = (pl.col("variant") == "updates=40 width=8") & (pl.col("train_size") == 80)
    words = said(search.ask(record_of(climbed().filter(~gone))))
    assert "there the former was left behind on rung 1 of 2, by the images held out" in words


def halved(kept: int, default: int, last: bool = True) -> pl.DataFrame:
    """Widths 4 to 9 by a rung of two, where the best of them is the default: its run stands for the last."""
    rows = [
        (f"updates=20 width={width}", 40, seed, width / 20, 0.1) for width in (4, 6, 8, 9) for seed in (0, 1)
    ]
    full = {*((9, 8, 6, 4)[:kept] if last else ()), default}
    rows += [
        (f"updates=40 width={w}", 40, seed, w / 20, w / 20 + seed / 100) for w in full for seed in (0, 1)
    ]
    rung = pl.when(pl.col("variant").str.contains("=20")).then(pl.lit("1 of 2")).otherwise(pl.lit("2 of 2"))
    is_default = pl.col("variant") == f"updates=40 width={default}"
    candidates = pl.when(pl.col("rung") == "1 of 2").then(4).when(pl.col("rung") == "2 of 2").then(kept)
    found = table(rows).with_columns(rung=pl.when(is_default).then(pl.lit("default")).otherwise(rung))
    named = found.with_columns(rung_candidates=candidates.cast(pl.Int64), validation_loss=pl.lit(1.0))
    return named.with_columns(wall_s=pl.lit(0.2))


def test_a_default_that_was_promoted_alone_is_the_answer() -> None:
    answer = search.ask(record_of(halved(1, 9)))
    assert answer.headline == (
        "45.50 % at 40 images with width=9, chosen of 4 recipes, 1 of them trained in full, on validation: "
        "the default itself."
    )
    assert answer.tables[1].frame.select("rung", "candidates", "went_on", "n_runs").rows() == [
        ("1 of 2", 4, 1, 8),
        ("2 of 2", 1, None, 2),
    ]
    words = said(answer)
    assert "10 runs of the search, 2 s of training: 5.0 times the 0.4 s of it that the default took." in words
    assert "With one run" not in words
    alone = said(search.ask(record_of(halved(1, 9).filter(seed=0))))
    assert "With one run at 40 images its own luck chooses there." in alone
    # As long as the rung before is not done, nobody is chosen.
    waits = halved(1, 9).filter(~((pl.col("variant") == "updates=20 width=4") & (pl.col("seed") == 1)))
    assert search.ask(record_of(waits)).why_not
    assert search.ask(record_of(halved(1, 4, last=False))).why_not


@pytest.mark.parametrize(("default", "last"), [(9, 2), (8, 2), (6, 2), (4, 2)])
def test_a_default_is_on_the_last_rung_where_it_came_to_there(default: int, last: int) -> None:
    rungs = rung_table(halved(2, default), "test_accuracy")
    assert rungs.select("went_on", "candidates", "n_runs").rows() == [(2, 4, 8), (None, last, 4)]
    _, choices = search_runs(full_runs(halved(2, default)), "test_accuracy")
    assert choices["n_options"].to_list() == [2 + (default in (6, 4))]


@pytest.mark.parametrize(("default", "first"), [(9, 9), (8, 9), (9, 8), (4, 6)])
def test_of_candidates_that_did_as_well_the_first_drawn_goes_on_however_runs_lie(
    default: int, first: int
) -> None:
    """As the queue decides it: names, and the order in which runs were read, have no part in it."""
    full = {first, default}
    rows = [(f"updates=20 width={width}", 40, seed, 0.5, 0.1) for width in (4, 6, 8, 9) for seed in (0, 1)]
    rows += [(f"updates=40 width={width}", 40, seed, 0.5, 0.1) for width in full for seed in (0, 1)]
    width = pl.col("variant").str.extract(r"width=(\d+)").cast(pl.Int64)
    is_short, is_default = (
        pl.col("variant").str.contains("=20"),
        pl.col("variant") == f"updates=40 width={default}",
    )
    rung = (
        pl.when(is_short)
        .then(pl.lit("1 of 2"))
        .when(is_default)
        .then(pl.lit("default"))
        .otherwise(pl.lit("2 of 2"))
    )
    runs = table(rows).with_columns(
        rung=rung,
        rung_candidates=pl.when(is_short).then(4).when(~is_default).then(1).cast(pl.Int64),
        rung_candidate=pl.when(~is_default).then((width != first) * 10 + width).cast(pl.Int64),
        validation_loss=pl.lit(1.0),
        wall_s=pl.lit(0.2),
    )
    for seed in range(6):
        shuffled = runs.sample(fraction=1, shuffle=True, seed=seed)
        rungs = rung_table(shuffled, "test_accuracy")
        assert rungs.select("rung", "candidates", "went_on", "best").rows() == [
            ("1 of 2", 4, 1, f"width={first}"),
            ("2 of 2", 1, None, f"width={first}"),
        ]
        _, choices = search_runs(full_runs(shuffled), "test_accuracy")
        assert choices["n_options"].to_list() == [len(full)]


def grown(count: int) -> pl.DataFrame:
    """Four candidates to their end, the third of them the best; then as many as that in place of them."""
    rows, places = [], []

    def put(width: int, rung: int, n_candidates: int, search: str) -> None:
        rows.append((f"updates={10 * 2**rung} width={width}", 40, 0, width / 20, width / 20))
        places.append((f"{rung} of 3", n_candidates, width, search, search))

    for rung, widths in enumerate([(0, 1, 2, 3), (2, 3), (3,)], start=1):
        for width in widths:
            put(width, rung, len(widths), "first")
    for rung, n_candidates in enumerate((count, count // 2, count // 4), start=1):
        for width in range(count - n_candidates, count):
            if width > 3:
                put(width, rung, n_candidates, "second")
    told = ("rung", "rung_candidates", "rung_candidate", "rung_search", "queued_at")
    placed = pl.DataFrame(places, schema=told, orient="row")
    return table(rows).with_columns(placed, validation_loss=pl.lit(1.0), wall_s=pl.lit(1.0))


@pytest.mark.parametrize(
    ("count", "kept"), [(4, (4, 2, 1)), (6, (6, 3, 1)), (5, (5, 2, 1)), (12, (12, 6, 3))]
)
def test_a_search_that_has_grown_is_told_as_it_is_now(count: int, kept: tuple[int, ...]) -> None:
    """Runs that it has taken over are of an earlier one by their name."""
    rungs = rung_table(grown(count), "test_accuracy")
    best = f"width={count - 1}"
    assert rungs.select("rung", "candidates", "went_on", "n_runs", "best").rows() == [
        ("1 of 3", kept[0], kept[1], kept[0], best),
        ("2 of 3", kept[1], kept[2], kept[1], best),
        ("3 of 3", kept[2], None, kept[2], best),
    ]
    assert rungs["lowest"].to_list() == [(count - kept[1]) / 20, (count - kept[2]) / 20, None]


def test_epochs_of_something_else_are_no_budget() -> None:
    rows = [(f"{unit} synthetic.epochs={own}", 40, 0, own / 10, own / 10) for unit, own in BOTH]
    rungs = ["1 of 2"] * 3 + ["2 of 2"] * 2 + ["default"]
    runs = table(rows).with_columns(rung=pl.Series(rungs))
    found = full_runs(runs)["variant"].to_list()
    assert found == [f"synthetic.epochs={own}" for own in (2, 3, 1)]
    # A search that does not halve may be over the budget itself.
    plain = table([(f"updates={n}", 40, 0, n / 10, n / 10) for n in (1, 2)]).with_columns(
        rung=pl.lit("1 of 1")
    )
    assert rung_table(plain, "test_accuracy")["candidates"].to_list() == [2]


BOTH = [("epochs=5", own) for own in (1, 2, 3)] + [("epochs=10", own) for own in (2, 3, 1)]


def test_a_search_whose_last_rung_has_not_run_has_no_answer_yet() -> None:
    first = climbed().filter(rung="1 of 2")
    assert search.ask(record_of(first)).why_not == "No two recipes have trained in full yet."


def test_what_the_default_alone_reaches_is_no_answer_of_its_search() -> None:
    begun = pl.col("rung").is_in(["1 of 2", "default"])
    is_new = (pl.col("rung") == "1 of 2") & (pl.col("seed") == 4)
    runs = (
        climbed().filter(begun).with_columns(state=pl.when(is_new).then(pl.lit("queued")).otherwise("state"))
    )
    answer = first_answer.ask(record_of(runs))
    assert answer.sentences[0].text == (
        "Of the default alone: the search is on rung 1 of 2, 32 of 40 runs there done."
    )
    alone = first_answer.ask(record_of(runs.filter(rung="default")))
    assert alone.sentences[0].text == "Of the default alone: the search has no run yet."


def test_a_search_is_the_first_answer_and_its_recipes_count_as_tuned() -> None:
    record = record_of(climbed())
    assert first_answer.ask(record).headline == search.ask(record).headline
    assert not list(check_one_recipe(record.runs))


def test_a_search_is_a_lever_against_its_default() -> None:
    runs, baseline = lever_runs(
        full_runs(climbed()),
        "test_accuracy",
        lambda _: pl.DataFrame(schema={"run_id": pl.String, **PREDICTIONS}),
    )
    assert baseline == "width=32"
    assert set(runs["variant"]) == {BASELINE, "search"}
    words = said(levers.ask(record_of(climbed())))
    assert "search at 40 images = over 80 of the baseline: at least 2.0 times." in words
    assert "7.0 times" in words


def test_choosing_among_equals_gains_nothing() -> None:
    """All recipes alike but for luck, which validation and test share: the choice has none of it."""
    draws = np.random.default_rng(5)
    gains = []
    for _ in range(200):
        luck = draws.normal(0, 0.02, (8, 5))
        rows = [(f"width={w}", 40, s, luck[w, s], 0.5 + luck[w, s]) for w in range(8) for s in range(5)]
        runs = table(rows).with_columns(rung=pl.lit("1 of 1"))
        gains.append(float(search_runs(runs, "test_accuracy")[1]["mean"][0]) - 0.5)
    assert abs(np.mean(gains)) < 3 * np.std(gains) / 200**0.5

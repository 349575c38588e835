"""A search among other levers: each question has the runs that are meant, of either kind."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from tests.fakes import write_run
from tests.unit.record_desk import record_of, said
from tests.unit.test_search import HALVING, LEVERS, read
from tests.unit.test_tuned import table
from tui_datasize.answers import first_answer, levers, search, tuned, variants
from tui_datasize.answers.checks.sweep import check_one_recipe
from tui_datasize.experiments.rungs import rungs_of
from tui_datasize.experiments.sweep import plan_runs
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.runlog.reader import RunLog
from tui_datasize.runlog.schema import PREDICTIONS
from tui_datasize.stats.levers import lever_runs
from tui_datasize.stats.search import full_runs, rung_table, search_runs

RATES = (1, 2)
WIDE = "updates=40 width=16"
WORTH = {"updates=40 rotation=15 width=8": 0.05, WIDE: 0.02, "updates=40 rotation=0 width=8": 0.0}


def beside(promoted: dict[int, str], shared: bool = False) -> pl.DataFrame:
    """Levers at two rates, of which 2 is better, beside four candidates at half the budget.

    At each size `promoted` is the one that goes on, which is 0.1 better than the default.
    """
    rows, rungs = [], []
    for size in (40, 80):
        for seed in range(5):
            luck = size / 1000 + (seed * size % 7) / 1000
            full = {f"{name} lr={rate}": own + rate / 100 for name, own in WORTH.items() for rate in RATES}
            short = {f"updates=20 rotation=0 width={w} lr=3": w / 100 for w in (4, 6, 16)}
            last = {} if shared else {promoted[size]: 0.12}
            for variant, worth in {**full, **short, **last}.items():
                rows.append((variant, size, seed, 0.5 + worth + luck, 0.4 + worth + luck))
                known = {**dict.fromkeys(short, "1 of 2"), **dict.fromkeys(last, "2 of 2")}
                rungs.append("default" if "rotation=0 width=8" in variant else known.get(variant))
    runs = table(rows).with_columns(rung=pl.Series(rungs, dtype=pl.String))
    return runs.with_columns(wall_s=pl.lit(2.0), device=pl.lit("cpu"), updates=pl.lit(40))


def nothing(_run_ids: list[str]) -> pl.DataFrame:
    return pl.DataFrame(schema={"run_id": pl.String, **PREDICTIONS})


PROMOTED = {40: "updates=40 rotation=0 width=4 lr=3", 80: "updates=40 rotation=0 width=6 lr=3"}


def test_a_search_is_one_row_among_levers_against_the_tuned_baseline() -> None:
    every = full_runs(beside(PROMOTED))
    runs, baseline = lever_runs(every, "test_accuracy", nothing)
    assert baseline == "rotation=0 width=8 tuned on validation"
    means = dict(runs.group_by("variant").agg(pl.col("test_accuracy").mean()).iter_rows())
    assert means.keys() == {"baseline", "rotation=15", "width=16", "search"}
    # The better of two rates is 0.02 above the test, what the search found is 0.12 above it.
    for name, worth in {"rotation=15": 0.05, "width=16": 0.02, "search": 0.1}.items():
        assert means[name] - means["baseline"] == pytest.approx(worth)
    assert runs.filter(variant="search").height == runs.filter(variant="baseline").height == 10
    # Whoever asks for a candidate as the baseline has the default's: it is no lever.
    assert lever_runs(every, "test_accuracy", nothing, "rotation=0 width=4 lr=3")[1] == baseline
    asked = lever_runs(every, "test_accuracy", nothing, "rotation=15 width=8 lr=1")
    assert asked[1] == "rotation=15 width=8 tuned on validation"
    assert "search" in set(asked[0]["variant"])


def test_the_search_looks_at_its_candidates_and_the_default_alone() -> None:
    record = record_of(beside(PROMOTED))
    _, choices = search_runs(record.reading.in_full, "test_accuracy")
    assert choices.select("train_size", "options", "n_options", "n_runs").rows() == [
        (40, "rotation=0 width=4 lr=3", 3, 5),
        (80, "rotation=0 width=6 lr=3", 3, 5),
    ]
    # What all of them have in common with the default is not told.
    words = said(search.ask(record))
    assert "with width=6 lr=3, chosen of 5 recipes, 3 of them trained in full, on validation" in words
    assert "with the default, tuned alike: a difference of 10.00 points" in words
    assert "rotation" not in words
    # Two sizes, three candidates, one anew in full, two recipes of the default, five runs of 2 s each.
    assert "60 runs of the search, 2:00 of training: 3.0 times the 40 s of it that the default took." in words
    told = rung_table(record.reading.every, "test_accuracy")
    assert told.select("rung", "candidates", "n_runs").rows() == [("1 of 2", 3, 15), ("2 of 2", 1, 5)] * 2


def test_candidates_are_in_no_question_about_levers() -> None:
    record = record_of(beside(PROMOTED))
    assert not [variant for variant in record.all_runs["variant"] if "lr=3" in variant]
    assert record.counted == "60 runs used, 40 of the search left out"
    assert "lr=3" not in said(first_answer.ask(record)) + said(variants.ask(record))
    # Levers that share one rate are tuned for none of them, whatever is searched.
    one_rate = beside(PROMOTED).filter(~pl.col("variant").str.ends_with("lr=2"))
    found = check_one_recipe(record_of(one_rate.with_columns(batch_size=32)).runs)
    assert [one.check for one in found] == ["never-tuned"]


def test_before_its_last_rung_a_search_is_no_lever() -> None:
    runs = beside(PROMOTED).filter(pl.col("rung").fill_null("") != "2 of 2")
    found, _ = lever_runs(full_runs(runs), "test_accuracy", nothing)
    assert set(found["variant"]) == {"baseline", "rotation=15", "width=16"}
    assert search.ask(record_of(runs)).why_not == "No two recipes have trained in full yet."
    # Nor where the metric has no validation: levers are there untuned, candidates are not.
    seen, _ = lever_runs(full_runs(beside(PROMOTED)), "train_accuracy", nothing)
    assert not any("lr=3" in variant or variant == "search" for variant in seen["variant"])


def test_candidates_take_no_part_in_the_tuning_of_others() -> None:
    runs = beside({size: "updates=40 rotation=0 width=8 lr=3" for size in (40, 80)})
    runs = runs.with_columns(
        rung=pl.when(pl.col("variant").str.ends_with("width=8 lr=3")).then(pl.lit("2 of 2")).otherwise("rung")
    )
    found = tuned.ask(record_of(runs)).rows()
    assert found.filter(pl.col("variant").str.contains("rotation=0 width=8"))["n_options"].to_list() == [2, 2]
    assert "search" in levers.ask(record_of(runs)).rows()["variant"]


def test_a_lever_that_was_promoted_is_a_candidate_and_still_a_lever() -> None:
    runs = beside(PROMOTED, shared=True).with_columns(
        rung=pl.when(pl.col("variant").str.starts_with(WIDE)).then(pl.lit("lever")).otherwise("rung"),
        rung_candidates=pl.when(pl.col("rung") == "1 of 2").then(3).cast(pl.Int64),
    )
    # Of the first rung's candidates width 16 is the best, and of its recipes that at the better rate.
    runs = runs.with_columns(
        variant=pl.when(pl.col("rung") == "1 of 2")
        .then(pl.col("variant").str.replace("width=16 lr=3", "width=16 lr=2"))
        .otherwise("variant")
    ).with_columns(pl.col("variant").str.replace(WIDE, "updates=40 rotation=0 width=16"))
    found, _ = lever_runs(full_runs(runs), "test_accuracy", nothing)
    assert set(found["variant"]) == {"baseline", "rotation=15", "width=16", "search"}
    _, choices = search_runs(full_runs(runs), "test_accuracy")
    # It at the other rate was left behind, and is no candidate of those that were trained in full.
    assert choices["n_options"].to_list() == [3, 3]
    assert choices["options"].to_list() == ["rotation=0 width=16 lr=2"] * 2


@pytest.mark.parametrize("halving", [HALVING, ""])
def test_runs_that_are_older_than_the_search_are_known_by_what_others_tell(
    tmp_path: Path, halving: str
) -> None:
    experiment, project = read(tmp_path, LEVERS + halving)
    runs = plan_runs(experiment, project)
    places = rungs_of(experiment, runs)
    paths = ProjectPaths(tmp_path)
    for spec in runs:
        run = write_run(paths, spec, tables=False)
        if (place := places.get(spec.run_id)) and place.search:
            document = json.loads(run.spec.read_text())
            run.spec.write_text(json.dumps(document | {"search": place.to_dict()}))
    frame = RunLog(paths, use_cache=False).runs("e")
    widths = pl.col("variant").str.extract(r"width=(\d+)").alias("width")
    counts = frame.group_by("rung", widths).len().sort("rung", "width", nulls_last=True).rows()
    short = [("1 of 3", "16", 8), ("1 of 3", "4", 8), ("1 of 3", "8", 8)]
    assert counts == [
        *(short if halving else [("1 of 1", "4", 8)]),
        ("default", "8", 8),
        ("lever", "16", 8),
        (None, "8", 8),
    ]
    told = frame.filter(pl.col("rung").is_in(["default", "lever"]))["rung_candidates"].unique().to_list()
    assert told == ([None] if halving else [6])
    if not halving:
        assert rung_table(frame, "test_accuracy").select("candidates", "n_runs").rows() == [(6, 12), (6, 12)]

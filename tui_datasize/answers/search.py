"""Which of the recipes searched suits which train size, against the default, and what the search took."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import pairwise

import polars as pl

from tui_datasize.answers.answer import Answer, Chart, Column, Line, Sentence, Table, does_not_apply
from tui_datasize.answers.columns import (
    SIZE,
    SIZE_AND_RUNS,
    SIZE_AXIS,
    basis_words,
    interval_words,
    metric_axis,
    of_kind,
)
from tui_datasize.answers.record import NO_RUN, ONE_VALUE, Record
from tui_datasize.answers.tuned import CHOSEN, chosen_by_itself, with_choice
from tui_datasize.experiments.search import DEFAULT
from tui_datasize.metric import Metric
from tui_datasize.stats.curve import COMING, COUNTED_STATES, learning_curve
from tui_datasize.stats.groups import compare_variants
from tui_datasize.stats.pairwise import Difference
from tui_datasize.stats.search import (
    SEARCHED,
    candidates_at,
    default_variants,
    full_runs,
    is_searched,
    own_runs,
    rung_reached,
    rung_table,
    search_runs,
)
from tui_datasize.text import duration, plural

_HOW = (
    "A rung sends on those with the best mean on the images held out, over seeds and draws of a size; at the "
    "end each run has the recipe that did best on these images in the other runs, the default being one of "
    "them. No test image chose anything, so the test result is not flattered by the choice."
)
_COLUMNS = (
    *SIZE_AND_RUNS,
    *CHOSEN,
    *of_kind("value", validation="validation", mean="test", low="95 % from", high="to", default="default"),
    *of_kind("text", best_on_test="best on the test"),
    Column("mean_on_test", "looks like", "value"),
)
_RUNGS = (
    SIZE,
    Column("rung", "rung", "text"),
    *of_kind("count", candidates="candidates", went_on="went on", n_runs="runs"),
    *of_kind("text", best="best on validation"),
    *of_kind("value", validation="its mean", lowest="lowest that went on"),
    *of_kind("number", wall_s="seconds"),
)


def is_offered(runs: pl.DataFrame) -> bool:
    """Whether any of the runs is of a search."""
    return is_searched(runs)


def ask(record: Record) -> Answer:
    """The best recipe of each size by validation, its test value, and where the best changes with size."""
    metric = record.metric
    if metric.split_and_score[0] != "test":
        return does_not_apply(ONE_VALUE if not metric.split_and_score[0] else "Choose a metric of the test.")
    every = record.reading.of_search
    if every.is_empty():
        return does_not_apply("No recipe is searched here: see [experiments.NAME.search].")
    full = full_runs(every)
    runs, choices = search_runs(full, metric.name)
    rungs = rung_table(every, metric.name)
    if choices.is_empty():
        waits = "No two recipes have trained in full yet."
        return does_not_apply(waits if rungs["validation"].count() else NO_RUN)
    curve = learning_curve(runs, metric.name)
    default = curve.filter(pl.col("variant") != SEARCHED).select("train_size", default="mean")
    interval = curve.filter(variant=SEARCHED).select("train_size", "low", "high")
    table = choices.join(interval, on="train_size", how="left").join(default, on="train_size", how="left")
    told = [*_told(record, table, runs, default_variants(full)), *_changes(record, table, own_runs(full))]
    tables = [
        Table(table, list(_COLUMNS), metric),
        Table(rungs, list(_RUNGS), metric, "What each rung has seen", is_detail=True),
    ]
    return Answer(
        told[0],
        [
            *map(Sentence, (*told[1:], *_awaited(every, table), *cost_words(every))),
            *(Sentence(words, "aside") for words in (_HOW, *chosen_by_itself(choices))),
        ],
        tables,
        [_chart(curve, metric)],
        "test split, mean over runs; recipes by what sets them apart",
        rows=lambda: table,
    )


def so_far(record: Record) -> str:
    """What is to be known of other answers as long as a search that stands alone has none."""
    every = record.reading.of_search
    climbing = every.filter(pl.col("rung") != DEFAULT)
    counted = full_runs(every).filter(pl.col("state").is_in(COUNTED_STATES))
    of_whom = "Of the default alone: the" if (counted["rung"] == DEFAULT).all() else "The"
    if climbing.is_empty():
        return f"{of_whom} search has no run yet."
    rung = str(climbing["rung"].max())
    there = climbing.filter(rung=rung)
    done = there.filter(pl.col("state").is_in(COUNTED_STATES)).height
    return f"{of_whom} search is on rung {rung}, {done} of {plural(there.height, 'run')} there done."


def _against(runs: pl.DataFrame, metric: Metric) -> dict[int, Difference]:
    """By train size, what was chosen against the default."""
    named = runs.with_columns(
        variant=pl.when(pl.col("variant") == SEARCHED).then("variant").otherwise(pl.lit(DEFAULT))
    )
    return {
        found.train_size: pair
        for found in compare_variants(named, metric.name)
        if found.train_size is not None
        for pair in found.pairs
    }


def _told(record: Record, table: pl.DataFrame, runs: pl.DataFrame, default: Collection[str]) -> Iterator[str]:
    metric, against = record.metric, _against(runs, record.metric)
    alike = ", tuned alike" if len(default) > 1 else ""
    for row in table.sort("train_size", descending=True).iter_rows(named=True):
        size, n_options = row["train_size"], row["n_options"]
        n_all = len(candidates_at(record.reading.of_search, size).union(default))
        others = plural(n_all, "recipe")
        others += f", {n_options:,} of them trained in full," if n_all > n_options else ""
        told = f"{metric.text(row['mean'])} at {size:,} images{with_choice(row)}, chosen of {others}"
        pair = against.get(size)
        is_whole = row["n_chose"] == row["n_runs"]
        if pair.is_same if pair else is_whole and row["options"] in default:
            yield f"{told} on validation: the default itself."
        elif row["default"] is None:
            yield f"{told} on validation."
        elif pair is None:
            yield f"{told} on validation; {metric.text(row['default'])} with the default{alike}."
        else:
            sign = 1 if pair.second == SEARCHED else -1
            low, high = sorted((sign * pair.low, sign * pair.high))
            less = f"{metric.text(row['default'])} with the default{alike}"
            apart = f"{metric.difference(sign * pair.value)}, {interval_words(low, high, metric)}"
            basis = basis_words(pair, of_several=len(against) > 1)
            yield f"{told} on validation; {less}: a difference of {apart} ({basis})."


def _awaited(runs: pl.DataFrame, table: pl.DataFrame) -> Iterator[str]:
    """Whether runs of the sizes that have a choice may change it."""
    told = runs.filter(pl.col("train_size").is_in(table["train_size"].implode()))
    if missing := told.filter(pl.col("state").is_in({*COMING} - {*COUNTED_STATES})).height:
        have = "has" if missing == 1 else "have"
        yield f"{plural(missing, 'run')} of the search {have} not ended: what is chosen may change."


def _changes(record: Record, table: pl.DataFrame, runs: pl.DataFrame) -> Iterator[str]:
    """Where another recipe is best than at the size before, and how sure that is."""
    rows = list(table.sort("train_size").iter_rows(named=True))
    if len(rows) < 2:
        return
    kept = [one["options"] for one in rows]
    if len(set(kept)) == 1:
        yield f"The same recipe is chosen at every size: {kept[0]}."
    every, metric = record.reading.of_search, record.metric.name
    compared = {found.train_size: found.pairs for found in compare_variants(runs, metric)}
    for small, large in pairwise(rows):
        before, after, size = small["options"], large["options"], large["train_size"]
        if before != after:
            pairs = compared.get(size, ())
            pair = next((one for one in pairs if {one.first, one.second} == {before, after}), None)
            where = f"From {small['train_size']:,} to {size:,} images the choice changes"
            sure = _how_sure(record, pair, after, rung_reached(every, before, size))
            yield f"{where} from {before} to {after}: {sure}."


def _how_sure(record: Record, pair: Difference | None, after: str, reached: str) -> str:
    """What the size where a choice is new says of the one before, which there has `reached` a rung."""
    if pair is None:
        left = f"was left behind on rung {reached}, by the images held out" if reached else "was not run"
        return f"there the former {left}"
    sign = 1 if pair.second == after else -1
    low, high = sorted((sign * pair.low, sign * pair.high))
    apart = f"{record.metric.difference(sign * pair.value)}, {interval_words(low, high, record.metric)}"
    sure = "" if pair.is_distinguishable else "; the two cannot be told apart"
    return f"on the test there a difference of {apart} ({basis_words(pair, of_several=True)}){sure}"


def cost_words(own: pl.DataFrame) -> list[str]:
    """What the trainings of a search took, those of all rungs and of its default, beside the latter's."""
    whole, default = (float(sum(part["wall_s"].drop_nulls())) for part in (own, own.filter(rung=DEFAULT)))
    if not default or default == whole:
        return []
    return [
        f"{plural(own.height, 'run')} of the search, {_took(whole)} of training: "
        f"{whole / default:.1f} times the {_took(default)} of it that the default took."
    ]


def _took(seconds: float) -> str:
    return duration(seconds) if seconds >= 10 else f"{seconds:.2g} s"


def _chart(curve: pl.DataFrame, metric: Metric) -> Chart:
    lines = [
        Line.of(rows, "train_size", "mean", metric.scale, name, place, "dot" if place == 0 else "ring")
        for place, (name, rows) in enumerate(
            (
                ("chosen on validation", curve.filter(variant=SEARCHED)),
                (DEFAULT, curve.filter(pl.col("variant") != SEARCHED)),
            )
        )
        if rows.height
    ]
    return Chart("what is chosen at each train size", SIZE_AXIS, metric_axis(metric), lines)

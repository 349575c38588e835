"""Training curves: the metric after each evaluation, and whether it was better before the end."""

from __future__ import annotations

import polars as pl

from tui_datasize.answers.answer import Answer, Band, Chart, Column, Line, Table, does_not_apply
from tui_datasize.answers.columns import DRAW_AND_SEED, SIZE_AND_RUNS, UPDATE_AXIS, metric_axis, of_kind
from tui_datasize.answers.record import (
    NO_RUN,
    ONE_EVALUATION,
    ONE_VALUE,
    Record,
    chosen_size,
    named,
    numbers,
    per_variant,
)
from tui_datasize.metric import Metric
from tui_datasize.stats.training_views import curves_of_runs, training_curves
from tui_datasize.text import plural

_VIEWS = 2
"""Means over runs, and the runs of one train size one by one."""


def ask(record: Record) -> Answer:
    """Mean over runs after each evaluation, a line per train size; in the second view one by one."""
    split, score = record.metric.split_and_score
    if not score:
        return does_not_apply(ONE_VALUE)
    table = training_curves(record.runs, record.metrics, score, split)
    if table.is_empty():
        return does_not_apply(NO_RUN)
    if table["evaluation"].max() == 1:
        return does_not_apply(ONE_EVALUATION)
    if record.asked.view % _VIEWS:
        return _runs_of_a_size(curves_of_runs(record.runs, record.metrics, score, split), record)
    return _means(table, record)


def _means(table: pl.DataFrame, record: Record) -> Answer:
    metric, (size, sizes) = record.metric, chosen_size(table, record.asked)
    ends = _ends(table, metric)
    columns = [
        *SIZE_AND_RUNS,
        *of_kind("value", last="last", best="best"),
        Column("best_at", "best at update"),
        Column("lost", "lost since", "spread"),
    ]
    return Answer.of_each(
        (named(variant, _end_told(rows.row(-1, named=True), metric)) for variant, rows in per_variant(ends)),
        [_early_told(ends, metric)],
        tables=[Table(ends, columns, metric)],
        figures=[_means_drawn(variant, rows, size, metric) for variant, rows in per_variant(table)],
        about=f"mean over runs, shaded: all runs of {size:,} images",
        rows=lambda: table,
        views=_VIEWS,
        sizes=sizes,
    )


def _ends(table: pl.DataFrame, metric: Metric) -> pl.DataFrame:
    """What the mean of each train size ends at, and the first of its best evaluations."""
    key = ("variant", "train_size")
    last = table.group_by(key, maintain_order=True).last()
    best = table.sort("mean", descending=metric.higher_is_better, maintain_order=True).group_by(key).first()
    best = best.select(*key, best="mean", best_at="x")
    both = last.select(*key, "n_runs", end="x", last="mean").join(best, on=key, maintain_order="left")
    return both.with_columns(lost=(pl.col("best") - pl.col("last")).abs())


def _end_told(row: dict[str, float], metric: Metric) -> str:
    told = f"{metric.text(row['last'])} at {row['train_size']:,} images after {row['end']:,.0f} updates"
    if row["best_at"] < row["end"]:
        return f"{told}; {metric.text(row['best'])} after {row['best_at']:,.0f} was better."
    return f"{told}, the best of the curve."


def _early_told(ends: pl.DataFrame, metric: Metric) -> str:
    early = ends.filter(pl.col("best_at") < pl.col("end"))
    if early.is_empty():
        return "No curve is better before its end: more updates may help."
    most = metric.difference(max(early["lost"].to_list()))
    curves = plural(early.height, "curve is", "curves are")
    return f"{curves} best before the end, and up to {most} worse at the end."


def _means_drawn(variant: str, table: pl.DataFrame, size: int, metric: Metric) -> Chart:
    lines = [
        Line.of(rows, "x", "mean", metric.scale, f"{rows['train_size'][0]:,}", ink)
        for ink, rows in enumerate(table.partition_by("train_size", maintain_order=True))
    ]
    # One range alone: several hide each other.
    chosen = table.filter(train_size=size)
    low, high = (numbers(chosen[end], metric.scale) for end in ("low", "high"))
    bands = [Band(chosen["x"].to_list(), low, high, "muted", f"runs of {size:,}")]
    title = named(variant, "training curves")
    return Chart(title, UPDATE_AXIS, metric_axis(metric), lines, bands, is_of_training=True)


def _runs_of_a_size(singles: pl.DataFrame, record: Record) -> Answer:
    metric, (size, sizes) = record.metric, chosen_size(singles, record.asked)
    own = singles.filter(train_size=size)
    ends = own.group_by("run_id", maintain_order=True).last()
    ends = ends.with_columns(repeat=pl.when(pl.col("seed").is_null()).then("repeat"))
    ranked = ends.sort("value", descending=metric.higher_is_better, maintain_order=True)
    best, worst = ranked["value"][0], ranked["value"][-1]
    apart = f"{metric.difference(abs(best - worst))} between the best and the worst run of {size:,} images"
    columns = [*DRAW_AND_SEED, Column("value", "last", "value")]
    return Answer(
        f"{apart} at the end: {metric.text(best)} and {metric.text(worst)}.",
        tables=[Table(ranked, columns, metric)],
        figures=[_runs_drawn(variant, rows, metric) for variant, rows in per_variant(own)],
        about=f"{size:,} images, {plural(ranked.height, 'run')} one by one",
        rows=lambda: singles,
        views=_VIEWS,
        sizes=sizes,
    )


def _runs_drawn(variant: str, table: pl.DataFrame, metric: Metric) -> Chart:
    lines = [
        Line.of(run, "x", "value", metric.scale, _run_name(run.row(0, named=True)), ink)
        for ink, run in enumerate(table.partition_by("run_id", maintain_order=True))
    ]
    return Chart(named(variant, "single runs"), UPDATE_AXIS, metric_axis(metric), lines, is_of_training=True)


def _run_name(row: dict[str, int | None]) -> str:
    """Its seed, or its number among the runs whose seed nobody knows, behind its draw."""
    name = f"repeat {row['repeat']}" if row["seed"] is None else f"s{row['seed']}"
    return name if row["subset_seed"] is None else f"d{row['subset_seed']} {name}"

"""The metric against training time: what a better value costs."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from tui_datasize.answers.answer import Answer, Axis, Chart, Column, Line, Table, does_not_apply
from tui_datasize.answers.columns import SIZE_AND_RUNS, metric_axis
from tui_datasize.answers.record import NO_RUN, Record, named, per_variant
from tui_datasize.metric import Metric
from tui_datasize.stats.trade_offs import cost_against_metric

_NO_TIME = "No run that counts says how long its training took; imported runs may lack it."


def ask(record: Record) -> Answer:
    """Mean training time and value of each variant and size, and the best value for each time."""
    metric = record.metric
    table = cost_against_metric(record.all_runs, metric.name)
    if table.is_empty():
        return does_not_apply(NO_RUN)
    timed = table.filter(pl.col("wall_s").is_finite())
    if timed.is_empty():
        return does_not_apply(_NO_TIME)
    front = timed.filter("is_best_for_its_time").sort("wall_s")
    columns = [
        Column("model", "model", "text"),
        *SIZE_AND_RUNS,
        Column("wall_s", "s a run", "number"),
        Column("parameters", "parameters"),
        Column("flops", "FLOP", "number"),
        Column("mean", "mean", "value"),
        Column("se", "SE", "spread"),
    ]
    marked = [*columns, Column("is_best_for_its_time", "best for its time")]
    title = "Best for the time"
    return Answer(
        _told(front, metric),
        tables=[Table(front, columns, metric, title), Table(timed, marked, metric, "All", is_detail=True)],
        figures=[_chart(timed, metric)],
        about="mean over runs",
        rows=lambda: table,
    )


def _told(front: pl.DataFrame, metric: Metric) -> str:
    best, cheapest = (front.row(place, named=True) for place in (-1, 0))
    whose = named(best["variant"], f"{best['train_size']:,} images")
    told = f"{metric.text(best['mean'])} in {best['wall_s']:,.1f} s a run is the best mean: {whose}"
    if front.height == 1:
        return f"{told}, which also takes the least time."
    least = metric.text(cheapest["mean"])
    return f"{told}; the shortest training, {cheapest['wall_s']:,.1f} s, reaches {least}."


def _chart(timed: pl.DataFrame, metric: Metric) -> Chart:
    lines = [
        Line.of(rows, "wall_s", "mean", metric.scale, variant or str(rows["model"][0]), ink)
        for ink, (variant, rows) in enumerate(per_variant(timed.sort("variant", "train_size")))
    ]
    marks = [replace(line, is_joined=False) for line in lines]
    x = Axis("training time, s", is_log=True)
    return Chart(f"{metric.in_words} against training time", x, metric_axis(metric), marks)

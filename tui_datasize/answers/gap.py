"""Training against test at the last evaluation: how far a model does better on what it has seen."""

from __future__ import annotations

import polars as pl

from tui_datasize.answers.answer import Answer, Axis, Chart, Column, Line, Table, does_not_apply
from tui_datasize.answers.columns import SIZE_AND_RUNS, SIZE_AXIS, metric_axis, of_kind
from tui_datasize.answers.record import Record, named, per_variant
from tui_datasize.metric import METRICS_OFFERED, Metric
from tui_datasize.stats.training_views import train_test_gap


def ask(record: Record) -> Answer:
    """Training and test score of each size and their difference, over runs that have both."""
    split, score = record.metric.split_and_score
    metric = METRICS_OFFERED.get(f"test_{score}")
    if not split or metric is None or f"train_{score}" not in METRICS_OFFERED:
        return does_not_apply("This metric is not measured on both splits. Choose another metric.")
    every = train_test_gap(record.runs, record.metrics, score)
    table = every.group_by("variant", "train_size", maintain_order=True).last()
    if table.is_empty():
        return does_not_apply("No run that has succeeded has a training score; imported runs may lack it.")
    columns = [
        *SIZE_AND_RUNS,
        *of_kind("value", train="training", test="test"),
        Column("gap", "training - test", "difference"),
        Column("gap_sd", "SD", "spread"),
    ]
    return Answer.of_each(
        (named(variant, _told(rows.row(-1, named=True), metric)) for variant, rows in per_variant(table)),
        tables=[Table(table, columns, metric)],
        figures=[_chart(variant, rows, metric) for variant, rows in per_variant(table)],
        about="last evaluation, mean over runs with both scores",
        rows=lambda: every,
    )


def _told(row: dict[str, float], metric: Metric) -> str:
    train, test = metric.text(row["train"]), metric.text(row["test"])
    return f"{metric.change(row['gap'])} at {row['train_size']:,} images: training {train}, test {test}."


def _chart(variant: str, rows: pl.DataFrame, metric: Metric) -> Chart:
    lines = [
        Line.of(rows, "train_size", "train", metric.scale, "training", 1, "ring"),
        Line.of(rows, "train_size", "test", metric.scale, "test", 0, "dot"),
    ]
    axis = metric_axis(metric)
    axis = Axis(axis.title.removeprefix("test "), floor=axis.floor, ceiling=axis.ceiling)
    return Chart(named(variant, "training and test"), SIZE_AXIS, axis, lines)

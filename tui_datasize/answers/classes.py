"""Learning curve of each class: which classes still gain from more data."""

from __future__ import annotations

import polars as pl

from tui_datasize.answers.answer import Answer, Chart, Column, Line, Table, does_not_apply
from tui_datasize.answers.columns import SIZE, SIZE_AXIS, share_axis
from tui_datasize.answers.record import NOT_RECORDED, Record, named, per_variant
from tui_datasize.metric import METRICS_OFFERED
from tui_datasize.stats.class_scores import class_curves

_MOST_DRAWN = 8
_ACCURACY = METRICS_OFFERED["test_accuracy"]
_NO_GAIN = "What a class gains from more data needs three train sizes."


def ask(record: Record) -> Answer:
    """Test accuracy of each class against train size, and its gain for ten times the data."""
    every = class_curves(record.runs, record.log.table("per_class", record.runs["run_id"]))
    if every.is_empty():
        return does_not_apply(NOT_RECORDED)
    table = every.group_by("variant", "label", maintain_order=True).last()
    has_gain = table["slope"].null_count() < table.height
    columns = [
        Column("class_name", "class", "text"),
        Column("slope", "gain for ten times the data", "difference"),
        Column("slope_stderr", "SE", "spread"),
        SIZE,
        Column("mean", "accuracy", "value"),
    ]
    return Answer.of_each(
        (named(variant, _told(rows)) for variant, rows in per_variant(table)),
        [] if has_gain else [_NO_GAIN],
        tables=[Table(table, columns, _ACCURACY)],
        figures=[_chart(variant, rows) for variant, rows in per_variant(every)],
        about="test split, last evaluation, mean over runs",
        rows=lambda: every,
    )


def _told(rows: pl.DataFrame) -> str:
    ranked = rows.drop_nulls("slope")
    if ranked.is_empty():
        ordered = rows.sort("mean", maintain_order=True)
        worst, best = (ordered.row(place, named=True) for place in (0, -1))
        low, high = (f"{_ACCURACY.text(one['mean'])} ({one['class_name']})" for one in (worst, best))
        size = f"{worst['train_size']:,} images"
        return f"{low} is the lowest accuracy of a class at {size}, {high} the highest."
    most, least = (ranked.row(place, named=True) for place in (0, -1))
    gain, other = (_ACCURACY.change(one["slope"]) for one in (most, least))
    return (
        f"{gain} for ten times the data: class {most['class_name']} gains most, "
        f"{least['class_name']} least, {other}."
    )


def _chart(variant: str, table: pl.DataFrame) -> Chart:
    groups = table.partition_by("label", maintain_order=True)
    half = _MOST_DRAWN // 2
    chosen = groups if len(groups) <= _MOST_DRAWN else [*groups[:half], *groups[-half:]]
    lines = [
        Line.of(group, "train_size", "mean", 100, str(group["class_name"][0]), ink)
        for ink, group in enumerate(chosen)
    ]
    shown = "classes" if len(chosen) == len(groups) else "classes that gain most and least from more data"
    return Chart(named(variant, shown), SIZE_AXIS, share_axis("accuracy"), lines)

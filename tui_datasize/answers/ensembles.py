"""Ensembles of runs: accuracy of the mean of several runs' probabilities."""

from __future__ import annotations

from functools import partial

import polars as pl

from tui_datasize.answers.answer import Answer, Chart, Column, Line, Table, does_not_apply
from tui_datasize.answers.columns import SIZE, SIZE_AXIS, of_kind, share_axis
from tui_datasize.answers.record import Record, bounded, named, per_variant
from tui_datasize.metric import METRICS_OFFERED
from tui_datasize.stats.ensembles import ensembles_table

_MEMBERS = (1, 2, 3, 5, 10, 20)
"""Numbers of members that are told, besides that of all runs of a size; export has all."""
_ACCURACY = METRICS_OFFERED["test_accuracy"]
_NO_RUN = "An ensemble needs at least 2 runs of one train size that have succeeded."


def ask(record: Record) -> Answer:
    """Mean accuracy over sets of so many runs of one size, and of all of them together."""
    table, left_out = record.reading.ensembles(record.asked.variant, _MEMBERS)
    known = table.drop_nulls("accuracy")
    failures = table["ensemble_failure"].drop_nulls().unique().sort().to_list()
    if known.is_empty():
        return does_not_apply(failures[0] if failures else _NO_RUN)
    together = known.filter(pl.col("members") == pl.col("n_runs"))
    largest = [(v, rows.sort("train_size").row(-1, named=True)) for v, rows in per_variant(together)]
    columns = [
        SIZE,
        *of_kind("count", members="members", n_ensembles="sets"),
        *of_kind("value", accuracy="accuracy", accuracy_min="lowest", accuracy_max="highest"),
        Column("gain", "over one", "difference"),
    ]
    whole = [column for column in columns if column.name in ("train_size", "members", "accuracy", "gain")]
    return Answer.of_each(
        (named(variant, _told(row)) for variant, row in largest),
        [*left_out, *failures],
        tables=[
            Table(together, whole, _ACCURACY, "All runs of a size together"),
            Table(known, columns, _ACCURACY, "By number of members", is_detail=True),
        ],
        figures=[_chart(variant, rows) for variant, rows in per_variant(known)],
        about="test split, mean over sets of members",
        rows=lambda: ensembles_table(bounded(record.runs)[0], partial(record.log.table, "predictions")),
    )


def _told(row: dict[str, float]) -> str:
    together = f"{row['members']} runs of {row['train_size']:,} images together"
    gain = row["gain"]
    over = "no more than" if _ACCURACY.shows_none(gain) else f"{_ACCURACY.change(gain)} over"
    return f"{_ACCURACY.text(row['accuracy'])} for {together}: {over} one run."


def _chart(variant: str, table: pl.DataFrame) -> Chart:
    ordered = table.sort("train_size", "members")
    whole = ordered.filter(pl.col("members") == pl.col("n_runs"))
    lines = [
        Line.of(ordered.filter(members=1), "train_size", "accuracy", 100, "one run", 0, "dot"),
        Line.of(whole, "train_size", "accuracy", 100, "all together", 1, "diamond"),
    ]
    title = named(variant, "one run, and all runs of a size together")
    return Chart(title, SIZE_AXIS, share_axis("test accuracy"), lines)

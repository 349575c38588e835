"""Margins of right and wrong answers: how sure the model is of either."""

from __future__ import annotations

import polars as pl

from tui_datasize.answers.answer import Answer, Chart, Line, Sentence, Table, does_not_apply
from tui_datasize.answers.columns import SIZE_AND_RUNS, UPDATE_AXIS, of_kind, share_axis
from tui_datasize.answers.record import NOT_RECORDED, Record, named, per_variant
from tui_datasize.stats.training_views import margins


def ask(record: Record) -> Answer:
    """Margins on the test split after each evaluation, means over runs."""
    every = margins(record.runs, record.metrics)
    if every.is_empty():
        return does_not_apply(NOT_RECORDED)
    table = every.group_by("variant", "train_size", maintain_order=True).last()
    columns = [*SIZE_AND_RUNS, *of_kind("share", margin_correct="right", margin_wrong="wrong")]
    return Answer.of_each(
        (named(variant, _told(rows.row(-1, named=True))) for variant, rows in per_variant(table)),
        [Sentence("The margin is (C1 - C2) / C1, of the two largest probabilities C1 and C2.", "aside")],
        tables=[Table(table, columns, record.metric)],
        figures=[_chart(variant, rows) for variant, rows in per_variant(every)],
        about="test split, mean over runs",
        rows=lambda: every,
    )


def _told(row: dict[str, float | None]) -> str:
    sides = [(row["margin_correct"], "right"), (row["margin_wrong"], "wrong")]
    told = ", ".join(f"{100 * margin:.2f} % where {side}" for margin, side in sides if margin is not None)
    return f"{told}: mean margin at {row['train_size']:,} images."


def _chart(variant: str, rows: pl.DataFrame) -> Chart:
    groups = rows.partition_by("train_size", maintain_order=True)
    # Smallest, middle and largest: more curves than these hide each other.
    chosen = [groups[place] for place in sorted({0, len(groups) // 2, len(groups) - 1})]
    lines = []
    for ink, group in enumerate(chosen):
        size = f"{group['train_size'][0]:,}"
        lines.append(Line.of(group, "update", "margin_correct", 100, f"{size} right", ink, "dot"))
        lines.append(Line.of(group, "update", "margin_wrong", 100, f"{size} wrong", ink, "ring"))
    return Chart(named(variant, "margins"), UPDATE_AXIS, share_axis("margin"), lines)

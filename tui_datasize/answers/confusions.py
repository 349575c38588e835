"""The confusion matrix of the largest train size, and its most common confusions."""

from __future__ import annotations

import polars as pl

from tui_datasize.answers.answer import Answer, Axis, Bar, Bars, Column, Map, Sentence, Table, does_not_apply
from tui_datasize.answers.columns import SIZE, of_kind
from tui_datasize.answers.record import NOT_RECORDED, Record, bounded, largest_size, named, per_variant
from tui_datasize.metric import METRICS_OFFERED
from tui_datasize.stats.class_scores import confusion_matrix, top_confusions

_ALL = 10**9
_MOST_DRAWN, _MOST_TOLD = 60, 12
_ACCURACY = METRICS_OFFERED["test_accuracy"]
_AXES = "Rows are the true classes, columns the predicted ones."


def ask(record: Record) -> Answer:
    """What share of each class is taken for which, summed over the runs of the largest train size."""
    runs, left_out = bounded(largest_size(record.runs))
    found = {variant: _confused(record, own) for variant, own in per_variant(runs)}
    known = {variant: tables for variant, tables in found.items() if tables is not None}
    if not known:
        return does_not_apply(NOT_RECORDED)
    every = pl.concat([table for table, _ in known.values()])
    columns = [
        *of_kind("text", class_name="class", predicted_name="predicted as"),
        SIZE,
        Column("images", "images"),
        *of_kind("share", share="of the class", back="the other way"),
        Column("n_runs", "in runs"),
    ]
    told = every.group_by("variant", maintain_order=True).head(_MOST_TOLD)
    return Answer.of_each(
        (named(variant, _told(table, runs)) for variant, (table, _) in known.items()),
        [Sentence(_AXES, "aside"), *left_out],
        tables=[Table(told, columns, _ACCURACY, "Most common confusions")],
        figures=[drawn for _, drawn in known.values()],
        about="all runs of the largest train size",
        rows=lambda: every,
    )


def _confused(record: Record, runs: pl.DataFrame) -> tuple[pl.DataFrame, Map] | None:
    counts = record.log.table("confusion", runs["run_id"])
    if counts.is_empty():
        return None
    datasets = record.log.datasets(runs["run_id"])
    table = top_confusions(runs, counts, datasets, _ALL)
    labels, shares = confusion_matrix(counts)
    names = dict(datasets.unique("label", keep="first").select("label", "class_name").iter_rows())
    classes = [str(names.get(label, label)) for label in labels]
    percent = [[100 * share for share in row] for row in shares.tolist()]
    title = named(str(runs["variant"][0]), "confusion matrix, % of the true class")
    return table, Map(title, "true", "predicted", classes, classes, percent, otherwise=_commonest(table))


def _commonest(table: pl.DataFrame) -> Bars:
    bars = [
        Bar(
            f"{row['class_name']} → {row['predicted_name']}",
            row["images"],
            f"{row['images']:,} {100 * row['share']:6.1f} %",
        )
        for row in table.head(_MOST_DRAWN).iter_rows(named=True)
    ]
    return Bars("most common confusions", Axis("images"), bars, ("true → predicted", "images    share"))


def _told(table: pl.DataFrame, runs: pl.DataFrame) -> str:
    if table.is_empty():
        largest = max(runs["train_size"].to_list())
        return f"No test image is predicted as another class at {largest:,} images."
    row = table.row(0, named=True)
    return (
        f"{100 * row['share']:.2f} % of class {row['class_name']} are predicted as {row['predicted_name']}, "
        f"the most common confusion at {row['train_size']:,} images."
    )

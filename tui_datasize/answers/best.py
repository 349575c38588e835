"""The best evaluation against the last: what choosing on the test set makes of a result."""

from __future__ import annotations

import polars as pl

from tui_datasize.answers.answer import Answer, Chart, Column, Line, Table, does_not_apply
from tui_datasize.answers.columns import SIZE_AND_RUNS, SIZE_AXIS, metric_axis, of_kind
from tui_datasize.answers.record import NO_RUN, ONE_EVALUATION, ONE_VALUE, Record, named, per_variant
from tui_datasize.metric import METRICS_OFFERED, Metric
from tui_datasize.stats.training_views import best_against_last

_CHOSEN = (
    "The test set chose the best one, so its luck counts as skill. Report the last, or choose on validation "
    "images."
)
_CHOSEN_HERE = (
    "The test set chose the best one here, so its luck counts as skill. The images held out chose that of "
    "best_test_accuracy; report it, or the last."
)


def ask(record: Record) -> Answer:
    """The best and the last evaluation on the test split, and how far they are apart."""
    _, score = record.metric.split_and_score
    if not score:
        return does_not_apply(ONE_VALUE)
    metric = METRICS_OFFERED[f"test_{score}"]
    better = metric.higher_is_better
    table = best_against_last(record.runs, record.metrics, score, higher_is_better=better)
    if table.is_empty():
        return does_not_apply(NO_RUN)
    if table["n_evaluations"].max() == 1:
        return does_not_apply(ONE_EVALUATION)
    columns = [
        *SIZE_AND_RUNS,
        Column("n_evaluations", "evaluations", "number"),
        *of_kind("value", best="best", last="last"),
        Column("gain", "apart", "spread"),
        Column("best_at", "best after", "share"),
    ]
    is_held_out = record.runs["validation_loss"].count() > 0
    told = [(variant, rows, _gain(rows)) for variant, rows in per_variant(table)]
    return Answer.of_each(
        (named(variant, _told(rows, gain, metric)) for variant, rows, gain in told),
        []
        if all(metric.shows_none(gain) for *_, gain in told)
        else [_CHOSEN_HERE if is_held_out else _CHOSEN],
        tables=[Table(table.filter(pl.col("n_evaluations") > 1), columns, metric)],
        figures=[_chart(variant, rows, metric) for variant, rows in per_variant(table)],
        about="test split, mean over runs",
        rows=lambda: table,
    )


def _gain(rows: pl.DataFrame) -> float:
    return float((rows["gain"] * rows["n_runs"]).sum()) / int(rows["n_runs"].sum())


def _told(rows: pl.DataFrame, gain: float, metric: Metric) -> str:
    times = max(rows["n_evaluations"].to_list())
    if metric.shows_none(gain):
        return f"The last of {times:.0f} evaluations is as good as the best, on average."
    more = metric.difference(gain)
    return f"The best of {times:.0f} evaluations looks {more} better than the last, on average."


def _chart(variant: str, rows: pl.DataFrame, metric: Metric) -> Chart:
    lines = [
        Line.of(rows, "train_size", "last", metric.scale, "last", 0, "dot"),
        Line.of(rows, "train_size", "best", metric.scale, "best", 1, "ring"),
    ]
    return Chart(named(variant, "best and last evaluation"), SIZE_AXIS, metric_axis(metric), lines)

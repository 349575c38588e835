"""Calibration: accuracy against confidence, and the error if only the surest are answered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from tui_datasize.answers.answer import (
    Answer,
    Axis,
    Band,
    Chart,
    Column,
    Line,
    Sentence,
    Table,
    does_not_apply,
)
from tui_datasize.answers.columns import SIZE_AND_RUNS, of_kind, share_axis
from tui_datasize.answers.record import NOT_RECORDED, Record, bounded, largest_size, named, per_variant
from tui_datasize.metric import METRICS_OFFERED
from tui_datasize.stats.reliability import Reliability, confidences, reliability, risk_coverage_table

_VIEWS = 2
"""Reliability bars, and risk against coverage."""
_COVERAGES_TOLD = (0.5, 0.8, 0.9, 0.95, 1.0)
_COVERAGE_NAMED = 0.8
_BAR_ROOM = 0.08
"""Left free at either end of a bin, as a fraction of its width."""
_ACCURACY = METRICS_OFFERED["test_accuracy"]
_BELOW = "A bar below the diagonal is overconfident, one above it underconfident."


@dataclass(frozen=True)
class _Judged:
    """The predictions of one variant at its largest train size."""

    variant: str
    train_size: int
    bins: Reliability
    risks: pl.DataFrame
    """The frame of `risk_coverage_table`."""

    @property
    def table(self) -> pl.DataFrame:
        off = pl.col("confidence") - pl.col("accuracy")
        return self.bins.table.select(pl.lit(self.variant).alias("variant"), pl.all(), off.alias("off"))


def ask(record: Record) -> Answer:
    """Accuracy of the answers of each confidence; in the second view the error among the surest."""
    runs, left_out = bounded(largest_size(record.runs))
    judged = list(_judged(record, runs))
    if not judged:
        return does_not_apply(NOT_RECORDED)
    if record.asked.view % _VIEWS:
        return _risk_coverage(judged, left_out)
    every = pl.concat([one.table for one in judged])
    held = every.filter(pl.col("images") > 0)
    fewest, most, all_ = (f"{count(held['images'].to_list()):,}" for count in (min, max, sum))
    columns = [
        Column("low", "confidence from", "share"),
        Column("images", "answers"),
        *of_kind("share", confidence="mean confidence", accuracy="right"),
        Column("off", "overconfident", "points"),
    ]
    risks = (named(one.variant, _risk_told(one)) for one in judged)
    return Answer.of_each(
        (named(one.variant, _error_told(one)) for one in judged),
        [
            *risks,
            f"A bin holds {fewest} to {most} of {all_} predictions; bins of few say little.",
            Sentence(_BELOW, "aside"),
            *left_out,
        ],
        tables=[Table(held, columns, _ACCURACY, is_detail=True), _risk_table(judged, is_detail=True)],
        figures=[*map(_reliability_drawn, judged), *map(_risks_drawn, judged)],
        about="all runs of the largest train size",
        rows=lambda: every,
        views=_VIEWS,
    )


def _risk_coverage(judged: Sequence[_Judged], left_out: Sequence[str]) -> Answer:
    return Answer.of_each(
        (named(one.variant, _risk_told(one)) for one in judged),
        left_out,
        tables=[_risk_table(judged)],
        figures=[_risks_drawn(one) for one in judged],
        about="risk against coverage, largest train size, mean over runs",
        rows=lambda: pl.concat([one.risks for one in judged]),
        views=_VIEWS,
    )


def _judged(record: Record, runs: pl.DataFrame) -> Iterator[_Judged]:
    """Variant by variant: the predictions of all at once may not fit into memory."""
    for variant, own in per_variant(runs):
        scored = confidences(record.log.table("predictions", own["run_id"]))
        if scored.height:
            bins = reliability(scored["confidence"], scored["is_correct"])
            yield _Judged(variant, own["train_size"][0], bins, risk_coverage_table(scored, own))


def _error_told(one: _Judged) -> str:
    error = f"{100 * one.bins.ece:.2f} points of calibration error (ECE) at {one.train_size:,} images"
    over = 100 * one.bins.overconfidence
    if abs(over) < 0.005:
        return f"{error}: neither over- nor underconfident on average."
    return f"{error}: {'over' if over > 0 else 'under'}confident by {abs(over):.2f} points on average."


def _risk_told(one: _Judged) -> str:
    by_coverage = dict(one.risks.select("coverage", "risk").iter_rows())
    surest, every = 100 * by_coverage[_COVERAGE_NAMED], 100 * by_coverage[1.0]
    share = f"{100 * _COVERAGE_NAMED:.0f} %"
    return f"{surest:.2f} % of the most confident {share} are wrong, {every:.2f} % of all."


def _risk_table(judged: Sequence[_Judged], *, is_detail: bool = False) -> Table:
    """Of the whole curve in detail, else of a few coverages."""
    table = pl.concat([one.risks for one in judged])
    columns = [*SIZE_AND_RUNS, Column("coverage", "answered", "share"), Column("risk", "wrong", "share")]
    shown = table if is_detail else table.filter(pl.col("coverage").is_in(_COVERAGES_TOLD))
    return Table(shown, columns, _ACCURACY, "Wrong among the surest", is_detail)


def _reliability_drawn(one: _Judged) -> Chart:
    table = one.table.drop_nulls("accuracy")
    shown = table.select(pl.col("confidence", "accuracy") * 100)
    lines = [
        Line("calibrated", [0.0, 100.0], [0.0, 100.0], 1),
        Line.of(shown, "confidence", "accuracy", 1, "accuracy in a bin", 0, "dot", is_joined=False),
    ]
    bars = (
        (low + _BAR_ROOM * (high - low), high - _BAR_ROOM * (high - low), accuracy)
        for low, high, accuracy in table.select("low", "high", "accuracy").iter_rows()
    )
    bands = [Band([100 * low, 100 * high], [0.0, 0.0], [100 * top] * 2, 0) for low, high, top in bars]
    x = Axis("confidence, %", start=0)
    return Chart(named(one.variant, "accuracy against confidence"), x, share_axis("accuracy"), lines, bands)


def _risks_drawn(one: _Judged) -> Chart:
    shown = one.risks.select(pl.col("coverage", "risk") * 100)
    lines = [
        # Whoever answers at random is as often wrong at every coverage as over all.
        Line("at random", [0.0, 100.0], [shown["risk"][-1]] * 2, "muted"),
        Line.of(shown, "coverage", "risk", 1, "the surest first", 0, "dot"),
    ]
    x = Axis("coverage: answered, %", start=0)
    return Chart(named(one.variant, "risk against coverage"), x, share_axis("risk: wrong among them"), lines)

"""Whether probabilities hold: accuracy against confidence, and the error if only the surest are answered."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from rich.text import Text

from tui_datasize.tui.analysis.pages.classes import NO_TABLE
from tui_datasize.tui.analysis.pages.page import Content, Request, largest_size, numbers, only_words
from tui_datasize.tui.charts.lines import Band, Series, line_chart
from tui_datasize.tui.charts.scale import Scale
from tui_datasize.tui.widgets.palette import Palette

if TYPE_CHECKING:
    import polars as pl

    from tui_datasize.analysis.reliability import Reliability

_VIEWS = 2
"""Reliability bars, and risk against coverage."""
_COVERAGES_TOLD = (0.5, 0.8, 0.9, 0.95, 1.0)
"""In words; the curve shows all."""
_BELOW = "A bar below the line: the model is surer than it is right; above it, less sure."
_BAR_ROOM = 0.08
"""Left free at either end of a bin, as a fraction of its width."""


def calibration(request: Request) -> Content:
    """Accuracy against confidence at the largest size; `s`: the error if only the surest are answered."""
    from tui_datasize.analysis.reliability import confidences, reliability, risk_coverage_table

    runs = largest_size(request.runs)
    scored = confidences(request.log.predictions(runs["run_id"]))
    if scored.is_empty():
        return only_words(NO_TABLE)
    if request.view % _VIEWS:
        return _risk_coverage(risk_coverage_table(scored, runs), _size_note(runs))
    found = reliability(scored["confidence"], scored["is_correct"])
    held = found.images[found.images > 0]
    return Content(
        partial(_draw_reliability, found),
        [
            found.words,
            f"{_BELOW} A bar holds {held.min():,} to {held.max():,} predictions: one of few is chance.",
        ],
        f"{_size_note(runs)} · all runs together",
        lambda: found.table,
        views=_VIEWS,
    )


def _size_note(runs: pl.DataFrame) -> str:
    return f"n {runs['train_size'][0]:,}"


def _risk_coverage(risks: pl.DataFrame, size: str) -> Content:
    words = [
        f"The surest {100 * row['coverage']:.0f} % answered: {100 * row['risk']:.2f} % wrong."
        for row in risks.filter(risks["coverage"].is_in(_COVERAGES_TOLD)).iter_rows(named=True)
    ]
    return Content(
        partial(_draw_risks, risks),
        words,
        f"{size} · risk against coverage, mean over runs",
        lambda: risks,
        views=_VIEWS,
    )


def _draw_reliability(found: Reliability, width: int, height: int, palette: Palette) -> Text:
    table = found.table.drop_nulls("accuracy")
    bars = [_bar(row["low"], row["high"], row["accuracy"], palette) for row in table.iter_rows(named=True)]
    seen = Series(
        "accuracy in a bin",
        numbers(table["confidence"], 100),
        numbers(table["accuracy"], 100),
        palette.primary,
        joined=False,
        mark="●",
    )
    return line_chart(
        [Series("as sure as right", [0.0, 100.0], [0.0, 100.0], palette.accent), seen],
        Scale("confidence, %", start=0),
        Scale("accuracy, %", floor=0, ceiling=100),
        width=width,
        height=height,
        palette=palette,
        bands=bars,
    )


def _bar(low: float, high: float, accuracy: float, palette: Palette) -> Band:
    room = _BAR_ROOM * (high - low)
    ends = [100 * (low + room), 100 * (high - room)]
    return Band(ends, [0.0, 0.0], [100 * accuracy] * 2, palette.primary)


def _draw_risks(risks: pl.DataFrame, width: int, height: int, palette: Palette) -> Text:
    coverage, risk = numbers(risks["coverage"], 100), numbers(risks["risk"], 100)
    # Whoever answers at random is as often wrong at every coverage as over all.
    series = [
        Series("any of them", [0.0, 100.0], [risk[-1]] * 2, palette.muted),
        Series("the surest", coverage, risk, palette.primary, mark="●"),
    ]
    return line_chart(
        series,
        Scale("coverage: answered, %", start=0),
        Scale("risk: wrong among them, %", floor=0, ceiling=100),
        width=width,
        height=height,
        palette=palette,
    )

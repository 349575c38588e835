"""The learning curve as a chart: plain values from frames, and no statistics of its own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from tui_datasize.tui.analysis.choice import AnalysisChoice, chosen_curve
from tui_datasize.tui.charts.lines import Band, Series, line_chart
from tui_datasize.tui.charts.scale import Scale
from tui_datasize.tui.live.charts import TAGS
from tui_datasize.tui.widgets.palette import Palette

if TYPE_CHECKING:
    from tui_datasize.analysis.curve import Metric
    from tui_datasize.analysis.extrapolate import Extrapolation
    from tui_datasize.analysis.fits import FitFailure, LogLinearFit
    from tui_datasize.analysis.summary import Analysis, CurveAnalysis

_LAW_POINTS = 60
_FOREGROUND = 3
"""Colours of the series that belong to the curve in the foreground: its means and its two laws."""


def law_colour(palette: Palette) -> str:
    """Of the average of laws; the published law has the accent."""
    return palette.series[_FOREGROUND - 1]


def chosen_fit(curve: CurveAnalysis, choice: AnalysisChoice) -> LogLinearFit | FitFailure:
    """The fit of the published law that is drawn and tabled."""
    return curve.fit_on_runs if choice.fit_to == "runs" else curve.fit


def draw_curve(analysis: Analysis, choice: AnalysisChoice, width: int, height: int, palette: Palette) -> Text:
    """The learning curve: a point per run, their mean with its interval, the laws and what lies beyond.

    The published law is drawn up to the next doubling, the average of all laws as far as it was asked,
    there with its band. Curves of other variants are drawn as lines of their means alone.
    """
    curve, metric = chosen_curve(analysis, choice), analysis.metric
    if curve is None or curve.points.is_empty():
        empty = (
            "No run of this experiment has succeeded with this metric yet. "
            "Queue it on the Queue tab (1) with a, or choose another metric with m."
        )
        return line_chart(
            [], size_scale(), metric_scale(metric), width=width, height=height, palette=palette, empty=empty
        )
    series = [
        *_other_means(analysis, curve, palette),
        *_average(curve, palette),
        *_published(curve, choice, palette),
        *_target(curve, palette),
        _mean_line(curve, palette),
        _points(curve, palette),
        _mean_marks(curve, palette),
    ]
    return line_chart(
        series,
        size_scale(),
        metric_scale(metric),
        width=width,
        height=height,
        palette=palette,
        bands=[_beyond(curve, palette), _interval(curve, palette)],
        more=": press v",
    )


def size_scale() -> Scale:
    """The axis of train sizes."""
    return Scale("train size, images", log=True, room=0.03)


def metric_scale(metric: Metric) -> Scale:
    """The axis of a metric, in percent for shares."""
    if metric.is_share:
        return Scale(f"{metric.title.lower()}, %", floor=0, ceiling=100)
    return Scale(metric.title.lower(), floor=0)


def factor(metric: Metric) -> float:
    """From values of a metric to what is shown: percent for shares."""
    return 100.0 if metric.is_share else 1.0


def _scaled(values: Sequence[float | None], metric: Metric) -> list[float]:
    return [float("nan") if value is None else value * factor(metric) for value in values]


def _points(curve: CurveAnalysis, palette: Palette) -> Series:
    values = _scaled(curve.points["value"].to_list(), curve.metric)
    return Series(
        "run", curve.points["train_size"].to_list(), values, palette.foreground, joined=False, mark="∙"
    )


def _mean_line(curve: CurveAnalysis, palette: Palette) -> Series:
    values = _scaled(curve.curve["mean"].to_list(), curve.metric)
    return Series("", curve.curve["train_size"].to_list(), values, palette.primary)


def _mean_marks(curve: CurveAnalysis, palette: Palette) -> Series:
    line = _mean_line(curve, palette)
    return Series("mean ± 95 %", line.x, line.y, palette.primary, joined=False, mark="●")


def _interval(curve: CurveAnalysis, palette: Palette) -> Band:
    known = curve.curve.drop_nulls("low")
    low, high = (_scaled(known[name].to_list(), curve.metric) for name in ("low", "high"))
    return Band(known["train_size"].to_list(), low, high, palette.faint)


def _published(curve: CurveAnalysis, choice: AnalysisChoice, palette: Palette) -> list[Series]:
    from tui_datasize.analysis.fits import FitFailure

    fit = chosen_fit(curve, choice)
    if isinstance(fit, FitFailure):
        return []
    sizes = curve.fitted_sizes
    ends = [sizes[0], 2 * sizes[-1]]
    values = [fit.predict(size).value for size in ends]
    return [Series("log-linear", ends, _scaled(values, curve.metric), palette.accent)]


def _target(curve: CurveAnalysis, palette: Palette) -> list[Series]:
    """The value that is asked for, from the smallest size to the farthest that is drawn."""
    target = curve.question.target
    if target is None:
        return []
    sizes = curve.curve["train_size"].to_list()
    ends = [sizes[0], max([2 * sizes[-1], *(point.train_size for point in _extrapolations(curve))])]
    return [Series("target", ends, _scaled([target, target], curve.metric), palette.success)]


def _average(curve: CurveAnalysis, palette: Palette) -> list[Series]:
    """The average of the laws through the sizes and beyond, with a mark at each size that was asked."""
    from tui_datasize.analysis.summary import average_curve

    known = average_curve(curve, _LAW_POINTS)
    beyond = _extrapolations(curve)
    if known is None:
        return []
    colour = law_colour(palette)
    line = Series(
        "average of laws",
        known["train_size"].to_list(),
        _scaled(known["value"].to_list(), curve.metric),
        colour,
    )
    marks = _scaled([point.value for point in beyond], curve.metric)
    return [line, Series("", [point.train_size for point in beyond], marks, colour, joined=False, mark="◇")]


def _beyond(curve: CurveAnalysis, palette: Palette) -> Band:
    """The calibrated band of the average, from the largest size on."""
    beyond = _extrapolations(curve)
    low, high = (_scaled([getattr(p, end) for p in beyond], curve.metric) for end in ("low", "high"))
    return Band([p.train_size for p in beyond], low, high, palette.faint)


def _extrapolations(curve: CurveAnalysis) -> Sequence[Extrapolation]:
    from tui_datasize.analysis.fits import FitFailure

    return () if isinstance(curve.outlook, FitFailure) else curve.outlook.extrapolations


def _other_means(analysis: Analysis, chosen: CurveAnalysis, palette: Palette) -> list[Series]:
    names = _short_names([curve.variant for curve in analysis.curves])
    series = []
    for index, curve in enumerate(analysis.curves):
        if curve is not chosen and curve.curve.height:
            values = _scaled(curve.curve["mean"].to_list(), curve.metric)
            colour = palette.series[_FOREGROUND + index % (len(palette.series) - _FOREGROUND)]
            tag = TAGS[index % len(TAGS)]
            sizes = curve.curve["train_size"].to_list()
            series.append(Series(names[curve.variant], sizes, values, colour, tag=tag))
    # The legend begins with what is drawn last.
    return series[::-1]


def _short_names(variants: Sequence[str]) -> dict[str, str]:
    """Variants without the tables of their keys (`depth=20`, not `model.depth=20`) if they stay apart."""
    short = [re.sub(r"\b(?:\w+\.)+(?=\w+=)", "", variant) for variant in variants]
    return dict(zip(variants, short if len(set(short)) == len(set(variants)) else variants, strict=True))

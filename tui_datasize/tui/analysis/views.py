"""An analysis as charts and lines of text: plain values from frames, and no statistics of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Literal, TypeAlias

from rich.text import Text

from tui_datasize.tui.charts.lines import Band, Series, line_chart
from tui_datasize.tui.charts.overlap import Bar, class_bars, heat_map
from tui_datasize.tui.charts.scale import Scale
from tui_datasize.tui.live.charts import TAGS
from tui_datasize.tui.widgets.palette import Palette

if TYPE_CHECKING:
    from tui_datasize.analysis.curve import Metric
    from tui_datasize.analysis.fits import Estimate, FitFailure, LogLinearFit
    from tui_datasize.analysis.overlap import DrawOverlap
    from tui_datasize.analysis.summary import Analysis, CurveAnalysis

NO_BREAK = "\u00a0"
"""Stands in lines where they must not be broken; to be replaced by a space once they are."""

FitTo: TypeAlias = Literal["means", "runs"]


@dataclass(frozen=True, slots=True)
class AnalysisChoice:
    """What of an analysis is shown."""

    variant: int = 0
    """Index of the curve in the foreground."""
    fit_to: FitTo = "means"
    size: int = 0
    """Which train size's overlap is shown: steps from the one in the middle."""


def chosen_curve(analysis: Analysis, choice: AnalysisChoice) -> CurveAnalysis | None:
    """The curve in the foreground."""
    return analysis.curves[choice.variant % len(analysis.curves)] if analysis.curves else None


def chosen_fit(curve: CurveAnalysis, choice: AnalysisChoice) -> LogLinearFit | FitFailure:
    """The fit that is drawn and tabled."""
    return curve.fit if choice.fit_to == "means" else curve.fit_on_runs


def chosen_overlap(analysis: Analysis, choice: AnalysisChoice) -> DrawOverlap | None:
    """The overlap of the chosen size."""
    count = len(analysis.overlaps)
    return analysis.overlaps[(count // 2 + choice.size) % count] if count else None


def draw_curve(analysis: Analysis, choice: AnalysisChoice, width: int, height: int, palette: Palette) -> Text:
    """The learning curve: a point per run, their mean with its interval, and the law up to the next doubling.

    Curves of other variants are drawn as lines of their means alone.
    """
    curve, metric = chosen_curve(analysis, choice), analysis.metric
    if curve is None or curve.points.is_empty():
        empty = (
            "No run of this experiment has succeeded with this metric yet. "
            "Queue it on the Queue tab (1) with a, or choose another metric with m."
        )
        return line_chart(
            [], _size_scale(), _metric_scale(metric), width=width, height=height, palette=palette, empty=empty
        )
    series = [
        *_other_means(analysis, curve, palette),
        *_law(curve, choice, palette),
        _mean_line(curve, palette),
        _points(curve, palette),
        _mean_marks(curve, palette),
    ]
    return line_chart(
        series,
        _size_scale(),
        _metric_scale(metric),
        width=width,
        height=height,
        palette=palette,
        band=_interval(curve, palette),
    )


def _size_scale() -> Scale:
    return Scale("train size, images", log=True, room=0.03)


def _metric_scale(metric: Metric) -> Scale:
    if metric.is_share:
        return Scale(f"{metric.title.lower()}, %", floor=0, ceiling=100)
    return Scale(metric.title.lower(), floor=0)


def _factor(metric: Metric) -> float:
    return 100.0 if metric.is_share else 1.0


def _scaled(values: Sequence[float | None], metric: Metric) -> list[float]:
    return [float("nan") if value is None else value * _factor(metric) for value in values]


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
    if curve.metric.is_share:
        # The interval of a mean near an end reaches beyond what a share can be.
        low, high = [max(0.0, value) for value in low], [min(100.0, value) for value in high]
    return Band(known["train_size"].to_list(), low, high, palette.faint)


def _law(curve: CurveAnalysis, choice: AnalysisChoice, palette: Palette) -> list[Series]:
    from tui_datasize.analysis.fits import FitFailure

    fit = chosen_fit(curve, choice)
    if isinstance(fit, FitFailure):
        return []
    sizes = curve.curve["train_size"].to_list()
    ends = [sizes[0], 2 * sizes[-1]]
    values = [fit.predict(size).value for size in ends]
    line = Series("fit", ends, _scaled(values, curve.metric), palette.accent)
    point = Series("next doubling", ends[1:], line.y[1:], palette.accent, joined=False, mark="◇")
    return [line, point]


def _other_means(analysis: Analysis, chosen: CurveAnalysis, palette: Palette) -> list[Series]:
    series = []
    for index, curve in enumerate(analysis.curves):
        if curve is not chosen and curve.curve.height:
            values = _scaled(curve.curve["mean"].to_list(), curve.metric)
            # The first colour and the second are those of the curve in the foreground and its law.
            colour = palette.series[2 + index % (len(palette.series) - 2)]
            tag = TAGS[index % len(TAGS)]
            series.append(Series(curve.variant, curve.curve["train_size"].to_list(), values, colour, tag=tag))
    return series


def fit_lines(analysis: Analysis, choice: AnalysisChoice, palette: Palette) -> list[Text]:
    """The fit as a table, what the next doubling brings, and what speaks against it."""
    from tui_datasize.analysis.fits import FitFailure

    curve = chosen_curve(analysis, choice)
    if curve is None or curve.points.is_empty():
        return [Text("No fit without points.", style=palette.muted)]
    fit = chosen_fit(curve, choice)
    if isinstance(fit, FitFailure):
        return [Text(f"No log-linear fit yet: it {fit.reason}.", style=palette.muted)]
    points = "sizes" if choice.fit_to == "means" else "runs"
    facts = (
        f"r² {fit.r2:.3f}",
        f"adjusted {fit.r2_adjusted:.3f}",
        f"F {fit.f:.2f}" if fit.f < 1000 else f"F {fit.f:,.0f}",
        f"p {fit.f_p:.2g}",
        f"{fit.n_points} {points}",
    )
    # What belongs together stays on one line.
    quality = "  ".join(fact.replace(" ", NO_BREAK) for fact in facts)
    lines = [
        Text("            estimate        SE       t          p", style=palette.muted),
        _estimate_line("slope", fit.slope, palette),
        _estimate_line("intercept", fit.intercept, palette),
        Text(quality, style=palette.foreground),
        Text(_doubling_sentence(curve, fit), style=palette.accent),
    ]
    if curve.caveat:
        lines.append(Text(curve.caveat, style=palette.muted))
    return lines


def _estimate_line(name: str, estimate: Estimate, palette: Palette) -> Text:
    values = f"{estimate.value:>10.4f}{estimate.stderr:>10.4f}{estimate.t:>8.2f}{estimate.p:>11.2g}"
    return Text.assemble((f"{name:<10}", palette.muted), (values, palette.foreground))


def _doubling_sentence(curve: CurveAnalysis, fit: LogLinearFit) -> str:
    gain, metric = fit.doubling, curve.metric
    unit = " points" if metric.is_share else ""
    size = 2 * int(curve.curve["train_size"][-1])
    low, value, high = (bound * _factor(metric) for bound in (gain.low, gain.value, gain.high))
    digits = ".1f" if metric.is_share else ".3f"
    return (
        f"The next doubling, to {size:,} images, brings {value:+{digits}}{unit} "
        f"(95 %: {low:+{digits}} to {high:+{digits}})."
    )


def draw_matrix(overlap: DrawOverlap | None, width: int, height: int, palette: Palette) -> Text:
    """Which share of its images each pair of draws has in common."""
    empty = "No subset has been drawn yet: it is written when a run begins."
    if overlap is None:
        return heat_map([], [], width=width, height=height, palette=palette, empty=empty)
    caption = Text(expectation(overlap)[:width], style=palette.muted)
    matrix = heat_map(
        overlap.draws, overlap.fraction.tolist(), width=width, height=height - 2, palette=palette
    )
    return Text("\n").join([matrix, Text(), caption])


def draw_classes(overlap: DrawOverlap | None, width: int, height: int, palette: Palette) -> Text:
    """Overlap within each class, the highest first, with what independent draws would share."""
    empty = "Nothing to compare with one draw. More of them: subset = { seeds = [0, 1] } in experiments.toml."
    bars = class_shares(overlap) if overlap else []
    return class_bars(bars, width=width, height=height, palette=palette, empty=empty)


def class_shares(overlap: DrawOverlap) -> list[Bar]:
    """Mean share per class over all pairs of draws, the highest first; none for a single draw."""
    from tui_datasize.analysis.overlap import per_class_table

    table = per_class_table([overlap]).drop_nulls("fraction")
    nan = float("nan")
    rows = table.select("class_name", "fraction", "expected").iter_rows()
    return [Bar(name, value, nan if expected is None else expected) for name, value, expected in rows]


def expectation(overlap: DrawOverlap) -> str:
    """What independent draws would share, with its interval; empty where class totals are unknown."""
    mean, low, high = (100 * value for value in overlap.expected_fraction)
    if not isfinite(mean):
        return ""
    return f"expected {mean:.1f} % ({low:.1f} to {high:.1f})"

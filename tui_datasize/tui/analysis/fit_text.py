"""The laws in words and small tables: what was fitted, what it foresees, what speaks against it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.text import Text

from tui_datasize.tui.analysis.choice import AnalysisChoice, chosen_curve
from tui_datasize.tui.analysis.curve_chart import chosen_fit, factor, law_colour
from tui_datasize.tui.widgets.palette import Palette

if TYPE_CHECKING:
    from tui_datasize.analysis.curve import Metric
    from tui_datasize.analysis.extrapolate import Outlook
    from tui_datasize.analysis.fits import Estimate, LogLinearFit
    from tui_datasize.analysis.summary import Analysis, CurveAnalysis

NO_BREAK = "\u00a0"
"""Stands in lines where they must not be broken; to be replaced by a space once they are."""


def fit_lines(analysis: Analysis, choice: AnalysisChoice, palette: Palette) -> list[Text]:
    """What the fit panel holds: the published law first, or all laws side by side."""
    curve = chosen_curve(analysis, choice)
    if curve is None or curve.points.is_empty():
        return [Text("No fit without points.", style=palette.muted)]
    if choice.fit_to == "laws":
        return [*_law_table(curve, palette), *_outlook_table(curve, palette), *_law_words(curve, palette)]
    return _published_lines(curve, choice, palette)


def _published_lines(curve: CurveAnalysis, choice: AnalysisChoice, palette: Palette) -> list[Text]:
    from tui_datasize.analysis.fits import FitFailure

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
    lines = [
        Text("            estimate        SE       t          p", style=palette.muted),
        _estimate_line("slope", fit.slope, palette),
        _estimate_line("intercept", fit.intercept, palette),
        # What belongs together stays on one line.
        Text("  ".join(fact.replace(" ", NO_BREAK) for fact in facts), style=palette.foreground),
        Text(_published_doubling(curve, fit), style=palette.accent),
    ]
    if isinstance(curve.outlook, FitFailure):
        lines.append(Text(f"No forecast: it {curve.outlook.reason}.", style=palette.muted))
    else:
        lines.append(Text(_average_doubling(curve, curve.outlook), style=law_colour(palette)))
        lines += _needed_words(curve.outlook, palette)
        if curve.outlook.doubt:
            lines.append(Text(curve.outlook.doubt, style=law_colour(palette)))
    if curve.caveat:
        lines.append(Text(curve.caveat, style=palette.muted))
    if not isinstance(curve.shape, FitFailure):
        lines += [Text(sentence, style=palette.muted) for sentence in curve.shape.words]
    return lines


def _estimate_line(name: str, estimate: Estimate, palette: Palette) -> Text:
    values = f"{estimate.value:>10.4f}{estimate.stderr:>10.4f}{estimate.t:>8.2f}{estimate.p:>11.2g}"
    return Text.assemble((f"{name:<10}", palette.muted), (values, palette.foreground))


def _published_doubling(curve: CurveAnalysis, fit: LogLinearFit) -> str:
    gain, metric = fit.doubling, curve.metric
    low, value, high = (_change(bound, metric) for bound in (gain.low, gain.value, gain.high))
    size = 2 * int(curve.curve["train_size"][-1])
    return f"Next doubling, to {size:,}: log-linear {value}{_unit(metric)} (95 %: {low} to {high})"


def _average_doubling(curve: CurveAnalysis, outlook: Outlook) -> str:
    gain, metric = outlook.doubling, curve.metric
    low, value, high = (_change(bound, metric) for bound in (gain.low, gain.gain, gain.high))
    level = 100 * outlook.extrapolations[0].nominal
    return f"The same by the average of laws: {value}{_unit(metric)} ({level:.0f} %: {low} to {high})"


def _change(value: float, metric: Metric) -> str:
    return f"{value * factor(metric):{'+z.1f' if metric.is_share else '+z.3f'}}"


def _unit(metric: Metric) -> str:
    return " points" if metric.is_share else ""


def _law_table(curve: CurveAnalysis, palette: Palette) -> list[Text]:
    from tui_datasize.analysis.fits import FitFailure
    from tui_datasize.analysis.fitting import LawFit

    if isinstance(curve.laws, FitFailure):
        return [Text(f"No laws: it {curve.laws.reason}.", style=palette.muted)]
    lines = [Text(f"{'law':<12}{'RMSE':>8}{'AICc':>9}{'weight':>8}", style=palette.muted)]
    for law, fit, weight in curve.laws.ranked:
        if isinstance(fit, LawFit):
            aicc = f"{fit.aicc:.1f}" if math.isfinite(fit.aicc) else "-"
            share = f"{100 * weight:.0f} %" if curve.laws.loss in law.averaged_for else "-"
            row = f"{law.name:<12}{fit.rmse:>8.4f}{aicc:>9}{share:>8}"
            lines.append(Text(row, style=palette.foreground))
        else:
            lines.append(Text(f"{law.name:<12}{fit.reason}", style=palette.muted))
    return lines


def _law_words(curve: CurveAnalysis, palette: Palette) -> list[Text]:
    from tui_datasize.analysis.fits import FitFailure

    words = () if isinstance(curve.laws, FitFailure) else curve.laws.words
    return [Text(sentence, style=palette.muted) for sentence in words]


def _outlook_table(curve: CurveAnalysis, palette: Palette) -> list[Text]:
    from tui_datasize.analysis.fits import FitFailure
    from tui_datasize.analysis.view import shown

    if isinstance(curve.outlook, FitFailure):
        return [Text(f"No forecast: it {curve.outlook.reason}.", style=palette.muted)]
    points = curve.outlook.extrapolations
    band = f"{100 * points[0].nominal:.0f} % band"
    lines = [Text(f"{'images':>10}{'average':>11}   {band}", style=palette.muted)]
    for point in points:
        value, low, high = (shown(v, curve.metric) for v in (point.value, point.low, point.high))
        lines.append(Text(f"{point.train_size:>10,}{value:>11}   {low} to {high}", style=palette.foreground))
    doubling = Text(curve.outlook.doubling.words, style=law_colour(palette))
    return [*lines, doubling, *_needed_words(curve.outlook, palette)]


def _needed_words(outlook: Outlook, palette: Palette) -> list[Text]:
    """How many images the target takes, where one is asked."""
    return [Text(outlook.needed.words, style=palette.success)] if outlook.needed else []

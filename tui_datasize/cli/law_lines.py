"""What `analyze` prints of the laws beside the published one, and of what lies beyond the runs."""

from __future__ import annotations

import math

from rich.console import Console

from tui_datasize.analysis.averaging import FittedLaws
from tui_datasize.analysis.curve import Metric
from tui_datasize.analysis.extrapolate import Outlook
from tui_datasize.analysis.fits import FitFailure
from tui_datasize.analysis.fitting import LawFit
from tui_datasize.analysis.shape import CurveShape
from tui_datasize.analysis.summary import POOLED_SE, CurveAnalysis
from tui_datasize.analysis.view import shown
from tui_datasize.cli.console import plain_table, print_words
from tui_datasize.words import plural


def print_laws(console: Console, curve: CurveAnalysis) -> None:
    """Print the laws by AICc, the shape of the curve and what the default answer foresees."""
    if isinstance(curve.laws, FitFailure):
        print_words(console, f"Laws: none, it {curve.laws.reason}\n")
        return
    _print_table(console, curve.laws)
    if isinstance(curve.shape, CurveShape):
        for sentence in curve.shape.words:
            print_words(console, sentence)
    _print_outlook(console, curve.outlook, curve.metric)


def diagnostic_lines(curve: CurveAnalysis) -> list[str]:
    """The rest of the published fit's table, and the points that sway it."""
    found = curve.diagnostics
    if isinstance(found, FitFailure):
        return [f"residuals are not judged: the line {found.reason}"]
    omnibus = "" if found.omnibus is None else f"omnibus {found.omnibus:.2f} (p {found.omnibus_p:.2g}), "
    lines = [
        f"AIC {found.aic:.2f}, BIC {found.bic:.2f}, Durbin-Watson {found.durbin_watson:.2f}, {omnibus}"
        f"Jarque-Bera {found.jarque_bera:.2f} (p {found.jarque_bera_p:.2g}), "
        f"condition number {found.condition_number:.1f}"
    ]
    for point in found.flagged:
        lines.append(
            f"{point.train_size:,.0f} images sway it: Cook's distance {point.cooks_distance:.2f}, leverage "
            f"{point.leverage:.2f}, studentised residual {point.studentised_deleted:.2f}"
        )
    if not isinstance(curve.fit_weighted, FitFailure):
        slope = curve.fit_weighted.slope
        lines.append(
            f"weighted by 1/SE^2 ({POOLED_SE}): {curve.fit_weighted.formula}, slope SE {slope.stderr:.4f}, "
            f"r2 {curve.fit_weighted.r2:.3f}"
        )
    return lines


def _print_table(console: Console, laws: FittedLaws) -> None:
    sizes = plural(laws.points.n_sizes, "size")
    console.print(f"[bold]Laws of the {laws.loss} on {sizes}, by their weight in the average[/]")
    table = plain_table("law", "formula", "RMSE", "AICc", "weight", right=("RMSE", "AICc", "weight"))
    for law, fit, weight in laws.ranked:
        if isinstance(fit, LawFit):
            aicc = f"{fit.aicc:.1f}" if math.isfinite(fit.aicc) else "-"
            share = f"{100 * weight:.0f} %" if laws.loss in law.averaged_for else "-"
            table.add_row(law.name, law.formula, f"{fit.rmse:.4f}", aicc, share)
        else:
            table.add_row(law.name, f"none: it {fit.reason}", "", "", "")
    console.print(table)
    for sentence in laws.words:
        print_words(console, sentence)


def _print_outlook(console: Console, outlook: Outlook | FitFailure, metric: Metric) -> None:
    if isinstance(outlook, FitFailure):
        print_words(console, f"\nNo forecast: it {outlook.reason}\n")
        return
    console.print("\n[bold]Beyond the runs, by the average of the laws[/]")
    band = f"{100 * outlook.extrapolations[0].nominal:.0f} % band"
    table = plain_table(
        "train size", "times", "value", band, "held", right=("train size", "times", "value", "held")
    )
    for point in outlook.extrapolations:
        measured = "" if point.measured is None else f"{100 * point.measured:.0f} %"
        low, high = (shown(end, metric) for end in (point.low, point.high))
        table.add_row(
            f"{point.train_size:,}",
            f"{point.factor:g}",
            shown(point.value, metric),
            f"{low} to {high}",
            measured,
        )
    console.print(table)
    lines = [
        outlook.doubling.words,
        outlook.needed.words if outlook.needed else "",
        outlook.words,
    ]
    print_words(console, "\n".join(line for line in lines if line) + "\n")

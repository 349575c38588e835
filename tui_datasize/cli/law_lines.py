"""What `analyze` prints of the laws beside the published one, and of what lies beyond the runs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from rich.console import Console

from tui_datasize.analysis.averaging import FittedLaws
from tui_datasize.analysis.curve import Metric
from tui_datasize.analysis.diagnostics import Diagnostics
from tui_datasize.analysis.extrapolate import Outlook
from tui_datasize.analysis.fits import FitFailure, LogLinearFit
from tui_datasize.analysis.fitting import LawFit
from tui_datasize.analysis.shape import CurveShape
from tui_datasize.analysis.summary import POOLED_SE, CurveAnalysis, FittedTo, PublishedFit
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


def print_published(console: Console, curve: CurveAnalysis) -> None:
    """Print a row for each way to fit the published law, and the points that sway it."""
    fitted = [one for one in curve.published if isinstance(one.fit, LogLinearFit)]
    if not fitted:
        return
    right = ("slope", "SE", "r2", "AIC", "BIC", "DW", "omnibus", "JB", "cond.")
    table = plain_table("fitted to", *right, right=right)
    for one in fitted:
        table.add_row(_SHORT[one.fitted_to], *_fit_cells(one))
    console.print(table)
    print_words(console, "\n".join([*_residual_lines(fitted), ""]))


_SHORT: Mapping[FittedTo, str] = MappingProxyType(
    {"means": "means", "means, weighted": "weighted", "runs": "all runs"}
)
_FLAGGED_TOLD = 3


def _fit_cells(one: PublishedFit) -> list[str]:
    if isinstance(one.fit, FitFailure):
        return []
    cells = [f"{one.fit.slope.value:.4f}", f"{one.fit.slope.stderr:.4f}", f"{one.fit.r2:.3f}"]
    found = one.diagnostics
    if isinstance(found, FitFailure):
        return cells
    omnibus = "-" if found.omnibus_p is None else f"{found.omnibus_p:.2g}"
    return [
        *cells,
        *(f"{value:.2f}" for value in (found.aic, found.bic, found.durbin_watson)),
        *(omnibus, f"{found.jarque_bera_p:.2g}", f"{found.condition_number:.1f}"),
    ]


def _residual_lines(fitted: Sequence[PublishedFit]) -> Iterator[str]:
    """What the table's heads mean, and the points that deserve a look, the gravest first."""
    if any(isinstance(one.diagnostics, Diagnostics) for one in fitted):
        yield (
            "DW Durbin-Watson, of all runs by size and then as recorded; omnibus and JB (Jarque-Bera): p; "
            "cond. condition number of the design"
        )
    if any(one.fitted_to == "means, weighted" for one in fitted):
        yield f"weighted by 1/SE^2 ({POOLED_SE})"
    for one in fitted:
        name, found = _SHORT[one.fitted_to], one.diagnostics
        if isinstance(found, FitFailure):
            yield f"{name}: residuals are not judged: the line {found.reason}"
            continue
        flagged = sorted(found.flagged, key=lambda point: -point.cooks_distance)
        for point in flagged[:_FLAGGED_TOLD]:
            what = "a run of " if one.fitted_to == "runs" else ""
            yield (
                f"{name}: {what}{point.train_size:,.0f} images sway{'s' if what else ''} it: Cook's distance "
                f"{point.cooks_distance:.2f}, leverage {point.leverage:.2f}, studentised residual "
                f"{point.studentised_deleted:.2f}"
            )
        if len(flagged) > _FLAGGED_TOLD:
            yield f"{name}: and {len(flagged) - _FLAGGED_TOLD:,} more, see --json"


def _print_table(console: Console, laws: FittedLaws) -> None:
    sizes = plural(laws.points.n_sizes, "size")
    console.print(f"Laws of the {laws.loss} on {sizes}, by their weight in the average", style="bold")
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
    console.print("\nBeyond the runs, by the average of the laws", style="bold")
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

"""What stands behind the headings of the Analysis tab."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tui_datasize.tui.analysis.choice import AnalysisChoice, chosen_curve
from tui_datasize.tui.analysis.curve_chart import chosen_fit
from tui_datasize.tui.analysis.overlap_views import OverlapView
from tui_datasize.words import plural

if TYPE_CHECKING:
    from tui_datasize.analysis.summary import Analysis, CurveAnalysis


def subject(experiment: str, curve: CurveAnalysis | None) -> str:
    """The experiment, and the variant in the foreground where there are several."""
    return f"{experiment} · {curve.variant}" if curve and curve.variant else experiment


def curve_note(analysis: Analysis, choice: AnalysisChoice) -> str:
    """Whose curve it is, and of how many runs."""
    curve = chosen_curve(analysis, choice)
    shown = curve.points.height if curve else analysis.n_runs
    left_out = f", {analysis.n_left_out:,} not counted" if analysis.n_left_out else ""
    return f"{subject(analysis.experiment, curve)} · {plural(shown, 'run')}{left_out}".removeprefix(" · ")


def fit_note(analysis: Analysis, choice: AnalysisChoice) -> str:
    """Which law the table is of."""
    start = f" · n ≥ {choice.asked.fit_from:,}" if choice.asked.fit_from else ""
    if choice.fit_to == "laws":
        return f"all laws, the best first{start}"
    curve = chosen_curve(analysis, choice)
    fit = chosen_fit(curve, choice) if curve else None
    return f"log-linear through the {choice.fit_to}{start} · {getattr(fit, 'formula', '')}".rstrip(" ·")


def matrix_note(view: OverlapView) -> str:
    """Which size the matrix is of, and how overlap is measured."""
    return f"n {view.overlap.train_size:,} · {_measured(view)}, %" if view.overlap else ""


def classes_notes(view: OverlapView) -> Sequence[str]:
    """The same for the classes, with as much of a legend as fits."""
    if view.overlap is None:
        return [""]
    size, expected = f"n {view.overlap.train_size:,}", "┃ expected"
    interval = f"{expected} · [ ] 95 % · ▲▼ outside"
    return [f"{size} · {_measured(view)}, % · {interval}", f"{size} · {interval}", f"{size} · {expected}"]


def _measured(view: OverlapView) -> str:
    return "shared / size" if view.measure == "fraction" else "Jaccard"

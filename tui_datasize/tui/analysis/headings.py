"""What stands behind the headings of the Analysis tab."""

from __future__ import annotations

from collections.abc import Sequence

from tui_datasize.tui.analysis.choice import AnalysisChoice
from tui_datasize.tui.analysis.overlap_views import OverlapView


def subject(experiment: str, variant: str | None) -> str:
    """The experiment, and the variant in the foreground where there are several."""
    return f"{experiment} · {variant}" if variant else experiment


def fit_note(choice: AnalysisChoice) -> str:
    """Which sizes are fitted, where not all are."""
    return f"n ≥ {choice.asked.fit_from:,}" if choice.asked.fit_from else ""


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

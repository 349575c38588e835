"""What of an analysis is shown: chosen by key, the same for every part of the tab."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

if TYPE_CHECKING:
    from tui_datasize.analysis.summary import Analysis, CurveAnalysis

FitTo: TypeAlias = Literal["means", "runs", "laws"]
FITS: tuple[FitTo, ...] = get_args(FitTo)


@dataclass(frozen=True, slots=True)
class AnalysisChoice:
    """What of an analysis is shown."""

    variant: int = 0
    """Index of the curve in the foreground."""
    fit_to: FitTo = "means"
    """The published law through the means or through all runs, or all laws side by side."""
    size: int = 0
    """Which train size's overlap is shown: steps from the one in the middle."""


def chosen_curve(analysis: Analysis, choice: AnalysisChoice) -> CurveAnalysis | None:
    """The curve in the foreground."""
    return analysis.curves[choice.variant % len(analysis.curves)] if analysis.curves else None

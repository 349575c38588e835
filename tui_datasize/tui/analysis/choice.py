"""What of an analysis is shown: chosen by key, the same for every part of the tab."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from tui_datasize.answers.asked import NOTHING, Asked

if TYPE_CHECKING:
    from tui_datasize.analysis.overlap import Measure
    from tui_datasize.analysis.summary import Analysis, CurveAnalysis
    from tui_datasize.tui.look.snapshot import Snapshot

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
    """Which train size is shown, where one is: steps from the one in the middle, or from the largest."""
    view: int = 0
    """Which view of a page is shown."""
    measure: Measure = "fraction"
    """How overlap is measured."""
    asked: Asked = NOTHING
    """What is asked of the curve."""

    def with_other_measure(self) -> AnalysisChoice:
        """The same with the other measure of overlap."""
        return replace(self, measure="jaccard" if self.measure == "fraction" else "fraction")


def chosen_curve(analysis: Analysis, choice: AnalysisChoice) -> CurveAnalysis | None:
    """The curve in the foreground."""
    return analysis.curves[choice.variant % len(analysis.curves)] if analysis.curves else None


def experiment_names(snapshot: Snapshot) -> list[str]:
    """Experiments of the file, then those of which only runs are left."""
    planned = [plan.name for plan in snapshot.experiments]
    recorded = {fact.experiment for fact in snapshot.facts.values()}
    return planned + sorted(recorded - set(planned))

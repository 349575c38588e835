"""What of an analysis is shown: chosen by key, the same for every part of the tab."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from tui_datasize.answers.asked import NOTHING, Asked
from tui_datasize.answers.catalogue import QUESTIONS, Entry

if TYPE_CHECKING:
    from tui_datasize.tui.look.snapshot import Snapshot

FitTo: TypeAlias = Literal["answer", "forecast", "laws"]
FITS: tuple[FitTo, ...] = get_args(FitTo)
"""Questions of the catalogue that are shown beside the learning curve."""
PAGES: tuple[Entry, ...] = tuple(entry for entry in QUESTIONS.values() if entry.has_page)
"""Questions that have a page behind the learning curve, in the order in which `p` walks through them."""


@dataclass(frozen=True, slots=True)
class AnalysisChoice:
    """What of an analysis is shown."""

    variant: int = 0
    """Index of the variant in the foreground; of several, 0 stands for all."""
    fit_to: FitTo = "answer"
    size: int = 0
    """Which train size is shown, where one is: steps from the largest."""
    view: int = 0
    """Which view of a page is shown, or how overlap is measured."""
    asked: Asked = NOTHING
    """What is asked of the curve."""


def chosen_variant(variants: Sequence[str], choice: AnalysisChoice) -> str | None:
    """The variant in the foreground; None for all of several, or without any.

    >>> chosen_variant(["a", "b"], AnalysisChoice()), chosen_variant(["a", "b"], AnalysisChoice(variant=2))
    (None, 'b')
    """
    if len(variants) < 2:
        return None
    place = choice.variant % (len(variants) + 1)
    return variants[place - 1] if place else None


def experiment_names(snapshot: Snapshot) -> list[str]:
    """Experiments of the file, then those of which only runs are left."""
    planned = [plan.name for plan in snapshot.experiments]
    recorded = {fact.experiment for fact in snapshot.facts.values()}
    return planned + sorted(recorded - set(planned))

"""What stands behind the headings of the Analysis tab."""

from __future__ import annotations

from collections.abc import Sequence

from tui_datasize.answers.answer import Answer, Map
from tui_datasize.tui.analysis.choice import AnalysisChoice


def subject(experiment: str, variant: str | None) -> str:
    """The experiment, and the variant in the foreground where there are several."""
    return f"{experiment} · {variant}" if variant else experiment


def fit_note(choice: AnalysisChoice) -> str:
    """Which sizes are fitted, where not all are."""
    return f"n ≥ {choice.asked.fit_from:,}" if choice.asked.fit_from else ""


def page_note(answer: Answer) -> str:
    """What the numbers are of; the axes of a map do not say which metric it is of."""
    first = answer.figures[0] if answer.figures else None
    return f"{first.title} · {answer.about}" if isinstance(first, Map) else answer.about


def matrix_notes(overlap: Answer) -> Sequence[str]:
    """Which size the matrix is of, and how overlap is measured."""
    size = overlap.figures[0].title
    return [f"{size} · {overlap.about}", f"{size} · {overlap.about.partition(',')[0]}", size]


def classes_notes(overlap: Answer) -> Sequence[str]:
    """The same for the classes, with as much of a legend as fits."""
    size, expected = overlap.figures[0].title, "┃ expected"
    interval = f"{expected} · [ ] 95 % · ▲▼ outside"
    return [f"{size} · {overlap.about} · {interval}", f"{size} · {interval}", f"{size} · {expected}"]

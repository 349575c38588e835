"""What is asked of an experiment's runs beyond what they show. Light to import."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tui_datasize.stats.question import Question


@dataclass(frozen=True, slots=True)
class Asked(Question):
    """What is asked; nothing at first."""

    variant: str | None = None
    """Whose runs; None asks of all variants."""
    view: int = 0
    """Which of the views of an answer, counted round and round."""
    size: int = 0
    """Which of the train sizes, counted round and round from the largest."""

    def question(self) -> Question:
        return Question(self.fit_from, self.target, self.delta)

    def of_other_metric(self) -> Asked:
        """What holds of another metric, too."""
        return replace(self, target=None, delta=None)


NOTHING = Asked()

"""What is asked of an experiment's runs beyond what they show. Light to import."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tui_datasize.stats.question import CHECK_SHARE, PlanQuestion, Question


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked; nothing at first."""

    target: float | None = None
    """A value of the metric to reach, in its units."""
    fit_from: int = 0
    """Smaller train sizes are shown and not fitted."""
    delta: float | None = None
    """What a doubling has to buy to be worth it, in units of the metric."""
    at: float | None = None
    """Train size that the next runs shall tell of."""
    runs: int | None = None
    """How many runs may be planned."""
    samples: float | None = None
    """Or how many training samples they may see."""
    check_share: float = CHECK_SHARE
    """Of the planned runs, kept to check the law."""
    variant: str | None = None
    """Whose runs; None asks of all variants."""
    view: int = 0
    """Which of the views of an answer, counted round and round."""
    size: int = 0
    """Which of the train sizes, counted round and round from the largest."""

    def question(self) -> Question:
        return Question(self.fit_from, self.target, self.delta)

    def plan_question(self) -> PlanQuestion:
        return PlanQuestion(self.at, self.target, self.runs, self.samples, self.fit_from, self.check_share)

    def of_other_metric(self) -> Asked:
        """What holds of another metric, too."""
        return replace(self, target=None, delta=None)


NOTHING = Asked()

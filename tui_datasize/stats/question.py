"""What is asked of a learning curve, beyond what it shows. Light to import."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tui_datasize.errors import ConfigError
from tui_datasize.text import MOST_COUNT

if TYPE_CHECKING:
    from tui_datasize.metric import Metric

MOST_PLANNED = 10_000
"""Runs of one plan: they are placed one by one."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of what lies beyond the runs, and of the next ones."""

    fit_from: int = 0
    """Smaller train sizes are shown and not fitted; runs may be added to them all the same."""
    target: float | None = None
    """A value of the metric to reach, in its units; None asks for no size."""
    delta: float | None = None
    """What a doubling has to buy to be worth it, in units of the metric; None takes the default."""
    at: float | None = None
    """Train size that the next runs shall tell of, in place of a target; with neither, a multiple of the
    largest size."""
    runs: int | None = None
    """How many runs may be planned."""
    samples: float | None = None
    """Or how many training samples they may see, each image counted as often as it is seen."""
    hours: float | None = None
    """Or how long they may train, all together. With none of the three, as many runs again."""

    @property
    def has_budget(self) -> bool:
        return any(budget is not None for budget in (self.runs, self.samples, self.hours))

    def check(self, metric: Metric) -> None:
        """Refuse what makes no sense for the metric.

        Raises ConfigError: a target outside the metric's range, or a delta that is not above 0.
        """
        most = 1.0 if metric.is_share else float(MOST_COUNT)
        if self.target is not None and metric.is_cost:
            fix = "ask for one of a score, such as test_accuracy"
            raise ConfigError(f"{metric.name} grows with the data: no target of it is answered", fix=fix)
        if self.target is not None and not 0 <= self.target <= most:
            expected = "between 0 and 1 (or 0% and 100%)" if metric.is_share else "of 0 or more"
            what = f"no target {metric.exact(self.target)} for {metric.name}"
            raise ConfigError(what, fix=f"give one {expected}")
        if self.delta is not None and not 0 < self.delta <= most:
            what = f"{metric.exact_difference(self.delta)} is no gain to look for"
            raise ConfigError(what, fix=f"give one above 0, at most {metric.exact_difference(most)}")

    def check_plan(self, metric: Metric) -> None:
        """Refuse what makes no sense of a plan.

        Raises ConfigError: two questions, two budgets, or a value out of range.
        """
        if self.at is not None and self.target is not None:
            raise ConfigError("both a size and a target were given", fix="give one of the two")
        budgets = ("number of runs", self.runs), ("samples", self.samples), ("hours", self.hours)
        if sum(value is not None for _, value in budgets) > 1:
            raise ConfigError("two budgets were given", fix="give runs, samples or hours")
        for name, value in (("size", self.at), *budgets):
            if value is not None and not 0 < value <= MOST_COUNT:
                what = f"no {name} {value:g}"
                raise ConfigError(what, fix=f"give a number above 0, at most {MOST_COUNT:g}")
        if self.runs is not None and self.runs > MOST_PLANNED:
            raise ConfigError(f"a plan of {self.runs:,} runs", fix=f"give at most {MOST_PLANNED:,}")
        if self.target is not None and metric.is_share and not 0 < self.target < 1:
            what = f"no target {metric.exact(self.target)} for {metric.name}"
            raise ConfigError(what, fix="give one between 0 and 1 (or 0% and 100%)")


NOTHING_ASKED = Question()

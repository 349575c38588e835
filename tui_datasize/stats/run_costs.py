"""What a run costs at any train size: training samples and seconds, as far as runs tell."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from tui_datasize.stats.curve import COUNTED_STATES
from tui_datasize.stats.laws import Floats
from tui_datasize.stats.question import Question

S_PER_HOUR = 3600


@dataclass(frozen=True, slots=True)
class RunCosts:
    """Costs of one run by train size; 0 where runs from elsewhere do not say."""

    samples: Mapping[int, float]
    """Training samples, each image counted as often as it is seen."""
    seconds: Mapping[int, float]
    """Of runs that have ended, their lower quartile: other work makes runs longer, and nothing shorter."""

    @classmethod
    def of(cls, runs: pl.DataFrame, samples_per_run: Mapping[int, float]) -> RunCosts:
        """From the runs there are, schema `RUNS`, and from what the sweep lists."""
        seen = _per_size(runs, (pl.col("total_updates") * pl.col("batch_size")).mean())
        ended = runs.filter(pl.col("state").is_in(COUNTED_STATES))
        took = _per_size(ended, pl.col("wall_s").quantile(0.25, "linear")) if "wall_s" in runs.columns else {}
        return cls({**seen, **samples_per_run}, {size: s for size, s in took.items() if s > 0})

    @property
    def sizes(self) -> list[int]:
        return sorted(self.samples)

    def samples_at(self, train_size: float) -> float:
        return _at(self.samples, train_size)

    def seconds_at(self, train_size: float) -> float:
        return _at(self.seconds, train_size)

    def budget(self, question: Question, sizes: Floats, runs: int) -> tuple[Floats, float]:
        """Price of a run at each size, shape (n,), and what all may cost: `runs` where nothing is given."""
        if question.samples is not None:
            return np.array([self.samples_at(size) for size in sizes]), question.samples
        if question.hours is not None:
            return np.array([self.seconds_at(size) for size in sizes]), S_PER_HOUR * question.hours
        return np.ones(len(sizes)), float(question.runs or runs)


def _per_size(runs: pl.DataFrame, cost: pl.Expr) -> dict[int, float]:
    return dict(runs.group_by("train_size").agg(cost.fill_null(0.0)).iter_rows())


def _at(costs: Mapping[int, float], train_size: float) -> float:
    """A cost at any size: a power law between two known sizes, and on from the last two; 0 where unknown."""
    known = sorted(size for size, cost in costs.items() if cost > 0)
    if not known:
        return 0.0
    if len(known) == 1 or train_size in costs:
        return costs.get(int(train_size), costs[known[0]])
    place = int(np.clip(np.searchsorted(known, train_size), 1, len(known) - 1))
    low, high = known[place - 1], known[place]
    slope = math.log(costs[high] / costs[low]) / math.log(high / low)
    return costs[low] * math.pow(train_size / low, slope)

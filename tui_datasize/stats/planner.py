"""Which runs to queue next: the sizes and numbers of seeds that sharpen one answer most within a budget."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import polars as pl
from scipy.special import ndtri

from tui_datasize.metric import Metric, metric_named
from tui_datasize.runlog.schema import drawn_runs
from tui_datasize.stats.after_runs import Sizes, middle_of, views_after
from tui_datasize.stats.averaging import LEAST_SIZES, FittedLaws
from tui_datasize.stats.clusters import find_clusters, odd_scatter
from tui_datasize.stats.curve import COMING, CONFIDENCE, learning_curve, points, size_runs
from tui_datasize.stats.extrapolate import LEVEL, Outlook, look_ahead
from tui_datasize.stats.fits import FitFailure
from tui_datasize.stats.laws import WHAT_LAWS_DESCRIBE, flipped, loss_of
from tui_datasize.stats.noise import Noise, noise_of
from tui_datasize.stats.placing import NO_ROOM, TWICE, UNKNOWN_ROOM, Room, new_sizes, place_runs
from tui_datasize.stats.question import MOST_PLANNED, NOTHING_ASKED, Question
from tui_datasize.stats.run_costs import RunCosts
from tui_datasize.stats.size_needed import foreseen_sizes
from tui_datasize.stats.summary import laws_of
from tui_datasize.stats.variance import split_variance
from tui_datasize.stats.view import View

MUCH_OF_DRAWS = 0.25
"""A larger share of a run's variance than this is worth other draws."""
AHEAD = 4
"""Times the largest size: what is planned for where nothing is asked."""
BEYOND_RUNS = 3
"""At a size that there may be no images for."""
ONE_SIZE_RUNS = 10
"""The budget of an answer that one size gives, where none is asked."""
HARDLY = 0.9
"""An interval that keeps more of its width is hardly narrower."""
SAME_BY = 1.02
"""Sizes that differ by less are one."""


@dataclass(frozen=True, slots=True)
class PlannedSize:
    """One train size of a plan."""

    train_size: int
    runs: int
    """That there are, or are on their way."""
    add: int
    is_new: bool
    """Whether neither runs nor the sweep have it."""
    samples: float
    """Training samples of all runs to add; 0 where unknown."""
    seconds: float
    """That they are going to train; 0 where unknown."""


Interval = tuple[float, float]
"""Lower and upper end, in units of the metric or in images."""


@dataclass(frozen=True, slots=True)
class Beyond:
    """What a size would leave that there may be no images for."""

    train_size: int
    runs: int
    interval: Interval
    """At the train size of the answer, expected."""


@dataclass(frozen=True)
class Plan:
    """Runs to add to one curve."""

    experiment: str
    variant: str
    metric: Metric
    at: float
    """Train size of the answer; of a target, where it is foreseen or was measured to be reached."""
    value: float
    """The metric there, as `analyze` says."""
    level: float
    """How sure the intervals are."""
    now: Interval | None
    """The calibrated interval of `analyze`; of a size that was run that of its mean, between two such sizes
    from the lower end of the one to the upper end of the other. None where nothing tells it."""
    then: Interval | None
    """Expected after the plan."""
    target: float | None
    size_now: Interval | None
    """Of the size that a target beyond the runs needs; an end is infinite where nothing bounds it."""
    size_then: Interval | None
    sizes: tuple[PlannedSize, ...]
    beyond: Beyond | None
    """None where the plan has such a size, the answer lies within the runs, or it would hardly narrow it."""
    odd: tuple[int, ...]
    """Sizes measured unlike their neighbours, which get no runs."""
    draw_share: float
    """Of the variance of a run, what the subset draw makes of it; 0 where it cannot be told."""
    outlook: Outlook
    noise: Noise

    @property
    def n_added(self) -> int:
        return sum(size.add for size in self.sizes)

    @property
    def is_idle(self) -> bool:
        """Whether its runs would hardly narrow the interval."""
        return _hardly_narrows(self.now, self.then)

    @property
    def seconds(self) -> float:
        """Of all runs to add; 0 where those of some are unknown."""
        known = [size.seconds for size in self.sizes if size.add]
        return sum(known) if all(known) else 0.0


def plan_next_runs(
    runs: pl.DataFrame,
    metric: str,
    question: Question = NOTHING_ASKED,
    samples_per_run: Mapping[int, float] = MappingProxyType({}),
    room: Room = UNKNOWN_ROOM,
) -> Plan | FitFailure:
    """Plan further runs of one curve, for the forecast that `analyze` shows.

    Runs that are queued or running count as if they had ended: the plan comes on top. Where its runs would
    hardly narrow the interval, it has some only for a budget that is given. `runs` are of one experiment and
    variant, `metric` has a law. `samples_per_run` are the training samples of a run by train size, for sizes
    without runs that may be added to. `room` tells which further sizes there can be.

    Raises ConfigError: there is no such metric, or the question makes no sense.
    """
    offered = metric_named(metric)
    question.check_plan(offered)
    if loss_of(offered) is None:
        return FitFailure(f"is asked of {metric}, which no law here is fitted to: {WHAT_LAWS_DESCRIBE}")
    fitted = runs.filter(pl.col("train_size") >= question.fit_from)
    state = _State.of(fitted, offered, question.target, _shares_of(runs, metric))
    if isinstance(state, FitFailure):
        out = f"; sizes below {question.fit_from:,} are left out" if fitted.height < runs.height else ""
        return FitFailure(state.reason + out)
    at = state.goal(question)
    planned = state.place(runs, question, RunCosts.of(runs, samples_per_run), at, room)
    if isinstance(planned, FitFailure):
        return planned
    plan = _plan(runs, state, question, at, planned)
    if room == NO_ROOM:
        plan = replace(plan, beyond=None)
    if plan.is_idle and not question.has_budget:
        return replace(plan, sizes=tuple(replace(one, add=0, samples=0.0, seconds=0.0) for one in planned))
    return plan


@dataclass(frozen=True, slots=True)
class _State:
    metric: Metric
    curve: pl.DataFrame
    """Schema `CURVE`, of the sizes that are fitted."""
    laws: FittedLaws
    outlook: Outlook
    noise: Noise
    odd: tuple[int, ...]

    @classmethod
    def of(
        cls, runs: pl.DataFrame, metric: Metric, target: float | None, shares: tuple[float, float] | None
    ) -> _State | FitFailure:
        curve, sizes = learning_curve(runs, metric.name), size_runs(points(runs, metric.name))
        train_sizes, groups = [size.train_size for size in sizes], [size.values for size in sizes]
        laws = laws_of(metric, curve)
        if isinstance(laws, FitFailure):
            return laws
        clusters = find_clusters(sizes)
        noise = noise_of(train_sizes, groups, _off_laws(laws), clusters)
        if clusters is not None and shares is not None:
            noise = replace(noise, draw_share=shares[0], seed_share=shares[1])
        outlook = look_ahead(laws, metric, target=target, noise=noise)
        if isinstance(outlook, FitFailure):
            return outlook
        is_odd = odd_scatter(sizes) != 1
        odd = tuple(int(size) for size, strange in zip(train_sizes, is_odd, strict=True) if strange)
        return cls(metric, curve, laws, outlook, noise, odd)

    @property
    def view(self) -> View:
        return self.outlook.view

    @property
    def largest(self) -> float:
        return self.view.foreseen.largest

    def goal(self, question: Question) -> float:
        """Train size of the answer; of a target out of reach, the farthest that anything is foreseen of."""
        needed = self.outlook.needed
        if needed is not None:
            return float(needed.train_size or needed.farthest)
        return question.at or AHEAD * self.largest

    def candidates(self, costs: RunCosts, at: float, room: Room) -> list[int]:
        """Where runs may be added: at the size of the answer where it can be run, else where they help."""
        known = [size for size in costs.sizes if size not in self.odd] or list(costs.sizes)
        if at <= max(self.largest, room.fits(TWICE * self.largest)):
            near = [size for size in known if max(size / at, at / size) < SAME_BY]
            if room == NO_ROOM:
                below, above = (
                    [one for one in known if (one < at) == is_below] for is_below in (True, False)
                )
                return near[:1] or below[-1:] + above[:1] or known
            return near[:1] or [max(1, round(at / room.unit)) * room.unit]
        return sorted({*known, *new_sizes(np.array(costs.sizes, float), room)})

    def place(
        self, runs: pl.DataFrame, question: Question, costs: RunCosts, at: float, room: Room
    ) -> tuple[PlannedSize, ...] | FitFailure:
        """Spend the budget on the sizes that may get runs."""
        if at > (far := self.view.foreseen.farthest):
            beyond = f"nothing is foreseen beyond {far:,.0f}, {far / self.largest:.0f} times the largest size"
            return FitFailure(f"is asked for {at:,.0f} images: {beyond}")
        sizes = np.array(self.candidates(costs, at, room), float)
        coming = dict(runs.filter(pl.col("state").is_in(COMING)).group_by("train_size").len().iter_rows())
        present = np.array([coming.get(round(size), 0) for size in sizes], dtype=np.int64)
        usual = ONE_SIZE_RUNS if len(sizes) == 1 else int(present.sum())
        prices, budget = costs.budget(question, sizes, usual)
        if not (prices > 0).all():
            what = "samples they saw" if question.samples is not None else "seconds they took"
            return FitFailure(f"has runs that do not say how many {what}: give the budget in runs")
        if (most := budget / float(prices.min())) > MOST_PLANNED:
            most_runs = f"give at most {MOST_PLANNED:,} runs, or less of what they cost"
            return FitFailure(f"has a budget of {most:,.0f} runs: {most_runs}")
        added = place_runs(sizes, present, prices, budget)
        if not added.any():
            return FitFailure("has a budget below the cost of one run")
        return tuple(
            PlannedSize(
                round(size), int(have), int(add), round(size) not in costs.samples,
                float(add * costs.samples_at(size)), float(add * costs.seconds_at(size)),
            )
            for size, have, add in zip(sizes, present, added, strict=True)
        )  # fmt: skip

    def mean_between(self, at: float) -> tuple[float, Interval | None]:
        """The mean at a size within the runs and its 95 % interval; between two sizes that of both."""
        sizes, rows = self.curve["train_size"].to_list(), self.curve.to_dicts()
        for size, row in zip(sizes, rows, strict=True):
            if max(size / at, at / size) < SAME_BY:
                known = row["low"] is not None
                return row["mean"], (row["low"], row["high"]) if known else None
        before, after = [0.0, *sizes[:-1]], [*sizes[1:], math.inf]
        steps = zip(rows, before, after, strict=True)
        around = [row for row, low, high in steps if low < at < high]
        ends = [row[name] for row in around for name in ("low", "high") if row[name] is not None]
        return self.view.value_at(at), (min(ends), max(ends)) if len(ends) == 4 else None

    def measured(self, value: float, size: PlannedSize, level: float) -> Interval:
        """What the mean over all runs of one size leaves, expected."""
        worth = self._sizes([size.train_size], [size.runs], [size.runs + size.add]).worth_then
        variance = self.noise.variance_at([size.train_size])
        half = float(ndtri((1 + level) / 2) * np.sqrt(variance / worth)[0])
        return max(0.0, value - half), min(self.metric.most, value + half)

    def views_with(self, runs: Mapping[int, int]) -> list[View]:
        """The forecasts that may be there once some sizes have as many runs; others keep theirs."""
        ended = dict(self.curve.select("train_size", "n_runs").iter_rows())
        sizes = sorted({*ended, *(size for size, n in runs.items() if n)})
        now = [ended.get(size, 0) for size in sizes]
        then = [max(runs.get(size, 0), have) for size, have in zip(sizes, now, strict=True)]
        points = self.laws.points
        return views_after(self.view, points.errors, points.stderrs, self._sizes(sizes, now, then))

    def sizes_needed(self, views: Sequence[View]) -> tuple[Interval | None, Interval | None]:
        """Both ends of the size that the target needs, now and expected; of a measured one now alone."""
        needed = self.outlook.needed
        if needed is None:
            return None, None
        if needed.above is not None:
            return (needed.below.train_size, needed.above.train_size) if needed.below else None, None
        error = float(flipped(self.laws.loss, needed.target))
        foreseen = (foreseen_sizes(view, error) for view in (self.view, *views))
        ends = [(least, most or math.inf) for least, _, most in foreseen]
        return ends[0], middle_of(ends[1:]) if views else None

    def _sizes(self, sizes: Sequence[int], now: Sequence[int], then: Sequence[int]) -> Sizes:
        """The scatter at some sizes, and what their runs are worth before and after."""
        train_sizes, added = np.array(sizes, float), np.subtract(then, now)
        worth = self.noise.worth(now)
        by_draws = self.noise.draw_share > MUCH_OF_DRAWS
        worth_then = worth + added if by_draws else self.noise.worth(then)
        return Sizes(train_sizes, self.noise.variance_at(train_sizes), worth, worth_then)


def _shares_of(runs: pl.DataFrame, metric: str) -> tuple[float, float] | None:
    """What draw and seed make of a run's variance, as `analyze` says; None where it says nothing."""
    splits = split_variance(drawn_runs(runs), metric)
    if not splits or splits[0].design not in ("crossed", "nested"):
        return None
    found = {one.name: one.share for one in splits[0].components if math.isfinite(one.share)}
    seed = found.get("training seed", 0.0) if splits[0].design == "crossed" else 0.0
    return found.get("subset draw", 0.0), seed


def _off_laws(laws: FittedLaws) -> float:
    """How far single means lie off the laws, in units of the error; NaN without an average."""
    if isinstance(laws.average, FitFailure):
        return math.nan
    off = laws.points.errors - laws.average.errors_at(laws.points.train_sizes)
    return float(np.sqrt(off @ off / max(1, len(off) - LEAST_SIZES)))


def _plan(
    runs: pl.DataFrame, state: _State, question: Question, at: float, planned: tuple[PlannedSize, ...]
) -> Plan:
    view, is_beyond = state.view, at > state.largest
    value, now, then, views = view.value_at(at), None, None, []
    level = LEVEL if is_beyond else CONFIDENCE
    if not is_beyond:
        value, now = state.mean_between(at)
    elif at <= view.foreseen.farthest:
        now = view.band_at(at, LEVEL)
    near = planned if len(planned) == 1 or not is_beyond else _around(planned, at)
    if near:
        # Between two sizes from the lower end of the one to the upper end of the other, as now.
        means = [value] if len(near) == 1 else [state.mean_between(one.train_size)[0] for one in near]
        ends = [state.measured(mean, one, level) for mean, one in zip(means, near, strict=True)]
        then = min(low for low, _ in ends), max(high for _, high in ends)
    else:
        views = state.views_with({size.train_size: size.runs + size.add for size in planned})
        then = _band(views, at)
    beyond = None
    twice = round(TWICE * state.largest)
    if at > twice and max(size.train_size for size in planned) <= state.largest:
        interval = _band(state.views_with({twice: BEYOND_RUNS}), at)
        if interval is not None and not _hardly_narrows(now, interval):
            beyond = Beyond(twice, BEYOND_RUNS, interval)
    size_now, size_then = state.sizes_needed(views)
    return Plan(
        experiment=str(runs["experiment"][0]), variant=str(runs["variant"][0]), metric=state.metric,
        at=at, value=value, level=level, now=now, then=then,
        target=question.target, size_now=size_now, size_then=size_then, sizes=planned, beyond=beyond,
        odd=state.odd, draw_share=state.noise.draw_share, outlook=state.outlook, noise=state.noise,
    )  # fmt: skip


def _around(planned: Sequence[PlannedSize], at: float) -> Sequence[PlannedSize]:
    """The sizes beside another, or the one that is as good as it, once all runs have ended.

    None where that lies beyond all of them.
    """
    measured = [one for one in planned if one.runs + one.add]
    if same := [one for one in measured if max(one.train_size / at, at / one.train_size) < SAME_BY]:
        return same[:1]
    below, above = (
        [one for one in measured if (one.train_size < at) == is_below] for is_below in (True, False)
    )
    return above and below[-1:] + above[:1]


def _hardly_narrows(now: Interval | None, then: Interval | None) -> bool:
    """Whether an interval keeps nearly all of its width; not where one of both is unknown."""
    return now is not None and then is not None and then[1] - then[0] > HARDLY * (now[1] - now[0])


def _band(views: Sequence[View], at: float) -> Interval | None:
    ends = [view.band_at(at, LEVEL) for view in views if at <= view.foreseen.farthest]
    return middle_of(ends) if ends else None

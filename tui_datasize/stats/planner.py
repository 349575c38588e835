"""Which runs to queue next: the sizes and numbers of seeds that narrow one answer most within a budget."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import polars as pl
from scipy.special import ndtri

from tui_datasize.metric import Metric, metric_named
from tui_datasize.stats.averaging import Average, FittedLaws
from tui_datasize.stats.clusters import Clusters, find_clusters
from tui_datasize.stats.curve import COMING, CONFIDENCE, learning_curve, points, size_runs
from tui_datasize.stats.design import Counts, Design, design_law, relative_half_width, spread_checks
from tui_datasize.stats.extrapolate import LEVEL, Outlook, look_ahead
from tui_datasize.stats.fits import FitFailure
from tui_datasize.stats.fitting import LawFit, curve_points, fit_law
from tui_datasize.stats.laws import WHAT_LAWS_DESCRIBE, Floats, Loss, flipped, loss_of
from tui_datasize.stats.noise import Noise, noise_of
from tui_datasize.stats.question import MOST_PLANNED, NOTHING_ASKED, Question
from tui_datasize.stats.summary import laws_of

MUCH_OF_DRAWS = 0.25
"""A larger share of a run's variance than this is worth other draws."""
AHEAD = 4
"""Times the largest size: what is planned for where nothing is asked."""


@dataclass(frozen=True, slots=True)
class PlannedSize:
    """One train size of a plan."""

    train_size: int
    runs: int
    """That there are, or are on their way."""
    add: int
    check: int
    """Of those to add, the ones that only check the law."""
    samples: float
    """Training samples of all runs to add."""


@dataclass(frozen=True)
class Plan:
    """Runs to add to one curve."""

    experiment: str
    variant: str
    metric: Metric
    at: float
    """Train size of the answer; of a target, where the average of the laws reaches it."""
    value: float
    """The metric there by the average of the laws: the answer of `analyze`."""
    band: tuple[float, float] | None
    """The calibrated band around it; None within the runs, or too far beyond them."""
    value_by_law: float
    """The metric there by the law that the runs are placed by."""
    target: float | None
    sizes: tuple[PlannedSize, ...]
    half_width_now: float
    """Of the 95 % interval that the scatter between runs leaves at `at`, by the law."""
    half_width_then: float
    half_width_beyond: float | None
    """What as many runs at twice the largest size would leave; None where the answer lies within the runs."""
    draw_share: float
    """Of the variance of a run, what the subset draw makes of it; 0 where it cannot be told."""
    half_width_least: float
    """What any number of further runs on the same subset draws would leave; 0 where draws do nothing."""
    factor_now: float | None
    """The same of the size needed: times and divided by; None where no target was given."""
    factor_then: float | None
    outlook: Outlook
    """What is foreseen of the same runs, and of the same target."""
    noise: Noise
    """The scatter that the plan was made with."""

    @property
    def n_added(self) -> int:
        return sum(size.add for size in self.sizes)


def plan_next_runs(
    runs: pl.DataFrame,
    metric: str,
    question: Question = NOTHING_ASKED,
    samples_per_run: Mapping[int, float] = MappingProxyType({}),
) -> Plan | FitFailure:
    """Plan further runs of one curve.

    What is foreseen is the average of the laws, as everywhere; one law alone, that of `design`, tells where
    runs narrow it most. Runs that are queued or running count as if they had ended: the plan comes on top.

    Args:
        runs: Schema `RUNS`, of one experiment and variant.
        metric: A key of `METRICS_OFFERED` that has a law.
        question: What is to be known, and what it may cost.
        samples_per_run: Training samples of a run by train size, for every size that may be added to; sizes
            that have runs are added from them.

    Raises:
        ConfigError: There is no such metric, or the question makes no sense.
    """
    offered = metric_named(metric)
    question.check_plan(offered)
    loss = loss_of(offered)
    if loss is None:
        return FitFailure(f"is asked of {metric}, which no law here is fitted to: {WHAT_LAWS_DESCRIBE}")
    fitted = runs.filter(pl.col("train_size") >= question.fit_from)
    design = fit_design(fitted, metric)
    if isinstance(design, FitFailure):
        out = f"; sizes below {question.fit_from:,} are left out" if fitted.height < runs.height else ""
        return FitFailure(design.reason + out)
    forecast = forecast_of(fitted, offered, question.target)
    if isinstance(forecast, FitFailure):
        return forecast
    costs = {**_samples(runs), **samples_per_run}
    sizes = np.array(sorted(costs), float)
    present = _present(runs, sizes)
    at = _goal(forecast.outlook, question, float(sizes[-1]))
    price, budget = _budget(question, sizes, costs, int(present.sum()))
    if not (price > 0).all():
        return FitFailure("has runs that do not say how many samples they saw: give the budget in runs")
    if budget > MOST_PLANNED * float(price.min()):
        return FitFailure(
            f"has a budget of {budget / float(price.min()):,.0f} runs: give at most {MOST_PLANNED:,} runs, "
            "or fewer samples"
        )
    added, checks = allocate(design, at, sizes, present, price, budget, question.check_share)
    if not added.any():
        return FitFailure("has a budget below the cost of one run")
    planned = tuple(
        PlannedSize(int(n), int(have), int(add), int(check), float(add * costs[int(n)]))
        for n, have, add, check in zip(sizes, present, added, checks, strict=True)
    )
    return _plan(runs, offered, design, forecast, question, at, planned, present, added)


@dataclass(frozen=True, slots=True)
class Forecast:
    """What `analyze` says of the same runs."""

    laws: FittedLaws
    average: Average
    outlook: Outlook


def forecast_of(runs: pl.DataFrame, metric: Metric, target: float | None = None) -> Forecast | FitFailure:
    """The default answer on some runs of one curve."""
    laws = laws_of(metric, learning_curve(runs, metric.name))
    if isinstance(laws, FitFailure):
        return laws
    outlook = look_ahead(laws, metric, target=target)
    if isinstance(outlook, FitFailure):
        return outlook
    if isinstance(laws.average, FitFailure):
        return laws.average
    return Forecast(laws, laws.average, outlook)


def fit_design(runs: pl.DataFrame, metric: str) -> Design | FitFailure:
    """The power law with floor and the noise that some runs of one curve show."""
    curve = learning_curve(runs, metric)
    sizes = size_runs(points(runs, metric))
    loss = loss_of(metric_named(metric)) or Loss.ERROR
    train_sizes, groups = [size.train_size for size in sizes], [size.values for size in sizes]
    return design_of(train_sizes, groups, flipped(loss, curve["mean"]), find_clusters(sizes))


def design_of(
    train_sizes: list[float], groups: list[Floats], errors: Floats, clusters: Clusters | None = None
) -> Design | FitFailure:
    """The same from the runs of each size, ascending in size, and the mean error of each."""
    law = design_law()
    noise = noise_of(train_sizes, groups, clusters=clusters)
    counts = noise.worth([len(group) for group in groups])
    fit = _fit(train_sizes, errors, noise, counts)
    if isinstance(fit, FitFailure):
        return FitFailure(
            f"has too few sizes for a plan (the law {law.formula} {fit.reason}): run a pilot of more sizes"
        )
    if not noise.degrees:
        noise = noise_of(train_sizes, groups, fit.rmse)
    return Design.of(fit, noise, float(np.exp(np.mean(np.log(train_sizes)))))


def _fit(train_sizes: list[float], errors: Floats, noise: Noise, counts: Floats) -> LawFit | FitFailure:
    stderrs = np.sqrt(noise.variance_at(train_sizes) / counts) if len(counts) else counts
    fitted = curve_points(train_sizes, errors, stderrs)
    if isinstance(fitted, FitFailure):
        return fitted
    return fit_law(design_law(), fitted)


def allocate(
    design: Design,
    at: float,
    sizes: Floats,
    present: Counts,
    price: Floats,
    budget: float,
    check_share: float,
) -> tuple[Counts, Counts]:
    """Spend a budget: most on the best answer, a share on sizes that check the law.

    Args:
        design: The law and the noise.
        at: Train size of the answer.
        sizes: Where runs may be added, shape (n,).
        present: Runs there are, shape (n,).
        price: Of one run, shape (n,).
        budget: Of all together.
        check_share: Of the budget, in [0, 1).

    Returns:
        Runs to add, and how many of them only check the law; shapes (n,).
    """
    best = design.add_runs(at, sizes, present, price, budget)
    checks = spread_checks(sizes, present, best, price, check_share * budget)
    if not checks.any():
        return best, checks
    spent = float(checks @ price)
    return design.add_runs(at, sizes, present + checks, price, budget - spent) + checks, checks


def _present(runs: pl.DataFrame, sizes: Floats) -> Counts:
    """Runs at each size that have a result or are on their way to one."""
    coming = runs.filter(pl.col("state").is_in(COMING))
    counts = dict(coming.group_by("train_size").len().iter_rows())
    return np.array([counts.get(int(size), 0) for size in sizes], dtype=np.int64)


def _samples(runs: pl.DataFrame) -> dict[int, float]:
    # Runs from elsewhere may not say how long they trained.
    mean = (pl.col("total_updates") * pl.col("batch_size")).mean().fill_null(0.0)
    return dict(runs.group_by("train_size").agg(mean).iter_rows())


def _goal(outlook: Outlook, question: Question, largest: float) -> float:
    """Train size of the answer; of a target out of reach, the farthest that anything can be said of."""
    if outlook.needed is not None:
        return float(outlook.needed.train_size or outlook.extrapolations[-1].train_size)
    return question.at or AHEAD * largest


def _budget(
    question: Question, sizes: Floats, costs: Mapping[int, float], present: int
) -> tuple[Floats, float]:
    """Price of a run at each size, and what all may cost."""
    if question.samples is not None:
        return np.array([costs[int(size)] for size in sizes]), question.samples
    return np.ones(len(sizes)), float(question.runs or present)


def _plan(
    runs: pl.DataFrame,
    metric: Metric,
    design: Design,
    forecast: Forecast,
    question: Question,
    at: float,
    planned: tuple[PlannedSize, ...],
    present: Counts,
    added: Counts,
) -> Plan:
    sizes = np.array([size.train_size for size in planned], float)
    z = float(ndtri(0.5 + CONFIDENCE / 2))
    now, then = (design.variance_at(at, sizes, counts) for counts in (present, present + added))
    wider = np.append(sizes, 2 * sizes[-1]), np.append(present, added.sum())
    beyond = design.variance_at(at, *wider)
    loss = loss_of(metric) or Loss.ERROR
    factors = [relative_half_width(v, z, design.log_slope_at(at)) for v in (now, then)]
    has_target = question.target is not None
    view = forecast.outlook.view
    is_foreseen = view.foreseen.largest < at <= view.foreseen.farthest
    value = view.value_at(at) if is_foreseen else float(flipped(loss, forecast.average.errors_at([at]))[0])
    return Plan(
        experiment=str(runs["experiment"][0]),
        variant=str(runs["variant"][0]),
        metric=metric,
        at=at,
        value=value,
        band=view.band_at(at, LEVEL) if is_foreseen else None,
        value_by_law=float(flipped(loss, design.errors_at([at]))[0]),
        target=question.target,
        sizes=planned,
        half_width_now=z * math.sqrt(now),
        half_width_then=z * math.sqrt(then),
        half_width_beyond=z * math.sqrt(beyond) if at > sizes[-1] else None,
        draw_share=design.noise.draw_share,
        half_width_least=z * math.sqrt(design.least_variance_at(at, sizes)),
        factor_now=factors[0] if has_target else None,
        factor_then=factors[1] if has_target else None,
        outlook=forecast.outlook,
        noise=design.noise,
    )

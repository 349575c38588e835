"""Beyond the largest train size: the metric with a band, the size a target needs, what a doubling buys."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from tui_datasize.analysis.averaging import Average, FittedLaws
from tui_datasize.analysis.calibration import Calibration, Cell, error_band, shipped_calibration
from tui_datasize.analysis.curve import Metric
from tui_datasize.analysis.fits import FitFailure
from tui_datasize.analysis.laws import Floats, Loss, flipped

DEFAULT_DELTA: Mapping[Loss, float] = MappingProxyType({Loss.ERROR: 0.005, Loss.CROSS_ENTROPY: 0.02})
"""A doubling that buys less is little: half a point of accuracy."""
GRID_PER_DOUBLING = 64
NOT_IDENTIFIABLE = "not identifiable from these runs"


@dataclass(frozen=True, slots=True)
class Extrapolation:
    """The metric at a train size, with its band; all in units of the metric."""

    train_size: int
    factor: float
    """Times the largest train size of the curve."""
    value: float
    low: float
    high: float
    nominal: float
    """Coverage that the band is made for."""
    measured: float | None
    """Coverage on public curves of data sets left out; None where none measures this metric."""


@dataclass(frozen=True, slots=True)
class SizeNeeded:
    """Which train size reaches a target."""

    target: float
    """In units of the metric."""
    train_size: int | None
    """By the default answer; None where it does not get there within the calibrated range."""
    at_least: int | None
    """One-sided bound; None where the band reaches the target from the start, or nowhere in that range."""
    at_most: int | None
    """One-sided bound; None where the band does not surely reach the target within that range."""
    one_sided: float
    """Nominal confidence of each bound."""
    at_least_measured: float | None
    """How often such a bound held on public curves of data sets left out; None where none measures it."""
    at_most_measured: float | None
    words: str


@dataclass(frozen=True, slots=True)
class Doubling:
    """What more data buys by the default answer, in units of the metric."""

    gain: float
    """Change of the metric from the largest train size to its double."""
    low: float
    high: float
    delta: float
    small_from: int | None
    """Train size from which a doubling buys less than `delta`; None if not within the calibrated range."""
    words: str


@dataclass(frozen=True, slots=True)
class Outlook:
    """What lies beyond the runs."""

    extrapolations: tuple[Extrapolation, ...]
    doubling: Doubling
    needed: SizeNeeded | None
    """None where no target was given."""
    words: str
    """Where the bands come from and what they are worth."""


@dataclass(frozen=True, slots=True)
class _View:
    """The default answer and the bands of one curve."""

    average: Average
    train_sizes: Floats
    cells: tuple[Cell, ...]
    level: float
    metric: Metric

    @property
    def largest(self) -> float:
        return float(self.train_sizes[-1])

    @property
    def farthest(self) -> float:
        return self.largest * self.cells[-1].factor

    def band(self, train_sizes: Floats) -> tuple[Floats, Floats]:
        return error_band(self.average, self.largest, train_sizes, self.cells)

    def metric_of(self, error: float) -> float:
        return float(flipped(self.average.loss, error))


def look_ahead(
    laws: FittedLaws,
    metric: Metric,
    *,
    target: float | None = None,
    delta: float | None = None,
    calibration: Calibration | None = None,
) -> Outlook | FitFailure:
    """What the default answer says beyond the largest train size.

    Args:
        laws: Fitted to the error that belongs to the metric, see `laws.flipped`.
        metric: What the results are in units of.
        target: A value of the metric to reach.
        delta: What a doubling has to buy to be worth it, above 0, in units of the metric; None takes
            `DEFAULT_DELTA`.
        calibration: Another table than the shipped one.
    """
    average = laws.average
    if isinstance(average, FitFailure):
        return average
    table = calibration or shipped_calibration()
    cells = table.of_length(laws.points.n_sizes)
    if not cells:
        return FitFailure(f"has {laws.points.n_sizes} sizes, fewer than any band is calibrated for")
    view = _View(average, laws.points.train_sizes, cells, table.level, metric)
    return Outlook(
        extrapolations=_extrapolations(view),
        doubling=_doubling(view, DEFAULT_DELTA[laws.loss] if delta is None else delta),
        needed=None if target is None else _needed(view, target),
        words=_worth(view, table),
    )


def shown(value: float, metric: Metric, *, is_difference: bool = False) -> str:
    """A value of a metric as people read it: a share in percent, a difference of shares in points.

    >>> from tui_datasize.analysis.curve import metric_named
    >>> shown(0.9512, metric_named("test_accuracy")), shown(0.305, metric_named("test_loss"))
    ('95.12 %', '0.3050')
    """
    if not metric.is_share:
        return f"{value:.4f}"
    return f"{100 * value:.2f}" + (" points" if is_difference else " %")


def _extrapolations(view: _View) -> tuple[Extrapolation, ...]:
    sizes = np.array([view.largest * cell.factor for cell in view.cells])
    is_measured = view.average.loss is Loss.ERROR
    found = zip(view.cells, sizes, view.average.errors_at(sizes), *view.band(sizes), strict=True)
    extrapolations = []
    for cell, size, error, least, most in found:
        low, high = sorted((view.metric_of(least), view.metric_of(most)))
        measured = cell.coverage if is_measured else None
        value = view.metric_of(error)
        extrapolations.append(Extrapolation(round(size), cell.factor, value, low, high, view.level, measured))
    return tuple(extrapolations)


def _doubling(view: _View, delta: float) -> Doubling:
    here, there = view.average.errors_at([view.largest, 2 * view.largest])
    least, most = (float(end[0]) for end in view.band(np.array([2 * view.largest])))
    start = view.metric_of(here)
    low, high = sorted((view.metric_of(least) - start, view.metric_of(most) - start))
    small_from = _small_from(view, delta)
    amount = shown(delta, view.metric, is_difference=True)
    words = (
        f"From which size on a doubling buys less than {amount} is {NOT_IDENTIFIABLE}."
        if small_from is None
        else f"From {small_from:,} images on a doubling buys less than {amount}."
    )
    return Doubling(view.metric_of(there) - start, low, high, delta, small_from, words)


def _small_from(view: _View, delta: float) -> int | None:
    """The size from which gains stay below delta: a plateau among small sizes gains little, too."""
    sizes = _grid(float(view.train_sizes[0]), view.farthest / 2)
    gains = view.average.errors_at(sizes) - view.average.errors_at(2 * sizes)
    large = np.flatnonzero(gains >= delta)
    first = int(large[-1]) + 1 if len(large) else 0
    return None if first == len(sizes) else math.ceil(sizes[first])


def _needed(view: _View, target: float) -> SizeNeeded:
    error = float(flipped(view.average.loss, target))
    beyond = _grid(view.largest, view.farthest)
    every = np.concatenate([_grid(float(view.train_sizes[0]), view.largest), beyond])
    least, most = view.band(beyond)
    train_size = _first(every, view.average.errors_at(every), error)
    at_least, at_most = _first(beyond, least, error), _first(beyond, most, error)
    worth = (1 + view.level) / 2, *_one_sided_measured(view)
    if train_size is not None and train_size <= view.largest:
        words = (
            f"By the average of the laws {shown(target, view.metric)} is reached within the sizes that were "
            f"run, at about {train_size:,} images; the table above says what was measured there."
        )
        return SizeNeeded(target, train_size, None, None, *worth, words)
    is_open_below = at_least is not None and at_least <= math.ceil(view.largest)
    words = _needed_words(view, target, train_size, at_least, at_most, is_open_below)
    return SizeNeeded(target, train_size, None if is_open_below else at_least, at_most, *worth, words)


def _one_sided_measured(view: _View) -> tuple[float | None, float | None]:
    """How often the band's lower and upper end held, at the factor where they did worst."""
    if view.average.loss is not Loss.ERROR:
        return None, None
    return 1 - max(cell.below for cell in view.cells), 1 - max(cell.above for cell in view.cells)


def _needed_words(
    view: _View,
    target: float,
    train_size: int | None,
    at_least: int | None,
    at_most: int | None,
    is_open_below: bool,
) -> str:
    goal, sure = shown(target, view.metric), f"{100 * (1 + view.level) / 2:.0f} % sure"
    if at_least is None:
        return (
            f"How many images {goal} needs is {NOT_IDENTIFIABLE}: more than {view.farthest:,.0f} ({sure}), "
            "beyond which no band is calibrated."
        )
    floor = "" if is_open_below else f"at least {at_least:,} images ({sure})"
    if at_most is not None and train_size is not None:
        bounds = ", ".join(part for part in (floor, f"at most {at_most:,} ({sure})") if part)
        return f"{goal} needs about {train_size:,} images: {bounds}."
    if not floor:
        return f"How many images {goal} needs is {NOT_IDENTIFIABLE}."
    return f"{goal} needs {floor}; how many more is {NOT_IDENTIFIABLE}."


def _worth(view: _View, table: Calibration) -> str:
    least, most = (f"{100 * pick(cell.coverage for cell in view.cells):.0f}" for pick in (min, max))
    held = least if least == most else f"{least} to {most}"
    curves, sets = view.cells[0].curves, view.cells[0].data_sets
    words = (
        f"Bands of {100 * view.level:.0f} % nominal coverage held {held} % of "
        f"{curves:,} public curves of {sets} data sets, each left out of the calibration ({table.source})."
    )
    if view.average.loss is Loss.ERROR:
        return words
    return f"{words} Those are error rates: for cross-entropy the coverage has not been measured."


def _grid(start: float, end: float) -> Floats:
    """Train sizes from start to end, both included, dense enough to find a crossing on."""
    return np.geomspace(start, end, max(2, math.ceil(GRID_PER_DOUBLING * math.log2(end / start)) + 1))


def _first(sizes: Floats, errors: Floats, most: float) -> int | None:
    """The first size whose error is at most `most`."""
    reached = np.flatnonzero(errors <= most)
    return math.ceil(sizes[reached[0]] - 1e-6) if len(reached) else None

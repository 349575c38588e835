"""Which train size a target needs, with bounds, or that these runs cannot tell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tui_datasize.metric import Metric
from tui_datasize.stats.laws import Floats, Loss, flipped
from tui_datasize.stats.view import View, first_at_most, grid


@dataclass(frozen=True, slots=True)
class Measured:
    """The mean at a train size."""

    train_size: int
    mean: float
    """In units of the metric."""


@dataclass(frozen=True, slots=True)
class SizeNeeded:
    """Which train size reaches a target."""

    target: float
    """In units of the metric."""
    train_size: int | None
    """Between the two sizes that measured it, else by the default answer; None where that does not get there
    within the calibrated range."""
    at_least: int | None
    """One-sided bound, the end of the calibrated range where the band reaches the target nowhere in it; None
    where it does so from the start."""
    at_most: int | None
    """One-sided bound; None where the band does not surely reach the target within that range."""
    one_sided: float
    """Nominal confidence of each bound."""
    at_least_measured: float | None
    """How often such a bound held on public curves of data sets left out; None where none measures it."""
    at_most_measured: float | None
    largest: int
    """The largest train size that was run."""
    below: Measured | None = None
    """The last size that misses the target; None where the smallest one reaches it, or none does."""
    above: Measured | None = None
    """The size from which all means reach it; None where the largest one does not."""

    @property
    def is_measured(self) -> bool:
        """Whether runs have reached the target."""
        return self.above is not None


def reached(sizes: Sequence[float], means: Sequence[float], metric: Metric, target: float) -> SizeNeeded:
    """Which train size the means alone say; without bounds.

    Args:
        sizes: Train sizes, ascending, at least one.
        means: Of each size, in units of the metric.
        metric: What they are of.
        target: In units of the metric.
    """
    better = [(mean - target) * (1 if metric.higher_is_better else -1) >= 0 for mean in means]
    misses = [place for place, is_reached in enumerate(better) if not is_reached]
    first = misses[-1] + 1 if misses else 0
    largest = round(sizes[-1])
    below = Measured(round(sizes[first - 1]), float(means[first - 1])) if first else None
    if first == len(sizes):
        return SizeNeeded(target, None, None, None, math.nan, None, None, largest, below)
    above = Measured(round(sizes[first]), float(means[first]))
    size = _between(below, above, target) if below else above.train_size
    return SizeNeeded(target, size, None, None, math.nan, None, None, largest, below, above)


def _between(below: Measured, above: Measured, target: float) -> int:
    """Where the straight line over log(train size) between two means reaches the target."""
    share = (target - below.mean) / (above.mean - below.mean)
    return round(math.exp(math.log(below.train_size) + share * math.log(above.train_size / below.train_size)))


def size_needed(view: View, target: float, means: Floats) -> SizeNeeded:
    """Which train size reaches a target: as the means say where they reach it, else as the laws do.

    Args:
        view: Of the curve.
        target: In units of the metric.
        means: Of the train sizes of the view, in units of the metric.
    """
    measured = reached(view.train_sizes.tolist(), means.tolist(), view.metric, target)
    if measured.is_measured:
        return measured
    error = float(flipped(view.average.loss, target))
    beyond = grid(view.largest, view.farthest)
    least, most = view.band(beyond)
    train_size = first_at_most(beyond, view.average.errors_at(beyond), error)
    at_least, at_most = first_at_most(beyond, least, error), first_at_most(beyond, most, error)
    worth = (1 + view.level) / 2, *_one_sided_measured(view)
    largest = measured.largest
    if at_least is not None and at_least <= math.ceil(view.largest):
        at_least = None
    elif at_least is None:
        at_least = round(view.farthest)
    return SizeNeeded(target, train_size, at_least, at_most, *worth, largest, measured.below)


def _one_sided_measured(view: View) -> tuple[float | None, float | None]:
    """How often the band's lower and upper end held, at the factor where they did worst.

    One end alone has not been measured on ill-shaped curves: it holds at least as often as both.
    """
    if view.average.loss is not Loss.ERROR:
        return None, None
    if view.faults:
        held = [cell.coverage_ill_shaped for cell in view.cells if cell.coverage_ill_shaped is not None]
        return (min(held), min(held)) if held else (None, None)
    return 1 - max(cell.below for cell in view.cells), 1 - max(cell.above for cell in view.cells)

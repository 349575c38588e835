"""Which train size a target needs, with odds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtr, ndtri

from tui_datasize.metric import Metric
from tui_datasize.stats.averaging import LEAST_ERROR
from tui_datasize.stats.laws import Floats, Loss, flipped
from tui_datasize.stats.noise import Noise
from tui_datasize.stats.view import View, first_at_most, grid

ODDS = 0.8
"""How sure one may be of the interval of a size: each end is missed in one of ten."""
ASSURANCE = 0.8
"""Share of trainings that reach the target at the size that is assured."""


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
    """At which the mean does: between the two sizes that measured it, else by the forecast; None where that
    does not get there by `farthest`."""
    at_least: int | None
    """Lower end of the interval: the mean reaches the target earlier in one of ten. The largest size run
    where it may be anywhere beyond that, `farthest` where the band does not reach the target at all; None
    where the size is measured."""
    at_most: int | None
    """Upper end; None where the band does not surely reach the target by `farthest`."""
    largest: int
    """The largest train size that was run."""
    farthest: int
    """The largest train size that is foreseen."""
    below: Measured | None = None
    """The last size that misses the target; None where the smallest one reaches it, or none does."""
    above: Measured | None = None
    """The size from which all means reach it; None where the largest one does not."""
    assured: int | None = None
    """At which `ASSURANCE` of single trainings reach it; None where that lies beyond `farthest`, or no size
    was trained at twice."""
    enough: float = 0.0
    """How sure it is that `farthest` is enough, where `train_size` is foreseen and no `at_most`; else 0."""
    odds: float = ODDS
    """Nominal confidence of the interval; one end alone is missed half as often. 0 without a forecast."""

    @property
    def sure(self) -> float:
        """How sure the bounds are that there are: both, or only one."""
        is_from_two = self.at_most is not None and self.at_least is not None and self.at_least > self.largest
        return self.odds if is_from_two or not self.odds else (1 + self.odds) / 2

    @property
    def is_measured(self) -> bool:
        return self.above is not None


def reached(sizes: Sequence[float], means: Sequence[float], metric: Metric, target: float) -> SizeNeeded:
    """Which train size the means alone say; without bounds.

    `sizes` ascend, at least one; `means` and `target` are in units of the metric.
    """
    better = [(mean - target) * (1 if metric.higher_is_better else -1) >= 0 for mean in means]
    misses = [place for place, is_reached in enumerate(better) if not is_reached]
    first = misses[-1] + 1 if misses else 0
    largest = round(sizes[-1])
    below = Measured(round(sizes[first - 1]), float(means[first - 1])) if first else None
    if first == len(sizes):
        return SizeNeeded(target, None, None, None, largest, largest, below, odds=0.0)
    above = Measured(round(sizes[first]), float(means[first]))
    size = _between(below, above, target) if below else above.train_size
    return SizeNeeded(target, size, None, None, largest, largest, below, above)


def _between(below: Measured, above: Measured, target: float) -> int:
    """Where the straight line over log(train size) between two means reaches the target."""
    share = (target - below.mean) / (above.mean - below.mean)
    return round(math.exp(math.log(below.train_size) + share * math.log(above.train_size / below.train_size)))


def size_needed(view: View, target: float, means: Floats, noise: Noise | None = None) -> SizeNeeded:
    """Which train size reaches a target: as the means say where they reach it, else as is foreseen.

    `target`, and `means` of the sizes of the view, are in units of the metric; `noise` is that of single
    runs, None where nothing is known of it.
    """
    measured = reached(view.train_sizes.tolist(), means.tolist(), view.metric, target)
    farthest = math.floor(view.foreseen.farthest)
    needed = replace(measured, farthest=farthest, assured=_assured(view, target, means, noise))
    if measured.is_measured:
        return needed
    error = float(flipped(view.loss, target))
    at_least, size, at_most = foreseen_sizes(view, error)
    return replace(
        needed,
        train_size=size,
        at_least=max(at_least, measured.largest),
        at_most=at_most,
        enough=_enough(view, error) if size is not None and at_most is None else 0.0,
        odds=ODDS,
    )


def _enough(view: View, error: float) -> float:
    """How sure an error is at the farthest size, between the forecast and the upper end of its band.

    As of a normal distribution of the logarithm of the error.
    """
    at = np.array([view.foreseen.farthest])
    centre, worst = float(view.foreseen.errors_at(at)[0]), float(view.foreseen.band(at, ODDS)[1][0])
    least = max(centre, LEAST_ERROR)
    share = math.log(max(error, LEAST_ERROR) / least) / math.log(worst / least)
    return float(ndtr(share * ndtri((1 + ODDS) / 2)))


def foreseen_sizes(view: View, error: float) -> tuple[int, int | None, int | None]:
    """Where the lower end of the band, the forecast and the upper end fall to an error beyond the runs.

    The farthest size that is foreseen where the lower end does not, None where one of the others does not.
    """
    beyond = grid(view.foreseen.largest, view.foreseen.farthest)
    least, most = view.foreseen.band(beyond, ODDS)
    at_least = first_at_most(beyond, least, error)
    return (
        math.floor(view.foreseen.farthest) if at_least is None else at_least,
        first_at_most(beyond, view.foreseen.errors_at(beyond), error),
        first_at_most(beyond, most, error),
    )


def _assured(view: View, target: float, means: Floats, noise: Noise | None) -> int | None:
    """The size at which enough of the trainings reach a target, those below the mean included."""
    if noise is None or not noise.degrees:
        return None
    sign, z = (1 if view.loss is Loss.ERROR else -1), float(ndtri(ASSURANCE))
    room = z * np.sqrt(noise.variance_at(view.train_sizes))
    measured = reached(view.train_sizes.tolist(), (means - sign * room).tolist(), view.metric, target)
    if measured.is_measured:
        return measured.train_size
    beyond = grid(view.foreseen.largest, view.foreseen.farthest)
    worse = view.foreseen.errors_at(beyond) + z * np.sqrt(noise.variance_at(beyond))
    return first_at_most(beyond, worse, float(flipped(view.loss, target)))

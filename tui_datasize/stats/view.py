"""The view beyond the largest train size: the forecast of one curve, its doubts, or why there is none."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tui_datasize.metric import Metric
from tui_datasize.stats.averaging import LEAST_ERROR, Average, FittedLaws
from tui_datasize.stats.fits import FitFailure
from tui_datasize.stats.fitting import floored
from tui_datasize.stats.forecast import Forecaster, Foreseen, shipped_forecaster
from tui_datasize.stats.forecast_features import windows_of
from tui_datasize.stats.laws import Floats, Loss, flipped
from tui_datasize.stats.shape import Fault, describe_shape

GRID_PER_DOUBLING = 64
MISS_STDERRS = 3.0
"""A mean farther from the average of the laws is not there by the scatter of its runs."""
ROOM = 0.055
"""In the logarithm of the error: what laws that agree are off at twice the largest size, at most."""
MISS_ROOMS, RISE_ROOMS = 4.0, 2.0
"""A single run this much worse than the laws, or than a smaller size, or this much better than the laws (a
curve that rises late), contradicts them."""
MUCH_SCATTER = 0.03
"""Of single runs around the laws, in the logarithm of the error."""


@dataclass(frozen=True, slots=True)
class View:
    """The forecast of one curve."""

    average: Average
    """Of the laws, for the sizes that were run."""
    foreseen: Foreseen
    """Beyond them."""
    forecaster: Forecaster
    train_sizes: Floats
    metric: Metric
    faults: tuple[Fault, ...]
    """Of the curve's shape, see `CurveShape.faults`."""
    scatter: float
    """Of single runs around the average, in the logarithm of the error; 0 where runs repeat a size."""

    @property
    def loss(self) -> Loss:
        return self.average.loss

    def value_at(self, train_size: float) -> float:
        """The metric by the average of the laws within the runs, by the forecast beyond them; NaN too far."""
        source = self.foreseen if train_size >= self.foreseen.largest else self.average
        return self.metric_of(float(source.errors_at(np.array([train_size]))[0]))

    def band_at(self, train_size: float, level: float) -> tuple[float, float]:
        """Both ends of the metric's band beyond the runs, the lower one first."""
        least, most = (float(end[0]) for end in self.foreseen.band(np.array([train_size]), level))
        low, high = sorted((self.metric_of(least), self.metric_of(most)))
        return low, high

    def metric_of(self, error: float) -> float:
        return float(flipped(self.loss, error))


def view_of(laws: FittedLaws, metric: Metric, forecaster: Forecaster | None = None) -> View | FitFailure:
    """What can be said beyond the largest size; arguments as of `extrapolate.look_ahead`."""
    average, windows = laws.average, windows_of(laws)
    if isinstance(average, FitFailure) or isinstance(windows, FitFailure):
        return average if isinstance(average, FitFailure) else FitFailure("has too few sizes that differ")
    points, faults, scatter = laws.points, describe_shape(laws).faults, 0.0
    if points.has_stderrs:
        missed = _missed(laws, average, metric) if faults else ""
    else:
        off = _logarithms(points.errors) - _logarithms(average.errors_at(points.train_sizes))
        missed = _missed_by_single_runs(laws, off, metric)
        scatter = float(np.sqrt(np.mean(off**2)))
    if missed:
        return FitFailure(missed)
    chosen = forecaster or shipped_forecaster()
    foreseen = chosen.foresee(points, *windows, laws.loss)
    return View(average, foreseen, chosen, points.train_sizes, metric, faults, scatter)


def _missed(laws: FittedLaws, average: Average, metric: Metric) -> str:
    """How the average misses the mean of the largest size; empty where it does not.

    A miss is more than scatter explains, and more than `ROOM`. Where a public curve of ill shape was missed
    so, bands of the laws' average held less than half.
    """
    points = laws.points
    seen, by_laws = float(points.errors[-1]), float(average.errors_at(points.train_sizes[-1:])[0])
    by, stderr = abs(seen - by_laws), float(floored(points.stderrs)[-1])
    off = abs(math.log(max(seen, LEAST_ERROR) / max(by_laws, LEAST_ERROR)))
    if by <= MISS_STDERRS * stderr or off <= ROOM:
        return ""
    return (
        "the curve does not follow the laws: their average misses the largest size, "
        f"{points.train_sizes[-1]:,.0f} images, by {metric.difference(by)} "
        f"({by / stderr:.0f} standard errors)"
    )


def _missed_by_single_runs(laws: FittedLaws, off: Floats, metric: Metric) -> str:
    """How single runs contradict the laws; empty where they do not.

    No size has two runs that differ; `off` are logarithms of the errors less those of the average, shape
    (n,).
    """
    sizes, errors = laws.points.train_sizes, laws.points.errors
    best = int(np.argmin(errors))
    worse = _logarithms(errors)[-1] - _logarithms(errors)[best]
    if worse > MISS_ROOMS * ROOM or (worse > ROOM and (np.diff(errors)[-2:] > 0).all()):
        by = metric.difference(float(errors[-1] - errors[best]))
        what = f"{sizes[-1]:,.0f} images do worse than {sizes[best]:,.0f} by {by}"
    elif not -RISE_ROOMS * ROOM <= off[-1] <= MISS_ROOMS * ROOM:
        by = metric.difference(float(errors[-1] * abs(np.expm1(-off[-1]))))
        what = f"their average misses the largest size, {sizes[-1]:,.0f} images, by {by}"
    else:
        return ""
    chance = "which with one run a size may be chance; run more seeds first"
    return f"the curve does not follow the laws: {what}, {chance}"


def _logarithms(errors: Floats) -> Floats:
    return np.log(np.maximum(errors, LEAST_ERROR))


def about(train_size: float) -> str:
    """A train size that a law tells, to two digits.

    >>> about(745), about(31_004), about(42.0)
    ('750', '31,000', '42')
    """
    unit = 10 ** max(0, math.floor(math.log10(train_size)) - 1)
    return f"{math.floor(train_size / unit + 0.5) * unit:,}"


def grid(start: float, end: float) -> Floats:
    """Train sizes from start to end, both included, dense enough to find a crossing on."""
    return np.geomspace(start, end, max(2, math.ceil(GRID_PER_DOUBLING * math.log2(end / start)) + 1))


def first_at_most(sizes: Floats, errors: Floats, most: float) -> int | None:
    """The first size whose error is at most `most`."""
    reached = np.flatnonzero(errors <= most)
    return math.ceil(sizes[reached[0]] - 1e-6) if len(reached) else None

"""The view beyond the largest train size: the default answer of one curve with its bands and its doubts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from tui_datasize.metric import Metric
from tui_datasize.stats.averaging import LEAST_ERROR, Average, FittedLaws
from tui_datasize.stats.calibration import BASE_SCALE, Calibration, Cell, error_band
from tui_datasize.stats.fits import FitFailure
from tui_datasize.stats.fitting import floored
from tui_datasize.stats.laws import Floats, Loss, flipped
from tui_datasize.stats.shape import Fault, describe_shape

GRID_PER_DOUBLING = 64
MISS_STDERRS = 3.0
"""A mean farther from the average of the laws is not there by the scatter of its runs."""
MISS_ROOMS, RISE_ROOMS = 4.0, 2.0
"""A single run this much worse than the laws, or than a smaller size, or this much better than the laws (a
curve that rises late), contradicts them; in half widths of the band of laws that agree."""


@dataclass(frozen=True, slots=True)
class View:
    """The default answer and the bands of one curve."""

    average: Average
    train_sizes: Floats
    cells: tuple[Cell, ...]
    level: float
    metric: Metric
    faults: tuple[Fault, ...]
    """Of the curve's shape, see `CurveShape.faults`."""
    stderr: float
    """Of the error at the largest size; NaN where nothing is known of it."""
    scatter: float
    """Of single runs around the average, in the logarithm of the error; 0 where runs repeat a size."""

    @property
    def largest(self) -> float:
        """The largest train size fitted."""
        return float(self.train_sizes[-1])

    @property
    def farthest(self) -> float:
        """The largest train size that a band is calibrated for."""
        return self.largest * self.cells[-1].factor

    def band(self, train_sizes: Floats) -> tuple[Floats, Floats]:
        """Lower and upper end of the error's band at train sizes of shape (n,), see `error_band`."""
        return error_band(self.average, self.largest, train_sizes, self.cells, self.scatter)

    def metric_of(self, error: float) -> float:
        """The metric that belongs to an error."""
        return float(flipped(self.average.loss, error))

    def measured(self, cell: Cell) -> float | None:
        """Coverage on public curves like this one."""
        if self.average.loss is not Loss.ERROR:
            return None
        return cell.coverage_ill_shaped if self.faults else cell.coverage

    @property
    def reach(self) -> float | None:
        """Half width of the interval of the mean at the largest size, where that is wider than the band.

        The public curves behind the bands are means over 25 splits; means over few seeds may be far worse.
        """
        least, most = (float(end[0]) for end in self.band(np.array([2 * self.largest])))
        reach = float(ndtri((1 + self.level) / 2)) * self.stderr
        return reach if 2 * reach > most - least else None


def view_of(laws: FittedLaws, metric: Metric, table: Calibration) -> View | FitFailure:
    """What can be said beyond the largest size; arguments as of `extrapolate.look_ahead`."""
    average = laws.average
    if isinstance(average, FitFailure):
        return average
    cells = table.of_length(laws.points.n_sizes)
    if not cells:
        return FitFailure(f"has {laws.points.n_sizes} sizes, fewer than any band is calibrated for")
    points, faults, scatter = laws.points, describe_shape(laws).faults, 0.0
    if points.has_stderrs:
        missed = _missed(laws, average, cells[0], metric) if faults else ""
    else:
        off = _logarithms(points.errors) - _logarithms(average.errors_at(points.train_sizes))
        missed = _missed_by_single_runs(laws, off, cells[0], metric)
        scatter = float(np.sqrt(np.mean(off**2)))
    if missed:
        return FitFailure(missed)
    stderr = float(points.stderrs[-1])
    return View(average, points.train_sizes, cells, table.level, metric, faults, stderr, scatter)


def _missed(laws: FittedLaws, average: Average, nearest: Cell, metric: Metric) -> str:
    """How the average misses the mean of the largest size, to follow "it"; empty where it does not.

    A miss is more than scatter explains, and more than the band of laws that agree leaves room for at twice
    the size. Where a public curve of ill shape was missed so, the bands beyond held less than half.
    """
    points = laws.points
    if not points.has_stderrs:
        return ""
    seen, by_laws = float(points.errors[-1]), float(average.errors_at(points.train_sizes[-1:])[0])
    by, stderr = abs(seen - by_laws), float(floored(points.stderrs)[-1])
    off = abs(math.log(max(seen, LEAST_ERROR) / max(by_laws, LEAST_ERROR)))
    if by <= MISS_STDERRS * stderr or off <= BASE_SCALE * nearest.quantile:
        return ""
    return (
        f"does not follow the laws: their average misses the largest size, {points.train_sizes[-1]:,.0f} "
        f"images, by {metric.difference(by)} ({by / stderr:.0f} standard errors)"
    )


def _missed_by_single_runs(laws: FittedLaws, off: Floats, nearest: Cell, metric: Metric) -> str:
    """How single runs contradict the laws, to follow "it"; empty where they do not.

    Args:
        laws: Of a curve no size of which has two runs that differ.
        off: Logarithms of the errors less those of the average, shape (n,).
        nearest: Of the calibration, at the smallest factor.
        metric: What the results are in units of.
    """
    sizes, errors = laws.points.train_sizes, laws.points.errors
    room = BASE_SCALE * nearest.quantile
    best = int(np.argmin(errors))
    worse = _logarithms(errors)[-1] - _logarithms(errors)[best]
    if worse > MISS_ROOMS * room or (worse > room and (np.diff(errors)[-2:] > 0).all()):
        by = metric.difference(float(errors[-1] - errors[best]))
        what = f"{sizes[-1]:,.0f} images do worse than {sizes[best]:,.0f} by {by}"
    elif not -RISE_ROOMS * room <= off[-1] <= MISS_ROOMS * room:
        by = metric.difference(float(errors[-1] * abs(np.expm1(-off[-1]))))
        what = f"their average misses the largest size, {sizes[-1]:,.0f} images, by {by}"
    else:
        return ""
    return f"does not follow the laws: {what}, which may be chance with one run a size; run more seeds first"


def _logarithms(errors: Floats) -> Floats:
    logarithms: Floats = np.log(np.maximum(errors, LEAST_ERROR))
    return logarithms


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

"""Beyond the largest train size: the metric with a band, the size a target needs, what a doubling buys."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from tui_datasize.metric import Metric
from tui_datasize.stats.averaging import FittedLaws
from tui_datasize.stats.calibration import BASE_SCALE, Calibration, shipped_calibration
from tui_datasize.stats.fits import FitFailure
from tui_datasize.stats.laws import Loss, flipped
from tui_datasize.stats.shape import Fault
from tui_datasize.stats.size_needed import SizeNeeded, size_needed
from tui_datasize.stats.view import (
    View,
    grid,
    view_of,
)

DEFAULT_DELTA: Mapping[Loss, float] = MappingProxyType({Loss.ERROR: 0.005, Loss.CROSS_ENTROPY: 0.02})
"""A doubling that buys less is little: half a point of accuracy."""


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
    """Coverage on public curves of data sets left out, of a curve that is ill-shaped on those that are, too;
    None where none measures this metric."""


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
    may_be_more: bool
    """Whether the band leaves room for a gain of `delta` or more at the next doubling."""
    may_be_less: bool


@dataclass(frozen=True, slots=True)
class BandWorth:
    """Where the bands come from and how often they held on public curves left out of their calibration."""

    nominal: float
    held: tuple[float, float]
    """Smallest and largest share over the factors."""
    held_ill_shaped: tuple[float, float] | None
    """On curves that are ill-shaped as this one; None where it is not, or none measures it."""
    curves: int
    data_sets: int
    source: str
    is_of_errors: bool
    """Whether the metric is an error or accuracy, of which alone coverage has been measured."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What lies beyond the runs."""

    extrapolations: tuple[Extrapolation, ...]
    doubling: Doubling
    needed: SizeNeeded | None
    """None where no target was given."""
    bands: BandWorth
    faults: tuple[Fault, ...]
    """Of the curve's shape, see `CurveShape.faults`: such curves go on less regularly."""
    scatter: float
    """Of single runs around the laws, in the logarithm of the error, that widens the band; mostly 0."""
    reach: float | None
    """See `View.reach`."""


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
    table = calibration or shipped_calibration()
    view = view_of(laws, metric, table)
    if isinstance(view, FitFailure):
        return view
    return Outlook(
        extrapolations=_extrapolations(view),
        doubling=_doubling(view, DEFAULT_DELTA[laws.loss] if delta is None else delta),
        needed=None
        if target is None
        else size_needed(view, target, np.asarray(flipped(laws.loss, laws.points.errors))),
        bands=_worth(view, table),
        faults=view.faults,
        scatter=view.scatter if view.scatter > BASE_SCALE else 0.0,
        reach=view.reach,
    )


def band_at(laws: FittedLaws, metric: Metric, train_size: float) -> tuple[float, float] | None:
    """The shipped band at any train size, in units of the metric; None within the runs, or too far beyond."""
    view = view_of(laws, metric, shipped_calibration())
    if isinstance(view, FitFailure) or not view.largest < train_size <= view.farthest:
        return None
    least, most = (view.metric_of(float(end[0])) for end in view.band(np.array([train_size])))
    return min(least, most), max(least, most)


def _extrapolations(view: View) -> tuple[Extrapolation, ...]:
    sizes = np.array([view.largest * cell.factor for cell in view.cells])
    found = zip(view.cells, sizes, view.average.errors_at(sizes), *view.band(sizes), strict=True)
    extrapolations = []
    for cell, size, error, least, most in found:
        low, high = sorted((view.metric_of(least), view.metric_of(most)))
        value, measured = view.metric_of(error), view.measured(cell)
        extrapolations.append(Extrapolation(round(size), cell.factor, value, low, high, view.level, measured))
    return tuple(extrapolations)


def _doubling(view: View, delta: float) -> Doubling:
    here, there = view.average.errors_at([view.largest, 2 * view.largest])
    least, most = (float(end[0]) for end in view.band(np.array([2 * view.largest])))
    start = view.metric_of(here)
    low, high = sorted((view.metric_of(least) - start, view.metric_of(most) - start))
    gain, small_from = view.metric_of(there) - start, _small_from(view, delta)
    # Best and worst of the band as what is bought, whichever way the metric goes.
    return Doubling(
        gain, low, high, delta, small_from, bool(here - least >= delta), bool(here - most < delta)
    )


def _small_from(view: View, delta: float) -> int | None:
    """The size from which gains stay below delta: a plateau among small sizes gains little, too."""
    sizes = grid(float(view.train_sizes[0]), view.farthest / 2)
    gains = view.average.errors_at(sizes) - view.average.errors_at(2 * sizes)
    large = np.flatnonzero(gains >= delta)
    first = int(large[-1]) + 1 if len(large) else 0
    return None if first == len(sizes) else math.ceil(sizes[first])


def _worth(view: View, table: Calibration) -> BandWorth:
    held = [cell.coverage for cell in view.cells]
    ill = [c.coverage_ill_shaped for c in view.cells if view.faults and c.coverage_ill_shaped is not None]
    return BandWorth(
        nominal=view.level,
        held=(min(held), max(held)),
        held_ill_shaped=(min(ill), max(ill)) if ill else None,
        curves=view.cells[0].curves,
        data_sets=view.cells[0].data_sets,
        source=table.source,
        is_of_errors=view.average.loss is Loss.ERROR,
    )

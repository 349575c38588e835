"""Beyond the largest train size: the metric with a band, the size a target needs, what a doubling buys."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from tui_datasize.metric import Metric
from tui_datasize.stats.averaging import FittedLaws
from tui_datasize.stats.fits import FitFailure
from tui_datasize.stats.forecast import Forecaster
from tui_datasize.stats.forecast_features import KNOTS
from tui_datasize.stats.laws import Floats, Loss, flipped
from tui_datasize.stats.noise import Noise
from tui_datasize.stats.shape import Fault
from tui_datasize.stats.size_needed import ODDS, SizeNeeded, size_needed
from tui_datasize.stats.view import MUCH_SCATTER, View, grid, view_of

DEFAULT_DELTA: Mapping[Loss, float] = MappingProxyType({Loss.ERROR: 0.005, Loss.CROSS_ENTROPY: 0.02})
"""A doubling that buys less is little: half a point of accuracy."""
LEVEL = 0.9
"""Nominal coverage of the band."""


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
    """Coverage on public curves of data sets left out, of five sizes with three runs each, or of a curve that
    is ill-shaped on those that are, too; of cross-entropy on real trainings; None where not measured."""


@dataclass(frozen=True, slots=True)
class Doubling:
    """What more data buys as foreseen, in units of the metric."""

    gain: float
    """Change of the metric from the mean at the largest train size to its double."""
    low: float
    high: float
    one_in_ten: float
    """A change that is exceeded, for the better, in one of ten."""
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
    held_few_runs: tuple[float, float]
    """The same with three runs at each of five sizes."""
    held_ill_shaped: tuple[float, float] | None
    """On curves that are ill-shaped as this one; None where it is not, or none measures it."""
    curves: int
    data_sets: int
    source: str
    held_losses: tuple[float, float] | None
    """Of cross-entropy, on real trainings; None for other metrics, or where it is not measured."""


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
    """Of single runs around the laws, in the logarithm of the error, where it is much; mostly 0."""
    view: View

    def at(self, train_size: float) -> Extrapolation:
        """What is foreseen at any size from the largest on, as far as anything is."""
        return _extrapolation(self.view, train_size / self.view.foreseen.largest)

    def line(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Train sizes beyond the runs, the value and both ends of the band there; in units of the metric."""
        view = self.view
        sizes = grid(view.foreseen.largest, view.foreseen.farthest)[::8]
        values = [view.value_at(size) for size in sizes]
        low, high = zip(*(view.band_at(size, LEVEL) for size in sizes), strict=True)
        return sizes, np.array(values), np.array(low), np.array(high)


def look_ahead(
    laws: FittedLaws,
    metric: Metric,
    *,
    target: float | None = None,
    delta: float | None = None,
    noise: Noise | None = None,
    forecaster: Forecaster | None = None,
) -> Outlook | FitFailure:
    """What is foreseen beyond the largest train size.

    `laws` are fitted to the error that belongs to the metric, see `laws.flipped`. `target` and `delta` (what
    a doubling has to buy to be worth it, above 0; None takes `DEFAULT_DELTA`) are in units of the metric,
    `noise` of single runs in those of the error, None where unknown; `forecaster` replaces the shipped one.
    """
    view = view_of(laws, metric, forecaster)
    if isinstance(view, FitFailure):
        return view
    means = np.asarray(flipped(laws.loss, laws.points.errors))
    return Outlook(
        extrapolations=tuple(_extrapolation(view, factor) for factor in KNOTS),
        doubling=_doubling(view, float(means[-1]), DEFAULT_DELTA[laws.loss] if delta is None else delta),
        needed=None if target is None else size_needed(view, target, means, noise),
        bands=_worth(view),
        faults=view.faults,
        scatter=view.scatter if view.scatter > MUCH_SCATTER else 0.0,
        view=view,
    )


def _extrapolation(view: View, factor: float) -> Extrapolation:
    size = view.foreseen.largest * factor
    held = next(held for held in view.forecaster.held if factor <= held.factor * (1 + 1e-9))
    measured = held.coverage_ill_shaped if view.faults else held.coverage_few_runs
    measured = measured if view.loss is Loss.ERROR else held.coverage_loss
    band = view.band_at(size, LEVEL)
    return Extrapolation(round(size), factor, view.value_at(size), *band, LEVEL, measured)


def _doubling(view: View, start: float, delta: float) -> Doubling:
    """From the measured mean: what the laws say there would be taken for a gain, or hide one."""
    twice, sign = 2 * view.foreseen.largest, (1 if view.loss is Loss.ERROR else -1)
    low, high = (end - start for end in view.band_at(twice, LEVEL))
    lucky = sign * max(sign * (end - start) for end in view.band_at(twice, ODDS))
    best, worst = max(sign * low, sign * high), min(sign * low, sign * high)
    gain, small_from = view.value_at(twice) - start, _small_from(view, delta)
    return Doubling(gain, low, high, lucky, delta, small_from, best >= delta, worst < delta)


def _small_from(view: View, delta: float) -> int | None:
    """The size from which gains stay below delta: a plateau among small sizes gains little, too."""
    largest = view.foreseen.largest
    within, beyond = grid(float(view.train_sizes[0]), largest)[:-1], grid(largest, view.foreseen.farthest / 2)
    gains = [
        source.errors_at(sizes) - source.errors_at(2 * sizes)
        for source, sizes in ((view.average, within), (view.foreseen, beyond))
    ]
    sizes = np.concatenate([within, beyond])
    large = np.flatnonzero(np.concatenate(gains) >= delta)
    first = int(large[-1]) + 1 if len(large) else 0
    return None if first == len(sizes) else math.ceil(sizes[first])


def _worth(view: View) -> BandWorth:
    forecaster = view.forecaster
    held, few = ([getattr(h, name) for h in forecaster.held] for name in ("coverage", "coverage_few_runs"))
    of_ill = [h.coverage_ill_shaped for h in forecaster.held] if view.faults else []
    ill = [share for share in of_ill if share is not None]
    of_losses = [h.coverage_loss for h in forecaster.held] if view.loss is Loss.CROSS_ENTROPY else []
    losses = [share for share in of_losses if share is not None]
    return BandWorth(
        nominal=LEVEL,
        held=(min(held), max(held)),
        held_few_runs=(min(few), max(few)),
        held_ill_shaped=(min(ill), max(ill)) if ill else None,
        curves=forecaster.provenance["curves"],
        data_sets=forecaster.provenance["data_sets"],
        source=forecaster.source,
        held_losses=(min(losses), max(losses)) if losses else None,
    )

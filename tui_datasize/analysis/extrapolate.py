"""Beyond the largest train size: the metric with a band, the size a target needs, what a doubling buys."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from tui_datasize.analysis.averaging import FittedLaws
from tui_datasize.analysis.calibration import Calibration, shipped_calibration
from tui_datasize.analysis.curve import Metric
from tui_datasize.analysis.fits import FitFailure
from tui_datasize.analysis.laws import Loss
from tui_datasize.analysis.size_needed import SizeNeeded, size_needed
from tui_datasize.analysis.view import (
    NOT_IDENTIFIABLE,
    View,
    about,
    grid,
    shown,
    shown_change,
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
    words: str
    """What the next doubling buys, any doubt about it, and from where on a doubling buys little."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What lies beyond the runs."""

    extrapolations: tuple[Extrapolation, ...]
    doubling: Doubling
    needed: SizeNeeded | None
    """None where no target was given."""
    words: str
    """Where the bands come from and what they are worth."""
    doubt: str
    """What speaks against the bands on this curve, its shape or its scatter, in sentences; mostly empty."""


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
        needed=None if target is None else size_needed(view, target),
        words=_worth(view, table),
        doubt=view.doubt,
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
    change, lowest, highest = (shown_change(value, view.metric) for value in (gain, low, high))
    amount = shown(delta, view.metric, is_difference=True)
    band = f"{100 * view.level:.0f} % band: {lowest.removesuffix(' points')} to {highest}"
    # Best and worst of the band as what is bought, whichever way the metric goes.
    bought = here - least, here - most
    sentences = (
        f"The next doubling changes it by {change} ({band}).",
        view.doubt,
        f"From which size on a doubling buys less than {amount} is {NOT_IDENTIFIABLE}."
        if small_from is None
        else _small_words(amount, small_from, small_from <= view.largest, delta, bought),
    )
    words = " ".join(sentence for sentence in sentences if sentence)
    return Doubling(gain, low, high, delta, small_from, words)


def _small_words(
    amount: str, small_from: int, is_within: bool, delta: float, bought: tuple[float, float]
) -> str:
    """From where on a doubling buys little, and what the band of the next doubling says of that."""
    most, least = bought
    words = (
        f"By the average of the laws a doubling buys less than {amount} from about {about(small_from)} "
        "images on"
    )
    if is_within and most >= delta:
        return f"{words}, yet the band leaves room for more at the next one."
    if not is_within and least < delta:
        return f"{words}, yet the band leaves room for less at the next one."
    return f"{words}."


def _small_from(view: View, delta: float) -> int | None:
    """The size from which gains stay below delta: a plateau among small sizes gains little, too."""
    sizes = grid(float(view.train_sizes[0]), view.farthest / 2)
    gains = view.average.errors_at(sizes) - view.average.errors_at(2 * sizes)
    large = np.flatnonzero(gains >= delta)
    first = int(large[-1]) + 1 if len(large) else 0
    return None if first == len(sizes) else math.ceil(sizes[first])


def _worth(view: View, table: Calibration) -> str:
    curves, sets = view.cells[0].curves, view.cells[0].data_sets
    words = (
        f"Bands of {100 * view.level:.0f} % nominal coverage held "
        f"{_range(cell.coverage for cell in view.cells)} of {curves:,} public curves of {sets} data sets, "
        f"each left out of the calibration ({table.source})."
    )
    if view.average.loss is not Loss.ERROR:
        return f"{words} Those are error rates: for cross-entropy the coverage has not been measured."
    known = [c.coverage_ill_shaped for c in view.cells if c.coverage_ill_shaped is not None]
    if view.faults and known:
        words = f"{words} Of those that are not monotone, not convex or broken they held {_range(known)}."
    return words


def _range(shares: Iterable[float]) -> str:
    percent = sorted({f"{100 * share:.0f}" for share in shares}, key=int)
    return f"{' to '.join(dict.fromkeys((percent[0], percent[-1])))} %"

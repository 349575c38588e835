"""Effective data: how many images a variant needs for what another one reaches with more.

After the effective data transferred of Hernandez, Kaplan, Henighan and McCandlish, *Scaling Laws for
Transfer* (2021), read from measured means instead of a fitted law: between sizes a monotone cubic over log n
(Fritsch and Carlson 1980, *SIAM Journal on Numerical Analysis* 17, 238). The interval of a ratio is Student's
on the log, with the standard error of a bootstrap over draws, with one draw over seeds, stretched for how few
there are; draws and seeds that both variants have are drawn together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from tui_datasize.stats.clusters import Floats
from tui_datasize.stats.curve import CONFIDENCE
from tui_datasize.stats.paired import Curve

_LEAST_UNITS = 3
"""Fewer draws or seeds say nothing of how they scatter."""
_ROUNDS = 400
_SEED = 20_211_231
_GRID = 64
"""Places between two sizes at which the curve is read."""


@dataclass(frozen=True, slots=True)
class Saved:
    """What one variant needs, and what another one needs for the same."""

    value: float
    """Of the metric, a mean of the other; NaN for a target, or for all values that both have."""
    images: float
    """Of the one, infinite where it never gets there; 1 for all values."""
    other_images: float
    spread: float
    """The 95 % interval of the ratio goes from it over this to it times this; NaN of a bound, and with fewer
    than three draws or seeds."""
    is_at_most: bool = False
    """Whether the one reaches the value at its smallest size, which `images` is."""
    is_more_than: bool = False
    """Whether the other misses it at its largest size, which `other_images` is."""

    @property
    def ratio(self) -> float:
        """How many times fewer images the one needs; at least that where it is a bound."""
        return self.other_images / self.images

    @property
    def is_bound(self) -> bool:
        return self.is_at_most or self.is_more_than

    @property
    def interval(self) -> tuple[float, float]:
        return self.ratio / self.spread, self.ratio * self.spread


@dataclass(frozen=True, slots=True)
class EffectiveData:
    """One variant against another one, whose images are counted against its own."""

    at_sizes: tuple[Saved, ...]
    """For the mean of the other at each of its sizes, ascending."""
    overall: Saved | None
    """The mean, of logs, over the means of either that lie within those of both, else a bound; None where
    neither tells."""
    at_target: Saved | None
    """None without a target, or where one misses it or the other has it from its smallest size on."""


def images_saved(
    variant: Curve, other: Curve, *, higher_is_better: bool, target: float | None = None
) -> EffectiveData:
    """How many images one variant needs for what another one does; both have at least one size."""
    sign = 1.0 if higher_is_better else -1.0
    own, others = _SumsByUnit.of(variant, sign), _SumsByUnit.of(other, sign)
    weights = _resamples(own, others)
    means, values = own.means(weights[0]), others.means(weights[1])
    whole = np.isfinite(means).all(axis=1) & np.isfinite(values).all(axis=1)
    means, values = means[whole], values[whole]
    few = min(len(own.units), len(others.units))
    images, side = _images(own.sizes, means, values)
    spreads = _spreads(np.log(images), few)
    at_sizes = []
    for place, size in enumerate(others.sizes):
        is_beyond, mean = bool(side[0, place]), float(values[0, place])
        # What it never reached takes it more than it has: that saves nothing.
        needed = math.inf if mean > means[0].max() else float(images[0, place])
        spread = math.nan if is_beyond else float(spreads[place])
        at_sizes.append(Saved(sign * mean, needed, float(size), spread, is_at_most=is_beyond))
    at_target = None
    if target is not None:
        goal = np.full((len(means), 1), sign * target)
        at_target = _compared(own, others, (means, values), goal, few)
    both = np.concatenate([means, values], axis=1)
    return EffectiveData(tuple(at_sizes), _compared(own, others, (means, values), both, few), at_target)


def _compared(
    own: _SumsByUnit, others: _SumsByUnit, means: tuple[Floats, Floats], values: Floats, few: int
) -> Saved | None:
    """Both at values, shape (rounds, k), of which several are averaged; the first round is of all runs."""
    (images, side), (other_images, other_side) = (
        _images(table.sizes, of_table, values) for table, of_table in zip((own, others), means, strict=True)
    )
    logs, is_within = np.log(other_images / images), (side[0] == 0) & (other_side[0] == 0)
    if values.shape[1] > 1 and is_within.any():
        ratios = logs[:, is_within].mean(axis=1, keepdims=True)
        return Saved(math.nan, 1.0, math.exp(ratios[0, 0]), float(_spreads(ratios, few)[0]))
    told = np.where((side[0] <= 0) & (other_side[0] >= 0), logs[0], -np.inf)
    at = int(np.argmax(told))
    if not np.isfinite(told[at]):
        return None
    spread = float(_spreads(logs, few)[at]) if is_within[at] else math.nan
    ends = bool(side[0, at] < 0), bool(other_side[0, at] > 0)
    return Saved(math.nan, float(images[0, at]), float(other_images[0, at]), spread, *ends)


@dataclass(frozen=True, slots=True, eq=False)
class _SumsByUnit:
    """Sums of one variant by size and by what is drawn anew: draws, with one draw seeds."""

    sizes: Sequence[int]
    units: Sequence[int]
    sums: Floats
    """Shape (sizes, units)."""
    counts: Floats

    @classmethod
    def of(cls, curve: Curve, sign: float) -> _SumsByUnit:
        draws = {draw for cells in curve.values() for draw, _ in cells}
        place = 0 if len(draws) > 1 else 1
        sizes = sorted(curve)
        units = sorted({cell[place] for cells in curve.values() for cell in cells})
        sums, counts = np.zeros((2, len(sizes), len(units)))
        for row, size in enumerate(sizes):
            for cell, own in curve[size].items():
                sums[row, units.index(cell[place])] += sign * own.sum()
                counts[row, units.index(cell[place])] += len(own)
        return cls(sizes, units, sums, counts)

    def means(self, weights: Floats) -> Floats:
        """The mean at each size with units counted so often, shape (rounds, sizes); NaN without any."""
        with np.errstate(invalid="ignore"):
            found: Floats = (weights @ self.sums.T) / (weights @ self.counts.T)
        return found


def _images(sizes: Sequence[int], means: Floats, values: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Where means first reach values, shape (rounds, k); 1 beyond the ascending sizes, -1 before them."""
    logs = np.log(sizes)
    reached = np.maximum.accumulate(means, axis=1)
    places, curve = _monotone(logs, reached)
    under = (curve[:, :, None] < values[:, None, :]).sum(axis=1)
    side = np.subtract(values > reached[:, -1:], values < reached[:, :1], dtype=np.int64)
    after = np.clip(under, 1, len(places) - 1)
    before, behind = (np.take_along_axis(curve, at, axis=1) for at in (after - 1, after))
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.nan_to_num((values - before) / (behind - before), nan=0.0).clip(0, 1)
    found = np.exp(places[after - 1] + share * (places[after] - places[after - 1]))
    return np.where(under == 0, float(sizes[0]), found), side


def _monotone(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Monotone cubics through non-decreasing values: places on a grid, and y, shape (rounds, places)."""
    if len(x) == 1:
        return np.repeat(x, 2), np.repeat(y, 2, axis=1)
    steps = np.diff(x)
    slopes = np.diff(y, axis=1) / steps
    inner = np.zeros_like(y)
    with np.errstate(divide="ignore", invalid="ignore"):
        w = 2 * steps[1:] + steps[:-1], steps[1:] + 2 * steps[:-1]
        inner[:, 1:-1] = (w[0] + w[1]) / (w[0] / slopes[:, :-1] + w[1] / slopes[:, 1:])
    inner[:, 0], inner[:, -1] = slopes[:, 0], slopes[:, -1]
    inner = np.nan_to_num(inner, nan=0.0, posinf=0.0)
    t = np.linspace(0, 1, _GRID, endpoint=False)
    basis = (1 + 2 * t) * (1 - t) ** 2, t * (1 - t) ** 2, t**2 * (3 - 2 * t), t**2 * (t - 1)
    parts = (
        y[:, :-1, None] * basis[0]
        + (steps * inner[:, :-1])[..., None] * basis[1]
        + y[:, 1:, None] * basis[2]
        + (steps * inner[:, 1:])[..., None] * basis[3]
    )
    places = np.append((x[:-1, None] + steps[:, None] * t).ravel(), x[-1])
    return places, np.concatenate([parts.reshape(len(y), -1), y[:, -1:]], axis=1)


def _resamples(own: _SumsByUnit, others: _SumsByUnit) -> tuple[Floats, Floats]:
    """How often each unit of both counts, first once and then drawn anew, shape (rounds, units) each."""
    n_units = len(own.units), len(others.units)
    rounds = _ROUNDS if min(n_units) >= _LEAST_UNITS else 0
    generator = np.random.default_rng(_SEED)
    drawn = [generator.multinomial(n, np.full(n, 1 / n), rounds).astype(float) for n in n_units]
    if own.units == others.units and own.units[0] >= 0:
        drawn[1] = drawn[0]
    first, second = (np.concatenate([np.ones((1, n)), of]) for n, of in zip(n_units, drawn, strict=True))
    return first, second


def _spreads(logs: Floats, few: int) -> Floats:
    """By how much each of some ratios is uncertain, shape (k,), from their logs, shape (1 + rounds, k)."""
    if len(logs) <= _ROUNDS // 2:
        return np.full(logs.shape[1], np.nan)
    stretch = math.sqrt(few / (few - 1)) * stdtrit(few - 1, 0.5 + CONFIDENCE / 2)
    spreads: Floats = np.exp(stretch * logs[1:].std(axis=0, ddof=1))
    return spreads

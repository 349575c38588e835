"""Effective data: how many images a variant needs for what another one reaches with more.

After the effective data transferred of Hernandez, Kaplan, Henighan and McCandlish, *Scaling Laws for
Transfer* (2021), read from measured means instead of a fitted law: between sizes a monotone cubic over log n
(Fritsch and Carlson 1980, *SIAM Journal on Numerical Analysis* 17, 238). The interval of a ratio is Student's
on the log, with the standard error of a bootstrap over draws, with one draw over seeds, stretched for how few
there are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

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
    """What one variant needs for what another has at one of its sizes."""

    train_size: int
    """Of the other."""
    value: float
    """Its mean there."""
    images: float
    """With which the variant reaches that; its smallest size where that is a bound, infinite beyond all."""
    is_bound: bool
    """Whether that lies beyond the sizes of the variant, so that `images` is the nearest of them."""
    low: float = math.nan
    """Of the ratio, 95 % interval; NaN of a bound, and with fewer than three draws or seeds."""
    high: float = math.nan

    @property
    def ratio(self) -> float:
        return self.train_size / self.images


def images_saved(variant: Curve, other: Curve, *, higher_is_better: bool) -> tuple[Saved, ...]:
    """What a variant needs for the mean of another at each of its sizes, ascending."""
    if not variant or not other:
        return ()
    sign = 1.0 if higher_is_better else -1.0
    tables = _Table.of(variant, sign), _Table.of(other, sign)
    sizes = np.array(tables[1].sizes)
    values = tables[1].means(np.ones((1, len(tables[1].units))))
    own = tables[0].means(np.ones((1, len(tables[0].units))))
    images, is_bound = (found[0] for found in _images(tables[0].sizes, own, values))
    # What it never reached takes it more than it has: that saves nothing.
    images = np.where(values[0] > own.max(), np.inf, images)
    halves = np.where(is_bound, np.nan, _half_of_log(*tables))
    return tuple(
        Saved(
            int(n),
            sign * float(value),
            float(needed),
            bool(bound),
            *(n / needed * np.exp([-half, half])).tolist(),
        )
        for n, value, needed, bound, half in zip(sizes, values[0], images, is_bound, halves, strict=True)
    )


class ImagesReached(NamedTuple):
    """With how many images a value is reached."""

    images: float
    is_bound: bool
    """Whether that lies beyond the sizes, so that `images` is the nearest of them."""


def images_for(variant: Curve, value: float, *, higher_is_better: bool) -> ImagesReached:
    """With how many images a variant reaches a value."""
    table = _Table.of(variant, 1.0 if higher_is_better else -1.0)
    means = table.means(np.ones((1, len(table.units))))
    found, is_bound = _images(table.sizes, means, np.array([[value if higher_is_better else -value]]))
    return ImagesReached(float(found[0, 0]), bool(is_bound[0, 0]))


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """Sums of one variant by size and by what is drawn anew: draws, with one draw seeds."""

    sizes: Sequence[int]
    units: Sequence[int]
    sums: Floats
    """Shape (sizes, units)."""
    counts: Floats

    @classmethod
    def of(cls, curve: Curve, sign: float) -> _Table:
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


def _images(sizes: Sequence[int], means: Floats, values: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Where means first reach values of shape (rounds, k), and whether that is beyond the ascending sizes."""
    logs = np.log(sizes)
    reached = np.maximum.accumulate(means, axis=1)
    places, curve = _monotone(logs, reached)
    under = (curve[:, :, None] < values[:, None, :]).sum(axis=1)
    is_bound = (values < reached[:, :1]) | (values > reached[:, -1:])
    after = np.clip(under, 1, len(places) - 1)
    before, behind = (np.take_along_axis(curve, at, axis=1) for at in (after - 1, after))
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.nan_to_num((values - before) / (behind - before), nan=0.0).clip(0, 1)
    found = np.exp(places[after - 1] + share * (places[after] - places[after - 1]))
    return np.where(under == 0, float(sizes[0]), found), is_bound


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


def _half_of_log(variant: _Table, other: _Table) -> Floats:
    """Half the interval of the log of the ratio at each size of the other; NaN with too few units."""
    n_units = len(variant.units), len(other.units)
    fewest = min(n_units)
    if fewest < _LEAST_UNITS:
        return np.full(len(other.sizes), np.nan)
    generator = np.random.default_rng(_SEED)
    weights = [generator.multinomial(n, np.full(n, 1 / n), _ROUNDS).astype(float) for n in n_units]
    if variant.units == other.units:
        weights[1] = weights[0]
    means, values = variant.means(weights[0]), other.means(weights[1])
    whole = np.isfinite(means).all(axis=1) & np.isfinite(values).all(axis=1)
    if whole.sum() < _ROUNDS // 2:
        return np.full(len(other.sizes), np.nan)
    images, _ = _images(variant.sizes, means[whole], values[whole])
    few = math.sqrt(fewest / (fewest - 1))
    half: Floats = few * stdtrit(fewest - 1, 0.5 + CONFIDENCE / 2) * np.log(images).std(axis=0, ddof=1)
    return half

"""Mean squares pooled over train sizes, how many degrees of freedom they have, and intervals from them."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np
from scipy.special import chdtri, fdtri

from tui_datasize.stats.clusters import Floats
from tui_datasize.stats.curve import CONFIDENCE

_TAIL = (1 - CONFIDENCE) / 2


class MeanSquare:
    """Squares of the effects of draws, seeds or runs, summed over sizes.

    What comes back at several sizes under one name may do the same at each: ten squares of two draws then
    tell no more than two. Degrees of freedom are Satterthwaite's, with the correlations between sizes
    estimated from the effects themselves (traces after Srivastava 2005, *Journal of the Japan Statistical
    Society* 35, 251); of two draws, which tell nothing of them, the fewest.
    """

    def __init__(self) -> None:
        self._effects: list[dict[Hashable, float]] = []
        self._degrees: list[int] = []
        self._repeats = 0.0

    def add(self, names: Sequence[Hashable], effects: Floats, degrees: int, repeats: float) -> None:
        """Add a size: deviations, squared the sum of squares, shape (n,), of `repeats` runs each."""
        if degrees:
            own: dict[Hashable, float] = {}
            for name, effect in zip(names, effects.tolist(), strict=True):
                # A repeat has a name of its own.
                own[name if name not in own else (name, len(own))] = effect
            self._effects.append(own)
            self._degrees.append(degrees)
            # Sizes may differ in seeds and draws: each counts by its degrees of freedom.
            self._repeats += degrees * repeats

    @property
    def degrees(self) -> int:
        """Of freedom if nothing came back at another size."""
        return sum(self._degrees)

    @property
    def repeats(self) -> float:
        return self._repeats / self.degrees

    @property
    def value(self) -> float:
        return sum(sum(effect**2 for effect in own.values()) for own in self._effects) / self.degrees

    @property
    def effective(self) -> float:
        """Degrees of freedom, between those of one size and those of all."""
        k, degrees = len(self._effects), self.degrees / len(self._effects)
        names = list(dict.fromkeys(name for own in self._effects for name in own))
        if len(names) == sum(map(len, self._effects)):
            return float(self.degrees)
        table = np.array([[own.get(name, 0.0) for name in names] for own in self._effects])
        covariance = table @ table.T / degrees
        trace, of_square = float(np.trace(covariance)), float((covariance**2).sum())
        if degrees <= 1 or not trace:
            return degrees
        squared = degrees**2 / ((degrees - 1) * (degrees + 2)) * (of_square - trace**2 / degrees)
        independent = (trace**2 - 2 / degrees * squared) / squared if squared > 0 else math.inf
        # Half way to the fewest: what few draws and seeds tell of correlations is too hopeful.
        return degrees * (1 + min(max(independent, 1.0), float(k))) / 2

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of what it expects, by chi square; NaN where nothing scatters."""
        if not self.value:
            return math.nan, math.nan
        total = self.effective * self.value
        low, high = (total / float(chdtri(self.effective, tail)) for tail in (_TAIL, 1 - _TAIL))
        return low, high


def difference_interval(square: MeanSquare, rest: MeanSquare) -> tuple[float, float]:
    """95 % interval of what one mean square expects beyond another, both above 0, each end at least 0."""
    (a, m), (b, n) = ((one.value, one.effective) for one in (square, rest))
    f_high, f_low = (float(fdtri(m, n, share)) for share in (1 - _TAIL, _TAIL))
    g_a, g_b = (1 - degrees / float(chdtri(degrees, _TAIL)) for degrees in (m, n))
    h_a, h_b = (degrees / float(chdtri(degrees, 1 - _TAIL)) - 1 for degrees in (m, n))
    g_both = ((f_high - 1) ** 2 - (g_a * f_high) ** 2 - h_b**2) / f_high
    h_both = ((1 - f_low) ** 2 - (h_a * f_low) ** 2 - g_b**2) / f_low
    below = (g_a * a) ** 2 + (h_b * b) ** 2 + g_both * a * b
    above = (h_a * a) ** 2 + (g_b * b) ** 2 + h_both * a * b
    ends = a - b - math.sqrt(max(0.0, below)), a - b + math.sqrt(max(0.0, above))
    return max(0.0, ends[0]), max(0.0, ends[1])

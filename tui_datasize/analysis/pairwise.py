"""Which groups differ from which, and by how much: Welch's t, Holm's correction, Hedges' g."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri, stdtr, stdtrit

from tui_datasize.analysis.curve import CONFIDENCE
from tui_datasize.analysis.fits import FitFailure
from tui_datasize.analysis.laws import Floats


@dataclass(frozen=True, slots=True)
class Difference:
    """The mean of one group minus that of another."""

    first: str
    second: str
    value: float
    """Mean of `second` minus mean of `first`."""
    low: float
    """Lower end of the 95 % interval, of this pair alone."""
    high: float
    t: float
    df: float
    p: float
    """Two-sided, of this pair alone."""
    p_adjusted: float
    """After Holm's correction over all pairs asked for together."""
    hedges_g: float
    """Difference in pooled standard deviations, corrected for few runs; NaN where none scatters."""
    g_low: float
    g_high: float

    @property
    def is_distinguishable(self) -> bool:
        """Whether the difference is more than chance, all pairs considered."""
        return self.p_adjusted < 1 - CONFIDENCE


def welch_t(first: ArrayLike, second: ArrayLike, names: tuple[str, str]) -> Difference | FitFailure:
    """Compare the means of two groups that may scatter unequally (Welch 1947, *Biometrika* 34, 28).

    Args:
        first: Finite values, shape (n,).
        second: Finite values, shape (m,).
        names: What they are called.
    """
    a, b = np.asarray(first, float), np.asarray(second, float)
    if min(len(a), len(b)) < 2:
        return FitFailure("needs two runs in both groups")
    parts = np.array([a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)])
    if not parts.any():
        return FitFailure("needs runs that differ")
    stderr = math.sqrt(parts.sum())
    df = float(parts.sum() ** 2 / (parts**2 / np.array([len(a) - 1, len(b) - 1])).sum())
    value = float(b.mean() - a.mean())
    t, half = value / stderr, float(stdtrit(df, 0.5 + CONFIDENCE / 2)) * stderr
    p = float(2 * stdtr(df, -abs(t)))
    g = hedges_g(a, b)
    return Difference(*names, value, value - half, value + half, t, df, p, p, *g)


def hedges_g(first: Floats, second: Floats) -> tuple[float, float, float]:
    """Standardised difference `second - first` with its 95 % interval, large-sample variance.

    Hedges and Olkin, *Statistical Methods for Meta-Analysis* (1985), chapter 5, with the correction
    1 - 3/(4n - 9); the constants of the variance are those of statsmodels.
    """
    n, m = len(first), len(second)
    nobs = n + m
    pooled = math.sqrt(((n - 1) * first.var(ddof=1) + (m - 1) * second.var(ddof=1)) / (nobs - 2))
    if pooled == 0:
        return math.nan, math.nan, math.nan
    g = float(second.mean() - first.mean()) / pooled * (1 - 3 / (4 * nobs - 9))
    half = float(ndtri(0.5 + CONFIDENCE / 2)) * math.sqrt(nobs / (n * m) + g**2 / 2 / (nobs - 3.94))
    return g, g - half, g + half


def holm(p_values: ArrayLike) -> Floats:
    """Adjusted p values that hold the chance of any false alarm (Holm 1979), shape (n,).

    >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, float)
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted


def compare_pairs(
    groups: Sequence[Floats], names: Sequence[str], pairs: Sequence[tuple[int, int]]
) -> tuple[Difference, ...]:
    """Welch's t of some pairs, corrected together; pairs that cannot be compared are left out.

    Args:
        groups: Finite values of each group.
        names: One per group.
        pairs: Indices of both groups; the difference is second minus first.
    """
    found = [welch_t(groups[i], groups[j], (names[i], names[j])) for i, j in pairs]
    differences = [difference for difference in found if isinstance(difference, Difference)]
    adjusted = holm([difference.p for difference in differences])
    return tuple(
        replace(difference, p_adjusted=float(p)) for difference, p in zip(differences, adjusted, strict=True)
    )


def mean_difference(differences: Sequence[Difference]) -> Difference | FitFailure:
    """The plain mean of independent differences, such as of two variants over all sizes they share.

    Degrees of freedom after Satterthwaite (1946). The standardised difference is left NaN: groups of
    different sizes have no scatter in common.
    """
    if not differences:
        return FitFailure("needs a size at which both have two runs")
    k = len(differences)
    stderrs = np.array(
        [(d.high - d.low) / 2 / float(stdtrit(d.df, 0.5 + CONFIDENCE / 2)) for d in differences]
    )
    degrees = np.array([d.df for d in differences])
    variance = float((stderrs**2).sum()) / k**2
    df = variance**2 / float(((stderrs / k) ** 4 / degrees).sum())
    value = float(np.mean([d.value for d in differences]))
    t, half = value / math.sqrt(variance), float(stdtrit(df, 0.5 + CONFIDENCE / 2)) * math.sqrt(variance)
    p = float(2 * stdtr(df, -abs(t)))
    names = differences[0].first, differences[0].second
    nan = math.nan
    return Difference(*names, value, value - half, value + half, t, df, p, p, nan, nan, nan)

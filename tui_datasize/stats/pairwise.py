"""Which groups differ from which, and by how much: Welch's t, Holm's correction, Hedges' g."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri, stdtr, stdtrit

from tui_datasize.stats.clusters import MeanScatter, independent
from tui_datasize.stats.curve import CONFIDENCE
from tui_datasize.stats.fits import FitFailure
from tui_datasize.stats.group_tests import pooled_degrees
from tui_datasize.stats.laws import Floats

_POWER = 0.8
_MOST_UNITS = 1000
Unit: TypeAlias = Literal["run", "seed", "draw"]


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
    """Two-sided, of this pair alone; NaN where there are too few units to test with."""
    p_adjusted: float
    """After Holm's correction over all pairs asked for together."""
    hedges_g: float
    """Difference in pooled standard deviations, corrected for few runs; NaN where none scatters."""
    g_low: float
    g_high: float
    pooled_df: float = math.inf
    """Of what several differences may have in common: their mean has no more."""
    unit: Unit = "run"
    """What is counted as independent."""
    n_units: int = 0
    """How many of them; 0 where they differ between sizes."""
    is_paired: bool = False
    """Whether what both groups share is taken out."""

    @property
    def is_distinguishable(self) -> bool:
        """Whether the difference is more than chance, all pairs considered."""
        return self.p_adjusted < 1 - CONFIDENCE


def welch_t(
    first: ArrayLike,
    second: ArrayLike,
    names: tuple[str, str],
    scatters: tuple[MeanScatter, MeanScatter] | None = None,
) -> Difference | FitFailure:
    """Compare the means of two groups that may scatter unequally (Welch 1947, *Biometrika* 34, 28).

    Args:
        first: Finite values, shape (n,).
        second: Finite values, shape (m,).
        names: What they are called.
        scatters: How well each mean is known where runs share draws; None where they are independent.
    """
    a, b = np.asarray(first, float), np.asarray(second, float)
    if min(len(a), len(b)) < 2:
        return FitFailure("needs two runs in both groups")
    if not (a.var(ddof=1) or b.var(ddof=1)):
        return FitFailure("needs runs that differ")
    known = scatters or (independent(a), independent(b))
    parts = np.array([scatter.stderr**2 for scatter in known])
    most = pooled_degrees(known)
    df = min(
        float(parts.sum() ** 2 / (parts**2 / [scatter.degrees_compared for scatter in known]).sum()), most
    )
    g = hedges_g(a, b, (known[0].n_effective, known[1].n_effective))
    return difference(names, float(b.mean() - a.mean()), math.sqrt(parts.sum()), df, g, most)


def hedges_g(
    first: Floats, second: Floats, worth: tuple[float, float] | None = None
) -> tuple[float, float, float]:
    """Standardised difference `second - first` with its 95 % interval, large-sample variance.

    Hedges and Olkin, *Statistical Methods for Meta-Analysis* (1985), chapter 5, with the correction
    1 - 3/(4n - 9); the constants of the variance are those of statsmodels.

    Args:
        first: Finite values, shape (n,).
        second: Finite values, shape (m,).
        worth: Independent runs that either is worth, for the interval; n and m where not given.
    """
    n, m = len(first), len(second)
    nobs = n + m
    pooled = math.sqrt(((n - 1) * first.var(ddof=1) + (m - 1) * second.var(ddof=1)) / (nobs - 2))
    if pooled == 0:
        return math.nan, math.nan, math.nan
    g = float(second.mean() - first.mean()) / pooled * (1 - 3 / (4 * nobs - 9))
    of_first, of_second = worth or (n, m)
    of_means = 1 / of_first + 1 / of_second
    half = float(ndtri(0.5 + CONFIDENCE / 2)) * math.sqrt(of_means + g**2 / 2 / (nobs - 3.94))
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
    groups: Sequence[Floats],
    names: Sequence[str],
    pairs: Sequence[tuple[int, int]],
    scatters: Sequence[MeanScatter] | None = None,
) -> tuple[Difference, ...]:
    """Welch's t of some pairs, corrected together; pairs that cannot be compared are left out.

    Args:
        groups: Finite values of each group.
        names: One per group.
        pairs: Indices of both groups; the difference is second minus first.
        scatters: How well each mean is known where runs share draws; None where they are independent.
    """
    found = [
        welch_t(groups[i], groups[j], (names[i], names[j]), (scatters[i], scatters[j]) if scatters else None)
        for i, j in pairs
    ]
    return corrected([difference for difference in found if isinstance(difference, Difference)])


def corrected(differences: Sequence[Difference]) -> tuple[Difference, ...]:
    """Some differences with their p values, where they have one, corrected together after Holm."""
    adjusted = iter(holm([one.p for one in differences if not math.isnan(one.p)]).tolist())
    return tuple(one if math.isnan(one.p) else replace(one, p_adjusted=next(adjusted)) for one in differences)


def units_needed(found: Difference, delta: float) -> int | None:
    """How many pairs of runs, seeds or draws, whichever was counted, show a difference in 4 of 5 cases.

    For the two-sided test at 5 %, with the scatter of this comparison. Iterates the usual
    n = (t(1 - alpha/2) + t(power))^2 * sd^2 / delta^2 (Cohen 1988, *Statistical Power Analysis*, chapter 12).

    Args:
        found: A paired comparison.
        delta: The difference to be seen, in units of the metric.

    Returns:
        None where the comparison is not of pairs, or beyond `_MOST_UNITS`.
    """
    if not found.is_paired or found.n_units < 2:
        return None
    stderr = (found.high - found.low) / 2 / float(stdtrit(found.df, 0.5 + CONFIDENCE / 2))
    variance = stderr**2 * found.n_units
    for n in range(2, _MOST_UNITS + 1):
        quantiles = stdtrit(n - 1, 0.5 + CONFIDENCE / 2) + stdtrit(n - 1, _POWER)
        if quantiles**2 * variance <= n * delta**2:
            return n
    return None


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
    degrees, most = np.array([d.df for d in differences]), max(d.pooled_df for d in differences)
    variance = float((stderrs**2).sum()) / k**2
    df = min(variance**2 / float(((stderrs / k) ** 4 / degrees).sum()), most)
    value = float(np.mean([d.value for d in differences]))
    names = differences[0].first, differences[0].second
    return difference(names, value, math.sqrt(variance), df, pooled_df=most)


def difference(
    names: tuple[str, str],
    value: float,
    stderr: float,
    df: float,
    g: tuple[float, float, float] = (math.nan, math.nan, math.nan),
    pooled_df: float = math.inf,
) -> Difference:
    """A difference with its Student interval and p.

    Args:
        names: What is compared.
        value: Second minus first.
        stderr: Its standard error, above 0.
        df: Degrees of freedom of that.
        g: Hedges' g with its interval.
        pooled_df: See `Difference`.
    """
    t, half = value / stderr, float(stdtrit(df, 0.5 + CONFIDENCE / 2)) * stderr
    p = float(2 * stdtr(df, -abs(t)))
    return Difference(*names, value, value - half, value + half, t, df, p, p, *g, pooled_df)

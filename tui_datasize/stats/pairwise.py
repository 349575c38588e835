"""Which groups differ from which, and by how much: Welch's t, Holm's correction, Hedges' g."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import nctdtrinc, ndtri, stdtr, stdtrit

from tui_datasize.stats.curve import CONFIDENCE
from tui_datasize.stats.fits import FitFailure
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
    low: float
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
    unit: Unit = "run"
    """What is counted as independent."""
    n_units: int = 0
    """How many of them; 0 where they differ between sizes."""
    is_paired: bool = False
    """Whether what both groups share is taken out."""
    of_one_draw: bool = False
    """Whether all that is compared comes of one subset draw: what another would change is left out."""

    @property
    def is_distinguishable(self) -> bool:
        """Whether the difference is more than chance, all pairs considered."""
        return self.p_adjusted < 1 - CONFIDENCE

    @property
    def is_same(self) -> bool:
        return self.low == self.high == 0

    @property
    def stderr(self) -> float:
        return (self.high - self.low) / 2 / float(stdtrit(self.df, 0.5 + CONFIDENCE / 2))

    @property
    def detectable(self) -> float:
        """The true difference that this test, uncorrected, sees in 4 of 5 cases; NaN where it is none."""
        return math.nan if math.isnan(self.p) or self.is_same else _sizes_seen(self.df) * self.stderr


def welch_t(first: ArrayLike, second: ArrayLike, names: tuple[str, str]) -> Difference | FitFailure:
    """Compare the means of two groups that may scatter unequally (Welch 1947, *Biometrika* 34, 28).

    Groups have finite, independent values, shapes (n,) and (m,).
    """
    a, b = np.asarray(first, float), np.asarray(second, float)
    if min(len(a), len(b)) < 2:
        return FitFailure("needs two runs in both groups")
    if not (a.var(ddof=1) or b.var(ddof=1)):
        return FitFailure("needs runs that differ")
    stderr, df = satterthwaite([group.var(ddof=1) / len(group) for group in (a, b)], [len(a) - 1, len(b) - 1])
    return difference(names, float(b.mean() - a.mean()), stderr, df, hedges_g(a, b))


def satterthwaite(variances: ArrayLike, degrees: ArrayLike) -> tuple[float, float]:
    """Standard error and degrees of freedom of a sum of independent parts (*Biometrics Bulletin* 2, 110).

    Estimated `variances` of each part, shape (k,), one above 0, and the `degrees` of freedom of each.
    """
    parts = np.asarray(variances, float)
    total = float(parts.sum())
    return math.sqrt(total), total**2 / float((parts**2 / np.asarray(degrees, float)).sum())


def of_few_draws(variances: ArrayLike, degrees: ArrayLike) -> tuple[float, float]:
    """Standard error and degrees of freedom of a sum of parts of which some have only two or three degrees.

    As `satterthwaite`, but parts count for the degrees by their inverse, and each has one more of them, which
    is taken off at the end. His own rejects 2.5 to 7.1 % of true nulls at 5 %, these 3.1 to 6.8 %
    (`benchmarks.nulls`): a part of two degrees that is too small by chance makes them too many, and two such
    parts make them too few.
    """
    parts, known = np.asarray(variances, float), np.asarray(degrees, float)
    by_inverse = parts / known
    df = float(by_inverse.sum() ** 2 / (by_inverse**2 / (known + 1)).sum()) - 1
    return math.sqrt(float(parts.sum())), max(1.0, df)


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
    half = float(ndtri(0.5 + CONFIDENCE / 2)) * math.sqrt(1 / n + 1 / m + g**2 / 2 / (nobs - 3.94))
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


def corrected(differences: Sequence[Difference]) -> tuple[Difference, ...]:
    """Some differences with their p values, where they have one, corrected together after Holm."""
    adjusted = iter(holm([one.p for one in differences if not math.isnan(one.p)]).tolist())
    return tuple(one if math.isnan(one.p) else replace(one, p_adjusted=next(adjusted)) for one in differences)


def units_needed(found: Difference, delta: float) -> int | None:
    """How many pairs of runs, seeds or draws, whichever was counted, show a difference in 4 of 5 cases.

    For the two-sided test at 5 %, with the scatter of this comparison, by the non-central t (Cohen 1988,
    *Statistical Power Analysis*, chapter 12). `delta` is in units of the metric. None where the comparison is
    not of pairs, or beyond `_MOST_UNITS`.
    """
    if not found.is_paired or found.n_units < 2 or found.is_same:
        return None
    variance = found.stderr**2 * found.n_units
    for n in range(2, _MOST_UNITS + 1):
        if _sizes_seen(n - 1) ** 2 * variance <= n * delta**2:
            return n
    return None


def _sizes_seen(df: float) -> float:
    """The true difference in standard errors that is seen in 4 of 5 cases."""
    return float(nctdtrinc(df, 1 - _POWER, stdtrit(df, 0.5 + CONFIDENCE / 2)))


def mean_difference(differences: Sequence[Difference]) -> Difference | FitFailure:
    """The plain mean of independent differences, such as of two variants over all sizes they share.

    Degrees of freedom after Satterthwaite (1946). The standardised difference is left NaN: groups of
    different sizes have no scatter in common.
    """
    if not differences:
        return FitFailure("needs a size at which both have two runs")
    k = len(differences)
    variances = [(one.stderr / k) ** 2 for one in differences]
    stderr, df = satterthwaite(variances, [one.df for one in differences])
    value = float(np.mean([one.value for one in differences]))
    return difference((differences[0].first, differences[0].second), value, stderr, df)


def difference(
    names: tuple[str, str],
    value: float,
    stderr: float,
    df: float,
    g: tuple[float, float, float] = (math.nan, math.nan, math.nan),
) -> Difference:
    """A difference, second minus first, with its Student interval and p; the standard error is above 0."""
    t, half = value / stderr, float(stdtrit(df, 0.5 + CONFIDENCE / 2)) * stderr
    p = float(2 * stdtr(df, -abs(t)))
    return Difference(*names, value, value - half, value + half, t, df, p, p, *g)

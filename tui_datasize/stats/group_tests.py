"""Tests of whether groups of values differ, in level or in spread, each with an effect size.

Groups are sequences of finite values, one per size or variant, in order. Formulas: Maxwell, Delaney and
Kelley, *Designing Experiments and Analyzing Data*, 3rd ed., where no other source is given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import chdtrc, fdtrc, ndtr, stdtr

from tui_datasize.stats.clusters import MeanScatter, independent
from tui_datasize.stats.fits import FitFailure
from tui_datasize.stats.laws import Floats

SIGNIFICANT = 0.05
"""Below it a difference is called one."""
Groups = Sequence[Floats]
Scatters: TypeAlias = Sequence[MeanScatter]


@dataclass(frozen=True, slots=True)
class GroupTest:
    """A test statistic, its probability if nothing differed, and how large the effect is."""

    name: str
    statistic: float
    df1: float | None
    df2: float | None
    p: float
    effects: tuple[tuple[str, float], ...] = ()
    """Name and value of each effect size; a share of variance explained lies in [0, 1], but for omega and
    epsilon squared, which are negative where groups differ by less than chance."""

    @property
    def brief(self) -> str:
        """The statistic as it is quoted, such as `Welch F(3, 9.2) = 41.2, p = 1.2e-05`."""
        degrees = ", ".join(f"{df:.4g}" for df in (self.df1, self.df2) if df is not None)
        inner = f"({degrees})" if degrees else ""
        return f"{self.name}{inner} = {self.statistic:.4g}, {p_words(self.p)}"


def p_words(p: float) -> str:
    """A probability as it is quoted.

    >>> p_words(0.0312), p_words(0.0)
    ('p = 0.031', 'p < 1e-16')
    """
    return f"p = {p:.2g}" if p >= 1e-16 else "p < 1e-16"


def anova(groups: Groups, scatters: Scatters | None = None) -> GroupTest | FitFailure:
    """One-way analysis of variance, with eta and omega squared.

    Args:
        groups: Finite values of each group.
        scatters: How well each mean is known where runs share draws: the scatter between groups is then
            measured by what these let expect (Brown and Forsythe, *Technometrics* 16, 1974, 129).

    >>> anova([np.array([1.0, 2, 3]), np.array([2.0, 3, 4])]).brief
    'F(1, 4) = 1.5, p = 0.29'
    """
    failure = _unfit(groups)
    if failure:
        return failure
    k, n = len(groups), sum(map(len, groups))
    within = _square_within(groups)
    between = _square_between(groups)
    mean_square, degrees = within / (n - k), float(n - k)
    if scatters is not None:
        lengths = np.array([len(group) for group in groups], float)
        mean_square = float(lengths * (1 - lengths / n) @ _squares(scatters)) / (k - 1)
        degrees = pooled_degrees(scatters)
    f = between / (k - 1) / mean_square
    eta = between / (between + within)
    omega = (between - (k - 1) * mean_square) / (between + within + mean_square)
    p = float(fdtrc(k - 1, degrees, f))
    return GroupTest("F", f, k - 1, degrees, p, (("eta^2", eta), ("omega^2", omega)))


def welch_anova(groups: Groups, scatters: Scatters | None = None) -> GroupTest | FitFailure:
    """Analysis of variance for groups that scatter unequally (Welch 1951, *Biometrika* 38, 330).

    Args:
        groups: Finite values of each group.
        scatters: How well each mean is known where runs share draws; None where they are independent.
    """
    failure = _unfit(groups, each_at_least=2, each_spread=True)
    if failure:
        return failure
    k, means = len(groups), np.array([group.mean() for group in groups])
    known = scatters or [independent(group) for group in groups]
    weights, degrees = 1 / _squares(known), np.array([scatter.degrees_compared for scatter in known])
    shares = weights / weights.sum()
    mean = float(shares @ means)
    lack = float(((1 - shares) ** 2 / degrees).sum())
    between = float(weights @ (means - mean) ** 2) / (k - 1)
    f = between / (1 + 2 * (k - 2) / (k**2 - 1) * lack)
    df2 = min((k**2 - 1) / (3 * lack), pooled_degrees(known))
    omega = (k - 1) * (f - 1) / ((k - 1) * (f - 1) + sum(scatter.n_effective for scatter in known))
    p = float(fdtrc(k - 1, df2, f))
    return GroupTest("Welch F", f, k - 1, df2, p, (("omega^2", float(omega)),))


def kruskal(groups: Groups) -> GroupTest | FitFailure:
    """Kruskal and Wallis' test on ranks, corrected for ties, with epsilon squared (H/(n - 1))."""
    failure = _unfit(groups, within_spread=False)
    if failure:
        return failure
    values = np.concatenate(groups)
    n, ranks = len(values), midranks(values)
    _, ties = np.unique(values, return_counts=True)
    correction = 1 - float((ties**3 - ties).sum()) / (n**3 - n)
    ends = np.cumsum([len(group) for group in groups])
    sums = [float(part.sum()) ** 2 / len(part) for part in np.split(ranks, ends[:-1])]
    h = (12 / (n * (n + 1)) * sum(sums) - 3 * (n + 1)) / correction
    k = len(groups)
    return GroupTest("Kruskal H", h, k - 1, None, float(chdtrc(k - 1, h)), (("epsilon^2", h / (n - 1)),))


def brown_forsythe(groups: Groups) -> GroupTest | FitFailure:
    """Whether groups scatter unequally: analysis of variance of the distances from each group's median."""
    return _spread_test("Brown-Forsythe F", [np.abs(group - np.median(group)) for group in groups])


def levene(groups: Groups) -> GroupTest | FitFailure:
    """The same with the mean in place of the median (Levene 1960): sharper for normal values alone."""
    return _spread_test("Levene F", [np.abs(group - group.mean()) for group in groups if len(group)])


def jonckheere(groups: Groups) -> GroupTest | FitFailure:
    """Whether values rise or fall along the order of the groups (Jonckheere 1954, Terpstra 1952).

    Two-sided, by the normal approximation with the variance for ties of Kendall's tau, to which it is
    equal; the effect is tau-b.
    """
    failure = _unfit(groups, within_spread=False)
    if failure:
        return failure
    values = np.concatenate(groups)
    n = len(values)
    of_group = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    score, earlier = 0.0, np.zeros(0)
    for group in groups:
        less, at_most = (np.searchsorted(earlier, group, side) for side in ("left", "right"))
        score += float((less + at_most - len(earlier)).sum())
        earlier = np.sort(np.concatenate([earlier, group]))
    t, u = (np.unique(side, return_counts=True)[1].astype(float) for side in (values, of_group))
    tied_t, tied_u = float((t * (t - 1)).sum()), float((u * (u - 1)).sum())
    pairs = n * (n - 1)
    variance = (pairs * (2 * n + 5) - _tie_term(t) - _tie_term(u)) / 18
    variance += tied_t * tied_u / (2 * pairs)
    if n > 2:
        triples = [float((side * (side - 1) * (side - 2)).sum()) for side in (t, u)]
        variance += triples[0] * triples[1] / (9 * pairs * (n - 2))
    z = score / math.sqrt(variance)
    tau = 2 * score / math.sqrt((pairs - tied_t) * (pairs - tied_u))
    return GroupTest("Jonckheere z", z, None, None, float(2 * ndtr(-abs(z))), (("tau-b", tau),))


def linear_trend(
    train_sizes: ArrayLike, groups: Groups, scatters: Scatters | None = None
) -> GroupTest | FitFailure:
    """Whether the means rise or fall with log10 of the train size: a linear contrast of the group means.

    Args:
        train_sizes: One per group, above 0.
        groups: The runs of each size; their pooled scatter is the measure.
        scatters: How well each mean is known where runs share draws; then the measure is that.

    Returns:
        Student's t, and the slope per factor of ten as its effect.
    """
    failure = _unfit(groups)
    if failure:
        return failure
    x = np.log10(np.asarray(train_sizes, float))
    lengths, means = (np.array([f(group) for group in groups], float) for f in (len, np.mean))
    n, k = int(lengths.sum()), len(groups)
    dx = lengths * (x - lengths @ x / n)
    square = float(dx @ x)
    slope = float(dx @ means) / square
    variance, degrees = _square_within(groups) / (n - k) / square, float(n - k)
    if scatters is not None:
        variance, degrees = float(dx**2 @ _squares(scatters)) / square**2, pooled_degrees(scatters)
    t = slope / math.sqrt(variance)
    return GroupTest("linear t", t, degrees, None, float(2 * stdtr(degrees, -abs(t))), (("slope", slope),))


def friedman(table: ArrayLike) -> GroupTest | FitFailure:
    """Whether columns differ once each row's level is taken out (Friedman 1937), with Kendall's W.

    Args:
        table: Values, shape (blocks, treatments): such as seeds by sizes.
    """
    values = np.asarray(table, float)
    blocks, treatments = values.shape if values.ndim == 2 else (0, 0)
    if blocks < 2 or treatments < 2:
        return FitFailure("needs two seeds that ran at two sizes")
    ranks = np.stack([midranks(row) for row in values])
    ties = sum(
        float((counts**3 - counts).sum())
        for counts in (np.unique(row, return_counts=True)[1] for row in values)
    )
    correction = 1 - ties / (treatments * (treatments**2 - 1) * blocks)
    if correction == 0:
        return FitFailure("has seeds whose values are all equal")
    square = float((ranks.sum(axis=0) ** 2).sum())
    chi = (
        12 / (blocks * treatments * (treatments + 1)) * square - 3 * blocks * (treatments + 1)
    ) / correction
    w = chi / (blocks * (treatments - 1))
    p = float(chdtrc(treatments - 1, chi))
    return GroupTest("Friedman chi^2", chi, treatments - 1, None, p, (("Kendall's W", w),))


def two_way(table: ArrayLike) -> tuple[GroupTest, GroupTest] | FitFailure:
    """Two-way analysis of variance without replication: the F of columns and that of rows.

    Args:
        table: Values, shape (rows, columns): such as seeds by sizes, every cell filled.

    Returns:
        Of columns and of rows, each with its partial eta squared.
    """
    values = np.asarray(table, float)
    rows, columns = values.shape if values.ndim == 2 else (0, 0)
    if rows < 2 or columns < 2:
        return FitFailure("needs two seeds that ran at two sizes")
    mean = values.mean()
    row_effect, column_effect = values.mean(axis=1) - mean, values.mean(axis=0) - mean
    residual = values - mean - row_effect[:, None] - column_effect
    degrees = (rows - 1) * (columns - 1)
    rest = float((residual**2).sum())
    if rest <= _negligible(values):
        return FitFailure("sizes and seeds explain every value exactly")

    def test(name: str, square: float, df: int) -> GroupTest:
        f = square / df / (rest / degrees)
        effect = (("partial eta^2", square / (square + rest)),)
        return GroupTest(name, f, df, degrees, float(fdtrc(df, degrees, f)), effect)

    return (
        test("F of size", rows * float(column_effect @ column_effect), columns - 1),
        test("F of seed", columns * float(row_effect @ row_effect), rows - 1),
    )


def midranks(values: Floats) -> Floats:
    """Ranks from 1 on, ties sharing their mean.

    >>> midranks(np.array([0.5, 0.9, 0.5])).tolist()
    [1.5, 3.0, 1.5]
    """
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return ranks


_LEAST_TO_SCATTER = 3
"""Two values lie equally far from their middle: their distances have no scatter of their own."""


def _spread_test(name: str, distances: Groups) -> GroupTest | FitFailure:
    found = _unfit(distances, each_at_least=_LEAST_TO_SCATTER) or anova(distances)
    if isinstance(found, FitFailure):
        return found
    return GroupTest(name, found.statistic, found.df1, found.df2, found.p, found.effects[:1])


def _tie_term(counts: Floats) -> float:
    return float((counts * (counts - 1) * (2 * counts + 5)).sum())


def pooled_degrees(scatters: Scatters) -> float:
    """The most degrees of freedom that a comparison of means has; infinite where none were pooled."""
    return max(scatter.pooled_degrees for scatter in scatters)


def _squares(scatters: Scatters) -> Floats:
    """Squared standard errors, shape (groups,)."""
    return np.array([scatter.stderr for scatter in scatters]) ** 2


def _square_within(groups: Groups) -> float:
    return sum(float(((group - group.mean()) ** 2).sum()) for group in groups)


def _square_between(groups: Groups) -> float:
    mean = np.concatenate(groups).mean()
    return sum(len(group) * float(group.mean() - mean) ** 2 for group in groups)


def _negligible(values: Floats) -> float:
    """A sum of squares that rounding alone can make of equal values."""
    return float((8 * np.finfo(float).eps * np.abs(values).max()) ** 2 * values.size)


def _unfit(
    groups: Groups, *, each_at_least: int = 1, each_spread: bool = False, within_spread: bool = True
) -> FitFailure | None:
    """Why some groups cannot be compared; None if they can."""
    if len(groups) < 2:
        return FitFailure("needs two groups")
    if any(len(group) < each_at_least for group in groups):
        return FitFailure("needs two runs in every group")
    values = np.concatenate(groups)
    if len(values) <= len(groups):
        return FitFailure("needs a group with two runs")
    if np.ptp(values) ** 2 <= _negligible(values):
        return FitFailure("has equal values everywhere")
    if within_spread and _square_within(groups) <= _negligible(values):
        return FitFailure("needs a group with two runs that differ")
    if each_spread and any(np.ptp(group) == 0 for group in groups):
        return FitFailure("needs runs that differ in every group")
    return None

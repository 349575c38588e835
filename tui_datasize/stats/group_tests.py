"""F tests, each with its effect size, and how a probability is written."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import fdtrc

from tui_datasize.stats.fits import FitFailure

SIGNIFICANT = 0.05
"""Below it a difference is called one."""


@dataclass(frozen=True, slots=True)
class GroupTest:
    """A test statistic, its probability if nothing differed, and how large the effect is."""

    name: str
    statistic: float
    df1: float
    df2: float
    p: float
    effect: str
    effect_size: float

    @property
    def brief(self) -> str:
        """The statistic as it is quoted, such as `F of seed(3, 9) = 41.2, p = 1.2e-05`."""
        return f"{self.name}({self.df1:.4g}, {self.df2:.4g}) = {self.statistic:.4g}, {p_words(self.p)}"


def p_words(p: float) -> str:
    """A probability as it is quoted.

    >>> p_words(0.0312), p_words(0.0)
    ('p = 0.031', 'p < 1e-16')
    """
    return f"p = {p:.2g}" if p >= 1e-16 else "p < 1e-16"


def seed_effect(table: ArrayLike) -> GroupTest | FitFailure:
    """Whether rows differ by more than chance: two-way analysis of variance without replication.

    `table` has values of shape (seeds, sizes), every cell filled; F comes with the partial eta squared.
    """
    values = np.asarray(table, float)
    rows, columns = values.shape if values.ndim == 2 else (0, 0)
    if rows < 2 or columns < 2:
        return FitFailure("needs two seeds that ran at two sizes")
    mean = values.mean()
    row_effect, column_effect = values.mean(axis=1) - mean, values.mean(axis=0) - mean
    residual = values - mean - row_effect[:, None] - column_effect
    df, rest_df = rows - 1, (rows - 1) * (columns - 1)
    square, rest = columns * float(row_effect @ row_effect), float((residual**2).sum())
    if rest <= (8 * np.finfo(float).eps * np.abs(values).max()) ** 2 * values.size:
        return FitFailure("sizes and seeds explain every value exactly")
    f = square / df / (rest / rest_df)
    p = float(fdtrc(df, rest_df, f))
    return GroupTest("F of seed", f, df, rest_df, p, "partial eta^2", square / (square + rest))

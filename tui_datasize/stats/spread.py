"""How the scatter over seeds changes with the train size: Breusch and Pagan, the exponent of the SD."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import chdtrc, ndtri

from tui_datasize.stats.curve import CONFIDENCE
from tui_datasize.stats.exponent import fit_exponent
from tui_datasize.stats.fits import FitFailure
from tui_datasize.stats.group_tests import GroupTest
from tui_datasize.stats.laws import Floats


@dataclass(frozen=True, slots=True)
class SpreadLaw:
    """Standard deviation over seeds = `sd_at_one` * n^`exponent`."""

    exponent: float
    """Negative where larger sizes scatter less; on public curves near -0.2, not -0.5."""
    low: float
    """Lower end of its 95 % interval."""
    high: float
    stderr: float
    sd_at_one: float
    n_sizes: int


def breusch_pagan(train_sizes: ArrayLike, residuals: ArrayLike) -> GroupTest | FitFailure:
    """Whether squared residuals change with log10 of the train size (Koenker's studentised form, 1981).

    Args:
        train_sizes: One per run, shape (n,), above 0.
        residuals: Run minus the mean of its size, shape (n,).
    """
    x, square = np.log10(np.asarray(train_sizes, float)), np.asarray(residuals, float) ** 2
    if len(np.unique(x)) < 2 or len(x) < 3:
        return FitFailure("needs two sizes and three runs")
    if not np.ptp(square):
        return FitFailure("has residuals that are all of one length")
    dx, dy = x - x.mean(), square - square.mean()
    r2 = float(dx @ dy) ** 2 / float(dx @ dx) / float(dy @ dy)
    lm = len(x) * r2
    return GroupTest("Breusch-Pagan LM", lm, 1, None, float(chdtrc(1, lm)), (("r^2", r2),))


def spread_law(train_sizes: Sequence[float], groups: Sequence[Floats]) -> SpreadLaw | FitFailure:
    """Fit the exponent of the standard deviation against train size, see `exponent.fit_exponent`.

    Args:
        train_sizes: One per group, above 0.
        groups: Finite values of the runs of each size; sizes without two runs that differ are left out.
    """
    usable = [
        (size, group)
        for size, group in zip(train_sizes, groups, strict=True)
        if len(group) > 1 and np.ptp(group) > 0
    ]
    found = fit_exponent(
        [size for size, _ in usable],
        [group.var(ddof=1) for _, group in usable],
        [len(group) - 1 for _, group in usable],
    )
    if found is None:
        return FitFailure("needs two sizes with two runs each that differ")
    reach = float(ndtri(0.5 + CONFIDENCE / 2)) * found.stderr
    low, high = found.value - reach, found.value + reach
    return SpreadLaw(found.value, low, high, found.stderr, found.sd_at_one, len(usable))

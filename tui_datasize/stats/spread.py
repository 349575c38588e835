"""How the scatter over seeds changes with the train size: the exponent of the standard deviation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from tui_datasize.stats.clusters import Floats, SizeRuns
from tui_datasize.stats.curve import CONFIDENCE
from tui_datasize.stats.exponent import fit_exponent
from tui_datasize.stats.fits import FitFailure


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

    @property
    def is_steady(self) -> bool:
        """Whether no change with size may be all there is."""
        return self.low <= 0 <= self.high


def spread_law(sizes: Sequence[SizeRuns]) -> SpreadLaw | FitFailure:
    """Fit the exponent of the standard deviation against train size, see `exponent.fit_exponent`.

    What a draw does to all its runs is left out, and what a seed does to all its runs where every size has
    seeds that ran on each of several draws: few draws and seeds tell little of their own scatter.

    Args:
        sizes: The runs of each size; those without two that differ are left out.
    """
    crossed = [_crossed(size) for size in sizes]
    known = [_of_table(table) for table in crossed if table is not None]
    if len(known) < len(sizes):
        known = [_of_draws(size) for size in sizes]
    usable = [(size.train_size, *one) for size, one in zip(sizes, known, strict=True) if one[0] > 0]
    found = fit_exponent(*zip(*usable, strict=True)) if usable else None
    if found is None:
        return FitFailure("needs two sizes with two runs each that differ")
    reach = float(ndtri(0.5 + CONFIDENCE / 2)) * found.stderr
    low, high = found.value - reach, found.value + reach
    return SpreadLaw(found.value, low, high, found.stderr, found.sd_at_one, len(usable))


def _crossed(size: SizeRuns) -> Floats | None:
    """Values of the seeds that ran on every draw, shape (draws, seeds); None without two of both."""
    cells = dict(zip(zip(size.draws.tolist(), size.seeds.tolist(), strict=True), size.values, strict=True))
    draws = sorted({draw for draw, _ in cells})
    seeds = sorted(set.intersection(*({s for d, s in cells if d == draw} for draw in draws)))
    if min(len(draws), len(seeds)) < 2:
        return None
    return np.array([[cells[draw, seed] for seed in seeds] for draw in draws])


def _of_table(table: Floats) -> tuple[float, int]:
    """The variance that draws and seeds leave, and its degrees of freedom."""
    rest = table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean()
    degrees = (len(table) - 1) * (table.shape[1] - 1)
    return (float((rest**2).sum()) / degrees if np.ptp(table) else 0.0), degrees


def _of_draws(size: SizeRuns) -> tuple[float, int]:
    """The variance of runs of one draw, of draws with a run each that of all, and its degrees of freedom."""
    draws, of_draw = np.unique(size.draws, return_inverse=True)
    n = len(size.values)
    if n == len(draws):
        draws, of_draw = draws[:1], np.zeros_like(of_draw)
    if n < 2 or not np.ptp(size.values):
        return 0.0, 0
    means = np.bincount(of_draw, size.values) / np.bincount(of_draw)
    degrees = n - len(draws)
    return float(((size.values - means[of_draw]) ** 2).sum()) / degrees, degrees

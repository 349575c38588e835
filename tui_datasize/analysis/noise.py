"""How much one run scatters at a train size, from however few repeated runs there are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tui_datasize.analysis.laws import Floats
from tui_datasize.analysis.spread import SpreadLaw, spread_law

USUAL_EXPONENT = -0.2
USUAL_EXPONENT_SD = 0.15
"""Of the standard deviation against train size on public curves: not the -0.5 of a mean."""
GUESSED_SD = 0.01
"""Where nothing at all is known: one point of accuracy."""
LEAST_GUESS = 0.001
"""No guess is below a tenth of a point: a law of three parameters goes through four means almost exactly."""


@dataclass(frozen=True, slots=True)
class Noise:
    """Standard deviation of one run = `sd_at_one` * n^`exponent`."""

    sd_at_one: float
    exponent: float
    degrees: int
    """Degrees of freedom behind it; 0 where it is a guess."""

    def variance_at(self, train_sizes: ArrayLike) -> Floats:
        """Variance of one run at train sizes of shape (n,)."""
        sizes = np.asarray(train_sizes, float)
        variance: Floats = (self.sd_at_one * sizes**self.exponent) ** 2
        return variance


def noise_of(train_sizes: Sequence[float], groups: Sequence[Floats], residual_sd: float = math.nan) -> Noise:
    """The scatter of runs as a function of train size.

    The exponent is drawn towards that of public curves by its own standard error (a normal prior); the level
    is pooled over all sizes.

    Args:
        train_sizes: One per group, above 0.
        groups: Finite values of the runs of each size; single runs say nothing here.
        residual_sd: Of a law fitted to the means: the level where no size has two runs that differ.

    >>> noise_of([100], [np.array([0.5])]).degrees, noise_of([100], [np.array([0.5, 0.6])]).degrees
    (0, 1)
    """
    repeated = [
        (size, group)
        for size, group in zip(train_sizes, groups, strict=True)
        if len(group) > 1 and np.ptp(group) > 0
    ]
    exponent = _exponent(spread_law(train_sizes, groups))
    if not repeated:
        level = max(residual_sd, LEAST_GUESS) if math.isfinite(residual_sd) else GUESSED_SD
        centre = float(np.exp(np.mean(np.log(np.asarray(train_sizes, float))))) if len(train_sizes) else 1.0
        return Noise(level * centre**-exponent, exponent, 0)
    degrees = np.array([len(group) - 1 for _, group in repeated])
    scaled = np.array([group.var(ddof=1) / size ** (2 * exponent) for size, group in repeated])
    return Noise(math.sqrt(float(degrees @ scaled) / degrees.sum()), exponent, int(degrees.sum()))


def _exponent(found: object) -> float:
    if not isinstance(found, SpreadLaw):
        return USUAL_EXPONENT
    trust, prior = 1 / found.stderr**2, 1 / USUAL_EXPONENT_SD**2
    return (trust * found.exponent + prior * USUAL_EXPONENT) / (trust + prior)

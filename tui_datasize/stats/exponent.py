"""How a standard deviation changes with the train size: the exponent of a power law, and what is usual."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import polygamma, psi

USUAL_EXPONENT = -0.2
USUAL_EXPONENT_SD = 0.15
"""Of the standard deviation against train size on public curves: not the -0.5 of a mean."""


@dataclass(frozen=True, slots=True)
class Exponent:
    """Standard deviation = `sd_at_one` * n^`value`."""

    value: float
    stderr: float
    sd_at_one: float

    @property
    def drawn_to_usual(self) -> float:
        """The exponent drawn towards that of public curves by its own standard error (a normal prior)."""
        trust, prior = 1 / self.stderr**2, 1 / USUAL_EXPONENT_SD**2
        return (trust * self.value + prior * USUAL_EXPONENT) / (trust + prior)


def fit_exponent(train_sizes: ArrayLike, variances: ArrayLike, degrees: ArrayLike) -> Exponent | None:
    """Fit the exponent to sample variances; None where fewer than two sizes have one.

    Their logarithms, freed of their bias, by least squares weighted with their known variance (of a log chi
    square: trigamma of half the degrees of freedom). All of shape (n,) and above 0; `degrees` of freedom are
    those of each variance.
    """
    x, half = np.log(np.asarray(train_sizes, float)), np.asarray(degrees, float) / 2
    if len(np.unique(x)) < 2:
        return None
    y = np.log(np.asarray(variances, float)) - psi(half) + np.log(half)
    weights = 1 / polygamma(1, half)
    centre = float(weights @ x / weights.sum())
    level = float(weights @ y / weights.sum())
    square = float(weights @ (x - centre) ** 2)
    slope = float(weights @ ((x - centre) * (y - level))) / square
    return Exponent(slope / 2, 1 / math.sqrt(square) / 2, math.exp((level - slope * centre) / 2))

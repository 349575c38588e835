"""How much one run scatters at a train size, from however few repeated runs there are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tui_datasize.stats.clusters import Clusters
from tui_datasize.stats.exponent import USUAL_EXPONENT, fit_exponent
from tui_datasize.stats.laws import Floats
from tui_datasize.stats.odd_sizes import odd_variances

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
    draw_share: float = 0.0
    """Of the variance of a run, what all runs on its subset draw share, in [0, 1]."""
    seed_share: float = 0.0
    """The same of all runs with its training seed."""
    n_draws: int = 1
    """Draws that the runs of a size are spread over."""

    def variance_at(self, train_sizes: ArrayLike) -> Floats:
        """Variance of one run at train sizes of shape (n,)."""
        sizes = np.asarray(train_sizes, float)
        return (self.sd_at_one * sizes**self.exponent) ** 2

    def worth(self, counts: ArrayLike) -> Floats:
        """Independent runs that as many runs as `counts`, shape (n,), are worth: evenly on the same draws.

        >>> Noise(0.01, 0.0, 9, draw_share=0.5, n_draws=2).worth([0, 1, 2, 20]).round(2).tolist()
        [0.0, 1.0, 2.0, 3.64]
        """
        runs = np.asarray(counts, float)
        some = np.maximum(runs, 1)
        draws = np.minimum(some, self.n_draws)
        rest = 1 - self.draw_share - self.seed_share
        in_mean = self.draw_share / draws + self.seed_share * draws / some + rest / some
        return np.where(runs > 0, 1 / in_mean, 0.0)


def noise_of(
    train_sizes: Sequence[float],
    groups: Sequence[Floats],
    residual_sd: float = math.nan,
    clusters: Clusters | None = None,
) -> Noise:
    """The scatter of runs as a function of train size.

    The exponent is drawn towards that of public curves by its own standard error (a normal prior); the level
    is pooled over all sizes. `groups` are the finite values of the runs of each size; single runs say nothing
    here. `residual_sd`, of a law fitted to the means, is the level where no size has two runs that differ.
    `clusters` is what sharing draws makes of the same runs; None where they do not tell.

    >>> noise_of([100], [np.array([0.5])]).degrees, noise_of([100], [np.array([0.5, 0.6])]).degrees
    (0, 1)
    """
    if clusters is not None:
        degrees = max(1, round(clusters.pooled_degrees))
        shares = clusters.draw_share, clusters.seed_share
        return Noise(clusters.sd_at_one, clusters.exponent, degrees, *shares, clusters.n_draws)
    repeated = [
        (size, group)
        for size, group in zip(train_sizes, groups, strict=True)
        if len(group) > 1 and np.ptp(group) > 0
    ]
    sizes = [size for size, _ in repeated]
    variances = np.array([group.var(ddof=1) for _, group in repeated])
    degrees_of = np.array([len(group) - 1 for _, group in repeated])
    variances = variances / odd_variances(variances, degrees_of)
    found = fit_exponent(sizes, variances, degrees_of)
    exponent = USUAL_EXPONENT if found is None else found.drawn_to_usual
    if not repeated:
        level = max(residual_sd, LEAST_GUESS) if math.isfinite(residual_sd) else GUESSED_SD
        centre = float(np.exp(np.mean(np.log(np.asarray(train_sizes, float))))) if len(train_sizes) else 1.0
        return Noise(level * centre**-exponent, exponent, 0)
    scaled = variances / np.asarray(sizes, float) ** (2 * exponent)
    return Noise(math.sqrt(float(degrees_of @ scaled) / degrees_of.sum()), exponent, int(degrees_of.sum()))

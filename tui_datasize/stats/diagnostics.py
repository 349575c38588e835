"""What the residuals of the log-linear law say: information criteria, normality, points that pull at it.

Equal to the table and the influence measures of statsmodels. With weights w all is computed on the rows
scaled by sqrt(w), as there. Formulas: Belsley, Kuh and Welsch, *Regression Diagnostics* (1980), chapter 2,
where no other source is given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import chdtrc, stdtr

from tui_datasize.stats.fits import FitFailure, unfit, unit_weights
from tui_datasize.stats.laws import Floats

N_PARAMETERS = 2
LEAST_FOR_OMNIBUS = 8
"""Of fewer points the skewness has no usable distribution."""
LARGE_COOK = 1.0
"""Leaving out a point of a larger Cook's distance moves the line further than its own uncertainty."""
SIGNIFICANT = 0.05
LEAST_POINTS = 4
"""Three points leave one residual pattern whatever the values: every measure of it would be a constant."""


@dataclass(frozen=True, slots=True)
class Influence:
    """How one point sways the line."""

    train_size: float
    value: float
    leverage: float
    """Diagonal of the hat matrix, in [0, 1]."""
    cooks_distance: float
    studentised: float
    """Residual over its standard error (internally studentised)."""
    studentised_deleted: float
    """The same, with the scatter of all other points (externally studentised)."""
    outlier_p: float
    """Of the deleted residual, two-sided, times the number of points (Bonferroni), at most 1."""


@dataclass(frozen=True, slots=True)
class Diagnostics:
    """The rest of the table of a least-squares line."""

    log_likelihood: float
    aic: float
    bic: float
    durbin_watson: float
    """Near 2 where neighbouring residuals, in the order given, do not depend on each other."""
    omnibus: float | None
    """D'Agostino and Pearson's K^2 of the residuals; None for fewer than 8 points."""
    omnibus_p: float | None
    jarque_bera: float
    jarque_bera_p: float
    skew: float
    kurtosis: float
    """3 for a normal distribution."""
    condition_number: float
    """Of the design matrix: largest over smallest singular value."""
    points: tuple[Influence, ...]

    @property
    def flagged(self) -> tuple[Influence, ...]:
        """The points that sway the line too far or lie off it by more than chance."""
        return tuple(
            one for one in self.points if one.cooks_distance > LARGE_COOK or one.outlier_p < SIGNIFICANT
        )


def diagnose(
    train_sizes: ArrayLike, values: ArrayLike, weights: ArrayLike | None = None
) -> Diagnostics | FitFailure:
    """Diagnose the log-linear line through some points; arguments as of `fits.fit_log_linear`.

    Durbin-Watson looks at neighbours in the order given. All runs of a curve are given by train size, and
    within a size as they were recorded: it sees a line that bends, and no order of the runs in time.
    """
    sizes, y = np.asarray(train_sizes, float), np.asarray(values, float)
    if failure := unfit(np.log10(sizes), y):
        return failure
    if len(y) < LEAST_POINTS:
        return FitFailure("has too few sizes for that: three leave nothing but constants")
    w = unit_weights(len(y), weights)
    root = np.sqrt(w)
    q, r = np.linalg.qr(root[:, None] * np.column_stack([np.ones(len(y)), np.log10(sizes)]))
    scaled = root * y
    residuals = scaled - q @ (q.T @ scaled)
    n, square = len(y), float(residuals @ residuals)
    if square <= (np.finfo(float).eps * float(np.abs(scaled).max())) ** 2 * n:
        return FitFailure("fits every point exactly, so there are no residuals to judge")
    log_likelihood = -n / 2 * (math.log(2 * math.pi * square / n) + 1) + float(np.log(w).sum()) / 2
    skew, kurtosis = _moments(residuals)
    jarque_bera = n / 6 * (skew**2 + (kurtosis - 3) ** 2 / 4)
    deviates = (_skew_deviate(skew, n), _kurtosis_deviate(kurtosis, n)) if n >= LEAST_FOR_OMNIBUS else ()
    omnibus = sum(one**2 for one in deviates) if deviates else None
    return Diagnostics(
        log_likelihood=log_likelihood,
        aic=2 * N_PARAMETERS - 2 * log_likelihood,
        bic=N_PARAMETERS * math.log(n) - 2 * log_likelihood,
        durbin_watson=float(np.sum(np.diff(residuals) ** 2)) / square,
        omnibus=omnibus,
        omnibus_p=None if omnibus is None else float(chdtrc(2, omnibus)),
        jarque_bera=jarque_bera,
        jarque_bera_p=float(chdtrc(2, jarque_bera)),
        skew=skew,
        kurtosis=kurtosis,
        condition_number=float(np.linalg.cond(r)),
        points=_influences(sizes, y, residuals, np.sum(q**2, axis=1)),
    )


def _influences(sizes: Floats, values: Floats, residuals: Floats, leverage: Floats) -> tuple[Influence, ...]:
    n, degrees = len(values), len(values) - N_PARAMETERS
    square = float(residuals @ residuals)
    with np.errstate(divide="ignore", invalid="ignore"):
        internal = residuals / np.sqrt(square / degrees * (1 - leverage))
        cook = internal**2 * leverage / (1 - leverage) / N_PARAMETERS
        others = np.maximum(square - residuals**2 / (1 - leverage), 0) / (degrees - 1)
        deleted = residuals / np.sqrt(others * (1 - leverage))
    p = np.minimum(2 * n * stdtr(degrees - 1, -np.abs(deleted)), 1)
    columns = np.column_stack([sizes, values, leverage, cook, internal, deleted, p])
    return tuple(Influence(*row) for row in columns.tolist())


def _moments(residuals: Floats) -> tuple[float, float]:
    """Skewness and kurtosis, both with the divisor n."""
    centred = residuals - residuals.mean()
    variance, third, fourth = (float(np.mean(centred**k)) for k in (2, 3, 4))
    return third / variance**1.5, fourth / variance**2


def _skew_deviate(skew: float, n: int) -> float:
    """Transformation of D'Agostino (1970), *Biometrika* 57, 679."""
    y = skew * math.sqrt((n + 1) * (n + 3) / (6 * (n - 2)))
    beta = 3 * (n**2 + 27 * n - 70) * (n + 1) * (n + 3) / ((n - 2) * (n + 5) * (n + 7) * (n + 9))
    w2 = math.sqrt(2 * (beta - 1)) - 1
    return math.asinh(y / math.sqrt(2 / (w2 - 1))) / math.sqrt(math.log(w2) / 2)


def _kurtosis_deviate(kurtosis: float, n: int) -> float:
    """Transformation of Anscombe and Glynn (1983), *Biometrika* 70, 227."""
    mean = 3 * (n - 1) / (n + 1)
    variance = 24 * n * (n - 2) * (n - 3) / ((n + 1) ** 2 * (n + 3) * (n + 5))
    x = (kurtosis - mean) / math.sqrt(variance)
    root_beta = 6 * (n**2 - 5 * n + 2) / ((n + 7) * (n + 9))
    root_beta *= math.sqrt(6 * (n + 3) * (n + 5) / (n * (n - 2) * (n - 3)))
    a = 6 + 8 / root_beta * (2 / root_beta + math.sqrt(1 + 4 / root_beta**2))
    ratio = (1 - 2 / a) / (1 + x * math.sqrt(2 / (a - 4)))
    return (1 - 2 / (9 * a) - math.cbrt(ratio)) / math.sqrt(2 / (9 * a))

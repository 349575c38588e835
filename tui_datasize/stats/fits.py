"""The log-linear law: least squares of a metric on log10 of the train size, ordinary or weighted.

It is what Hansson, Padban and Silwer (2025) fit to the means over seeds. Formulas: Draper and Smith,
*Applied Regression Analysis*, 3rd ed., chapters 1 to 3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import fdtrc, stdtr, stdtrit

from tui_datasize.stats.clusters import MeanScatter
from tui_datasize.stats.curve import CONFIDENCE

Band: TypeAlias = Literal["mean", "observation"]

LEAST_SIZES = 3
"""Through two sizes every line fits: nothing is left to tell whether the law holds."""


@dataclass(frozen=True, slots=True)
class FitFailure:
    """Why there is no fit."""

    reason: str
    """A clause for a person, such as `needs three sizes, has two`."""

    @property
    def sentence(self) -> str:
        """The reason as a sentence of its own.

        >>> FitFailure("needs three sizes, has two").sentence
        'Needs three sizes, has two.'
        """
        return f"{self.reason[:1].upper()}{self.reason[1:]}."


@dataclass(frozen=True, slots=True)
class Estimate:
    """A coefficient, how well it is known, and its 95 % interval."""

    value: float
    stderr: float
    t: float
    """Value over standard error; infinite where the points lie on the line."""
    p: float
    """Two-sided probability of such a t if the coefficient were 0."""
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """A value of the law and its 95 % interval."""

    train_size: float
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class LogLinearFit:
    """`metric = intercept + slope * log10(train size)`, with the usual table."""

    intercept: Estimate
    slope: Estimate
    """Change of the metric per factor of ten in train size."""
    r2: float
    r2_adjusted: float
    f: float
    """Explained over residual mean square, on 1 and `n_points - 2` degrees of freedom."""
    f_p: float
    residual_sd: float
    """Square root of the residual mean square, in units of the metric."""
    n_points: int
    log_size_mean: float
    log_size_square_sum: float
    """Sum of squared deviations of log10(train size) from its mean; both weighted."""

    @property
    def formula(self) -> str:
        """The law to four digits, as `0.4344 + 0.1188*log10(n)`."""
        sign = "-" if self.slope.value < 0 else "+"
        return f"{self.intercept.value:.4f} {sign} {abs(self.slope.value):.4f}*log10(n)"

    @property
    def doubling(self) -> Estimate:
        """What the law says the next doubling of the train size adds to the metric."""
        one, by = self.slope, math.log10(2)
        return Estimate(one.value * by, one.stderr * by, one.t, one.p, one.low * by, one.high * by)

    def predict(self, train_size: float, band: Band = "mean") -> Prediction:
        """The law at a train size.

        Of the law itself ("mean"), or of one further point like those fitted, of average weight
        ("observation"). Beyond the sizes fitted the band knows nothing of a law that bends.
        """
        x = math.log10(train_size)
        # Around the mean, so that the two coefficients' errors do not have to cancel.
        centre = self.intercept.value + self.slope.value * self.log_size_mean
        value = centre + self.slope.value * (x - self.log_size_mean)
        variance = 1 / self.n_points + (x - self.log_size_mean) ** 2 / self.log_size_square_sum
        if band == "observation":
            variance += 1
        half = _quantile(self.n_points - 2) * self.residual_sd * math.sqrt(variance)
        return Prediction(train_size, value, value - half, value + half)


@dataclass(frozen=True, slots=True)
class LackOfFit:
    """Whether runs of one size scatter around the law, or around something that it misses."""

    f: float
    """Mean square of size means around the line over that of runs around their size mean."""
    sizes_df: int
    runs_df: float
    """A whole number where runs are independent."""
    p: float
    """Probability of such an f if the law held and runs scattered equally at all sizes."""


def fit_log_linear(
    train_sizes: ArrayLike, values: ArrayLike, weights: ArrayLike | None = None
) -> LogLinearFit | FitFailure:
    """Least squares of `values` on log10(`train_sizes`), images above 0.

    Values are finite: means over seeds, or one per run. Weights are proportional to 1/variance and above 0;
    without them all points weigh equally. All have the shape (n,).

    >>> fit = fit_log_linear([10, 100, 1000, 10000], [0.52, 0.69, 0.81, 0.98])
    >>> fit.formula
    '0.3750 + 0.1500*log10(n)'
    >>> round(fit.r2, 4), round(fit.slope.stderr, 4), round(fit.slope.p, 4)
    (0.9956, 0.0071, 0.0022)
    >>> fit_log_linear([10, 10, 100], [0.5, 0.6, 0.7])
    FitFailure(reason='needs three sizes, has two')
    """
    x, y = np.log10(np.asarray(train_sizes, float)), np.asarray(values, float)
    if failure := unfit(x, y):
        return failure
    n, degrees, w = len(x), len(x) - 2, unit_weights(len(x), weights)
    x_mean, y_mean = float(w @ x) / n, float(w @ y) / n
    dx, dy = x - x_mean, y - y_mean
    sxx, syy = float(w @ dx**2), float(w @ dy**2)
    slope = float(w @ (dx * dy)) / sxx
    residual_square = float(w @ (dy - slope * dx) ** 2)
    mean_square = residual_square / degrees
    f = _ratio(slope**2 * sxx, mean_square)
    r2 = 1 - residual_square / syy
    return LogLinearFit(
        intercept=_estimate(y_mean - slope * x_mean, mean_square * (1 / n + x_mean**2 / sxx), degrees),
        slope=_estimate(slope, mean_square / sxx, degrees),
        r2=r2,
        r2_adjusted=1 - (1 - r2) * (n - 1) / degrees,
        f=f,
        f_p=float(fdtrc(1, degrees, f)),
        residual_sd=math.sqrt(mean_square),
        n_points=n,
        log_size_mean=x_mean,
        log_size_square_sum=sxx,
    )


def unit_weights(n_points: int, weights: ArrayLike | None) -> NDArray[np.float64]:
    """Weights of mean 1, so that an average point counts once."""
    if weights is None:
        return np.ones(n_points)
    w = np.asarray(weights, float)
    scaled: NDArray[np.float64] = w / w.mean()
    return scaled


def lack_of_fit(
    train_sizes: ArrayLike, values: ArrayLike, scatters: Sequence[MeanScatter] | None = None
) -> LackOfFit | FitFailure:
    """Test the log-linear law against free means per size (F test of Draper and Smith, section 2.1).

    `train_sizes` are images above 0 and `values` one finite value per run, shape (n,). Where runs share
    draws, the scatter around the line is measured by what `scatters` (how well each mean is known, ascending
    in size) let expect of it.
    """
    x, y = np.log10(np.asarray(train_sizes, float)), np.asarray(values, float)
    failure = unfit(x, y)
    if failure:
        return failure
    sizes, size_of = np.unique(x, return_inverse=True)
    sizes_df, runs_df = len(sizes) - 2, len(x) - len(sizes)
    means = np.bincount(size_of, y) / np.bincount(size_of)
    around_means = y - means[size_of]
    dx, dy = x - x.mean(), y - y.mean()
    around_line = dy - (dx @ dy) / (dx @ dx) * dx
    pure_square = float(around_means @ around_means)
    if runs_df == 0 or pure_square == 0:
        return FitFailure("needs a size with two runs that differ")
    lack_square = max(0.0, float(around_line @ around_line) - pure_square)
    mean_square, degrees = pure_square / runs_df, float(runs_df)
    if scatters is not None:
        counts = np.bincount(size_of)
        leverage = counts * (1 / len(x) + (sizes - x.mean()) ** 2 / (dx @ dx))
        squares = np.array([scatter.stderr for scatter in scatters]) ** 2
        mean_square = float(counts * (1 - leverage) @ squares) / sizes_df
        degrees = min(scatter.pooled_degrees for scatter in scatters)
    f = lack_square / sizes_df / mean_square
    return LackOfFit(f, sizes_df, degrees, float(fdtrc(sizes_df, degrees, f)))


def unfit(x: NDArray[np.float64], y: NDArray[np.float64]) -> FitFailure | None:
    """Why no line can be fitted to some points, shape (n,) each; None if one can."""
    sizes = len(np.unique(x))
    if sizes < LEAST_SIZES:
        has = ("none", "one", "two")[sizes]
        return FitFailure(f"needs three sizes, has {has}")
    # The mean of equal numbers may differ from them in the last digit.
    if np.ptp(y) <= 4 * np.finfo(float).eps * np.abs(y).max():
        return FitFailure("has equal values everywhere")
    return None


def _estimate(value: float, variance: float, degrees: int) -> Estimate:
    stderr = math.sqrt(variance)
    t = _ratio(value, stderr)
    half = _quantile(degrees) * stderr
    return Estimate(value, stderr, t, float(2 * stdtr(degrees, -abs(t))), value - half, value + half)


def _quantile(degrees: int) -> float:
    return float(stdtrit(degrees, 0.5 + CONFIDENCE / 2))


def _ratio(value: float, scale: float) -> float:
    """`value / scale`, infinite where the points lie on the line."""
    return value / scale if scale else math.copysign(math.inf, value)

"""All laws fitted to one learning curve, ranked by AICc, and their average: the default answer.

No single law is right for all learning curves (Viering and Loog, 2022); the average over laws with Akaike
weights (Burnham and Anderson, *Model Selection and Multimodel Inference*, section 4.3) extrapolates better
than any of them, see `benchmarks.extrapolation`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from tui_datasize.stats.fits import FitFailure
from tui_datasize.stats.fitting import CurvePoints, LawFit, curve_points, fit_law
from tui_datasize.stats.laws import LAWS, Floats, Law, Loss

LEAST_SIZES = 3
"""Two sizes fit every law of two parameters."""
FALLBACK = "half"
"""The law that answers where there are too few sizes for an AICc: its exponent is the usual one (Hoiem et
al., *Learning Curves for Analysis of Deep Networks*, 2021)."""
SPREAD_TEMPER = 0.25
"""How far the Akaike weights are softened where laws are asked how much they disagree: a law that fits a
little worse may still be the one that holds further on."""
LEAST_ERROR = 1e-3
"""Logarithms of an error are taken of at least this: below, one wrong image is a large factor."""


@dataclass(frozen=True, slots=True)
class Member:
    """A law that takes part in the average, with its weight in [0, 1]."""

    fit: LawFit
    weight: float
    spread_weight: float
    """In the disagreement of laws."""


@dataclass(frozen=True, slots=True)
class Average:
    """The laws' average with Akaike weights."""

    members: tuple[Member, ...]
    loss: Loss

    def errors_at(self, train_sizes: ArrayLike) -> Floats:
        """The average at train sizes of shape (n,), in units of the error; an error rate lies in [0, 1]."""
        return self.with_spread_at(train_sizes)[0]

    def with_spread_at(self, train_sizes: ArrayLike) -> tuple[Floats, Floats]:
        """The average and how far the laws disagree: standard deviation of the logarithms of their errors."""
        most = 1 if self.loss is Loss.ERROR else None
        each = np.clip(np.stack([member.fit.errors_at(train_sizes) for member in self.members]), 0, most)
        weights, spread_weights = np.array([(m.weight, m.spread_weight) for m in self.members]).T
        logs = np.log(np.maximum(each, LEAST_ERROR))
        spread: Floats = np.sqrt(spread_weights @ (logs - spread_weights @ logs) ** 2)
        # Clipped again: the weights may add up to a little more than 1.
        return np.clip(weights @ each, 0, most), spread


@dataclass(frozen=True)
class FittedLaws:
    """Every law on one learning curve."""

    points: CurvePoints
    loss: Loss
    fits: tuple[tuple[Law, LawFit | FitFailure], ...]
    """In the order of `LAWS`, each fitted or with the reason why not."""

    @cached_property
    def average(self) -> Average | FitFailure:
        fitted = [fit for law, fit in self.fits if isinstance(fit, LawFit) and self.loss in law.averaged_for]
        return average_of(fitted, self.points, self.loss)

    @property
    def ranked(self) -> tuple[tuple[Law, LawFit | FitFailure, float], ...]:
        """Law, fit and weight in the average: the heaviest first, equal ones by parameters, failures last.

        After all laws stands the last value repeated, which is none: a baseline to beat.
        """
        weights = {}
        if isinstance(self.average, Average):
            weights = {member.fit.law.name: member.weight for member in self.average.members}

        def place(entry: tuple[Law, LawFit | FitFailure]) -> tuple[bool, bool, float, int]:
            law, fit = entry
            weight = weights.get(law.name, 0.0)
            return isinstance(fit, FitFailure), law.form == "last", -weight, law.n_parameters

        return tuple((law, fit, weights.get(law.name, 0.0)) for law, fit in sorted(self.fits, key=place))


def fit_laws(
    train_sizes: ArrayLike,
    errors: ArrayLike,
    stderrs: ArrayLike | None = None,
    *,
    loss: Loss = Loss.ERROR,
    fit_from: float = 0,
) -> FittedLaws | FitFailure:
    """Fit every law to a learning curve.

    A cross-entropy is fitted as it is, not in logarithms: weights 1/SE^2 make the same of both to first
    order, and no public curves of cross-entropy tell which extrapolates better where no error is known.

    Args:
        train_sizes: Images, shape (n,), above 0, each once.
        errors: 1 - accuracy in [0, 1], or cross-entropy, shape (n,); what is not finite is left out.
        stderrs: Standard errors of `errors`, shape (n,), NaN where unknown; None weighs all sizes equally.
        loss: What `errors` are; a law that does not suit it is a failure.
        fit_from: Smaller train sizes are left out.

    >>> sizes = np.array([50, 100, 200, 400, 800, 1600, 3200])
    >>> laws = fit_laws(sizes, 0.05 + 2 * sizes**-0.5)
    >>> laws.ranked[0][0].formula
    'a + b*n^-1/2'
    >>> laws.average.errors_at([12800]).round(4).tolist()
    [0.0677]
    """
    points = curve_points(train_sizes, errors, stderrs, fit_from)
    if isinstance(points, FitFailure):
        return points
    if points.errors.min() < 0:
        return FitFailure("needs errors of 0 or more")
    unsuited = FitFailure(f"is no law of {loss}")
    fits = ((law, fit_law(law, points) if loss in law.suits else unsuited) for law in LAWS)
    return FittedLaws(points, loss, tuple(fits))


def fit_averaged(points: CurvePoints, loss: Loss = Loss.ERROR) -> FittedLaws:
    """Fit the laws of the average alone."""
    fits = ((law, fit_law(law, points)) for law in LAWS if loss in law.averaged_for)
    return FittedLaws(points, loss, tuple(fits))


def average_of(fits: list[LawFit], points: CurvePoints, loss: Loss) -> Average | FitFailure:
    """Average some fits to one curve with Akaike weights.

    Where there are too few sizes for an AICc of any, the law `FALLBACK` answers alone.
    """
    if points.n_sizes < LEAST_SIZES:
        return FitFailure(f"needs {LEAST_SIZES} sizes, has {points.n_sizes}")
    rated = [fit for fit in fits if math.isfinite(fit.aicc)]
    if rated:
        above = np.array([fit.aicc for fit in rated])
        above -= above.min()
        weights, spread_weights = np.exp(-above / 2), np.exp(-SPREAD_TEMPER * above / 2)
    else:
        rated = fits
        weights = np.array([float(fit.law.name == FALLBACK) for fit in fits])
        spread_weights = np.ones(len(fits))
    if not weights.any():
        return FitFailure("no law could be fitted")
    shares = zip(rated, weights / weights.sum(), spread_weights / spread_weights.sum(), strict=True)
    return Average(tuple(Member(fit, float(w), float(s)) for fit, w, s in shares), loss)

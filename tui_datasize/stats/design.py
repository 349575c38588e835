"""At which train sizes further runs narrow one answer most: c-optimal design on a power law with floor.

The answer is the error at one train size by the law e(n) = a + b*n^-c. Its variance follows from the runs by
the delta method; runs are added where they lower it most per cost, and exchanged until no exchange helps
(Fedorov, *Theory of Optimal Experiments*, 1972; Atkinson, Donev and Tobias, chapters 10 to 12).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tui_datasize.stats.fitting import LawFit
from tui_datasize.stats.laws import LAWS, Floats, Law
from tui_datasize.stats.noise import Noise

LAW = "pow3"
"""The law that a plan is made for: as few parameters as a curve with a floor can have."""
PRIOR_EXPONENT_SD = 0.5
"""How far the exponent may lie from the fitted one before there are runs enough to tell: a weak prior."""
LEAST_LEVEL = 1e-6
"""Of the error: a model that is always right leaves nothing to measure the prior by."""
EXCHANGES = 400
SCENARIO_AT = 1.5
"""Standard errors from the fitted law at which other laws are given a voice."""

Counts = NDArray[np.int64]


def design_law() -> Law:
    """The law named `LAW`."""
    return next(law for law in LAWS if law.name == LAW)


@dataclass(frozen=True, slots=True)
class Design:
    """The law and the noise that a design is made for."""

    floor: float
    strength: float
    """b at the reference size."""
    exponent: float
    reference: float
    """Train size that n is measured in, for well-conditioned numbers."""
    noise: Noise

    @classmethod
    def of(cls, fit: LawFit, noise: Noise, reference: float) -> Design:
        """The design for a fitted power law with floor.

        Args:
            fit: Of the law `LAW`.
            noise: Scatter of one run.
            reference: A train size amid those fitted.
        """
        (c,) = fit.shapes
        return cls(fit.floor, fit.scale * reference**-c, c, reference, noise)

    def errors_at(self, train_sizes: ArrayLike) -> Floats:
        """The law at train sizes of shape (n,)."""
        x = np.asarray(train_sizes, float) / self.reference
        errors: Floats = self.floor + self.strength * x**-self.exponent
        return errors

    def gradients_at(self, train_sizes: ArrayLike) -> Floats:
        """Derivatives of the error by floor, strength and exponent, shape (n, 3)."""
        x = np.asarray(train_sizes, float) / self.reference
        power = x**-self.exponent
        return np.column_stack([np.ones(len(x)), power, -self.strength * power * np.log(x)])

    def log_slope_at(self, train_size: float) -> float:
        """Change of the error per factor e of train size; negative."""
        return float(-self.exponent * self.strength * (train_size / self.reference) ** -self.exponent)

    def size_of(self, error: float) -> float | None:
        """Train size at which the law falls to an error; None where it never does."""
        if error <= self.floor or self.strength <= 0:
            return None
        return float(self.reference * (self.strength / (error - self.floor)) ** (1 / self.exponent))

    def covariance(self, train_sizes: ArrayLike, counts: ArrayLike) -> Floats:
        """Covariance of floor, strength and exponent after some runs, shape (3, 3).

        Args:
            train_sizes: Shape (n,).
            counts: Runs at each, shape (n,).
        """
        vectors = self._vectors(train_sizes)
        level = max(self.floor + self.strength, LEAST_LEVEL)
        prior = np.diag([1 / level**2, 1 / level**2, 1 / PRIOR_EXPONENT_SD**2])
        weighted = vectors * self.noise.worth(counts)[:, None]
        covariance: Floats = np.asarray(np.linalg.inv(prior + weighted.T @ vectors), float)
        return covariance

    def variance_at(self, at: float, train_sizes: ArrayLike, counts: ArrayLike) -> float:
        """Variance of the answer at one train size after some runs."""
        gradient = self.gradients_at([at])[0]
        return float(gradient @ self.covariance(train_sizes, counts) @ gradient)

    def least_variance_at(self, at: float, train_sizes: ArrayLike) -> float:
        """Variance of the answer that runs on the same draws leave however many; 0 where draws do nothing."""
        if not self.noise.draw_share:
            return 0.0
        counts = np.full(len(np.asarray(train_sizes)), 1e9)
        return self.variance_at(at, train_sizes, counts)

    def add_runs(
        self, at: float, train_sizes: ArrayLike, counts: ArrayLike, costs: ArrayLike, budget: float
    ) -> Counts:
        """The runs to add for the best answer at one train size within a budget.

        Args:
            at: Train size of the answer.
            train_sizes: Where runs may be added, shape (n,).
            counts: Runs there are, shape (n,).
            costs: Of one run at each size, shape (n,), above 0.
            budget: Of all added runs together.

        Returns:
            Runs to add at each size, shape (n,).
        """
        # A curve that is flat so far may fall by what the noise hides.
        hidden = math.sqrt(float(self.noise.variance_at([self.reference])[0]))
        law = replace(self, strength=max(self.strength, hidden))
        scenarios = (law, *law._scenarios(law.covariance(train_sizes, counts)))
        # What one more run on the draws that a size has is worth: little where draws matter and are few.
        present = np.asarray(counts, float)
        next_worth = np.sqrt(self.noise.worth(present + 1) - self.noise.worth(present))
        search = _Search(
            np.stack([scenario.gradients_at([at])[0] for scenario in scenarios]),
            np.stack([scenario._vectors(train_sizes) * next_worth[:, None] for scenario in scenarios]),
            np.asarray(costs, float),
        )
        start = np.stack([scenario.covariance(train_sizes, counts) for scenario in scenarios])
        added, covariances, rest = search.grow(start, budget)
        return search.exchange(added, covariances, rest)

    def _scenarios(self, covariance: Floats) -> tuple[Design, ...]:
        """Laws about one and a half standard errors away, in both directions of every axis of uncertainty.

        A design that is best for the fitted law alone is poor where that law is wrong; after a pilot it is.
        """
        axes = SCENARIO_AT * np.linalg.cholesky(covariance).T
        centre = np.array([self.floor, self.strength, self.exponent])
        low = np.array([0.0, 0.1 * self.strength, max(0.05, 0.3 * self.exponent)])
        high = np.array([self.floor + 0.9 * self.strength, 3 * self.strength, min(3.0, 3 * self.exponent)])
        moved = np.clip(np.concatenate([centre + axes, centre - axes]), low, high)
        return tuple(replace(self, floor=a, strength=b, exponent=c) for a, b, c in moved.tolist())

    def _vectors(self, train_sizes: ArrayLike) -> Floats:
        """Gradients in units of the noise: a run adds their outer product to the information."""
        noise = np.sqrt(self.noise.variance_at(train_sizes))
        vectors: Floats = self.gradients_at(train_sizes) / noise[:, None]
        return vectors


@dataclass(frozen=True)
class _Search:
    """Where to add a run, or to move one, for s scenarios of the law at once."""

    gradients: Floats
    """Shape (s, 3)."""
    vectors: Floats
    """Shape (s, n, 3)."""
    costs: Floats
    """Shape (n,)."""

    def grow(self, covariances: Floats, budget: float) -> tuple[Counts, Floats, float]:
        """Add runs one at a time, each where it lowers the variance most per cost."""
        added, rest = np.zeros(len(self.costs), dtype=np.int64), budget
        while True:
            gains = np.where(self.costs <= rest * (1 + 1e-12), self._gains(covariances) / self.costs, -np.inf)
            best = int(np.argmax(gains))
            if gains[best] == -np.inf:
                return added, covariances, rest
            added[best] += 1
            rest -= float(self.costs[best])
            covariances = self._updated(covariances, best, 1)

    def exchange(self, added: Counts, covariances: Floats, rest: float) -> Counts:
        """Move one added run at a time for as long as that lowers the variance within the budget."""
        added = added.copy()
        for _ in range(EXCHANGES):
            best = (self._score(covariances) - 1e-9, -1, -1)
            for source in np.flatnonzero(added).tolist():
                without = self._updated(covariances, source, -1)
                free = rest + self.costs[source]
                gains = np.where(self.costs <= free * (1 + 1e-12), self._gains(without), -np.inf)
                to = int(np.argmax(gains))
                best = min(best, (self._score(without) - float(gains[to]), source, to))
            _, source, to = best
            if source < 0:
                break
            added[source] -= 1
            added[to] += 1
            rest += float(self.costs[source] - self.costs[to])
            covariances = self._updated(self._updated(covariances, source, -1), to, 1)
        return added

    def _score(self, covariances: Floats) -> float:
        """Mean logarithm of the answer's variance."""
        return float(np.log(self._variances(covariances)).mean())

    def _variances(self, covariances: Floats) -> Floats:
        variances: Floats = np.einsum("si,sij,sj->s", self.gradients, covariances, self.gradients)
        return variances

    def _gains(self, covariances: Floats) -> Floats:
        """How much one more run at each size lowers the score, shape (n,)."""
        reach = self.vectors @ covariances
        ahead = np.einsum("sni,si->sn", reach, self.gradients) ** 2
        lowered = ahead / (1 + (reach * self.vectors).sum(axis=2)) / self._variances(covariances)[:, None]
        gains: Floats = -np.log1p(-np.minimum(lowered, 1 - 1e-12)).mean(axis=0)
        return gains

    def _updated(self, covariances: Floats, at: int, sign: int) -> Floats:
        """After one run more (1) or less (-1) at a size (Sherman and Morrison, 1950)."""
        vectors = self.vectors[:, at]
        steps = np.einsum("sij,sj->si", covariances, vectors)
        scale = 1 + sign * (vectors * steps).sum(axis=1)
        updated: Floats = covariances - sign * steps[:, :, None] * steps[:, None] / scale[:, None, None]
        return updated


def spread_checks(
    train_sizes: ArrayLike, counts: ArrayLike, used: ArrayLike, costs: ArrayLike, budget: float
) -> Counts:
    """Runs at the sizes that a design leaves out, to see whether the law holds there.

    The next run goes to the size with the fewest runs, the farthest (in log size) from those used first.

    Args:
        train_sizes: Where runs may be added, shape (n,).
        counts: Runs there are, shape (n,).
        used: Runs that the design adds, shape (n,).
        costs: Of one run, shape (n,).
        budget: Of all checks together.
    """
    logs, present = np.log(np.asarray(train_sizes, float)), np.asarray(counts, np.int64)
    price, taken = np.asarray(costs, float), np.asarray(used) > 0
    added = np.zeros(len(logs), dtype=np.int64)
    if taken.all() or not taken.any():
        return added
    distance = np.abs(logs[:, None] - logs[taken]).min(axis=1)
    rest = budget
    while True:
        free = [i for i in np.flatnonzero(~taken) if price[i] <= rest * (1 + 1e-12)]
        if not free:
            return added
        chosen = min(free, key=lambda i: (present[i] + added[i], -distance[i]))
        added[chosen] += 1
        rest -= float(price[chosen])


def relative_half_width(variance: float, quantile: float, log_slope: float) -> float:
    """Half width of an interval for the size needed, as a factor at least 1; infinite on a plateau.

    >>> round(relative_half_width(0.0001, 2, -0.1), 3)
    1.221
    """
    return math.exp(min(700.0, quantile * math.sqrt(variance) / abs(log_slope))) if log_slope else math.inf

"""Fit the laws to a learning curve by variable projection, without starting values and without SciPy.

Given the shape parameters of a law, floor and scale have a closed form (weighted least squares within
bounds), so that only the shapes are searched: a grid over their bounds, then finer grids around the best
(Golub and Pereyra, *The Differentiation of Pseudo-Inverses and Nonlinear Least Squares Problems*, 1973).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from tui_datasize.stats.fits import FitFailure
from tui_datasize.stats.laws import Floats, FloorKind, Law

SE_FLOOR = 0.3
"""Of the median standard error: no size may count for more than that would give it, as a standard error
estimated from few runs may be small by chance."""

ZOOMS: Mapping[int, tuple[int, tuple[float, ...], float]] = MappingProxyType(
    {
        0: (0, (), 1.0),
        1: (3, (-1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75, 1), 0.25),
        2: (7, (-1, -0.5, 0, 0.5, 1), 0.5),
        4: (30, (-1, 0, 1), 0.5),
    }
)
"""By number of shape parameters: finer grids after the first; their values around the best of the one before,
in its half widths; and their own half width, in those."""

M4_TOP = 0.5
M4_ABOVE = 1.02
"""The error of a guess, e0 of M4: at least the first, and this much above the largest error seen."""
M4_CANDIDATES = 8
NEWTON_STEPS = 3
SOLVING_STEPS = 6
LEAST_ALPHA = 1e-9

Shapes: TypeAlias = Floats
"""Shape parameters on the scale of the grid, one row per parameter, one column per candidate."""
Evaluate: TypeAlias = Callable[[Floats], tuple[Floats, Floats, Floats]]
"""Floor, scale and cost for shape parameters of shape (s, g)."""


@dataclass(frozen=True, slots=True)
class CurvePoints:
    """A learning curve to be fitted, ascending in train size; all arrays of shape (n,)."""

    train_sizes: Floats
    errors: Floats
    """What falls: 1 - accuracy, or cross-entropy."""
    stderrs: Floats
    """Of the errors; all NaN where nothing is known of them."""
    weights: Floats
    """Proportional to 1/stderr^2 after the floor, of sum 1."""

    @property
    def n_sizes(self) -> int:
        return len(self.train_sizes)

    @property
    def has_stderrs(self) -> bool:
        return bool((np.isfinite(self.stderrs) & (self.stderrs > 0)).any())


@dataclass(frozen=True, slots=True)
class LawFit:
    """A law with the parameters that fit best."""

    law: Law
    floor: float
    """a, in units of the error."""
    scale: float
    """b."""
    shapes: tuple[float, ...]
    """In the order of `law.shapes`."""
    top: float
    """e0 of M4, the error of a guess."""
    rmse: float
    """Root of the weighted mean of squared residuals, in units of the error."""
    aicc: float
    """Up to a constant that all laws of one curve share; infinite where there are too few sizes for it."""
    n_sizes: int

    @property
    def parameters(self) -> dict[str, float]:
        named = dict(zip((shape.name for shape in self.law.shapes), self.shapes, strict=True))
        if self.law.form == "last":
            return {"e(n_max)": self.floor}
        floor = {} if self.law.floor == "zero" else {"a": self.floor}
        top = {"e0": self.top} if self.law.form == "implicit" else {}
        return {**floor, "b": self.scale, **named, **top}

    def errors_at(self, train_sizes: ArrayLike) -> Floats:
        """The law at train sizes of shape (n,), in units of the error, not clipped."""
        sizes = np.asarray(train_sizes, float)
        if self.law.form == "last":
            return np.full(len(sizes), self.floor)
        shapes = np.asarray(self.shapes)
        if self.law.form == "implicit":
            c, alpha = shapes
            return _solve_m4(self.floor, self.scale * sizes**-c, alpha, self.top)
        values: Floats = self.floor + self.scale * self.law.term(sizes, shapes[:, None, None])[0]
        return values


def curve_points(
    train_sizes: ArrayLike, errors: ArrayLike, stderrs: ArrayLike | None = None, fit_from: float = 0
) -> CurvePoints | FitFailure:
    """Put a learning curve in order for fitting.

    Args:
        train_sizes: Images, shape (n,), above 0, each once.
        errors: What falls, shape (n,); points that are not finite are left out.
        stderrs: Standard errors of `errors`, shape (n,); a size of unknown error (NaN, or 0) gets the
            median of the others. None, or none known: all sizes weigh equally.
        fit_from: Smaller train sizes are left out.
    """
    sizes, values = np.asarray(train_sizes, float), np.asarray(errors, float)
    spread = np.full(len(sizes), np.nan) if stderrs is None else np.asarray(stderrs, float)
    kept = np.isfinite(values) & (sizes >= fit_from)
    if not kept.any():
        return FitFailure("has no train size to fit to")
    order = np.argsort(sizes[kept])
    sizes, values, spread = sizes[kept][order], values[kept][order], spread[kept][order]
    weights = 1 / floored(spread) ** 2
    return CurvePoints(sizes, values, spread, weights / weights.sum())


def floored(stderrs: Floats) -> Floats:
    """Standard errors with the unknown filled in and the accidentally small ones raised.

    All are 1 if none is known.

    >>> floored(np.array([0.02, np.nan, 0.001, 0.04])).tolist()
    [0.02, 0.02, 0.006, 0.04]
    """
    known = np.isfinite(stderrs) & (stderrs > 0)
    if not known.any():
        return np.ones(len(stderrs))
    median = float(np.median(stderrs[known]))
    return np.maximum(np.where(known, stderrs, median), SE_FLOOR * median)


def fit_law(law: Law, points: CurvePoints) -> LawFit | FitFailure:
    """Fit one law by weighted least squares within the bounds of its parameters."""
    if points.n_sizes < law.least_sizes:
        return FitFailure(f"needs {law.least_sizes} sizes, has {points.n_sizes}")
    top = max(M4_TOP, M4_ABOVE * float(points.errors.max()))
    with np.errstate(all="ignore"):
        if law.form == "last":
            shapes, floor, scale = np.zeros(0), float(points.errors[-1]), 0.0
        else:
            evaluate = _implicit(points, top) if law.form == "implicit" else _linear(law, points)
            shapes, floor, scale = _search(law, points, evaluate)
        fit = LawFit(law, floor, scale, tuple(shapes.tolist()), top, math.nan, math.nan, points.n_sizes)
        residuals = fit.errors_at(points.train_sizes) - points.errors
    cost = float(points.weights @ residuals**2)
    if not math.isfinite(cost):
        return FitFailure("has no finite best fit")
    return replace(fit, rmse=math.sqrt(cost), aicc=aicc(cost, points, law))


def aicc(cost: float, points: CurvePoints, law: Law) -> float:
    """Akaike's criterion, corrected for few points (Hurvich and Tsai, 1989).

    `cost` is the weighted mean of squared residuals; of `law` its parameters count, see `parameters_counted`.
    """
    n, k = points.n_sizes, parameters_counted(law, points)
    if n - k - 1 <= 0:
        return math.inf
    least = (np.finfo(float).eps * np.abs(points.errors).max()) ** 2
    return n * math.log(max(cost, least, np.finfo(float).tiny)) + 2 * k + 2 * k * (k + 1) / (n - k - 1)


def parameters_counted(law: Law, points: CurvePoints) -> int:
    """Parameters that an AICc charges a law for; it takes two sizes more than that.

    The variance counts where no standard error is known, as it is estimated then. On public curves of five to
    nine sizes this extrapolates better than always to count it.
    """
    return law.n_parameters + (not points.has_stderrs)


def _search(law: Law, points: CurvePoints, evaluate: Evaluate) -> tuple[Floats, float, float]:
    bounds = np.array([shape.bounds(points.train_sizes) for shape in law.shapes]).reshape(-1, 2, 1)
    low, high = bounds[:, 0], bounds[:, 1]
    is_log = np.array([shape.scale == "log" for shape in law.shapes], bool)[:, None]
    counts = tuple(shape.points for shape in law.shapes)
    half_width = (high - low) / (np.array(counts).reshape(-1, 1) - 1)
    grid = low + half_width * _mesh(tuple(tuple(range(count)) for count in counts))
    zooms, steps, shrink = ZOOMS[len(counts)]
    around = _mesh((steps,) * len(counts))
    best_cost, best_at, best = math.inf, low, (np.zeros(0), 0.0, 0.0)
    for zoom in range(zooms + 1):
        shapes = np.where(is_log, np.exp(grid), grid)
        floors, scales, costs = evaluate(shapes)
        i = int(np.argmin(costs))
        found, is_better = grid[:, i : i + 1], costs[i] < best_cost
        # Along a narrow valley the best lies at the rim again and again: the grid follows as wide as it is.
        at_rim = is_better and bool((np.abs(found - best_at) > 0.99 * half_width).any())
        if is_better:
            best_cost, best_at = float(costs[i]), found
            best = (shapes[:, i], float(floors[i]), float(scales[i]))
        if zoom and not at_rim:
            half_width = half_width * shrink
        grid = np.minimum(np.maximum(best_at + half_width * around, low), high)
    return best


@cache
def _mesh(axes: tuple[tuple[float, ...], ...]) -> Floats:
    """Every combination of the values of some axes, shape (len(axes), combinations); one of no axes."""
    mesh = np.array(list(itertools.product(*axes)), float).T.copy()
    mesh.flags.writeable = False
    return mesh


def _linear(law: Law, points: CurvePoints) -> Evaluate:
    least_squares = _least_squares(points, law.floor)

    def evaluate(shapes: Floats) -> tuple[Floats, Floats, Floats]:
        return least_squares(law.term(points.train_sizes, shapes[:, :, None]))

    return evaluate


def _least_squares(points: CurvePoints, floor: FloorKind) -> Evaluate:
    """What fits floor and scale to terms of shape (g, n), within the bounds that go with `floor`.

    The problem is convex: where the free optimum lies outside the bounds, the best is on the edge.
    """
    e, w = points.errors, points.weights
    e_mean = float(w @ e)
    moments = np.stack([w, w * (e - e_mean)], axis=1)
    e_var = float(w @ (e - e_mean) ** 2)

    def solve(terms: Floats) -> tuple[Floats, Floats, Floats]:
        f_mean, covariance = (terms @ moments).T
        f_square = terms**2 @ w
        f_var = f_square - f_mean**2
        through_zero = (covariance + f_mean * e_mean) / f_square
        if floor == "zero":
            scales, floors = through_zero, np.zeros(len(terms))
        else:
            scales = covariance / f_var
            if floor == "free":
                scales = np.minimum(np.maximum(scales, 0), through_zero)
            floors = e_mean - scales * f_mean
            if floor == "free":
                floors = np.where(scales == through_zero, 0.0, floors)
        off = e_mean - floors - scales * f_mean
        costs = off**2 + e_var - 2 * scales * covariance + scales**2 * f_var
        return floors, scales, np.where(costs == costs, costs, np.inf)

    return solve


def _implicit(points: CurvePoints, top: float) -> Evaluate:
    """Evaluate M4, e = a + b * n^-c * (e0 - e)^alpha, by linearising it.

    It is linear in floor and scale once the errors observed stand in for e on the right side. The best
    candidates of that are solved for e and judged by the solution.
    """
    least_squares = _least_squares(points, "free")
    log_sizes, log_room = np.log(points.train_sizes), np.log(top - points.errors)

    def evaluate(shapes: Floats) -> tuple[Floats, Floats, Floats]:
        c, alpha = shapes[:, :, None]
        powers, room = np.exp(-c * log_sizes), np.exp(alpha * log_room)
        floors, scales, rough = least_squares(powers * room)
        kept = np.argpartition(rough, M4_CANDIDATES)[:M4_CANDIDATES]
        strength = scales[kept, None] * powers[kept]
        solved = _newton_m4(points.errors, floors[kept, None], strength, alpha[kept], top)
        costs = np.full(len(rough), np.inf)
        costs[kept] = (solved - points.errors) ** 2 @ points.weights
        return floors, scales, costs

    return evaluate


def _newton_m4(start: Floats, floor: Floats, strength: Floats, alpha: Floats, top: float) -> Floats:
    """Approximate solution e of e = floor + strength * (top - e)^alpha, from a start nearby."""
    e = start
    for _ in range(NEWTON_STEPS):
        pull = strength * (top - e) ** alpha
        slope = 1 + alpha * pull / (top - e)
        e = np.minimum(np.maximum(e - (e - floor - pull) / slope, floor), top - 1e-9)
    return e


def _solve_m4(floor: float, strength: Floats, alpha: float, top: float) -> Floats:
    """Solution e of e = floor + strength * (top - e)^alpha, between floor and top.

    With u = top - e it is log(strength * u^alpha + u) = log(top - floor), convex in log(u): Newton's steps
    from above it never pass the solution, and a few are as good as exact.
    """
    room, power, pull = math.log(top - floor), max(alpha, LEAST_ALPHA), np.log(np.maximum(strength, 1e-300))
    at = np.minimum(room, (room - pull) / power)
    for _ in range(SOLVING_STEPS):
        below = np.logaddexp(pull + power * at, at)
        share = np.exp(at - below)
        at = at - (below - room) / (share + power * (1 - share))
    solution: Floats = np.clip(top - np.exp(at), floor, top)
    return solution

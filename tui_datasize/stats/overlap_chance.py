"""The overlap that independent draws would show: its distribution, and the largest of many."""

from __future__ import annotations

from math import ceil
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln, ndtr

from tui_datasize.stats.curve import CONFIDENCE
from tui_datasize.stats.overlap import Counts, DrawOverlap, Measure, Shares

Floats: TypeAlias = NDArray[np.float64]


def hypergeometric_interval(a: ArrayLike, b: ArrayLike, total: ArrayLike) -> tuple[Floats, Floats]:
    """Central 95 % interval of the images that two independent draws share.

    Of draws of `a` and `b` images, 0 to `total`, out of `total`: the 2.5 % and the 97.5 % quantile, shapes
    (m,); NaN where `total` is.

    >>> low, high = hypergeometric_interval([4, 50], [4, 50], [140, 100])
    >>> low.tolist(), high.tolist()
    ([0.0, 20.0], [1.0, 30.0])
    """
    counts = np.stack([np.asarray(values, float) for values in (a, b, total)])
    triples, position = np.unique(counts, axis=1, return_inverse=True)
    below = hypergeometric_cdf(*triples)
    tail = (1 - CONFIDENCE) / 2
    low, high = (_first_reaching(below, bound)[position.ravel()] for bound in (tail, 1 - tail))
    return low, high


def hypergeometric_cdf(a: ArrayLike, b: ArrayLike, total: ArrayLike) -> Floats:
    """How probably two independent draws share at most k images.

    Of draws of `a` and `b` images out of `total`, shapes (m,). Probabilities for k = 0, 1, ... up to the
    largest possible k of all rows, shape (m, k + 1); NaN where `total` is.

    >>> hypergeometric_cdf([2], [2], [4]).round(3).tolist()
    [[0.167, 0.833, 1.0]]
    """
    smaller = np.minimum(np.asarray(a, float), np.asarray(b, float))
    shared = np.arange(smaller.max(initial=0) + 1)
    drawn_a, drawn_b, all_ = (np.asarray(values, float)[:, None] for values in (a, b, total))
    log_p = (
        _log_choose(drawn_a, shared)
        + _log_choose(all_ - drawn_a, drawn_b - shared)
        - _log_choose(all_, drawn_b)
    )
    return np.cumsum(np.exp(log_p), axis=1)


def _log_choose(n: Floats, k: Floats) -> Floats:
    """Logarithm of the binomial coefficient; minus infinity for an impossible choice, NaN for NaN."""
    logs = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return np.where((k < 0) | (k > n), -np.inf, logs)


def _first_reaching(below: Floats, bound: float) -> Floats:
    # Cumulated probabilities that meet a bound exactly miss it by some last digits.
    first = (below >= bound - 1e-12).argmax(axis=1).astype(float)
    return np.where(np.isnan(below[:, 0]), np.nan, first)


_STEPS = 1000
"""Of the grid over [0, 1] that the mean of the largest value is integrated on."""
_ROWS_AT_ONCE = 1000


def largest_observed(overlap: DrawOverlap, measure: Measure) -> float:
    """The largest overlap of all pairs of at least two draws."""
    return float(overlap.matrix(measure)[overlap.pairs].max())


def largest_observed_of_classes(overlap: DrawOverlap, measure: Measure) -> float:
    """The largest overlap of all pairs of at least two draws within all classes; NaN where there is none."""
    rows, columns = overlap.pairs
    images = overlap.shared.diagonal(axis1=1, axis2=2)
    a, b, shared = images[:, rows], images[:, columns], overlap.shared[:, rows, columns]
    of = np.minimum(a, b) if measure == "fraction" else a + b - shared
    is_held = np.minimum(a, b) > 0
    return float((shared[is_held] / of[is_held]).max()) if is_held.any() else float("nan")


def largest_expected(overlap: DrawOverlap, measure: Measure) -> float:
    """Mean of the largest overlap of all pairs if the draws were independent; NaN where totals are unknown.

    Pairs are taken for independent of each other (they are uncorrelated), and the number of shared images,
    a sum over classes, for normal.
    """
    rows, columns = overlap.pairs
    images = overlap.shared.sum(axis=0).diagonal()
    mean, variance = (moment[rows, columns] for moment in overlap.moments)
    log_below = np.zeros(_STEPS + 1)
    for part in _parts(len(rows)):
        bound = _bounds(images[rows[part]], images[columns[part]], measure)
        spread = np.sqrt(np.maximum(variance[part], 1e-12))[:, None]
        below = ndtr((np.floor(bound + 1e-9) + 0.5 - mean[part, None]) / spread)
        log_below += _log_product(below)
    return _mean_of_largest(log_below)


def largest_expected_of_classes(overlap: DrawOverlap, measure: Measure) -> float:
    """Mean of the largest overlap of all pairs within all classes if the draws were independent.

    Pairs and classes are taken for independent of each other. NaN where the images per class are unknown.
    """
    rows, columns = overlap.pairs
    images = overlap.shared.diagonal(axis1=1, axis2=2)
    total = np.repeat(overlap.class_images, len(rows))
    counts = np.stack([images[:, rows].ravel(), images[:, columns].ravel(), total])
    # A class that a draw lacks shares nothing.
    kept = counts[:, counts[:2].min(axis=0) > 0]
    kinds, times = np.unique(kept, axis=1, return_counts=True)
    log_below = np.zeros(_STEPS + 1)
    for part in _parts(kinds.shape[1]):
        a, b, all_ = kinds[:, part]
        below = hypergeometric_cdf(a, b, all_)
        bound = np.floor(_bounds(a, b, measure) + 1e-9).astype(int)
        reached = np.take_along_axis(below, np.minimum(bound, below.shape[1] - 1), axis=1)
        log_below += _log_product(reached, times[part])
    return _mean_of_largest(log_below)


def _parts(rows: int) -> list[Counts]:
    return np.array_split(np.arange(rows), max(1, ceil(rows / _ROWS_AT_ONCE)))


def _bounds(a: Shares, b: Shares, measure: Measure) -> Shares:
    """Shared images at which a measure reaches each value of the grid, shape (m, steps + 1)."""
    grid = np.linspace(0, 1, _STEPS + 1)
    if measure == "fraction":
        return np.outer(np.minimum(a, b), grid)
    return np.outer(a + b, grid / (1 + grid))


def _log_product(below: Shares, times: Counts | int = 1) -> Shares:
    """Logarithm of the probability that all rows stay below, shape (steps + 1,)."""
    logs: Shares = (np.log(np.maximum(below, 1e-300)).T * times).sum(axis=1)
    return logs


def _mean_of_largest(log_below: Shares) -> float:
    """The mean of a number in [0, 1] from the logarithm of its distribution on the grid."""
    return float((1 - np.exp(np.minimum(log_below[:-1], 0.0))).mean())

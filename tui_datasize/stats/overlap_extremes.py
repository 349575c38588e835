"""The largest overlap that independent draws would show: of many pairs and classes one is always high."""

from __future__ import annotations

from math import ceil

import numpy as np
from scipy.special import ndtr

from tui_datasize.stats.hypergeometric import hypergeometric_cdf
from tui_datasize.stats.overlap import Counts, DrawOverlap, Measure, Shares

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
    per_class = overlap.shared.diagonal(axis1=1, axis2=2).astype(float)
    a, b, total = per_class[:, rows], per_class[:, columns], overlap.class_images[:, None]
    mean = (a * b / total).sum(axis=0)
    variance = (a * b * (total - a) * (total - b) / (total**2 * np.maximum(total - 1, 1))).sum(axis=0)
    sizes_a, sizes_b = a.sum(axis=0), b.sum(axis=0)
    log_below = np.zeros(_STEPS + 1)
    for part in _parts(len(rows)):
        bound = _bounds(sizes_a[part], sizes_b[part], measure)
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

"""The hypergeometric distribution, without the two seconds that importing scipy.stats takes."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from tui_datasize.stats.curve import CONFIDENCE

Floats: TypeAlias = NDArray[np.float64]


def hypergeometric_interval(a: ArrayLike, b: ArrayLike, total: ArrayLike) -> tuple[Floats, Floats]:
    """Central 95 % interval of the images that two independent draws share.

    Args:
        a: Images of the first draw, shape (m,), 0 to `total`.
        b: Images of the second draw, shape (m,), 0 to `total`.
        total: Images to draw from, shape (m,); NaN where unknown.

    Returns:
        The 2.5 % and the 97.5 % quantile, shapes (m,); NaN where `total` is.

    >>> low, high = hypergeometric_interval([4, 50], [4, 50], [140, 100])
    >>> low.tolist(), high.tolist()
    ([0.0, 20.0], [1.0, 30.0])
    """
    triples, position = np.unique(
        np.stack([np.asarray(values, float) for values in (a, b, total)]), axis=1, return_inverse=True
    )
    below = hypergeometric_cdf(*triples)
    tail = (1 - CONFIDENCE) / 2
    low, high = (_first_reaching(below, bound)[position.ravel()] for bound in (tail, 1 - tail))
    return low, high


def hypergeometric_cdf(a: ArrayLike, b: ArrayLike, total: ArrayLike) -> Floats:
    """How probably two independent draws share at most k images.

    Args:
        a: Images of the first draw, shape (m,).
        b: Images of the second draw, shape (m,).
        total: Images to draw from, shape (m,); NaN where unknown.

    Returns:
        Probabilities for k = 0, 1, ... up to the largest possible k of all rows, shape (m, k + 1); NaN
        where `total` is.

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
    below: Floats = np.cumsum(np.exp(log_p), axis=1)
    return below


def _log_choose(n: Floats, k: Floats) -> Floats:
    """Logarithm of the binomial coefficient; minus infinity for an impossible choice, NaN for NaN."""
    logs = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return np.where((k < 0) | (k > n), -np.inf, logs)


def _first_reaching(below: Floats, bound: float) -> Floats:
    """Per row, the first position at which a cumulated probability reaches a bound."""
    # Cumulated probabilities that meet a bound exactly miss it by some last digits.
    first = (below >= bound - 1e-12).argmax(axis=1).astype(float)
    return np.where(np.isnan(below[:, 0]), np.nan, first)

"""Quantiles of the hypergeometric distribution, without the two seconds that importing scipy.stats takes."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from tui_datasize.analysis.curve import CONFIDENCE

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
    drawn_a, drawn_b, all_ = triples[:, :, None]
    shared = np.arange(np.minimum(triples[0], triples[1]).max(initial=0) + 1)
    log_p = (
        _log_choose(drawn_a, shared)
        + _log_choose(all_ - drawn_a, drawn_b - shared)
        - _log_choose(all_, drawn_b)
    )
    below = np.cumsum(np.exp(log_p), axis=1)
    tail = (1 - CONFIDENCE) / 2
    low, high = (_first_reaching(below, bound)[position.ravel()] for bound in (tail, 1 - tail))
    return low, high


def _log_choose(n: Floats, k: Floats) -> Floats:
    """Logarithm of the binomial coefficient; minus infinity for an impossible choice, NaN for NaN."""
    logs = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return np.where((k < 0) | (k > n), -np.inf, logs)


def _first_reaching(below: Floats, bound: float) -> Floats:
    """Per row, the first position at which a cumulated probability reaches a bound."""
    # Cumulated probabilities that meet a bound exactly miss it by some last digits.
    first = (below >= bound - 1e-12).argmax(axis=1).astype(float)
    return np.where(np.isnan(below[:, 0]), np.nan, first)

"""Sizes whose runs scatter unlike those of their neighbours: measured on other images, or in another way."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import fdtrc

Floats = NDArray[np.float64]

ODD_P = 0.003
"""Of all sizes of a curve together (Bonferroni)."""
ODD_BY = 12.0
"""A variance that many times its neighbours', or that part of it: curves do less from size to size."""
NEIGHBOURS = 3
"""On either side."""


def odd_variances(variances: ArrayLike, degrees: ArrayLike) -> Floats:
    """How many times its neighbours' the variance of each odd size is; 1 for every other size.

    Neighbours are told by the median of their variances, which one odd size among them does not move; those
    on either side alone have to be half as far off, at an end the next one, as small sizes scatter more
    without being odd.
    `variances` over the runs of each size ascend in size, shape (n,); `degrees` of freedom of each are 0
    where there is one run.

    >>> odd_variances([1.1, 0.9, 60.0, 1.0, 1.0], [9, 9, 9, 9, 9]).round(1).tolist()
    [1.0, 1.0, 60.0, 1.0, 1.0]
    >>> odd_variances([40.0, 60.0, 1.0, 1.0, 1.0, 1.0], [9, 9, 9, 9, 9, 9]).tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    """
    seen, known = np.asarray(variances, float), np.asarray(degrees, float)
    factors = np.ones(len(seen))
    places = np.flatnonzero(np.isfinite(seen) & (seen > 0) & (known > 0))
    for place, i in enumerate(places):
        sides = places[max(0, place - NEIGHBOURS) : place], places[place + 1 : place + 1 + NEIGHBOURS]
        around = np.concatenate(sides)
        if len(around) < 2:
            continue
        near = sides if 0 < place < len(places) - 1 else (sides[0][-1:], sides[1][:1])
        ratio, *of_sides = (float(seen[i] / np.median(seen[own])) for own in (around, *near) if len(own))
        # A median of variances tells about half of what their mean does.
        above = float(fdtrc(known[i], known[around].sum() / 2, ratio))
        is_far = min(np.sign(ratio - 1) * np.log(of_sides)) > np.log(ODD_BY) / 2 < abs(np.log(ratio)) / 2
        if is_far and 2 * min(above, 1 - above) * len(places) < ODD_P:
            factors[i] = ratio
    return factors

"""At which train sizes further runs sharpen the forecast most: a fixed rule, tried on public curves.

How far the laws are off, and not the scatter of runs, makes most of a forecast's error. What helps are then
a larger size, sizes that follow each other closely near the largest, and a well-known mean at the largest,
from which the forecast starts. `benchmarks.plan` compares the rule with full grids.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tui_datasize.experiments.toml import MOST_IMAGES
from tui_datasize.stats.laws import Floats

LARGEST_WEIGHT, UPPER_WEIGHT, LOWER_WEIGHT = 6.0, 2.0, 1.0
"""Runs of the largest size, of the others in the upper quarter of the range, and of those below it, in
proportion: about the root of what their scatter makes of the forecast's, for what they cost."""
UPPER = 4
"""Sizes of the largest divided by this, and above, are the upper quarter."""
WIDE_STEP = 2.5
"""A wider step that reaches into the upper quarter gets a size in its middle."""
TWICE = 2
LEAST_STEP = 1.25
"""A new size beyond the largest that is less than this many times as large tells little."""

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Room:
    """What new train sizes there can be."""

    most: int
    """Images that there are to train on; 0 where nobody knows."""
    unit: int = 1
    """New sizes are multiples of this."""

    def fits(self, size: float) -> int:
        """The largest size that there can be, at most `size`; 0 where nothing is known of it."""
        return int(min(size, self.most) // self.unit * self.unit)


UNKNOWN_ROOM = Room(0)
NO_ROOM = Room(0, unit=MOST_IMAGES)
"""For no size beside those that are listed."""


def new_sizes(sizes: Floats, room: Room) -> list[int]:
    """Train sizes worth a first run: twice the largest, or all images, and the middle of wide steps below.

    `sizes` have runs or are listed, ascending, shape (n,), at least one.

    >>> new_sizes(np.array([20, 80, 320]), Room(1000)), new_sizes(np.array([40, 80, 160]), Room(160))
    ([160, 640], [])
    """
    largest = float(sizes[-1])
    wide = [
        round((low * high) ** 0.5 / room.unit) * room.unit
        for low, high in pairwise(sizes.tolist())
        if high > WIDE_STEP * low and high * UPPER > largest
    ]
    between = [size for size in wide if sizes[0] < size < largest]
    beyond = room.fits(TWICE * largest)
    return between + ([beyond] if beyond >= LEAST_STEP * largest else [])


def place_runs(sizes: Floats, present: Counts, prices: Floats, budget: float) -> Counts:
    """Spend a budget: each run goes where there are fewest in proportion to the weights, the largest first.

    `sizes`, ascending, may get runs, of which there are `present`; one costs `prices`, above 0, all at most
    `budget`. Returns the runs to add; all of shape (n,), at least one.
    """
    weights = np.where(sizes * UPPER >= sizes[-1], UPPER_WEIGHT, LOWER_WEIGHT)
    weights[-1] = LARGEST_WEIGHT
    added, rest = np.zeros(len(sizes), dtype=np.int64), budget
    while True:
        filled = np.where(prices <= rest * (1 + 1e-12), (present + added + 1) / weights, np.inf)
        # Of equal ones the largest.
        at = len(sizes) - 1 - int(np.argmin(filled[::-1]))
        if not np.isfinite(filled[at]):
            return added
        added[at] += 1
        rest -= float(prices[at])

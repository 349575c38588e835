"""Ticks, limits and point reduction for charts: pure functions on plain numbers."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, isfinite, log10
from typing import TypeAlias

from tui_datasize.text import fit

Point: TypeAlias = tuple[float, float]

_LEAST_TICKS = 2
"""Fewer do not tell what is between them."""
_LINEAR_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_LOG_STEPS = ((1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0), (1.0, 2.0, 5.0), (1.0, 3.0), (1.0,))


@dataclass(frozen=True, slots=True)
class Scale:
    """One axis of a chart."""

    label: str
    log: bool = False
    """Whether values are drawn at their log10; values that are not positive are left out."""
    floor: float | None = None
    """Lowest value that the limits may reach when room is added, e.g. 0 for a loss."""
    ceiling: float | None = None
    """Highest value that the limits may reach when room is added, e.g. 100 for an accuracy."""
    start: float | None = None
    """A value that the limits always include, e.g. 0 for a count of updates."""
    end: float | None = None
    """Another one, e.g. the last update of the charts beside it."""
    room: float = 0.05
    """Room beyond the outermost points on either side, as a fraction of their span."""
    names: Sequence[str] = ()
    """What stands at the places 0, 1, 2, ... of an axis without numbers; empty for numbers."""

    def place(self, value: float) -> float | None:
        """Where a value is drawn on the axis; None where it cannot be."""
        if not isfinite(value) or (self.log and value <= 0):
            return None
        return log10(value) if self.log else value


@dataclass(frozen=True, slots=True)
class Tick:
    """A labelled position on an axis, in drawn units."""

    position: float
    label: str


def place_points(x: Sequence[float], y: Sequence[float], x_scale: Scale, y_scale: Scale) -> list[list[Point]]:
    """Drawn positions of points in the given order; one that cannot be drawn parts those before and after it.

    >>> place_points([1, 2, 3], [5, float("nan"), 7], Scale("x"), Scale("y"))
    [[(1, 5)], [(3, 7)]]
    """
    stretches: list[list[Point]] = [[]]
    for a, b in zip(x, y, strict=True):
        place = x_scale.place(a), y_scale.place(b)
        if place[0] is not None and place[1] is not None:
            stretches[-1].append((place[0], place[1]))
        elif stretches[-1]:
            stretches.append([])
    return stretches if stretches[-1] else stretches[:-1]


def decimate(points: Sequence[Point], columns: int) -> list[Point]:
    """Keep at most the lowest and the highest point of each of `columns` equal stretches of x.

    What is kept stays in order, so that a line through it looks as before at that width.
    """
    if len(points) <= 2 * columns or columns < 1:
        return list(points)
    left = min(x for x, _ in points)
    span = (max(x for x, _ in points) - left) or 1.0
    low: dict[int, int] = {}
    high: dict[int, int] = {}
    for index, (x, y) in enumerate(points):
        bucket = min(columns - 1, int((x - left) / span * columns))
        if bucket not in low or y < points[low[bucket]][1]:
            low[bucket] = index
        if bucket not in high or y > points[high[bucket]][1]:
            high[bucket] = index
    kept = sorted({*low.values(), *high.values()})
    return [points[index] for index in kept]


def smoothed(x: Sequence[float], y: Sequence[float], weight: float) -> list[float]:
    """Exponential moving average over x, without the pull of the start (Kingma and Ba 2015, section 3).

    The past fades by `weight` over the mean distance of the points, so that points which lie close together
    count no more than those that stand apart; evenly spaced ones have the usual average.
    `x` ascends; a `y` that is not finite breaks nothing and stays as it is; a `weight` in [0, 1) of 0 leaves
    all as they are.

    >>> smoothed([1, 2, 3], [1.0, 3.0, 3.0], 0.5)
    [1.0, 2.3333333333, 2.7142857143]
    """
    known = [place for place, value in enumerate(y) if isfinite(value)]
    if weight <= 0 or len(known) < 2:
        return list(y)
    spacing = (x[known[-1]] - x[known[0]]) / (len(known) - 1) or 1.0
    total = share = 0.0
    before = x[known[0]]
    out = list(y)
    for place in known:
        fade = weight ** max(0.0, (x[place] - before) / spacing) if place != known[0] else 1.0
        total, share = total * fade + y[place], share * fade + 1.0
        out[place] = round(total / share, 10)
        before = x[place]
    return out


def interpolate(x: float, points: Sequence[Point]) -> float | None:
    """Value at `x` on straight lines through points of ascending x; None outside of them.

    >>> interpolate(1.5, [(1.0, 10.0), (2.0, 20.0)])
    15.0
    """
    if not points or x < points[0][0] or x > points[-1][0]:
        return None
    right = bisect_right(points, x, key=lambda point: point[0])
    if right == len(points):
        return points[-1][1]
    (x0, y0), (x1, y1) = points[right - 1], points[right]
    return y0 + (y1 - y0) * (x - x0) / (x1 - x0)


def limits(values: Sequence[float], scale: Scale) -> Point:
    """Lowest and highest drawn value, with the scale's room added on either side."""
    always = (scale.place(value) for value in (scale.start, scale.end) if value is not None)
    inside = [*values, *(place for place in always if place is not None)]
    low, high = min(inside), max(inside)
    pad = (high - low) * scale.room if high > low else abs(high) * 0.1 or 1.0
    lowest = None if scale.floor is None else scale.place(scale.floor)
    highest = None if scale.ceiling is None else scale.place(scale.ceiling)
    padded_low = low - pad if lowest is None else max(low - pad, min(low, lowest))
    padded_high = high + pad if highest is None else min(high + pad, max(high, highest))
    return (padded_low, padded_high) if padded_high > padded_low else (low - 1.0, high + 1.0)


def ticks(low: float, high: float, scale: Scale, count: int) -> list[Tick]:
    """At most about `count` round ticks inside the drawn limits."""
    if not scale.log:
        return _linear_ticks(low, high, count)
    of_decades = _log_ticks(low, high, count)
    if len(of_decades) >= _LEAST_TICKS:
        return of_decades
    # The range is too narrow for a decade's steps.
    linear = _linear_ticks(10**low, 10**high, count)
    between = [replace(tick, position=log10(tick.position)) for tick in linear if tick.position > 0]
    return max(of_decades, between, key=len)


_SHORT_NAME = 10
"""Columns in which a longer name is told by its beginning."""


def name_ticks(names: Sequence[str], columns: int) -> list[Tick]:
    """The names of an axis without numbers at 0, 1, 2, ...: as many as stand apart in some columns.

    >>> [tick.label for tick in name_ticks(["base", "S1T", "S2T"], 12)]
    ['base', 'S2T']
    >>> [tick.label for tick in name_ticks(["augmentation depth=8", "ensemble of 3"], 30)]
    ['augmentation…', 'ensemble of 3']
    """
    # The first begins at its tick, where the others stand around theirs.
    room = columns // max(len(names), 1) - 2
    if room >= _SHORT_NAME:
        names = [fit(name, room).rstrip() for name in names]
    widest = max(map(len, names), default=0) + 1
    step = max(1, ceil(widest * len(names) / max(columns, 1)))
    return [Tick(place, names[place]) for place in range(0, len(names), step)]


def _linear_ticks(low: float, high: float, count: int) -> list[Tick]:
    step = _round_step((high - low) / max(count, 1))
    first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
    magnitude = floor(log10(step) + 1e-9)
    # A step such as 2.5 or 0.25 needs one digit more than its magnitude says.
    decimals = max(0, -magnitude + (abs(step / 10.0**magnitude - 2.5) < 1e-6))
    places = [k * step for k in range(first, last + 1)]
    return [Tick(place, f"{place:.{decimals}f}" if decimals else short_number(place)) for place in places]


def _round_step(raw: float) -> float:
    magnitude = 10.0 ** floor(log10(raw))
    return next(s * magnitude for s in _LINEAR_STEPS if s * magnitude >= raw * (1 - 1e-9))


def _log_ticks(low: float, high: float, count: int) -> list[Tick]:
    decades = range(floor(low), ceil(high) + 1)
    chosen: list[float] = []
    for steps in _LOG_STEPS:
        values = [step * 10.0**decade for decade in decades for step in steps]
        chosen = [v for v in values if low - 1e-9 <= log10(v) <= high + 1e-9]
        if len(chosen) <= count:
            break
    thinned = chosen[:: max(1, ceil(len(chosen) / max(count, 1)))]
    return [Tick(log10(value), short_number(value)) for value in thinned]


def short_number(value: float) -> str:
    """A number in few characters: `250`, `1k`, `2.5k`, `1.2M`, `0.05`.

    >>> [short_number(v) for v in (250, 1000, 2500, 1_200_000, 0.05)]
    ['250', '1k', '2.5k', '1.2M', '0.05']
    """
    if abs(value) >= 1e6:
        return f"{value / 1e6:.4g}M"
    if abs(value) >= 1e3:
        return f"{value / 1e3:.4g}k"
    return f"{value:.4g}"

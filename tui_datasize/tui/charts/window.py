"""What of a chart one looks at: a place on it, a part of its axes, their logarithms. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tui_datasize.tui.charts.scale import Point, Scale

_NARROWEST = 1e-6
"""Part of an axis that can still be looked at."""


@dataclass(frozen=True, slots=True)
class ChartWindow:
    """Where one looks; as it is made, at all of a chart."""

    cursor: float | None = None
    """x, in units of the data; None without a cursor."""
    x: Point | None = None
    """Limits in drawn units, that is of logarithms on a logarithmic axis; None for all there is."""
    y: Point | None = None
    is_log_x: bool | None = None
    """None as the chart has it."""
    is_log_y: bool | None = None
    smoothing: float = 0.0
    """Weight of the past in the average of training curves, in [0, 1); 0 leaves them as they were logged."""


WHOLE = ChartWindow()


@dataclass(frozen=True, slots=True)
class Extent:
    """What a drawing shows."""

    x: Point
    """Limits in drawn units."""
    y: Point
    x_scale: Scale
    y_scale: Scale
    stops: Sequence[float]
    """Ascending x values, in units of the data, that a cursor comes to."""
    height: float | None = None
    """In drawn units, in the middle of what the cursor reads; None where that is nothing."""


def moved(window: ChartWindow, extent: Extent, steps: int) -> ChartWindow:
    """The cursor some stops further, or at the last one when it had no place yet."""
    if not extent.stops:
        return window
    last = len(extent.stops) - 1
    if window.cursor is None:
        return replace(window, cursor=extent.stops[last])
    at = bisect_left(extent.stops, window.cursor)
    is_between = at > last or extent.stops[at] != window.cursor
    at += steps - (1 if is_between and steps > 0 else 0)
    return replace(window, cursor=extent.stops[max(0, min(at, last))])


def zoomed(window: ChartWindow, extent: Extent, *, x: float = 1.0, y: float = 1.0) -> ChartWindow:
    """A part of the axes around the cursor, or around the middle where there is none.

    `x` and `y` are factors on width and height of what is shown; below 1 to see more detail.
    """
    place = None if window.cursor is None else extent.x_scale.place(window.cursor)
    if x != 1.0:
        window = replace(window, x=_scaled(extent.x, x, place))
    return window if y == 1.0 else replace(window, y=_scaled(extent.y, y, extent.height))


def _scaled(limits: Point, factor: float, around: float | None) -> Point:
    low, high = limits
    middle = (low + high) / 2 if around is None or not low <= around <= high else around
    narrowest = max(abs(low), abs(high), 1.0) * _NARROWEST
    factor = max(factor, narrowest / (high - low))
    return middle - (middle - low) * factor, middle + (high - middle) * factor


def panned(window: ChartWindow, extent: Extent, *, x: float = 0.0, y: float = 0.0) -> ChartWindow:
    """Another part of the axes, moved by a fraction of what is shown."""
    if x:
        window = replace(window, x=_shifted(extent.x, x))
    return replace(window, y=_shifted(extent.y, y)) if y else window


def _shifted(limits: Point, part: float) -> Point:
    low, high = limits
    step = (high - low) * part
    return low + step, high + step


def with_log(window: ChartWindow, extent: Extent, axis: str) -> ChartWindow:
    """The other kind of axis; all of it, since its parts are others."""
    if axis == "x":
        return replace(window, is_log_x=not extent.x_scale.log, x=None)
    return replace(window, is_log_y=not extent.y_scale.log, y=None)


def on_axes(window: ChartWindow, before: Extent | None, now: Extent) -> ChartWindow:
    """The same without what was a part of an axis that is drawn no longer, as of another metric."""
    if before is None:
        return window
    if _quantity(before.x_scale) != _quantity(now.x_scale):
        window = replace(window, x=None, is_log_x=None, cursor=None)
    elif before.x_scale.log != now.x_scale.log:
        window = replace(window, x=None)
    if _quantity(before.y_scale) != _quantity(now.y_scale):
        return replace(window, y=None, is_log_y=None)
    return replace(window, y=None) if before.y_scale.log != now.y_scale.log else window


def _quantity(scale: Scale) -> str:
    return scale.label.replace(" (log)", "")

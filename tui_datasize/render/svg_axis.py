"""One axis of a chart: from values to places, and where its marks stand."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tui_datasize.answers.answer import Axis

_STEPS = (1, 2, 5)
_MARKS_WANTED = 8
_ROOM = 0.04
"""Free space at each end, as a share of the range."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A range of values, `low` < `high`; both above 0 where it is logarithmic."""

    title: str
    low: float
    high: float
    is_log: bool = False
    names: Sequence[str] = ()

    def place(self, value: float) -> float:
        """Where a value stands, from 0 at `low` to 1 at `high`; beyond for values outside."""
        if self.is_log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def marks(self) -> list[tuple[float, str]]:
        """Round values within the range, and how they are written.

        >>> [text for _, text in Frame("", 70, 15000, is_log=True).marks()]
        ['100', '200', '500', '1,000', '2,000', '5,000', '10,000']
        >>> [text for _, text in Frame("", 71.3, 94.2).marks()]
        ['75', '80', '85', '90']
        """
        if self.names:
            return list(enumerate(self.names))
        if self.is_log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            steps = _STEPS if len(decades) <= _MARKS_WANTED else (1,)
            values = [step * 10.0**decade for decade in decades for step in steps]
            within = [value for value in values if self.low <= value <= self.high]
            if len(within) > 1:
                return [(value, f"{value:,.10g}") for value in within]
        step = _round_step((self.high - self.low) / _MARKS_WANTED)
        digits = max(0, -math.floor(math.log10(step)))
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return [(k * step, f"{k * step:,.{digits}f}") for k in range(first, last + 1) if k or not self.is_log]


def frame_of(axis: Axis, values: Iterable[float | None]) -> Frame:
    """An axis that shows all finite values, with a little room, within its floor and ceiling."""
    if axis.names:
        return Frame(axis.title, -0.5, len(axis.names) - 0.5, names=axis.names)
    within = [*values, axis.start]
    finite = [v for v in within if v is not None and math.isfinite(v) and (v > 0 or not axis.is_log)] or [1.0]
    floor = -math.inf if axis.floor is None else axis.floor
    ceiling = math.inf if axis.ceiling is None else axis.ceiling
    low, high = max(floor, min(finite)), min(ceiling, max(finite))
    if axis.is_log:
        room = (high / low) ** _ROOM if high > low else 2.0
        return Frame(axis.title, low / room, high * room, is_log=True)
    room = (high - low) * _ROOM or abs(high) * _ROOM or 1.0
    return Frame(axis.title, max(floor, low - room), min(ceiling, high + room))


def _round_step(least: float) -> float:
    decade = 10.0 ** math.floor(math.log10(least))
    return next(step * decade for step in (*_STEPS, 10) if step * decade >= least)

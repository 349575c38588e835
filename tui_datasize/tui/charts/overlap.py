"""Bars as text: one per class, with what is expected of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, isfinite, nan

from rich.text import Text

from tui_datasize.tui.charts.lines import (
    SMALLEST_HEIGHT,
    SMALLEST_WIDTH,
    Band,
    Series,
    line_chart,
    sentence,
)
from tui_datasize.tui.charts.scale import Scale
from tui_datasize.tui.widgets.palette import Palette

_SMALLEST_BAR = 12
_VALUE_WIDTH = 7
_ARROWS = {1: "▲", -1: "▼", 0: ""}
_LONGEST_LABEL = 24


@dataclass(frozen=True, slots=True)
class Bar:
    """One class: which fraction two subsets share, and which is expected; NaN where unknown."""

    label: str
    value: float
    expected: float
    low: float = nan
    high: float = nan
    """Where the value lies by chance, NaN where unknown."""

    @property
    def outside(self) -> int:
        """1 above what chance gives, -1 below, 0 within or where that is unknown."""
        return (self.value > self.high) - (self.value < self.low)


def class_bars(
    bars: Sequence[Bar],
    *,
    width: int,
    height: int,
    palette: Palette,
    empty: str = "No classes yet.",
) -> Text:
    """Draw one bar per class in the given order, with the expected value and its interval marked in it.

    A value outside of the interval has an arrow behind it. Classes that fit are written one a line, in as
    many blocks side by side as it takes; more than that become the columns of a chart without names.
    """
    known = [bar for bar in bars if isfinite(bar.value)]
    if not known:
        return sentence(empty, width, height, palette)
    label_width = min(_LONGEST_LABEL, width // 3, max(len(bar.label) for bar in known)) + 1
    blocks = ceil(len(known) / max(height, 1))
    block_width = width // blocks
    track = block_width - label_width - _VALUE_WIDTH - 1
    if track < _SMALLEST_BAR:
        return _bar_columns(known, width, height, palette)
    marks = [mark for bar in known for mark in (bar.expected, bar.high) if isfinite(mark)]
    largest = max([bar.value for bar in known] + marks)
    rows = ceil(len(known) / blocks)
    lines = [Text() for _ in range(rows)]
    for index, bar in enumerate(known):
        line = _bar_line(bar, label_width, min(track, 48), largest or 1.0, palette)
        line.pad_right(block_width - len(line))
        lines[index % rows].append_text(line)
    return Text("\n").join(lines)


def _bar_line(bar: Bar, label_width: int, track: int, largest: float, palette: Palette) -> Text:
    full, half = divmod(round(bar.value / largest * track * 2), 2)
    body = Text(("━" * full + "╸" * half)[:track].ljust(track), style=palette.primary)
    for value, mark in ((bar.low, "["), (bar.high, "]"), (bar.expected, "┃")):
        if isfinite(value):
            at = min(track - 1, round(value / largest * track))
            body = Text.assemble(body[:at], (mark, f"bold {palette.accent}"), body[at + 1 :])
    label = Text(bar.label[: label_width - 1].ljust(label_width), style=palette.foreground)
    style = f"bold {palette.accent}" if bar.outside else palette.muted
    return label.append_text(body).append(f" {100 * bar.value:5.1f}{_ARROWS[bar.outside]}", style)


def _bar_columns(bars: Sequence[Bar], width: int, height: int, palette: Palette) -> Text:
    if width < SMALLEST_WIDTH or height < SMALLEST_HEIGHT:
        return sentence("Too small for a chart.", width, height, palette)
    places = [index + 1 for index in range(len(bars))]
    stems = [
        Series("", [place, place], [0.0, 100 * bar.value], palette.primary)
        for place, bar in zip(places, bars, strict=True)
    ]
    expected = Series("expected", places, [100 * bar.expected for bar in bars], palette.accent)
    outside = [(place, 100 * bar.value) for place, bar in zip(places, bars, strict=True) if bar.outside]
    marks = Series(
        "outside", [x for x, _ in outside], [y for _, y in outside], palette.accent, joined=False, mark="▲"
    )
    interval = Band(places, [100 * bar.low for bar in bars], [100 * bar.high for bar in bars], palette.faint)
    return line_chart(
        [*stems, expected, *([marks] if outside else [])],
        Scale(f"{len(bars)} classes, sorted", room=0.02),
        Scale("shared, %", floor=0),
        width=width,
        height=height,
        palette=palette,
        bands=[interval],
    )

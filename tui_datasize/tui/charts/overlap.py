"""Charts of subset overlap as text: a matrix of shared fractions, and bars per class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, isfinite, nan

from rich.text import Text

from tui_datasize.tui.charts.heat import heat, heat_style
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

_SHADES = " ░▒▓█"
_SMALLEST_CELL = 5
_LARGEST_CELL = 11
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


def heat_map(
    labels: Sequence[str],
    matrix: Sequence[Sequence[float]],
    *,
    width: int,
    height: int,
    palette: Palette,
    empty: str = "No subsets yet.",
) -> Text:
    """Draw a square matrix of fractions, written in percent wherever the cells are wide enough.

    Args:
        labels: One name per row and column.
        matrix: Fractions in [0, 1], `len(labels)` rows of as many columns; NaN where unknown.
        width: Columns of the result.
        height: Rows of the result.
        palette: Colours; without colour a matrix too large for digits is drawn in shades.
        empty: The sentence shown where there is nothing to draw.
    """
    count = len(labels)
    if not count:
        return sentence(empty, width, height, palette)
    label_width = max(len(label) for label in labels) + 1
    cell_width = min(_LARGEST_CELL, (width - label_width) // count)
    if cell_width >= _SMALLEST_CELL and count < height:
        return _digit_map(labels, matrix, label_width, cell_width, min(3, (height - 1) // count), palette)
    if palette.colourless:
        return _shade_map(matrix, width, height)
    return _colour_map(matrix, width, height, palette)


def _digit_map(
    labels: Sequence[str],
    matrix: Sequence[Sequence[float]],
    label_width: int,
    cell_width: int,
    cell_height: int,
    palette: Palette,
) -> Text:
    heading = " " * label_width + "".join(label[:cell_width].center(cell_width) for label in labels)
    lines = [Text(heading.rstrip(), style=palette.muted)]
    for label, row in zip(labels, matrix, strict=True):
        for inner in range(cell_height):
            middle = inner == (cell_height - 1) // 2
            line = Text((label if middle else "").ljust(label_width), style=palette.muted)
            for value in row:
                text = _percent(value).center(cell_width) if middle else " " * cell_width
                line.append(text, heat_style(value, palette))
            lines.append(line)
    return Text("\n").join(lines)


def _percent(value: float) -> str:
    return f"{100 * value:.1f}".replace("100.0", "100") if isfinite(value) else "–"


def _stretch(matrix: Sequence[Sequence[float]], width: int, height: int) -> list[list[float]]:
    """Repeat or skip cells so that the matrix fills `height` rows of `width` columns."""
    count = len(matrix)
    rows = min(height, max(count, height // count * count))
    columns = min(width, max(count, width // count * count))
    return [
        [matrix[row * count // rows][column * count // columns] for column in range(columns)]
        for row in range(rows)
    ]


def _shade_map(matrix: Sequence[Sequence[float]], width: int, height: int) -> Text:
    def shade(value: float) -> str:
        return _SHADES[min(4, int(max(0.0, value) * 5))] if isfinite(value) else "?"

    return Text("\n".join("".join(map(shade, row)) for row in _stretch(matrix, width, height)))


def _colour_map(matrix: Sequence[Sequence[float]], width: int, height: int, palette: Palette) -> Text:
    import plotext

    colours = [[heat(value, palette).rgb for value in row] for row in _stretch(matrix, width, height)]
    plotext.clear_figure()
    plotext.limit_size(False, False)
    plotext.plot_size(len(colours[0]), len(colours))
    plotext.matrix_plot(colours, fast=True)
    return Text.from_ansi(plotext.build())


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

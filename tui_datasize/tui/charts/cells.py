"""The cells of a chart: lines that plotext draws, and what stands on them and between them.

A character of braille has 2 x 4 dots. Marks, ticks and the cursor take the cell in which plotext would put
a dot, so that they stand on their lines.

plotext keeps one figure per process and remembers limits, ticks and logarithms of earlier drawings; every
drawing therefore clears it, draws everything anew and never asks it for a logarithm. On one thread only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import floor, hypot
from typing import Literal, TypeAlias

from rich.text import Text
from textual.color import Color

from tui_datasize.tui.charts.scale import Point, interpolate

Dash: TypeAlias = Literal["solid", "dashed", "dotted", "sparse"]

_DOTS: dict[Dash, tuple[int, int]] = {"solid": (1, 0), "dashed": (7, 5), "dotted": (2, 4), "sparse": (2, 10)}
"""Dots drawn and dots left out, in turn."""
_ACROSS, _DOWN = 2, 4
"""Dots of a cell."""
_BLANK = " "
_SHADE = "░"


class Cells:
    """A canvas of characters over two axes."""

    def __init__(self, columns: int, rows: int, x: Point, y: Point) -> None:
        self.columns, self.rows = columns, rows
        self._x, self._y = x, y
        self._characters = [[_BLANK] * columns for _ in range(rows)]
        self._styles = [[""] * columns for _ in range(rows)]

    @property
    def right(self) -> float:
        return self._x[1]

    def column(self, x: float) -> int:
        """The column of a drawn x; outside of the canvas for one beyond the limits."""
        return _dot(x, self._x, self.columns * _ACROSS) // _ACROSS

    def row(self, y: float) -> int:
        """The row of a drawn y, from the top."""
        return self.rows - 1 - _dot(y, self._y, self.rows * _DOWN) // _DOWN

    def put(self, x: float, y: float, character: str, style: str) -> None:
        """Write a character at a place; one beyond the limits is left out."""
        if self._x[0] <= x <= self._x[1] and self._y[0] <= y <= self._y[1]:
            self._set(self.column(x), self.row(y), character, style)

    def _set(self, column: int, row: int, character: str, style: str) -> None:
        self._characters[row][column] = character
        self._styles[row][column] = style

    def draw(self, lines: Sequence[tuple[Sequence[Point], str, Dash]]) -> None:
        """Draw lines through points of ascending x, each with its colour; later ones on top."""
        import plotext

        plotext.clear_figure()
        plotext.limit_size(False, False)
        plotext.plot_size(self.columns, self.rows)
        plotext.theme("clear")
        plotext.xaxes(False, False)
        plotext.yaxes(False, False)
        plotext.xticks([], [])
        plotext.yticks([], [])
        plotext.xlim(*self._x)
        plotext.ylim(*self._y)
        is_empty = True
        for points, colour, dash in lines:
            for piece in self._pieces(points, dash):
                x, y = zip(*piece, strict=True)
                plotext.plot(x, y, marker="braille", color=Color.parse(colour).rgb)
                is_empty = False
        if not is_empty:
            self._take(plotext.build())

    def _take(self, drawn: str) -> None:
        for row, line in enumerate(Text.from_ansi(drawn).split("\n")[: self.rows]):
            for column, character in enumerate(line.plain[: self.columns]):
                self._characters[row][column] = character
            for span in line.spans:
                for column in range(span.start, min(span.end, self.columns)):
                    self._styles[row][column] = str(span.style)

    def shade(self, low: Sequence[Point], high: Sequence[Point], style: str) -> None:
        """Fill what is blank between two lines of ascending x."""
        left, right = self._x
        for column in range(self.columns):
            x = left + (right - left) * column / max(self.columns - 1, 1)
            bottom, top = interpolate(x, low), interpolate(x, high)
            if bottom is None or top is None or top < self._y[0] or bottom > self._y[1]:
                continue
            first = self.row(min(top, self._y[1]))
            for row in range(first, self.row(max(bottom, self._y[0])) + 1):
                if self._characters[row][column] == _BLANK:
                    self._set(column, row, _SHADE, style)

    def raise_line(self, x: float, style: str) -> None:
        """A vertical line behind everything else."""
        column = self.column(x)
        for row in range(self.rows):
            if self._characters[row][column] in (_BLANK, _SHADE):
                self._set(column, row, "│", style)

    def line(self, row: int) -> Text:
        text = Text()
        start = 0
        characters, styles = self._characters[row], self._styles[row]
        for column in range(1, self.columns + 1):
            if column == self.columns or styles[column] != styles[start]:
                text.append("".join(characters[start:column]), styles[start])
                start = column
        return text

    def _pieces(self, points: Sequence[Point], dash: Dash) -> Iterator[Sequence[Point]]:
        piece: list[Point] = []
        for start, end in self._strokes(points, dash):
            if piece and piece[-1] != start:
                yield piece
                piece = []
            piece += [end] if piece else [start, end]
        if piece:
            yield piece

    def _strokes(self, points: Sequence[Point], dash: Dash) -> Iterator[tuple[Point, Point]]:
        drawn, left_out = _DOTS[dash]
        per_x = self.columns * _ACROSS / (self._x[1] - self._x[0])
        per_y = self.rows * _DOWN / (self._y[1] - self._y[0])
        position = 0.0
        for start, end in pairwise(points):
            inside = _clipped(start, end, self._x, self._y)
            if inside is None:
                continue
            if not left_out:
                yield inside
                continue
            (x0, y0), (x1, y1) = inside
            dx, dy = x1 - x0, y1 - y0
            length = hypot(dx * per_x, dy * per_y)
            for low, high in _strokes_of(position, length, drawn, left_out):
                yield (x0 + dx * low, y0 + dy * low), (x0 + dx * high, y0 + dy * high)
            position += length


def _strokes_of(position: float, length: float, drawn: int, left_out: int) -> Iterator[tuple[float, float]]:
    """What is drawn, as fractions of its length, of a stretch that begins so far along a dashed line."""
    period = drawn + left_out
    begin = floor(position / period) * period
    while begin < position + length:
        low, high = max(begin, position), min(begin + drawn, position + length)
        if low < high:
            yield (low - position) / length, (high - position) / length
        begin += period


def _dot(value: float, limits: Point, count: int) -> int:
    """Which of so many dots plotext takes for a value."""
    low, high = limits
    return floor(round(0.5 + (count - 1) * (value - low) / (high - low), 8))


def _clipped(start: Point, end: Point, x: Point, y: Point) -> tuple[Point, Point] | None:
    """The part of a stretch within a rectangle (Liang and Barsky 1984); None where there is none."""
    (x0, y0), (x1, y1) = start, end
    dx, dy = x1 - x0, y1 - y0
    first, last = 0.0, 1.0
    for step, room in ((-dx, x0 - x[0]), (dx, x[1] - x0), (-dy, y0 - y[0]), (dy, y[1] - y0)):
        if step == 0:
            if room < 0:
                return None
        elif step < 0:
            first = max(first, room / step)
        else:
            last = min(last, room / step)
    if first > last:
        return None
    begin = start if first == 0 else (x0 + first * dx, y0 + first * dy)
    return begin, end if last == 1 else (x0 + last * dx, y0 + last * dy)

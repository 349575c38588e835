"""A table of numbers as a map of colours, with digits wherever they fit."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import TypeVar

from rich.style import Style
from rich.text import Text
from textual.color import Color

from tui_datasize.text import beginning, plural, width_of
from tui_datasize.tui.charts.lines import sentence
from tui_datasize.tui.widgets.palette import Palette


def heat_style(value: float, palette: Palette) -> Style:
    """Digits on the colour of a fraction in [0, 1]; plain where there is no colour or no value."""
    if palette.colourless or not isfinite(value):
        return Style.parse(palette.foreground)
    background = Color.parse(palette.faint).blend(Color.parse(palette.primary), min(1.0, max(0.0, value)))
    return Style(color=background.get_contrast_text(1.0).rich_color, bgcolor=background.rich_color)


T = TypeVar("T")

_SHADES = " ░▒▓█"
_TOO_LONG = "▒"
_WIDEST_CELL = 10
_LEAST_WRITTEN = 3
"""Columns of a cell that holds two digits and a gap; narrower ones hold no numbers."""


def surface_chart(
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    values: Sequence[Sequence[float]],
    digits: int,
    width: int,
    height: int,
    palette: Palette,
) -> Text:
    """Draw numbers as colours between the lowest and the highest.

    `values` has a row per row label with a number per column label, NaN where there is none. In cells too
    narrow for their digits there are fewer behind the point; without colour there are shades.
    """
    known = [value for row in values for value in row if isfinite(value)]
    if not known:
        return sentence("No values yet.", width, height, palette)
    label_width = max(map(width_of, row_labels)) + 1
    cell_width = max(1, _cell_width(row_labels, len(column_labels), width))
    shown_columns = min(len(column_labels), width - label_width)
    cell_height = max(1, min(3, (height - 1) // len(row_labels)))
    span = (min(known), max(known))
    heading = "".join(_right(label, cell_width) for label in column_labels[:shown_columns])
    lines = [Text(" " * label_width + (heading if cell_width > 1 else ""), style=palette.muted)]
    rows = list(zip(row_labels, values, strict=True))
    shown_rows = rows if len(rows) < height else rows[: max(1, height - 2)]
    for label, row in shown_rows:
        for inner in range(cell_height):
            middle = inner == cell_height // 2
            line = Text(_right(label if middle else "", label_width - 1, gap=0) + " ", style=palette.muted)
            for value in row[:shown_columns]:
                text = _number(value, digits, cell_width) if middle else ""
                line.append(*_cell(value, text, span, cell_width, palette))
            lines.append(line)
    if len(shown_rows) < len(rows):
        words = f"… {plural(len(rows) - len(shown_rows), 'more row')} in a higher window"
        lines.append(Text(words, style=palette.muted))
    return Text("\n").join(lines[:height])


def overview(values: Sequence[Sequence[float]], *, width: int, height: int, palette: Palette) -> Text:
    """Draw a map that is too large for labels and digits, in colours that fill the window."""
    known = [value for row in values for value in row if isfinite(value)]
    span = (min(known, default=0.0), max(known, default=1.0))
    return Text("\n").join(
        Text.assemble(*(_cell(value, "", span, 1, palette) for value in _stretched(row, width)))
        for row in _stretched(values, height)
    )


def _stretched(items: Sequence[T], places: int) -> Sequence[T]:
    """Each item as often as it takes to fill the places, or as many of them as there are places."""
    count = len(items)
    filled = min(places, max(count, places // count * count))
    return [items[place * count // filled] for place in range(filled)]


def legible_digits(
    row_labels: Sequence[str], values: Sequence[Sequence[float]], most: int, width: int, height: int
) -> int | None:
    """Digits behind the point with which every number of a map has its row and its room; None if none."""
    if not values or len(values) >= height:
        return None
    known = [value for row in values for value in row if isfinite(value)]
    cell_width = _cell_width(row_labels, len(values[0]), width)
    fitting = (
        digits
        for digits in range(most, -1, -1)
        if max((len(f"{value:.{digits}f}") for value in known), default=1) < cell_width
    )
    return next(fitting, None)


def side_by_side(charts: Sequence[Text], widths: Sequence[int]) -> Text:
    """Charts in one row, each padded to its width."""
    columns = [list(chart.split("\n", allow_blank=True)) for chart in charts]
    rows = []
    for row in range(max(map(len, columns))):
        line = Text()
        for lines, width in zip(columns, widths, strict=True):
            cell = lines[row].copy() if row < len(lines) else Text()
            cell.truncate(width, pad=True)
            line.append_text(cell)
        line.rstrip()
        rows.append(line)
    return Text("\n").join(rows)


def _right(text: str, width: int, gap: int = 1) -> str:
    """As much of a text as a width has room for behind a gap, at the right."""
    own = beginning(text, width - gap)
    return " " * (width - width_of(own)) + own


def _cell_width(row_labels: Sequence[str], columns: int, width: int) -> int:
    """Columns of one cell; not positive where there is no room at all."""
    label_width = max(map(width_of, row_labels)) + 1
    return min(_WIDEST_CELL, (width - label_width) // columns)


def _number(value: float, digits: int, width: int) -> str:
    """As many digits behind the point as a cell has room for; bars where not even the whole number fits."""
    if not isfinite(value) or width < _LEAST_WRITTEN:
        return ""
    texts = (f"{value:z.{fewer}f}" for fewer in range(digits, -1, -1))
    return next((text for text in texts if len(text) < width), _TOO_LONG * (width - 1))


def _cell(
    value: float, text: str, span: tuple[float, float], width: int, palette: Palette
) -> tuple[str, Style]:
    low, high = span
    share = (value - low) / (high - low) if high > low else 1.0
    if palette.colourless and not text and isfinite(value):
        return _SHADES[round(share * (len(_SHADES) - 1))] * width, heat_style(share, palette)
    return text.rjust(width), heat_style(share, palette)

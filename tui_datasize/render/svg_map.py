"""A table of numbers as an SVG map of colours, and named values as bars; numbers stand where they fit."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Iterator, Sequence
from html import escape

from tui_datasize.answers.answer import Bar, Bars, Map, Sheet
from tui_datasize.text import fit, visible

_FONT = 'font-family="system-ui, sans-serif" font-size="12"'
LETTER_PX = 6.6
WIDTH_PX = 760
_ROW_PX, _WIDEST_CELL_PX = 22, 64
_TOP_PX, _BOTTOM_PX, _RIGHT_PX = 24, 30, 16
_DARK_FROM = 0.55
"""From this share of the colour on, digits are white."""
_COLOUR = (0, 114, 178)
"""That of the largest value; the smallest is nearly white."""
_LEAST_TINT = 0.04


def escaped(text: str) -> str:
    """Text within HTML or SVG, where every character shows and none acts."""
    return escape(visible(text))


def svg(title: str, height: float, parts: Iterable[str]) -> str:
    """One `<svg>` element on white, `WIDTH_PX` wide."""
    size = f'width="{WIDTH_PX}" height="{height}"'
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH_PX} {height}" {size} role="img" '
        f'aria-label="{escaped(title)}" {_FONT}>'
    )
    return "\n".join([head, f'<rect {size} fill="#ffffff"/>', *filter(None, parts), "</svg>"])


def sheet_svg(sheet: Sheet) -> str:
    """Images as they are, no wider than the page, each pixel a square."""
    # Where every PNG tells its size.
    width, height = (int.from_bytes(sheet.png[start : start + 4]) for start in (16, 20))
    shown = min(WIDTH_PX, 2 * width)
    data = base64.b64encode(sheet.png).decode()
    image = (
        f'<image width="{shown}" height="{shown * height / width:.0f}" style="image-rendering:pixelated" '
        f'href="data:image/png;base64,{data}"/>'
    )
    return svg(sheet.title, round(shown * height / width), [image])


def is_legible(heat_map: Map) -> bool:
    """Whether every number of a map has its room, if without digits behind the point."""
    _, cell = _widths(heat_map)
    return all(_number(value, 0, cell) for value in _known(heat_map))


def map_svg(heat_map: Map) -> str:
    """The map as one `<svg>` element."""
    left, cell = _widths(heat_map)
    height = _TOP_PX + _ROW_PX * len(heat_map.rows) + _BOTTOM_PX
    middle = _TOP_PX + _ROW_PX * len(heat_map.rows) / 2
    across, below = left + cell * len(heat_map.columns) / 2, height - 10
    turned = f'transform="rotate(-90 12 {middle})"'
    parts = [
        *_labels(heat_map, left, cell),
        *_cells(heat_map, left, cell),
        f'<text x="12" y="{middle}" {turned} text-anchor="middle">{escaped(heat_map.row_title)}</text>',
        f'<text x="{across:.1f}" y="{below}" text-anchor="middle">{escaped(heat_map.column_title)}</text>',
    ]
    return svg(heat_map.title, height, parts)


def _widths(heat_map: Map) -> tuple[float, float]:
    left = 40 + LETTER_PX * max(map(len, heat_map.rows))
    return left, min(_WIDEST_CELL_PX, (WIDTH_PX - left - _RIGHT_PX) / max(len(heat_map.columns), 1))


def _known(heat_map: Map) -> list[float]:
    return [value for row in heat_map.values for value in row if value is not None and math.isfinite(value)]


def _labels(heat_map: Map, left: float, cell: float) -> Iterator[str]:
    longest = max(map(len, heat_map.columns), default=1)
    # Labels that would run into each other are written for every second, third ... column.
    every = max(1, math.ceil(LETTER_PX * (longest + 1) / cell))
    for column in range(0, len(heat_map.columns), every):
        x = left + cell * (column + 0.5)
        text = escaped(heat_map.columns[column])
        yield f'<text x="{x:.1f}" y="{_TOP_PX - 7}" text-anchor="middle" fill="#333">{text}</text>'
    for row, label in enumerate(heat_map.rows):
        y = _TOP_PX + _ROW_PX * (row + 0.5) + 4
        yield f'<text x="{left - 6:.1f}" y="{y}" text-anchor="end" fill="#333">{escaped(label)}</text>'


def _cells(heat_map: Map, left: float, cell: float) -> Iterator[str]:
    known = _known(heat_map)
    low, high = min(known, default=0.0), max(known, default=1.0)
    for row, values in enumerate(heat_map.values):
        for column, value in enumerate(values):
            if value is None or not math.isfinite(value):
                continue
            share = (value - low) / (high - low) if high > low else 1.0
            x, y = left + cell * column, _TOP_PX + _ROW_PX * row
            place = f'x="{x:.1f}" y="{y}" width="{cell:.1f}" height="{_ROW_PX}"'
            strength = _LEAST_TINT + (1 - _LEAST_TINT) * share
            tint = "".join(f"{round(255 + (channel - 255) * strength):02x}" for channel in _COLOUR)
            yield f'<rect {place} fill="#{tint}"/>'
            if text := _number(value, heat_map.digits, cell):
                colour = "#fff" if share > _DARK_FROM else "#111"
                at = f'x="{x + cell / 2:.1f}" y="{y + _ROW_PX / 2 + 4}"'
                yield f'<text {at} text-anchor="middle" fill="{colour}">{text}</text>'


def _number(value: float, digits: int, width_px: float) -> str:
    """As many digits behind the point as a cell has room for; empty where not even the whole number fits."""
    texts = (f"{value:z,.{fewer}f}" for fewer in range(digits, -1, -1))
    return next((text for text in texts if LETTER_PX * (len(text) + 0.5) <= width_px), "")


_MOST_BARS = 20
_BAR_ROW_PX, _BAR_TOP_PX, _BAR_BOTTOM_PX, _GAP_PX = 20, 26, 24, 8
_LONGEST_BAR_NAME = 40
_BAR_COLOUR = "#0072b2"


def bars_svg(bars: Bars) -> str:
    """The first of the bars as one `<svg>` element, and how many there are besides."""
    shown = bars.bars[:_MOST_BARS]
    height = _BAR_TOP_PX + _BAR_ROW_PX * len(shown) + _BAR_BOTTOM_PX
    names = [fit(bar.name, _LONGEST_BAR_NAME).rstrip() for bar in shown]
    name_px = LETTER_PX * max(map(len, (bars.heads[0], *names)))
    words_px = LETTER_PX * max(map(len, (bars.heads[1], *(bar.words for bar in shown))))
    left, track = name_px + _GAP_PX, WIDTH_PX - name_px - words_px - 3 * _GAP_PX
    more = f"{len(bars.bars) - len(shown)} more" if len(shown) < len(bars.bars) else ""
    parts = [
        _bar_words(bars.heads[0], bars.heads[1], left, _BAR_TOP_PX - 10),
        *_bar_rows(shown, names, left, track),
        f'<text x="{left:.1f}" y="{height - 8}" fill="#333">{more}</text>',
    ]
    return svg(bars.title, height, parts)


def _bar_rows(shown: Sequence[Bar], names: Sequence[str], left: float, track: float) -> Iterator[str]:
    largest = max((bar.value for bar in shown), default=0.0) or 1.0
    for row, (bar, name) in enumerate(zip(shown, names, strict=True)):
        top = _BAR_TOP_PX + _BAR_ROW_PX * row
        width = track * bar.value / largest
        place = f'x="{left + _GAP_PX:.1f}" y="{top + 3}" width="{width:.1f}" height="{_BAR_ROW_PX - 6}"'
        yield f'<rect {place} fill="{_BAR_COLOUR}"/>'
        yield _bar_words(name, bar.words or f"{bar.value:,.1f}", left, top + _BAR_ROW_PX / 2 + 4)


def _bar_words(name: str, words: str, left: float, y: float) -> str:
    at = f'x="{left:.1f}" y="{y:.1f}" text-anchor="end" fill="#333"'
    end = f'x="{WIDTH_PX - _GAP_PX}" y="{y:.1f}" text-anchor="end" fill="#333"'
    return f"<text {at}>{escaped(name)}</text><text {end}>{escaped(words)}</text>"

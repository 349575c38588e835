"""Charts as SVG: lines, marks, bands and boxes over two axes, every text escaped, nothing from outside."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal, TypeAlias

from tui_datasize.report.axis import Axis
from tui_datasize.words import visible

Mark: TypeAlias = Literal["", "dot", "small", "diamond"]
Values: TypeAlias = Sequence[float | None]

WIDTH_PX, HEIGHT_PX = 760, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 16, 14, 78
"""Room around the frame for marks and legend, in px."""
_FONT = 'font-family="system-ui, sans-serif" font-size="12"'
_LEGEND_STEP_PX, _LETTER_PX = 34, 6.6
_BOX_HALF_PX = 7.0

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#666666", "#7b3294")
"""Told apart also by the colour-blind (after Okabe and Ito)."""


def escaped(text: str) -> str:
    """Text within HTML or SVG, where every character shows and none acts."""
    return escape(visible(text))


@dataclass(frozen=True)
class Line:
    """A series; None and NaN interrupt it."""

    name: str
    """In the legend; empty for none."""
    x: Sequence[float]
    y: Values
    colour: str
    mark: Mark = ""
    is_joined: bool = True
    dash: str = ""
    width_px: float = 2.0


@dataclass(frozen=True)
class Band:
    """The area between two lines."""

    name: str
    x: Sequence[float]
    low: Values
    high: Values
    colour: str


@dataclass(frozen=True)
class Box:
    """A box plot at one place."""

    x: float
    whisker_low: float
    q1: float
    median: float
    q3: float
    whisker_high: float
    outliers: Sequence[float]


@dataclass(frozen=True)
class Chart:
    """What is drawn, from back to front: bands, boxes, lines."""

    title: str
    """Read aloud by a screen reader."""
    x: Axis
    y: Axis
    lines: Sequence[Line] = ()
    bands: Sequence[Band] = ()
    boxes: Sequence[Box] = ()


def to_svg(chart: Chart) -> str:
    """The chart as one `<svg>` element."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH_PX} {HEIGHT_PX}" width="{WIDTH_PX}" '
        f'height="{HEIGHT_PX}" role="img" aria-label="{escaped(chart.title)}" {_FONT}>',
        f'<rect width="{WIDTH_PX}" height="{HEIGHT_PX}" fill="#ffffff"/>',
        *_axes(chart),
        f'<svg x="{_LEFT}" y="{_TOP}" width="{_across()}" height="{_down()}" overflow="hidden">',
        *(_band(chart, band) for band in chart.bands),
        *(part for box in chart.boxes for part in _box(chart, box)),
        *(part for line in chart.lines for part in _line(chart, line)),
        "</svg>",
        *_legend(chart),
        "</svg>",
    ]
    return "\n".join(part for part in parts if part)


def _across() -> int:
    return WIDTH_PX - _LEFT - _RIGHT


def _down() -> int:
    return HEIGHT_PX - _TOP - _BOTTOM


def _x(chart: Chart, value: float) -> float:
    return round(chart.x.place(value) * _across(), 1)


def _y(chart: Chart, value: float) -> float:
    return round((1 - chart.y.place(value)) * _down(), 1)


def _axes(chart: Chart) -> Iterator[str]:
    bottom = _TOP + _down()
    for value, text in chart.x.marks():
        x = _LEFT + _x(chart, value)
        yield f'<line x1="{x}" x2="{x}" y1="{_TOP}" y2="{bottom}" stroke="#e4e4e4"/>'
        yield f'<text x="{x}" y="{bottom + 16}" text-anchor="middle" fill="#333">{escaped(text)}</text>'
    for value, text in chart.y.marks():
        y = _TOP + _y(chart, value)
        yield f'<line x1="{_LEFT}" x2="{_LEFT + _across()}" y1="{y}" y2="{y}" stroke="#e4e4e4"/>'
        yield f'<text x="{_LEFT - 7}" y="{y + 4}" text-anchor="end" fill="#333">{escaped(text)}</text>'
    middle_x, middle_y = _LEFT + _across() / 2, _TOP + _down() / 2
    yield f'<rect x="{_LEFT}" y="{_TOP}" width="{_across()}" height="{_down()}" fill="none" stroke="#999"/>'
    yield f'<text x="{middle_x}" y="{bottom + 36}" text-anchor="middle">{escaped(chart.x.title)}</text>'
    turned = f'transform="rotate(-90 14 {middle_y})"'
    yield f'<text x="14" y="{middle_y}" {turned} text-anchor="middle">{escaped(chart.y.title)}</text>'


def _known(x: Sequence[float], y: Values) -> Iterator[list[tuple[float, float]]]:
    """Stretches of points without a gap."""
    stretch: list[tuple[float, float]] = []
    for a, b in zip(x, y, strict=True):
        if b is not None and math.isfinite(b):
            stretch.append((a, b))
        elif stretch:
            yield stretch
            stretch = []
    if stretch:
        yield stretch


def _points(chart: Chart, points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{_x(chart, x)},{_y(chart, y)}" for x, y in points)


def _line(chart: Chart, line: Line) -> Iterator[str]:
    dash = f' stroke-dasharray="{line.dash}"' if line.dash else ""
    for stretch in _known(line.x, line.y):
        if line.is_joined:
            yield (
                f'<polyline points="{_points(chart, stretch)}" fill="none" stroke="{line.colour}" '
                f'stroke-width="{line.width_px}"{dash}/>'
            )
        if line.mark:
            yield from (_mark(_x(chart, x), _y(chart, y), line) for x, y in stretch)


def _mark(x: float, y: float, line: Line) -> str:
    if line.mark == "diamond":
        corners = f"{x - 5},{y} {x},{y - 5} {x + 5},{y} {x},{y + 5}"
        return f'<polygon points="{corners}" fill="#fff" stroke="{line.colour}" stroke-width="1.6"/>'
    radius, opacity = (4, 1) if line.mark == "dot" else (2, 0.55)
    return f'<circle cx="{x}" cy="{y}" r="{radius}" fill="{line.colour}" fill-opacity="{opacity}"/>'


def _band(chart: Chart, band: Band) -> str:
    ends = zip(band.x, band.low, band.high, strict=True)
    known = [(x, a, b) for x, a, b in ends if a is not None and b is not None and math.isfinite(a + b)]
    if len(known) < 2:
        return ""
    outline = [*((x, high) for x, _, high in known), *((x, low) for x, low, _ in reversed(known))]
    return f'<polygon points="{_points(chart, outline)}" fill="{band.colour}" fill-opacity="0.18"/>'


def _box(chart: Chart, box: Box) -> Iterator[str]:
    x, colour = _x(chart, box.x), COLOURS[0]
    low, q1, median, q3, high = (
        _y(chart, value) for value in (box.whisker_low, box.q1, box.median, box.q3, box.whisker_high)
    )
    left, width = round(x - _BOX_HALF_PX, 1), 2 * _BOX_HALF_PX
    yield f'<line x1="{x}" x2="{x}" y1="{high}" y2="{low}" stroke="{colour}"/>'
    yield (
        f'<rect x="{left}" y="{q3}" width="{width}" height="{max(0.5, round(q1 - q3, 1))}" fill="#d6e6f2" '
        f'stroke="{colour}"/>'
    )
    ends = f'x1="{left}" x2="{left + width}" y1="{median}" y2="{median}"'
    yield f'<line {ends} stroke="#111" stroke-width="2"/>'
    for value in box.outliers:
        yield f'<circle cx="{x}" cy="{_y(chart, value)}" r="3" fill="none" stroke="{COLOURS[1]}"/>'


def _legend(chart: Chart) -> Iterator[str]:
    entries: list[tuple[str, str, Line | None]] = [
        *((line.name, line.colour, line) for line in chart.lines if line.name),
        *((band.name, band.colour, None) for band in chart.bands if band.name),
    ]
    x, y = float(_LEFT), HEIGHT_PX - 24
    for name, colour, line in entries:
        width = _LEGEND_STEP_PX + _LETTER_PX * len(name)
        if x + width > WIDTH_PX and x > _LEFT:
            x, y = float(_LEFT), y + 16
        if line is None:
            yield f'<rect x="{x}" y="{y - 9}" width="18" height="10" fill="{colour}" fill-opacity="0.25"/>'
        else:
            if line.is_joined:
                dash = f' stroke-dasharray="{line.dash}"' if line.dash else ""
                ends = f'x1="{x}" x2="{x + 18}" y1="{y - 4}" y2="{y - 4}"'
                yield f'<line {ends} stroke="{colour}" stroke-width="{line.width_px}"{dash}/>'
            if line.mark:
                yield _mark(x + 9, y - 4, line)
        yield f'<text x="{x + 23}" y="{y}" fill="#333">{escaped(name)}</text>'
        x += width

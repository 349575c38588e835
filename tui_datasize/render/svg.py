"""Charts as SVG: lines, marks, bands, boxes over two axes; every text escaped, nothing from outside."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from tui_datasize.answers.answer import Axis, Band, Bars, Box, Chart, Figure, Ink, Line, Map, Sheet
from tui_datasize.render.svg_map import (
    LETTER_PX,
    WIDTH_PX,
    bars_svg,
    escaped,
    is_legible,
    map_svg,
    sheet_svg,
    svg,
)

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


Values: TypeAlias = Sequence[float | None]

HEIGHT_PX = 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 16, 14, 78
"""Room around the frame for marks and legend, in px."""
_ACROSS, _DOWN = WIDTH_PX - _LEFT - _RIGHT, HEIGHT_PX - _TOP - _BOTTOM
_LEGEND_STEP_PX = 34
_BOX_HALF_PX = 7.0

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#666666", "#7b3294")
"""Told apart also by the colour-blind (after Okabe and Ito)."""

_INKS: Mapping[str, str] = MappingProxyType(
    {
        "run": "#333333",
        "mean": COLOURS[0],
        "law": "#999999",
        "forecast": COLOURS[2],
        "target": COLOURS[3],
        "muted": "#999999",
    }
)
_DASHES = ("", "6 3", "2 2")
"""Tell series apart that share a colour."""
_INK_DASHES: Mapping[str, str] = MappingProxyType({"law": "7 4", "target": "2 3"})


@dataclass(frozen=True)
class _Drawing:
    """The two axes of a chart as they are drawn."""

    x: Frame
    y: Frame


def picture(figure: Figure) -> str:
    """A figure as one `<svg>` element."""
    match figure:
        case Chart():
            return to_svg(figure)
        case Map(otherwise=Bars() as ranked) if not is_legible(figure):
            return bars_svg(ranked)
        case Map():
            return map_svg(figure)
        case Bars() if any(figure.heads):
            return bars_svg(figure)
        case Bars():
            return to_svg(_as_chart(figure))
        case Sheet():
            return sheet_svg(figure)


def to_svg(chart: Chart) -> str:
    """The chart as one `<svg>` element."""
    drawing = _Drawing(*_frames(chart))
    parts = [
        *_axes(drawing),
        f'<svg x="{_LEFT}" y="{_TOP}" width="{_ACROSS}" height="{_DOWN}" overflow="hidden">',
        *(_band(drawing, band) for band in chart.bands),
        *(part for box in chart.boxes for part in _box(drawing, box)),
        *(part for line in chart.lines for part in _line(drawing, line)),
        "</svg>",
        *_legend(chart),
    ]
    return svg(chart.title, HEIGHT_PX, parts)


def _x(drawing: _Drawing, value: float) -> float:
    return round(drawing.x.place(value) * _ACROSS, 1)


def _y(drawing: _Drawing, value: float) -> float:
    return round((1 - drawing.y.place(value)) * _DOWN, 1)


def _axes(drawing: _Drawing) -> Iterator[str]:
    bottom = _TOP + _DOWN
    for value, text in drawing.x.marks():
        x = _LEFT + _x(drawing, value)
        yield f'<line x1="{x}" x2="{x}" y1="{_TOP}" y2="{bottom}" stroke="#e4e4e4"/>'
        yield f'<text x="{x}" y="{bottom + 16}" text-anchor="middle" fill="#333">{escaped(text)}</text>'
    for value, text in drawing.y.marks():
        y = _TOP + _y(drawing, value)
        yield f'<line x1="{_LEFT}" x2="{_LEFT + _ACROSS}" y1="{y}" y2="{y}" stroke="#e4e4e4"/>'
        yield f'<text x="{_LEFT - 7}" y="{y + 4}" text-anchor="end" fill="#333">{escaped(text)}</text>'
    middle_x, middle_y = _LEFT + _ACROSS / 2, _TOP + _DOWN / 2
    yield f'<rect x="{_LEFT}" y="{_TOP}" width="{_ACROSS}" height="{_DOWN}" fill="none" stroke="#999"/>'
    yield f'<text x="{middle_x}" y="{bottom + 36}" text-anchor="middle">{escaped(drawing.x.title)}</text>'
    turned = f'transform="rotate(-90 14 {middle_y})"'
    yield f'<text x="14" y="{middle_y}" {turned} text-anchor="middle">{escaped(drawing.y.title)}</text>'


def ink_colour(ink: Ink) -> str:
    """The colour that an ink has on paper."""
    return COLOURS[ink % len(COLOURS)] if isinstance(ink, int) else _INKS[ink]


def _dashed(line: Line) -> str:
    dash = (
        _INK_DASHES.get(line.ink, "") if isinstance(line.ink, str) else _DASHES[line.ink // len(COLOURS) % 3]
    )
    return f' stroke-dasharray="{dash}"' if dash else ""


def _width_px(line: Line) -> float:
    return 1.0 if line.is_thin else 2.0


def _frames(chart: Chart) -> tuple[Frame, Frame]:
    boxes = chart.boxes
    x = [*(v for line in chart.lines for v in line.x), *(v for band in chart.bands for v in band.x)]
    y = [
        *(v for line in chart.lines for v in line.y),
        *(v for band in chart.bands for ends in (band.low, band.high) for v in ends),
        *(v for box in boxes for v in (box.whisker_low, box.whisker_high, *box.outliers)),
    ]
    return frame_of(chart.x, [*x, *(box.x for box in boxes)]), frame_of(chart.y, y)


def _as_chart(figure: Bars) -> Chart:
    places = [float(place) for place in range(len(figure.bars))]
    names = [bar.name for bar in figure.bars]
    lines = [Line("", places, [bar.value for bar in figure.bars], 0, "dot", is_joined=False)]
    if any(math.isfinite(bar.expected) for bar in figure.bars):
        lines.append(Line("expected", places, [bar.expected for bar in figure.bars], 1))
    lows, highs = [bar.low for bar in figure.bars], [bar.high for bar in figure.bars]
    band = Band(places, lows, highs, 1, "95 % by chance")
    bands = [band] if any(map(math.isfinite, lows)) else []
    return Chart(figure.title, Axis("", names=names), figure.axis, lines, bands)


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


def _points(drawing: _Drawing, points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{_x(drawing, x)},{_y(drawing, y)}" for x, y in points)


def _line(drawing: _Drawing, line: Line) -> Iterator[str]:
    dash, stroke = _dashed(line), ink_colour(line.ink)
    for stretch in _known(line.x, line.y):
        if line.is_joined:
            yield (
                f'<polyline points="{_points(drawing, stretch)}" fill="none" stroke="{stroke}" '
                f'stroke-width="{_width_px(line)}"{dash}/>'
            )
        if line.mark or not line.is_joined:
            yield from (_mark(_x(drawing, x), _y(drawing, y), line) for x, y in stretch)


def _mark(x: float, y: float, line: Line) -> str:
    stroke = ink_colour(line.ink)
    if line.mark == "diamond":
        corners = f"{x - 5},{y} {x},{y - 5} {x + 5},{y} {x},{y + 5}"
        return f'<polygon points="{corners}" fill="#fff" stroke="{stroke}" stroke-width="1.6"/>'
    if line.mark == "ring":
        return f'<circle cx="{x}" cy="{y}" r="3.5" fill="#fff" stroke="{stroke}" stroke-width="1.6"/>'
    radius, opacity = (2, 0.55) if line.mark == "small" else (4, 1)
    return f'<circle cx="{x}" cy="{y}" r="{radius}" fill="{stroke}" fill-opacity="{opacity}"/>'


def _band(drawing: _Drawing, band: Band) -> str:
    ends = zip(band.x, band.low, band.high, strict=True)
    known = [(x, a, b) for x, a, b in ends if a is not None and b is not None and math.isfinite(a + b)]
    if len(known) < 2:
        return ""
    outline = [*((x, high) for x, _, high in known), *((x, low) for x, low, _ in reversed(known))]
    return (
        f'<polygon points="{_points(drawing, outline)}" fill="{ink_colour(band.ink)}" fill-opacity="0.18"/>'
    )


def _box(drawing: _Drawing, box: Box) -> Iterator[str]:
    x, colour = _x(drawing, box.x), COLOURS[0]
    low, q1, median, q3, high = (
        _y(drawing, value) for value in (box.whisker_low, box.q1, box.median, box.q3, box.whisker_high)
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
        yield f'<circle cx="{x}" cy="{_y(drawing, value)}" r="3" fill="none" stroke="{COLOURS[1]}"/>'


def _legend(chart: Chart) -> Iterator[str]:
    entries: list[tuple[str, str, Line | None]] = [
        *((line.name, ink_colour(line.ink), line) for line in chart.lines if line.name),
        *((band.name, ink_colour(band.ink), None) for band in chart.bands if band.name),
    ]
    x, y = float(_LEFT), HEIGHT_PX - 24
    for name, colour, line in entries:
        width = _LEGEND_STEP_PX + LETTER_PX * len(name)
        if x + width > WIDTH_PX and x > _LEFT:
            x, y = float(_LEFT), y + 16
        if line is None:
            yield f'<rect x="{x}" y="{y - 9}" width="18" height="10" fill="{colour}" fill-opacity="0.25"/>'
        else:
            if line.is_joined:
                ends = f'x1="{x}" x2="{x + 18}" y1="{y - 4}" y2="{y - 4}"'
                yield f'<line {ends} stroke="{colour}" stroke-width="{_width_px(line)}"{_dashed(line)}/>'
            if line.mark or not line.is_joined:
                yield _mark(x + 9, y - 4, line)
        yield f'<text x="{x + 23}" y="{y}" fill="#333">{escaped(name)}</text>'
        x += width

"""Named values as an SVG chart of bars that lie, each with its words behind it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tui_datasize.answers.answer import Bar, Bars
from tui_datasize.render.svg_map import LETTER_PX, WIDTH_PX, escaped, svg

_MOST = 20
_ROW_PX, _TOP_PX, _BOTTOM_PX, _GAP_PX = 20, 26, 24, 8
_LONGEST_NAME = 40
_COLOUR = "#0072b2"


def bars_svg(bars: Bars) -> str:
    """The first of the bars as one `<svg>` element, and how many there are besides."""
    shown = bars.bars[:_MOST]
    height = _TOP_PX + _ROW_PX * len(shown) + _BOTTOM_PX
    name_px = LETTER_PX * max([len(bars.heads[0]), *(len(_short(bar.name)) for bar in shown)])
    words_px = LETTER_PX * max([len(bars.heads[1]), *(len(bar.words) for bar in shown)])
    left, track = name_px + _GAP_PX, WIDTH_PX - name_px - words_px - 3 * _GAP_PX
    more = f"{len(bars.bars) - len(shown)} more" if len(shown) < len(bars.bars) else ""
    parts = [
        _line(bars.heads[0], bars.heads[1], left, _TOP_PX - 10),
        *_rows(shown, left, track),
        f'<text x="{left:.1f}" y="{height - 8}" fill="#333">{more}</text>',
    ]
    return svg(bars.title, height, parts)


def _rows(shown: Sequence[Bar], left: float, track: float) -> Iterator[str]:
    largest = max((bar.value for bar in shown), default=0.0) or 1.0
    for row, bar in enumerate(shown):
        top = _TOP_PX + _ROW_PX * row
        width = track * bar.value / largest
        place = f'x="{left + _GAP_PX:.1f}" y="{top + 3}" width="{width:.1f}" height="{_ROW_PX - 6}"'
        yield f'<rect {place} fill="{_COLOUR}"/>'
        yield _line(_short(bar.name), bar.words or f"{bar.value:,.1f}", left, top + _ROW_PX / 2 + 4)


def _line(name: str, words: str, left: float, y: float) -> str:
    at = f'x="{left:.1f}" y="{y:.1f}" text-anchor="end" fill="#333"'
    end = f'x="{WIDTH_PX - _GAP_PX}" y="{y:.1f}" text-anchor="end" fill="#333"'
    return f"<text {at}>{escaped(name)}</text><text {end}>{escaped(words)}</text>"


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"

"""A chart's cells as a picture: dots, lines and marks become shapes, so that only words need a font.

SVG and PNG are made of the same shapes, and these of the very lines that a terminal shows.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
from math import cos, pi, sin
from types import MappingProxyType
from typing import TYPE_CHECKING

from rich.color import Color
from rich.text import Text

from tui_datasize.render.console import PlainConsole
from tui_datasize.tui.charts.scale import Point

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

_WIDTH, _HEIGHT = 10.0, 20.0
"""Of a cell, in px of an SVG."""
_MARGIN = 16.0
_LETTER_PX = 16.6
_BACKGROUND = "#ffffff"
_DRAWN, _SHOWN = 4, 2
"""Pixels of a PNG per px: as it is drawn, and as it is kept, which smooths its edges."""
_SYSTEM_FONT = "DejaVuSansMono.ttf"
_ARMS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys("─━╌┈", "lr"),
        **dict.fromkeys("│┃", "ud"),
        **{"╸": "l", "┬": "lrd", "┤": "lud", "└": "ur"},
    }
)
"""From the middle of a cell to its left, right, upper and lower side."""
_ENDS: Mapping[str, Point] = MappingProxyType({"l": (-0.5, 0), "r": (0.5, 0), "u": (0, -0.5), "d": (0, 0.5)})
_HEAVY = "━╸┃"
_DASHED: Mapping[str, int] = MappingProxyType({"╌": 2, "┈": 4})
_SHADES: Mapping[str, float] = MappingProxyType({"░": 0.3, "▒": 0.5, "▓": 0.75, "█": 1.0})
_DISCS: Mapping[str, tuple[float, bool]] = MappingProxyType(
    {"●": (4.5, True), "○": (4.0, False), "∙": (2.0, True), "∘": (2.5, False)}
)
"""Radius, and whether it is filled."""


def _star() -> tuple[Point, ...]:
    corners = [(2.7 if place % 2 else 6.5, place * pi / 5) for place in range(10)]
    return tuple((radius * sin(turn), -radius * cos(turn)) for radius, turn in corners)


_OUTLINES: Mapping[str, tuple[Point, ...]] = MappingProxyType(
    {
        "◆◇": ((0, -6), (5.5, 0), (0, 6), (-5.5, 0)),
        "▲△": ((0, -5), (5.5, 4.5), (-5.5, 4.5)),
        "▼▽": ((0, 5), (5.5, -4.5), (-5.5, -4.5)),
        "■□": ((-4, -4), (4, -4), (4, 4), (-4, 4)),
        "★☆": _star(),
    }
)
"""The filled and the open mark of each shape, around the middle of a cell."""
_PHRASE = re.compile(r"\S+(?: \S+)*")


@dataclass(frozen=True, slots=True)
class Piece:
    """A polygon, or a disc around its only point."""

    points: tuple[Point, ...]
    colour: str
    is_filled: bool = True
    radius: float = 0.0
    opacity: float = 1.0


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words in a row of cells."""

    left: float
    middle: float
    width: float
    text: str
    colour: str
    is_bold: bool


def svg_picture(lines: Sequence[Text]) -> bytes:
    """The cells as a file of SVG that needs nothing from outside."""
    width, height = _size(lines)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        f'font-family="ui-monospace,Menlo,Consolas,DejaVu Sans Mono,monospace" font-size="{_LETTER_PX:g}">',
        f'<rect width="{width:g}" height="{height:g}" fill="{_BACKGROUND}"/>',
        *(_svg_piece(one) if isinstance(one, Piece) else _svg_phrase(one) for one in _shapes(lines)),
        "</svg>\n",
    ]
    return "\n".join(parts).encode()


def _svg_piece(shape: Piece) -> str:
    paint = f'fill="{shape.colour}"' if shape.is_filled else f'fill="{_BACKGROUND}" stroke="{shape.colour}"'
    paint += ' stroke-width="1.5"' if not shape.is_filled else ""
    paint += f' fill-opacity="{shape.opacity:g}"' if shape.opacity < 1 else ""
    if shape.radius:
        x, y = shape.points[0]
        return f'<circle cx="{x:g}" cy="{y:g}" r="{shape.radius:g}" {paint}/>'
    return f'<polygon points="{" ".join(f"{x:.4g},{y:.4g}" for x, y in shape.points)}" {paint}/>'


def _svg_phrase(phrase: Phrase) -> str:
    bold = ' font-weight="bold"' if phrase.is_bold else ""
    return (
        f'<text x="{phrase.left:g}" y="{phrase.middle + 0.35 * _LETTER_PX:g}" fill="{phrase.colour}"{bold} '
        f'textLength="{phrase.width:g}" lengthAdjust="spacingAndGlyphs" xml:space="preserve">'
        f"{escape(phrase.text)}</text>"
    )


def png_picture(lines: Sequence[Text]) -> bytes:
    """The cells as a PNG of 20 x 40 pixels each, with the fonts that are there."""
    from PIL import Image, ImageDraw

    size = tuple(round(side * _DRAWN) for side in _size(lines))
    image = Image.new("RGB", (size[0], size[1]), _BACKGROUND)
    draw = ImageDraw.Draw(image)
    fonts = _Fonts()
    for one in _shapes(lines):
        if isinstance(one, Piece):
            _draw_piece(draw, one)
        else:
            fonts.draw(draw, one)
    file = BytesIO()
    image.reduce(_DRAWN // _SHOWN).save(file, "PNG", optimize=True)
    return file.getvalue()


def _draw_piece(draw: ImageDraw, shape: Piece) -> None:
    share, channels = round(255 * (1 - shape.opacity)), Color.parse(shape.colour).get_truecolor()
    paint = tuple(channel + (255 - channel) * share // 255 for channel in channels)
    points = [(x * _DRAWN, y * _DRAWN) for x, y in shape.points]
    outline, fill = (None, paint) if shape.is_filled else (paint, _BACKGROUND)
    line_px = 0 if shape.is_filled else round(1.5 * _DRAWN)
    if shape.radius:
        draw.circle(points[0], shape.radius * _DRAWN, fill, outline, max(line_px, 1))
    else:
        draw.polygon(points, fill, outline, max(line_px, 1))


class _Fonts:
    """A monospaced font of the system, or the one that every Pillow brings, at the sizes that words need."""

    def __init__(self) -> None:
        self._kept: dict[int, FreeTypeFont] = {}
        self._name = _SYSTEM_FONT

    def draw(self, draw: ImageDraw, phrase: Phrase) -> None:
        """Words in the middle of their cells, smaller where they would be wider."""
        size = round(_LETTER_PX * _DRAWN)
        font = self._of(size)
        text = phrase.text if self._name else _plain_letters(phrase.text)
        if (length := font.getlength(text)) > phrase.width * _DRAWN:
            font = self._of(int(size * phrase.width * _DRAWN / length))
        place = ((phrase.left + phrase.width / 2) * _DRAWN, phrase.middle * _DRAWN)
        draw.text(place, text, phrase.colour, font, "mm", stroke_width=1 if phrase.is_bold else 0)

    def _of(self, size: int) -> FreeTypeFont:
        from PIL import ImageFont

        if size not in self._kept:
            try:
                font = ImageFont.truetype(self._name, size) if self._name else None
            except OSError:
                self._name, font = "", None
            self._kept[size] = font or ImageFont.load_default(size)  # type: ignore[assignment]
        return self._kept[size]


_WRITTEN_OUT = str.maketrans({"≥": ">=", "≤": "<=", "×": "x", "–": "-", "−": "-", "→": "->", "µ": "u"})


def _plain_letters(text: str) -> str:
    """Text in the few letters that Pillow's own font has.

    >>> _plain_letters("größe n ≥ 40 · λ")
    'grosse n >= 40 · ?'
    """
    parts = unicodedata.normalize("NFKD", text.translate(_WRITTEN_OUT).replace("ß", "ss"))
    kept = (letter for letter in parts if not unicodedata.combining(letter))
    return "".join(letter if letter.isascii() or letter in "·±°…" else "?" for letter in kept)


def _size(lines: Sequence[Text]) -> tuple[float, float]:
    columns = max((line.cell_len for line in lines), default=1)
    return columns * _WIDTH + 2 * _MARGIN, len(lines) * _HEIGHT + 2 * _MARGIN


def _shapes(lines: Sequence[Text]) -> Iterator[Piece | Phrase]:
    console = PlainConsole(color_system="truecolor", force_terminal=True)
    for row, line in enumerate(lines):
        left, middle, base = _MARGIN, _MARGIN + (row + 0.5) * _HEIGHT, console.get_style(line.style)
        for text, style, _ in line.render(console, end=""):
            style = base + style if style else base
            width = Text(text).cell_len * _WIDTH
            if style.bgcolor:
                box = _box(left, middle - _HEIGHT / 2, left + width, middle + _HEIGHT / 2)
                yield Piece(box, _hex(style.bgcolor, _BACKGROUND))
            yield from _shapes_of(text, left, middle, _hex(style.color, "#000000"), bool(style.bold))
            left += width


def _shapes_of(text: str, left: float, middle: float, colour: str, is_bold: bool) -> Iterator[Piece | Phrase]:
    words = []
    for place, character in enumerate(text):
        shapes = list(_drawn(character, left + (place + 0.5) * _WIDTH, middle, colour))
        yield from shapes
        words.append(" " if shapes or character == "⠀" else character)
    for found in _PHRASE.finditer("".join(words)):
        start, width = left + found.start() * _WIDTH, Text(found[0]).cell_len * _WIDTH
        yield Phrase(start, middle, width, found[0], colour, is_bold)


def _drawn(character: str, x: float, y: float, colour: str) -> Iterator[Piece]:
    """A character as shapes around the middle of its cell; none of one that is a letter."""
    if "⠀" < character <= "⣿":
        yield from (Piece((dot,), colour, radius=2.0) for dot in _dots(character, x, y))
    elif character in _ARMS:
        half = 1.5 if character in _HEAVY else 0.75
        for arm in _ARMS[character]:
            yield from _arm(x, y, _ENDS[arm], half, _DASHED.get(character, 0) // 2, colour)
    elif character in _SHADES:
        box = _box(x - _WIDTH / 2, y - _HEIGHT / 2, x + _WIDTH / 2, y + _HEIGHT / 2)
        yield Piece(box, colour, opacity=_SHADES[character])
    elif character in _DISCS:
        radius, is_filled = _DISCS[character]
        yield Piece(((x, y),), colour, is_filled, radius)
    else:
        for pair, outline in _OUTLINES.items():
            if character in pair:
                yield Piece(tuple((x + dx, y + dy) for dx, dy in outline), colour, character == pair[0])


def _dots(character: str, x: float, y: float) -> Iterator[Point]:
    """The dots of a character of braille, which is numbered down its columns but for the last row."""
    for bit, (column, row) in enumerate(((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3))):
        if ord(character) - 0x2800 >> bit & 1:
            yield x + (column - 0.5) * _WIDTH / 2, y + (row - 1.5) * _HEIGHT / 4


def _arm(x: float, y: float, end: Point, half: float, dashes: int, colour: str) -> Iterator[Piece]:
    dx, dy = end[0] * _WIDTH, end[1] * _HEIGHT
    for place in range(max(dashes, 1)):
        first, last = (place / dashes, (place + 0.6) / dashes) if dashes else (0.0, 1.0)
        x0, x1 = sorted((x + dx * first, x + dx * last))
        y0, y1 = sorted((y + dy * first, y + dy * last))
        wide, high = (0.0, half) if dx else (half, 0.0)
        yield Piece(_box(x0 - wide, y0 - high, x1 + wide, y1 + high), colour)


def _box(left: float, top: float, right: float, bottom: float) -> tuple[Point, ...]:
    return (left, top), (right, top), (right, bottom), (left, bottom)


def _hex(colour: Color | None, otherwise: str) -> str:
    return colour.get_truecolor().hex if colour and not colour.is_default else otherwise

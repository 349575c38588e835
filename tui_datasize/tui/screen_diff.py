"""What a terminal shows, so that only cells that change are written to it."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

from rich.cells import cell_len

_TOKENS = re.compile(
    r"\x1b\[(?P<look>[\d;:]+)m(?P<words>[^\x00-\x1f\x1b]+)\x1b\[0m"
    r"|\x1b\[(?P<row>\d+);(?P<column>\d+)H"
    r"|\x1b\[(?P<style>[\d;:]*)m"
    r"|(?P<aside>\x1b\[[<=>?][\d;]*\$?[a-z]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x07)"
    r"|(?P<text>[^\x00-\x1f\x1b]+)"
    r"|(?P<line>\r?\n)"
    r"|(?P<unknown>[\x00-\x1f])"
)
_LINK = "\x1b]8;"
_ALTERNATE_SCREEN = "\x1b[?1049"
_DRAWN_ON_BLANKS = frozenset(("4", "7", "9", "21", "53"))
"""Attributes that show where no character does: lines and reversed colours."""
_SHORTER_THAN_MOVING = 5
"""So many cells cost no more to write again than to pass over."""


class Pen(NamedTuple):
    """How a cell looks, as parameters of `ESC [ ... m`."""

    attributes: tuple[str, ...] = ()
    foreground: str = ""
    background: str = ""

    def sequence_from(self, before: Pen) -> str:
        """What makes this pen of the one before."""
        if self == before:
            return ""
        parts: list[str] = []
        if before.attributes not in ((), self.attributes):
            parts, before = ["0"], Pen()
        if before.attributes != self.attributes:
            parts += self.attributes
        if self.foreground != before.foreground:
            parts.append(self.foreground or "39")
        if self.background != before.background:
            parts.append(self.background or "49")
        return f"\x1b[{';'.join(parts)}m"

    def on_blanks(self) -> Pen:
        """The same where no character stands: colours of letters do not count there."""
        return self if _DRAWN_ON_BLANKS.intersection(self.attributes) else Pen((), "", self.background)


@lru_cache(4096)
def pen_of(style: str) -> Pen:
    """Read the parameters of a sequence that starts from a plain pen."""
    attributes: list[str] = []
    foreground = background = ""
    codes = style.split(";")
    while codes:
        code = codes.pop(0)
        if code in ("38", "48"):
            count = {"2": 4, "5": 2}.get(codes[0] if codes else "", 0)
            colour = ";".join([code, *codes[:count]])
            del codes[:count]
            foreground, background = (colour, background) if code == "38" else (foreground, colour)
        elif code in ("", "0"):
            attributes, foreground, background = [], "", ""
        elif re.fullmatch("3[0-79]|9[0-7]", code):
            foreground = "" if code == "39" else code
        elif re.fullmatch("4[0-79]|10[0-7]", code):
            background = "" if code == "49" else code
        else:
            attributes.append(code)
    return Pen(tuple(attributes), foreground, background)


_Cell = tuple[str, Pen]


class _Look(dict[str, _Cell]):
    """The cells of one pen by what stands in them; the second of a wide character has nothing."""

    def __init__(self, pen: Pen) -> None:
        super().__init__()
        self.pen, self.blank = pen, pen.on_blanks()

    def __missing__(self, character: str) -> _Cell:
        cell = self[character] = (character, self.blank if character == " " else self.pen)
        return cell

    def cells(self, text: str) -> list[_Cell]:
        """A cell for each column."""
        if not _NARROW.issuperset(text):
            _NARROW.update(character for character in text if cell_len(character) == 1)
            if not _NARROW.issuperset(text):
                widths = ((cluster, cell_len(cluster)) for cluster in _clusters(text))
                return [self[part] for one, width in widths for part in (one, *[""] * (width - 1))]
        return [*map(self.__getitem__, text)]


_NARROW: set[str] = set()
"""Characters of one column that have been met."""


@lru_cache(4096)
def _look_of(style: str) -> _Look:
    return _Look(pen_of(style))


class ScreenDiff:
    """What a terminal shows, and the fewest bytes from there to what it shall show.

    Understood are positions, colours and printable text, one `ESC [ ... m` before and one after each
    piece of it, as Textual writes them; modes and notices pass. After anything else nothing is taken for
    known.
    """

    def __init__(self) -> None:
        self._rows: dict[int, list[_Cell | None]] = {}
        self._pen = Pen()
        self._at: tuple[int, int] | None = None

    def forget(self) -> None:
        """Take nothing for known: the terminal has changed its size, or shows what others wrote."""
        self._rows.clear()
        self._at = None
        self._pen = Pen()

    def shorten(self, data: str) -> str:
        """What has the effect of `data` on the terminal, without what it shows already."""
        if _LINK in data or _ALTERNATE_SCREEN in data:
            self.forget()
            return data
        pieces: list[str] = []
        row = column = 1
        style = ""
        for token in _TOKENS.finditer(data):
            match token.lastgroup:
                case "column":
                    row, column = int(token["row"]), int(token["column"])
                case "style":
                    style = f"{style};{token['style']}" if token["style"] not in ("", "0") else ""
                case "words":
                    own = f"{style};{token['look']}" if style else token["look"]
                    column, style = self._put(row, column, token["words"], _look_of(own), pieces), ""
                case "text":
                    column = self._put(row, column, token["text"], _look_of(style), pieces)
                case "aside":
                    pieces.append(token["aside"])
                case "unknown":
                    self.forget()
                    return f"\x1b[0m{data}"
        if self._at != (row, column) and "H" in data:
            # Where an input method opens its window.
            pieces.append(f"\x1b[{row};{column}H")
            self._at = (row, column)
        pieces.append(Pen().sequence_from(self._pen) and "\x1b[0m")
        self._pen = Pen()
        return "".join(pieces)

    def _put(self, row: int, column: int, text: str, look: _Look, pieces: list[str]) -> int:
        """Note what stands from `column` on, write what differs, and return the column after it."""
        known, new = self._rows.setdefault(row, []), look.cells(text)
        end = column + len(new)
        known.extend([None] * (end - len(known)))
        old = known[column:end]
        if old != new:
            known[column:end] = new
            places = groupby(range(len(new)), lambda place: new[place] == old[place])
            for part in (list(places) for is_known, places in places if not is_known):
                written = "".join(new[place][0] for place in part)
                rest = written.lstrip(" ")
                at, lead = column + part[0], len(written) - len(rest)
                self._write(row, at, written[:lead], look.blank, pieces)
                self._write(row, at + lead, rest, look.pen, pieces)
        return end

    def _write(self, row: int, column: int, text: str, pen: Pen, pieces: list[str]) -> None:
        if not text:
            return
        self._move(row, column, pieces)
        if text.isspace() and not _DRAWN_ON_BLANKS.intersection(self._pen.attributes):
            pen = self._pen._replace(background=pen.background) if not pen.attributes else pen
        pieces.append(pen.sequence_from(self._pen) + text)
        self._pen, self._at = pen, (row, column + cell_len(text))

    def _move(self, row: int, column: int, pieces: list[str]) -> None:
        if self._at == (row, column):
            return
        if self._at is not None and self._at[0] == row and 0 < column - self._at[1] < _SHORTER_THAN_MOVING:
            between = self._rows[row][self._at[1] : column]
            if all(cell and cell[0] and self._looks_right(cell) for cell in between):
                pieces.extend(cell[0] for cell in between if cell)
                return
        pieces.append(f"\x1b[{row};{column}H")

    def _looks_right(self, cell: _Cell) -> bool:
        """Whether the pen as it is would draw `cell`."""
        character, pen = cell
        return self._pen.on_blanks() == pen if character == " " else self._pen == pen


def _clusters(text: str) -> list[str]:
    """Characters, each with what combines with it."""
    clusters: list[str] = []
    for character in text:
        if clusters and cell_len(character) == 0:
            clusters[-1] += character
        else:
            clusters.append(character)
    return clusters

"""Files of rows with commas, semicolons, tabs, pipes or spaces between, whole or cut off."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from tui_datasize.experiments.toml import text_of
from tui_datasize.runlog.importing.layout import FIELDS
from tui_datasize.runlog.importing.meanings import plain
from tui_datasize.runlog.importing.names import UnclearNameError, all_unclear
from tui_datasize.runlog.importing.staged import Staged, reads_as_number
from tui_datasize.text import listed, plural

MOST_ROWS = 1_000_000
MOST_COLUMNS = 10_000

TakeRow: TypeAlias = Callable[[list[str], int], None]
"""Takes the cells of a row and its line."""

_COMMENT = "#"
_BETWEEN = ",;\t|"
_LOOKED_AT = 50
"""Lines in which one with something between its cells is looked for."""
_RULE = re.compile(r"\s*\|?(\s*:?-+:?\s*\|)*\s*:?-+:?\s*\|?\s*")
"""Below the names of a table in Markdown."""
_SUMMARIES = frozenset(
    (
        *("mean", "average", "avg", "median", "std", "sd", "stdev", "std dev", "sem", "min", "max"),
        *("total", "sum", "overall", "mean ± std", "mean ± sd", "mean (sd)", "mean (std)"),
    )
)
"""What a row begins with that sums up the rows above it."""
_WHOSE = frozenset(name for field in ("size", "seed", "draw", "run") for name in FIELDS[field])
_WITH_COMMA = re.compile(r"-?(\d+|\d{1,3}(\.\d{3})+),\d+\s*%?")
_WITH_POINT = re.compile(r"-?(\d*\.\d+|\d+(,\d{3})*\.\d+)\s*%?")
_GROUPED = re.compile(r"-?\d{1,3}([.,]\d{3})+")
"""A number of thousands, with points or commas between them, that may also be one with three decimals."""
_SEPARATOR = re.compile(r'"?sep=([^\r\n"])"?[,;\t ]*', re.IGNORECASE)
"""What Excel writes, and looks for, in the first line."""


class _Lines:
    """The lines of a text, with their numbers in the file.

    Lines that a person tells to skip, and such with zeros in them, are passed over and kept in mind.
    """

    def __init__(self, text: str, skipped: Collection[int] = ()) -> None:
        self.text = text
        self._lines = io.StringIO(text, newline="")
        self._waiting: list[str] = []
        self._skipped = skipped
        self.is_framed = False
        """Whether each line has pipes around it, as in Markdown; they, and rules, are passed over."""
        self.number = 0
        """Of the line that was given last."""
        self.with_zeros: list[int] = []

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if self._waiting:
            self.number += 1
            return self._waiting.pop()
        for line in self._lines:
            self.number += 1
            if self.number in self._skipped:
                continue
            if "\0" in line:
                self.with_zeros.append(self.number)
            elif not self.is_framed:
                return line
            elif not _RULE.fullmatch(line):
                return _unframed(line)
        raise StopIteration

    def give_back(self, line: str) -> None:
        self._waiting.append(line)
        self.number -= 1

    def ahead(self) -> list[str]:
        """The next lines, which are given again."""
        found = [line for line, _ in zip(self, range(_LOOKED_AT), strict=False)]
        for line in reversed(found):
            self.give_back(line)
        return found

    def comment(self) -> int:
        """Take the next line if it is a comment; its number, or 0."""
        line = next(self, None)
        if line is None or not line.lstrip().startswith(_COMMENT):
            if line is not None:
                self.give_back(line)
            return 0
        return self.number


def _unframed(line: str) -> str:
    return line.strip().removeprefix("|").removesuffix("|") + "\n"


def header_of(head: str) -> list[str]:
    """The column names that a text begins with; none where there are none."""
    try:
        return _header(_Lines(head), Staged(Path(), ""))[0]
    except (ValueError, csv.Error):
        return []


def read_delimited(
    data: bytes, into: Staged, begin: Callable[[list[str]], TakeRow], skipped: Collection[int] = ()
) -> None:
    """Read all rows by what `begin` makes of the column names, but for lines that are skipped.

    Blank lines, comments and Excel's `sep=;` may stand before the column names. A last row that was cut off
    is left out, and one without a line end is read; both are told.
    """
    text, is_cut = _text(data, into)
    lines = _Lines(text, skipped)
    way_past = ""
    try:
        header, reader = _header(lines, into)
        at_header = lines.number
        way_past = f"if the column names are below, --skip-line {max(1, at_header)}"
        take = begin(header)
        way_past = "--skip-line {} leaves the line out"
        last = sum(1 for _ in io.StringIO(text, newline="")) if is_cut else 0
        _Rows(lines, reader, header, into, last).take_all(take)
    except UnclearNameError as error:
        raise into.error(error.what, error.place or max(1, lines.number), error.fix) from None
    except (ValueError, csv.Error) as error:
        raise into.error(str(error), max(1, lines.number), way_past.format(lines.number)) from None
    if left := [line for line in sorted(skipped) if line <= lines.number]:
        into.notes.append(f"{_places(left)} left out: --skip-line")


class _Rows:
    def __init__(
        self, lines: _Lines, reader: Iterator[list[str]], header: list[str], into: Staged, last: int
    ) -> None:
        self._lines, self._reader, self._header, self._into = lines, reader, header, into
        self._last = last
        """The line of a last row without a line end, or 0."""
        self._comments: list[int] = []
        self._headers: list[int] = []
        self._summaries: list[int] = []
        self._unclear: dict[str, UnclearNameError] = {}

    def take_all(self, take: TakeRow) -> None:
        """Take every row."""
        number = 0
        while True:
            while comment := self._lines.comment():
                self._comments.append(comment)
            line = self._lines.number + 1
            try:
                row = self._next(line)
                if row is None:
                    break
                if row and number == MOST_ROWS:
                    raise ValueError(f"more than {MOST_ROWS:,} rows")
                if row:
                    self._take(row, line, take)
                    number += 1
            except (ValueError, csv.Error) as error:
                # A field that goes over lines is no row cut off, but a quote that is never closed.
                if not self._last or line != self._last:
                    raise
                why = error.what if isinstance(error, UnclearNameError) else error
                self._into.torn(f"line {line}, the last, has no line end and was cut off ({why})")
                break
            if self._last and self._lines.number == self._last:
                what = f"line {self._last}, the last, has no line end"
                self._into.torn(what, "read, though its last value may be cut off")
        self._tell()
        if not number:
            but = f" but {plural(len(self._comments), 'comment')} ({_COMMENT})" if self._comments else ""
            what = f"there are no rows below the column names{but}"
            raise self._into.error(what, max(1, self._lines.number))

    def _next(self, line: int) -> list[str] | None:
        row = next(self._reader, None)
        if row is None:
            return None
        cells, width = [cell.strip() for cell in row], len(self._header)
        if len(row) < 2 and not any(cells):
            return []
        if len(row) < width or any(cells[width:]):
            raise ValueError(f"{len(row)} cells, expected {width}")
        if cells[:width] == self._header:
            self._headers.append(line)
            return []
        return row[:width] if any(cells) else []

    def _take(self, row: list[str], line: int, take: TakeRow) -> None:
        words = {name: text.strip().lower() for name, text in zip(self._header, row, strict=True)}
        if any(words[name] in _SUMMARIES for name in words if plain(name) in _WHOSE):
            self._summaries.append(line)
            return
        try:
            take(row, line)
        except UnclearNameError as error:
            if line == self._last:
                raise
            error.place = line
            self._unclear.setdefault(error.what, error)
        except ValueError:
            if next(filter(None, words.values()), "") not in _SUMMARIES:
                raise
            self._summaries.append(line)

    def _tell(self) -> None:
        if self._unclear:
            raise all_unclear(list(self._unclear.values()))
        into = self._into
        if self._comments:
            into.notes.append(f"{_places(self._comments)} left out: {_COMMENT} begins a comment")
        if self._headers:
            into.notes.append(f"{_places(self._headers)} left out: the column names once more")
        if self._summaries:
            into.notes.append(f"{_places(self._summaries)} left out: it sums up others")
        if zeros := self._lines.with_zeros:
            into.torn(f"zero bytes in {_places(zeros)}")


def _places(lines: Sequence[int]) -> str:
    if len(lines) == 1:
        return f"line {lines[0]}"
    shown = [str(line) for line in lines[:3]]
    more = len(lines) - len(shown)
    return f"lines {listed([*shown, f'{more:,} more'] if more else shown)}"


def _text(data: bytes, into: Staged) -> tuple[str, bool]:
    """The text, and whether it ends without a line end."""
    whole = data.rstrip(b"\0") if not data.startswith((b"\xff\xfe", b"\xfe\xff")) else data
    n_zeros = len(data) - len(whole)
    try:
        text = text_of(whole)
    except UnicodeDecodeError as error:
        if error.end < len(whole) or not error.reason.endswith(("end of data", "truncated data")):
            text = _of_latin_1(whole, into)
        else:
            into.torn("ends within a character")
            text = text_of(whole[: error.start])
    is_cut = bool(text) and not text.endswith(("\n", "\r"))
    if n_zeros:
        # Where the disk has the length of a row and not its end, its last number may have lost digits.
        behind = ", after a row without a line end" if is_cut else ""
        into.torn(f"ends in {plural(n_zeros, 'byte')} of zeros{behind}")
        return "".join(text.splitlines(keepends=True)[:-1]) if is_cut else text, False
    return text, is_cut


def _of_latin_1(data: bytes, into: Staged) -> str:
    """Raises ConfigError: it is no text of Western Europe either."""
    text = data.decode("latin-1")
    if not all(character.isprintable() or character in "\r\n\t\xa0\xad" for character in text):
        raise into.error("not UTF-8 text", fix="save it as UTF-8")
    into.torn("not UTF-8 text", "read as Latin-1")
    return text


def _header(lines: _Lines, into: Staged) -> tuple[list[str], Iterator[list[str]]]:
    delimiter = comment = ""
    titles: list[int] = []
    for line in lines:
        if lines.number == 1 and (told := _SEPARATOR.fullmatch(line.rstrip("\r\n"))):
            delimiter = told[1]
        elif line.lstrip().startswith(_COMMENT):
            comment = line
        elif _is_title(line, lines):
            titles.append(lines.number)
        elif line.strip(' ,;\t\r\n"'):
            break
    else:
        raise ValueError("it has no line of column names")
    lines.is_framed = line.strip().startswith("|") and line.strip().endswith("|")
    line = _unframed(line) if lines.is_framed else line
    lines.give_back(line)
    delimiter = delimiter or max(_BETWEEN, key=line.count)
    if not line.count(delimiter) and len(line.split()) > 1:
        delimiter = " "
    names = _names_in_comment(comment, line, delimiter)
    reader: Iterator[list[str]]
    reader = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=delimiter == " ")
    names = [name.strip() for name in names or next(reader)]
    if len(names) > MOST_COLUMNS:
        raise ValueError(f"more than {MOST_COLUMNS:,} columns")
    if titles:
        into.notes.append(f"{_places(titles)} left out: a title above the column names")
    if delimiter != "," and (shown := _decimal_comma(lines.text, delimiter)):
        into.notes.append(f"numbers have decimal commas: {shown} is {_with_point(shown)}")
        sizes = {place for place, name in enumerate(names) if plain(name) in FIELDS["size"]}
        reader = ([_with_point(c.strip(), i in sizes) for i, c in enumerate(row)] for row in reader)
    return names, reader


def _is_title(line: str, lines: _Lines) -> bool:
    """Whether a line has one cell, and the next that has several holds names."""
    if not line.strip() or any(character in line for character in _BETWEEN):
        return False
    below = next((one for one in lines.ahead() if any(character in one for character in _BETWEEN)), "")
    cells = below.split(max(_BETWEEN, key=below.count))
    return bool(below) and not any(map(reads_as_number, cells))


def _decimal_comma(text: str, delimiter: str) -> str:
    """A number that has one and can be nothing else, where none has a decimal point; else empty."""
    cells = {cell.strip(' "') for cell in re.split(f"[{re.escape(delimiter)}\r\n]", text)}
    told = {cell for cell in cells if not _is_grouped(cell)}
    is_mixed = any(map(_WITH_POINT.fullmatch, told))
    return min((cell for cell in told if _WITH_COMMA.fullmatch(cell) and not is_mixed), default="")


def _is_grouped(cell: str) -> bool:
    return bool(_GROUPED.fullmatch(cell)) and not cell.lstrip("-").startswith("0")


def _with_point(cell: str, is_size: bool = False) -> str:
    """A number as Python writes it; a whole one of thousands where a column of sizes has it.

    >>> [_with_point(cell) for cell in ("0,8", "1.234,5 %", "1.000", "n,m")], _with_point("1.000", True)
    (['0.8', '1234.5 %', '1.000', 'n,m'], '1000')
    """
    if _WITH_COMMA.fullmatch(cell) or (is_size and _GROUPED.fullmatch(cell)):
        return cell.replace(".", "").replace(",", ".")
    return cell


def _names_in_comment(comment: str, line: str, delimiter: str) -> list[str]:
    first = next(csv.reader([line], delimiter=delimiter), [])
    names = next(csv.reader([comment.lstrip().lstrip(_COMMENT)], delimiter=delimiter), [])
    is_header = (
        1 < len(names) == len(first)
        and any(map(reads_as_number, first))
        and not any(map(reads_as_number, names))
    )
    return names if is_header else []

"""Files of rows with commas, semicolons, tabs, pipes or spaces between, whole or cut off."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol, TextIO, TypeAlias

from tui_datasize.runlog.importing.layout import FIELDS
from tui_datasize.runlog.importing.lines import Lines, is_rule, unframed
from tui_datasize.runlog.importing.meanings import plain
from tui_datasize.runlog.importing.names import UnclearNameError, all_unclear
from tui_datasize.runlog.importing.staged import Staged, reads_as_number
from tui_datasize.text import listed, plural

MOST_ROWS = 4_000_000
MOST_COLUMNS = 10_000

TakeRow: TypeAlias = Callable[[list[str], int], None]
"""Takes the cells of a row and its line."""
_ReaderOf: TypeAlias = Callable[[Iterable[str]], Iterator[list[str]]]
"""Makes rows of lines."""

_COMMENT = "#"
_BETWEEN = ",;\t|"
_BLANKS = ' ,;\t\r\n"'
"""What a line without any cell has."""
_SUMMARIES = frozenset(
    (
        *("mean", "average", "avg", "median", "std", "sd", "stdev", "std dev", "sem", "min", "max"),
        *("total", "sum", "overall", "mean ± std", "mean ± sd", "mean (sd)", "mean (std)"),
    )
)
"""What a row begins with that sums up the rows above it."""
_WHOSE = frozenset(name for field in ("size", "seed", "draw", "run") for name in FIELDS[field])
_DECIMALS = (r"-?(?:\d+|\d{1,3}(?:\.\d{3})+),\d+", r"-?(?:\d*\.\d+|\d+(?:,\d{3})*\.\d+)")
"""Numbers with a comma and with a point before their decimals."""
_CELL_WITH_COMMA = re.compile(
    rf"\$?{_DECIMALS[0]}\s*\\?%?\s*((±|\+/?-|\\pm|\()\s*(\d+|{_DECIMALS[0]})\s*\\?%?\s*\)?)?\$?"
)
_PLAIN_COMMA = re.compile(r"-?\d+,\d+")
_GROUPED = re.compile(r"-?\d{1,3}([.,]\d{3})+")
"""A number of thousands, with points or commas between them, that may also be one with three decimals."""
_NUMERIC = re.compile(r"-?\.?\d")
_ANOTHER_TABLE = "if another table begins there, save each in a file of its own"
_SEPARATOR = re.compile(r'"?sep=([^\r\n"])"?[,;\t ]*', re.IGNORECASE)
"""What Excel writes, and looks for, in the first line."""


def header_of(head: str) -> list[str]:
    """The column names that a text begins with; none where there are none."""
    try:
        return _header(Lines(io.StringIO(head, newline="")), Staged(Path(), ""), None)[0]
    except (ValueError, csv.Error):
        return []


class TableText(Protocol):
    """A text that can be read more than once."""

    def open(self) -> TextIO: ...

    def pieces(self) -> Iterator[str]: ...


def read_delimited(
    file: TableText, into: Staged, begin: Callable[[list[str]], TakeRow], skipped: Collection[int] = ()
) -> None:
    """Read all rows by what `begin` makes of the column names, but for lines that are skipped.

    Blank lines, comments and Excel's `sep=;` may stand before the column names. A last row that was cut off
    is left out, and one without a line end is read; both are told.
    """
    with file.open() as text:
        lines = Lines(text, skipped)
        way_past = ""
        try:
            header, reader_of = _header(lines, into, file)
            way_past = f"if the column names are below, --skip-line {max(1, lines.number)}"
            take = begin(header)
            way_past = "--skip-line {} leaves the line out"
            _Rows(lines, reader_of, header, into).take_all(take)
        except UnclearNameError as error:
            raise into.error(error.what, error.place or max(1, lines.number), fix=error.fix) from None
        except (ValueError, csv.Error) as error:
            way_past = way_past.format(lines.number)
            raise into.error(str(error), max(1, lines.number), fix=way_past) from None
    if left := [line for line in sorted(skipped) if line <= lines.number]:
        into.notes.append(f"{_places(left, into.place)} left out: --skip-line")


class _Rows:
    def __init__(self, lines: Lines, reader_of: _ReaderOf, header: list[str], into: Staged) -> None:
        self._lines, self._header, self._into = lines, header, into
        self._reader_of, self._reader = reader_of, reader_of(lines)
        self._whose = [place for place, name in enumerate(header) if plain(name) in _WHOSE]
        self._comments: list[int] = []
        self._headers: list[int] = []
        self._summaries: list[int] = []
        self._remarks: list[int] = []
        self._unclear: dict[str, UnclearNameError] = {}

    def take_all(self, take: TakeRow) -> None:
        """Take every row."""
        number = 0
        while True:
            for row in self._reader_of(self._lines.simple()):
                number += self._take_one(row, self._lines.number, number, take)
            while comment := self._lines.comment():
                self._comments.append(comment)
            line = self._lines.number + 1
            try:
                number += self._take_one(next(self._reader), line, number, take)
            except StopIteration:
                break
            except (ValueError, csv.Error) as error:
                # A field that goes over lines is no row cut off, but a quote that is never closed.
                if line != self._lines.without_end:
                    raise
                why = error.what if isinstance(error, UnclearNameError) else error
                self._into.torn(f"line {line}, the last, has no line end and was cut off ({why})")
                break
            if self._lines.number == self._lines.without_end:
                what = f"{self._into.place} {self._lines.number}, the last, has no line end"
                self._into.torn(what, "read, though its last value may be cut off")
        self._tell()
        if not number:
            but = f" but {plural(len(self._comments), 'comment')} ({_COMMENT})" if self._comments else ""
            what = f"there are no rows below the column names{but}"
            fix = "give a file with rows, without # before them"
            raise self._into.error(what, max(1, self._lines.number), fix=fix)

    def _take_one(self, row: list[str], line: int, number: int, take: TakeRow) -> bool:
        """Take a row behind `number` others, and say whether it is one."""
        cells, width = [cell.strip() for cell in row], len(self._header)
        if len(cells) != width and not (cells := self._of_width(cells, line)):
            return False
        if cells == self._header:
            self._headers.append(line)
            return False
        if not any(cells):
            return False
        if number == MOST_ROWS:
            raise ValueError(f"more than {MOST_ROWS:,} rows")
        self._take(cells, line, take)
        return True

    def _of_width(self, cells: list[str], line: int) -> list[str]:
        """A row of other than the usual cells less blank ones at its end; none where it is no row."""
        width = len(self._header)
        if len(cells) < 2 and not any(cells):
            return []
        if len(cells) < width and is_remark(cells) and line != self._lines.without_end:
            self._remarks.append(line)
            return []
        if len(cells) < width or any(cells[width:]):
            another = f"; {_ANOTHER_TABLE}" if len(cells) == 1 else ""
            raise ValueError(f"{plural(len(cells), 'cell')}, expected {width}{another}")
        return cells[:width]

    def _take(self, row: list[str], line: int, take: TakeRow) -> None:
        if self._remarks:
            # Below all rows they are a footnote.
            fix = f"{_ANOTHER_TABLE}; else --skip-line {self._remarks[0]}"
            raise self._into.error("holds words alone, and rows follow", self._remarks[0], fix=fix)
        for place in self._whose:
            if row[place].lower() in _SUMMARIES:
                self._summaries.append(line)
                return
        try:
            take(row, line)
        except UnclearNameError as error:
            if line == self._lines.without_end:
                raise
            error.place = line
            self._unclear.setdefault(error.what, error)
        except ValueError:
            if next(filter(None, row), "").lower() in _SUMMARIES:
                self._summaries.append(line)
            elif is_remark(row) and line != self._lines.without_end:
                self._remarks.append(line)
            else:
                raise

    def _tell(self) -> None:
        if self._unclear:
            raise all_unclear(list(self._unclear.values()))
        into = self._into
        if self._comments:
            into.notes.append(f"{_places(self._comments, into.place)} left out: {_COMMENT} begins a comment")
        if self._headers:
            into.notes.append(f"{_places(self._headers, into.place)} left out: the column names once more")
        if self._summaries:
            into.notes.append(f"{_places(self._summaries, into.place)} left out: it sums up others")
        if self._remarks:
            into.notes.append(
                f"{_places(self._remarks, into.place)} left out: words in one cell, and no values"
            )
        if zeros := self._lines.with_zeros:
            into.torn(f"zero bytes in {_places(zeros, into.place)}")
        if self._lines.zeros_at_end:
            behind = ", after a row without a line end" if self._lines.is_cut_by_zeros else ""
            into.torn(f"ends in {plural(self._lines.zeros_at_end, 'byte')} of zeros{behind}")


def _places(lines: Sequence[int], what: str = "line") -> str:
    if len(lines) == 1:
        return f"{what} {lines[0]}"
    shown = [str(line) for line in lines[:3]]
    more = len(lines) - len(shown)
    return f"{what}s {listed([*shown, f'{more:,} more'] if more else shown)}"


def is_remark(cells: Sequence[str]) -> bool:
    """Whether a row is a footnote, a source or the title of a section: several words in its first cell alone.

    >>> is_remark(["* p < 0.05"]), is_remark(["Source: our lab", "", ""]), is_remark(["n500_s1"])
    (True, True, False)
    """
    first, *others = cells
    return " " in first and not any(others) and not re.fullmatch(r"[\d.,\s]*", first)


def _header(lines: Lines, into: Staged, file: TableText | None) -> tuple[list[str], _ReaderOf]:
    delimiter = comment = ""
    titles: list[int] = []
    for line in lines:
        if lines.number == 1 and (told := _SEPARATOR.fullmatch(line.rstrip("\r\n"))):
            delimiter = told[1]
        elif line.lstrip().startswith(_COMMENT):
            comment = line
        elif _is_title(line, lines):
            titles.append(lines.number)
        elif line.strip(_BLANKS):
            break
    else:
        raise ValueError("it has no line of column names")
    below = next(iter(lines.ahead()), "")
    lines.is_framed = is_rule(below) or (line.strip().startswith("|") and line.strip().endswith("|"))
    lines.give_back(line)
    line = unframed(line) if lines.is_framed else line
    delimiter = delimiter or max(_BETWEEN, key=line.count)
    if not line.count(delimiter) and len(line.split()) > 1:
        delimiter = " "
    reader_of = partial(csv.reader, delimiter=delimiter, strict=True, skipinitialspace=delimiter == " ")
    names = _names_in_comment(comment, line, delimiter) or next(reader_of(lines))
    cells = next(reader_of([below], strict=False), [])
    is_of_r = line.startswith('"') and below.startswith('"') and len(cells) == len(names) + 1
    # R names no column of row names, and quotes them.
    names = [*([""] if is_of_r else []), *(name.strip() for name in names)]
    if len(names) > MOST_COLUMNS:
        raise ValueError(f"more than {MOST_COLUMNS:,} columns")
    if titles:
        into.notes.append(f"{_places(titles, into.place)} left out: a title above the column names")
    if file and delimiter != "," and (shown := _decimal_comma(file.pieces(), delimiter)):
        into.notes.append(f"numbers have decimal commas: {shown} is {_with_point(shown)}")
        sizes = [place for place, name in enumerate(names) if plain(name) in FIELDS["size"]]
        return names, lambda lines: (_row_with_points(row, sizes) for row in reader_of(lines))
    return names, reader_of


def _is_title(line: str, lines: Lines) -> bool:
    """Whether a line has fewer cells than the next that has several, which holds names."""
    if not line.strip():
        return False
    tables = (one for one in lines.ahead() if any(mark in one.strip(_BLANKS) for mark in _BETWEEN))
    below = next(tables, "")
    between = max(_BETWEEN, key=below.count)
    names, cells = (
        [cell for text in next(csv.reader([one.strip()], delimiter=between), []) if (cell := text.strip())]
        for one in (below, line)
    )
    return bool(below) and len(cells) < len(names) and not any(map(_NUMERIC.match, (*names, *cells)))


def _decimal_comma(pieces: Iterable[str], delimiter: str) -> str:
    """A number that has one and can be nothing else, where none has a decimal point; else empty."""
    start, end = rf"(?<![^{re.escape(delimiter)}\r\n\"$(± ])", rf"(?![^{re.escape(delimiter)}\r\n\")$± %\\])"
    with_comma, with_point = (re.compile(f"{start}(?:{form}){end}", re.ASCII) for form in _DECIMALS)
    shown = ""
    for piece in pieces:
        for found in with_point.finditer(piece):
            if not _is_grouped(found[0]):
                return ""
        if not shown:
            commas = (found[0] for found in with_comma.finditer(piece))
            shown = next((cell for cell in commas if not _is_grouped(cell)), "")
    return shown


def _is_grouped(cell: str) -> bool:
    return bool(_GROUPED.fullmatch(cell)) and not cell.lstrip("-").startswith("0")


def _row_with_points(row: list[str], sizes: Sequence[int]) -> list[str]:
    for place in sizes:
        row[place : place + 1] = [_with_point(cell.strip(), True) for cell in row[place : place + 1]]
    return [
        (cell.replace(",", ".") if _PLAIN_COMMA.fullmatch(cell) else _with_point(cell.strip()))
        if "," in cell
        else cell
        for cell in row
    ]


def _with_point(cell: str, is_size: bool = False) -> str:
    """A number, or a mean and its spread, as Python writes it; of sizes a whole one of thousands too.

    >>> [_with_point(cell) for cell in ("0,8", "1.234,5 %", "1.000", "n,m")], _with_point("1.000", True)
    (['0.8', '1234.5 %', '1.000', 'n,m'], '1000')
    >>> _with_point("71,2 ± 0,4"), _with_point("71,2 (0,4)")
    ('71.2 ± 0.4', '71.2 (0.4)')
    """
    if is_size and _GROUPED.fullmatch(cell):
        return cell.replace(".", "").replace(",", ".")
    if _PLAIN_COMMA.fullmatch(cell):
        return cell.replace(",", ".")
    if _CELL_WITH_COMMA.fullmatch(cell):
        return re.sub(_DECIMALS[0], lambda found: found[0].replace(".", "").replace(",", "."), cell)
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

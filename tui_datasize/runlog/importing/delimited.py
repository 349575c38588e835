"""Files of rows with commas, semicolons or tabs between, whole or cut off."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TypeAlias

from tui_datasize.experiments.toml_file import text_of
from tui_datasize.runlog.importing.staged import Staged
from tui_datasize.words import plural

MOST_ROWS = 1_000_000
MOST_COLUMNS = 10_000

TakeRow: TypeAlias = Callable[[list[str], int], None]
"""Takes the cells of a row and its line."""


def header_of(head: str) -> list[str]:
    """The column names in the first line of a text; none where there is no line."""
    first = next(iter(io.StringIO(head, newline="")), "")
    try:
        cells: list[str] = next(csv.reader([first], delimiter=_delimiter(first), strict=True), [])
    except csv.Error:
        return []
    return [cell.strip() for cell in cells]


def read_delimited(data: bytes, into: Staged, begin: Callable[[list[str]], TakeRow]) -> None:
    """Read all rows.

    A last row that was cut off is left out, and one without a line end is read; both are told.

    Args:
        data: Content of the file.
        into: Its notes.
        begin: Makes of the column names what takes the rows.

    Raises:
        ConfigError: A line is broken; it is named.
    """
    text, is_cut = _text(data, into)
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter=_delimiter(text.partition("\n")[0]), strict=True)
    try:
        header = _header(next(reader, []))
        last = sum(1 for _ in io.StringIO(text, newline="")) if is_cut else 0
        if not _take_all(reader, into, len(header), begin(header), last):
            raise ValueError("no row stands below the column names")
    except (ValueError, csv.Error) as error:
        raise into.error(str(error), max(1, reader.line_num)) from None


def _take_all(reader: Iterator[list[str]], into: Staged, width: int, take: TakeRow, last: int) -> bool:
    """Take every row; `last` is the line of one without a line end, or 0."""
    number = 0
    while True:
        before: int = reader.line_num  # type: ignore[attr-defined]
        try:
            row = next(reader, None)
            if row is None:
                return number > 0
            number += _take_one(row, number, width, take, before + 1)
        except (ValueError, csv.Error) as error:
            # A field that goes over lines is no row cut off, but a quote that is never closed.
            if not last or before + 1 != last:
                raise
            into.torn(f"line {last}, the last, has no line end and was cut off ({error}): left out")
            return number > 0
        if last and reader.line_num == last:  # type: ignore[attr-defined]
            into.torn(f"line {last}, the last, has no line end: read, though its last value may be cut off")


def _take_one(row: list[str], number: int, width: int, take: TakeRow, line: int) -> bool:
    if not row or not any(cell.strip() for cell in row):
        if row and len(row) != width:
            raise ValueError(f"{len(row)} cells, expected {width}")
        return False
    if number >= MOST_ROWS:
        raise ValueError(f"more than {MOST_ROWS:,} rows")
    if len(row) != width:
        raise ValueError(f"{len(row)} cells, expected {width}")
    take(row, line)
    return True


def _text(data: bytes, into: Staged) -> tuple[str, bool]:
    """The text, and whether it ends without a line end."""
    try:
        whole = data.rstrip(b"\0") if not data.startswith((b"\xff\xfe", b"\xfe\xff")) else data
        if len(whole) < len(data):
            into.torn(f"ends in {plural(len(data) - len(whole), 'byte')} of zeros: left out")
        text = text_of(whole)
    except UnicodeDecodeError as error:
        if error.end < len(whole) or not error.reason.endswith(("end of data", "truncated data")):
            raise into.error("not UTF-8 text", fix="save it as UTF-8") from None
        try:
            into.torn("ends within a character: left out")
        except ValueError as strict:
            raise into.error(str(strict)) from None
        text = text_of(whole[: error.start])
    except ValueError as error:
        raise into.error(str(error)) from None
    return text, bool(text) and not text.endswith(("\n", "\r"))


def _header(columns: list[str]) -> list[str]:
    names = [column.strip() for column in columns]
    if not any(names):
        raise ValueError("the first line is empty; expected a line of column names")
    if len(names) > MOST_COLUMNS:
        raise ValueError(f"more than {MOST_COLUMNS:,} columns")
    name, count = Counter(filter(None, names)).most_common(1)[0]
    if count > 1:
        raise ValueError(f"the column {name!r} stands there {count} times")
    return names


def _delimiter(line: str) -> str:
    return max(",;\t", key=line.count)

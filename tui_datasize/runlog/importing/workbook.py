"""Workbooks of Excel (`.xlsx`): the table on one sheet, as if it had been saved as CSV."""

from __future__ import annotations

import csv
import importlib.util
import io
import zipfile
from collections.abc import Iterator
from typing import TextIO

import polars as pl

from tui_datasize.runlog.importing.layout import Layout
from tui_datasize.runlog.importing.staged import MOST_BYTES, Staged, option
from tui_datasize.runlog.importing.tables import read_table_text
from tui_datasize.text import listed

FORM = "workbook of Excel (.xlsx)"
EXTRA = "xlsx"
"""The optional dependencies that read it."""
_NEEDED = "fastexcel"
_MOST_TIMES = 4
"""How many times larger than a file may be its content is when unpacked."""
_BETWEEN = "\t"


def is_workbook(name: str, head: bytes) -> bool:
    """Whether a file is an archive that is named as a workbook."""
    return head.startswith(b"PK\x03\x04") and name.lower().endswith((".xlsx", ".xlsm"))


class SheetText:
    """The rows of a sheet as text, with tabs between the cells."""

    def __init__(self, rows: pl.DataFrame) -> None:
        self._rows = rows

    def open(self) -> TextIO:
        """The text from its beginning."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, delimiter=_BETWEEN, lineterminator="\n")
        # A line in a cell is none of the sheet.
        writer.writerows([(cell or "").replace("\n", " ") for cell in row] for row in self._rows.iter_rows())
        text.seek(0)
        return text

    def pieces(self) -> Iterator[str]:
        """The text as one piece."""
        with self.open() as text:
            yield text.read()


def read_workbook(run: str, layout: Layout, into: Staged) -> None:
    """Read the sheet that is named, or the only one with cells.

    Raises ConfigError: what reads it is not installed, it is damaged, or nothing tells which sheet is meant.
    """
    if importlib.util.find_spec(_NEEDED) is None:
        fix = f"install it with `pip install 'datasize-tui[{EXTRA}]'`, or save the sheet as CSV"
        raise into.error(f"reading a workbook takes {_NEEDED}, which is not here", fix=fix)
    into.place = "row"
    sheets = {name: rows for name, rows in _sheets(into).items() if rows.height}
    wanted = layout.sheet or (next(iter(sheets)) if len(sheets) == 1 else "")
    if wanted not in sheets:
        there = listed([repr(name) for name in sheets]) if sheets else "none with cells"
        what = f"no sheet {wanted!r} with cells" if wanted else "several sheets have cells"
        fix = f"give {option('sheet', next(iter(sheets)))} or another" if sheets else "save one with a table"
        raise into.error(f"{what}; there are {there}" if sheets else "no sheet has a cell", fix=fix)
    read_table_text(SheetText(sheets[wanted]), run, layout, into)


def _sheets(into: Staged) -> dict[str, pl.DataFrame]:
    data = into.read()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(part.file_size for part in archive.infolist()) > _MOST_TIMES * MOST_BYTES:
                what = f"unpacks to more than {_MOST_TIMES * MOST_BYTES // 2**20} MiB"
                raise into.error(what, fix="save the sheet as CSV")
        found = pl.read_excel(
            data,
            sheet_id=0,
            has_header=False,
            read_options={"dtypes": "string"},
            drop_empty_rows=False,
            raise_if_empty=False,
        )
    except zipfile.BadZipFile:
        raise into.error("cut off or damaged: no whole archive", fix="save or copy it once more") from None
    except Exception as error:
        if not type(error).__module__.startswith((f"_{_NEEDED}", _NEEDED)):
            raise
        raise into.error(f"damaged: {str(error).splitlines()[0]}", fix="save it once more") from None
    return found

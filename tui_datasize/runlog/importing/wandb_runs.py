"""Tables of runs made with the API of Weights & Biases, as its documentation does: dictionaries in cells."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

from tui_datasize.runlog.importing.delimited import TakeRow, header_of, read_delimited
from tui_datasize.runlog.importing.layout import Layout
from tui_datasize.runlog.importing.meanings import plain
from tui_datasize.runlog.importing.records import Numbered, flat, take_records
from tui_datasize.runlog.importing.staged import Staged
from tui_datasize.runlog.importing.text_file import TextFile

FORM = "CSV of runs from the API of Weights & Biases"

_DICTS = {"summary": "", "config": "config/"}
"""Columns of dictionaries, and what goes before their keys."""
_NO_NUMBER = re.compile(r"(?<![\w'\"])-?(nan|inf)(?![\w'\"])")


def is_wandb_runs(head: str) -> bool:
    """Whether a table has the columns that the API gives."""
    return set(_DICTS) <= {plain(column) for column in header_of(head)}


def read_wandb_runs(run: str, layout: Layout, into: Staged) -> None:
    """Read a row per run, whose dictionaries are columns."""
    rows: list[Numbered] = []

    def begin(header: list[str]) -> TakeRow:
        def take(cells: list[str], line: int) -> None:
            row: dict[str, Any] = {}
            for column, cell in zip(header, cells, strict=True):
                before = _DICTS.get(plain(column))
                if before is None:
                    row[column] = cell
                else:
                    row |= {f"{before}{key}": value for key, value in flat(_dict(column, cell), into).items()}
            rows.append((line, row))

        return take

    read_delimited(TextFile(into.file, into), into, begin, layout.skipped(into.file))
    take_records(rows, run, layout, into)


def _dict(column: str, cell: str) -> dict[str, Any]:
    """A dictionary as JSON or Python writes it.

    >>> _dict("summary", "{'val_acc': 0.5, 'loss': nan}"), _dict("config", '{"n": null}')
    ({'val_acc': 0.5, 'loss': None}, {'n': None})
    """
    for parse in (json.loads, lambda text: ast.literal_eval(_NO_NUMBER.sub("None", text))):
        try:
            found = parse(cell or "{}")
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(found, dict):
            return {str(key): value for key, value in found.items()}
    raise ValueError(f"{column} is {cell[:40]!r}, expected a dictionary such as {{'val_acc': 0.7}}")

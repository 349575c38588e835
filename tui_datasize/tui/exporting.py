"""`ctrl+e`: the table in view as a CSV file in the project directory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tui_datasize.tui.widgets.text import plural

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, slots=True)
class TableInView:
    """What an export writes."""

    name: str
    """Beginning of the file's name, such as `digits-curve`."""
    build: Callable[[], pl.DataFrame]
    """Makes the table; called off the screen's thread."""


def export_csv(table: TableInView, directory: Path, now: datetime) -> str:
    """Write a table under a name that holds the time, and say where.

    Raises:
        StorageError: The file cannot be written.
    """
    from tui_datasize.runlog.export import export

    frame = table.build()
    file = directory / f"{table.name}-{now:%Y%m%d-%H%M%S}.csv"
    export(frame, "csv", file)
    return f"wrote {plural(frame.height, 'row')} to {file}"

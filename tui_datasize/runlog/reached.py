"""How far a run has come, from the end of its log alone: cheap, and without Polars."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

from tui_datasize.files import parse_object, read_end
from tui_datasize.runlog.paths import RunPaths

_END_BYTES = 16_384
"""Some twenty rows, of which one is enough unless a worker has just resumed."""


@dataclass(frozen=True, slots=True)
class Reached:
    """How far a run has come."""

    updates: int
    wall_s: float


def read_reached(run: RunPaths) -> Reached | None:
    """What the last row of a run's log says that no resumption made void; None where there is none."""
    last: float = inf
    for row in _rows_backwards(run.metrics):
        if row.get("event") == "resume":
            last = min(last, row["update"])
        elif row["update"] <= last and isinstance(row.get("wall_s"), int | float):
            return Reached(row["update"], float(row["wall_s"]))
    return None


def _rows_backwards(file: Path) -> Iterator[dict[str, Any]]:
    try:
        end, _ = read_end(file, _END_BYTES)
    except OSError:
        return
    # Behind the last newline stands a row that is being written.
    text, _, _ = end.rpartition(b"\n")
    for line in reversed(text.splitlines()):
        with suppress(ValueError):
            row = parse_object(line)
            if isinstance(row.get("update"), int):
                yield row

"""How far a run has come, from the end of its log alone: cheap, and without Polars."""

from __future__ import annotations

import re
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


def last_validation(run: RunPaths) -> tuple[float, float] | None:
    """Accuracy and loss of the last evaluation of the images held out; None where there is none.

    Raises OSError: the log is there, and cannot be read.
    """
    try:
        lines = run.metrics.read_bytes().splitlines()
    except FileNotFoundError:
        return None
    for line in reversed(lines):
        if b'"validation"' in line:
            with suppress(TypeError, ValueError):
                row = parse_object(line)
                accuracy, loss = row.get("accuracy"), row.get("loss")
                if row.get("split") == "validation" and accuracy is not None and loss is not None:
                    return float(accuracy), float(loss)
    return None


def resumed_at(run: RunPaths) -> int | None:
    """The update from which the newest attempt has gone on, 0 where it began anew; None where none has."""
    with suppress(OSError):
        for line in reversed(run.metrics.read_bytes().splitlines()):
            if b'"resume"' in line:
                with suppress(ValueError):
                    return int(parse_object(line)["update"])
    return None


def after_interruption(why: str, update: int | None) -> str:
    """What is said of a run that was interrupted and has begun again.

    >>> after_interruption("worker vanished: killed by signal 9 (SIGKILL)", 1085)
    'worker killed by signal 9, resumed at update 1,085'
    >>> after_interruption("worker vanished: the machine was restarted", None)
    'worker vanished: the machine was restarted'
    >>> after_interruption("worker vanished: killed by signal 7 (SIGBUS), while its disk was full", 0)
    'worker killed by signal 7, while its disk was full, begun anew'
    """
    words = re.sub(r"^worker vanished: (killed by signal \d+)\b[^,]*", r"worker \1", why)
    if update is None:
        return words
    return f"{words}, resumed at update {update:,}" if update else f"{words}, begun anew"


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

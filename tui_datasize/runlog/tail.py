"""Following `metrics.jsonl` of runs in progress by byte offset: each look costs only what is new."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from tui_datasize.files import TooLarge, open_regular
from tui_datasize.runlog.collect import RUN_METRICS, with_owners
from tui_datasize.runlog.paths import RunPaths
from tui_datasize.runlog.rows import MOST_METRICS_BYTES, complete_lines, drop_voided, parse_rows
from tui_datasize.runlog.scan import Problem


@dataclass(frozen=True, slots=True)
class NewRows:
    """What one look found."""

    rows: pl.DataFrame
    """Schema `RUN_METRICS`, in file order; "resume" rows included: see `extend`."""
    restarted: frozenset[str]
    """Run ids whose file shrank, was replaced or went away: all their earlier rows are void."""
    broken_lines: Mapping[str, int]
    """Per run id, new lines that are no row and were left out."""
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class _Position:
    device: int
    inode: int
    offset: int


_START = _Position(0, 0, 0)


@dataclass(eq=False)
class MetricsTail:
    """Remembers how far each file has been read. For one thread."""

    _positions: dict[Path, _Position] = field(default_factory=dict)

    def read(self, runs: Iterable[RunPaths]) -> NewRows:
        """Rows that have been completed since the last look; at the first look at a run, all.

        A row without its newline is being written and waits for the next look.
        """
        pieces: list[bytes] = []
        looked_at: list[RunPaths] = []
        restarted: set[str] = set()
        problems: list[Problem] = []
        for run in runs:
            before = self._positions.get(run.metrics, _START)
            try:
                start, after, piece = _read_on(run.metrics, before)
            except OSError as error:
                problems.append(Problem(str(run.metrics), f"cannot be read: {error.strerror}"))
                continue
            self._positions[run.metrics] = after
            if start < before.offset:
                restarted.add(run.run_id)
            if piece:
                pieces.append(piece)
                looked_at.append(run)
        if not pieces:
            # Most looks find nothing new.
            return NewRows(pl.DataFrame(schema=dict(RUN_METRICS)), frozenset(restarted), {}, tuple(problems))
        parsed = parse_rows(pieces)
        counted = zip(looked_at, parsed.broken_lines, strict=True)
        broken = {run.run_id: lines for run, lines in counted if lines}
        return NewRows(with_owners(parsed.rows, looked_at), frozenset(restarted), broken, tuple(problems))

    def forget(self, run: RunPaths) -> None:
        """Read a run from its beginning next time."""
        self._positions.pop(run.metrics, None)


def extend(known: pl.DataFrame, new: NewRows) -> pl.DataFrame:
    """Add new rows to those known, dropping what a restart or a resumed worker made void.

    Where nothing is new, the very frame that was known is returned.
    """
    if new.rows.is_empty() and not new.restarted:
        return known
    kept = known.filter(~pl.col("run_id").is_in(list(new.restarted)))
    return drop_voided(pl.concat([kept, new.rows]), "run_id")


def _read_on(file: Path, before: _Position) -> tuple[int, _Position, bytes]:
    """Where reading began, the position reached, and the complete lines between the two."""
    try:
        stream = open_regular(file)
    except FileNotFoundError:
        return 0, _START, b""  # Not begun, or moved away by a forced rerun.
    with stream:
        status = os.fstat(stream.fileno())
        is_same = (before.device, before.inode) == (status.st_dev, status.st_ino)
        start = before.offset if is_same and before.offset <= status.st_size else 0
        if status.st_size > MOST_METRICS_BYTES:
            raise TooLarge(file, MOST_METRICS_BYTES)
        stream.seek(start)
        piece = complete_lines(stream.read(MOST_METRICS_BYTES))
    return start, _Position(status.st_dev, status.st_ino, start + len(piece)), piece

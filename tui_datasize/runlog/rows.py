"""Rows of `metrics.jsonl`: complete lines to a frame, broken ones counted, voided ones dropped."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from typing import get_args

import polars as pl

from tui_datasize.runlog.schema import METRICS, SHARE_ROUNDING, SHARES, Event

MOST_METRICS_BYTES = 2**26
"""Of a `metrics.jsonl`: 180,000 rows, some for every second of two days."""
_LONGEST_LINE = 2**14
"""Of it, in bytes; a row takes some 350."""

SOURCE = "source"
"""Column that numbers the piece of text which a row comes from."""


_COUNTED = ("epoch", "samples_seen", "wall_s", "images_per_s", "memory_bytes")
_IS_POSSIBLE = (
    pl.col("event").is_not_null()
    & pl.col("update").is_between(0, 2**53).fill_null(False)
    & pl.all_horizontal(pl.col(_COUNTED).is_between(0, 2**53).fill_null(True))
    & pl.all_horizontal(pl.col(SHARES).is_between(-SHARE_ROUNDING, 1 + SHARE_ROUNDING).fill_null(True))
)


@dataclass(frozen=True, slots=True)
class ParsedRows:
    """What several pieces of `metrics.jsonl` text hold."""

    rows: pl.DataFrame
    """Columns `source` (UInt32) and those of `METRICS`, in file order; "resume" rows included."""
    broken_lines: tuple[int, ...]
    """Per piece, the lines that are no row."""


def complete_lines(data: bytes) -> bytes:
    """The text up to its last newline: what follows is a row that is being written."""
    return data[: data.rfind(b"\n") + 1]


def parse_rows(pieces: Sequence[bytes]) -> ParsedRows:
    """Parse pieces of text that end with a newline or are empty.

    A line that is not a JSON object with an event and an update, all values of their columns' types and
    possible at all, is left out and counted. Events that this version does not know are left out in silence.
    """
    lines: list[bytes] = []
    sources: list[int] = []
    for source, piece in enumerate(pieces):
        found = [line for line in piece.split(b"\n") if line.strip()]
        lines += found
        sources += [source] * len(found)
    frames: list[pl.DataFrame] = [pl.DataFrame(schema=dict(METRICS))]
    is_row = bytearray(len(lines))
    # The parser takes seconds and a gigabyte for a line of some megabytes.
    _parse_lines([line if len(line) <= _LONGEST_LINE else b"" for line in lines], memoryview(is_row), frames)
    origins = pl.Series(SOURCE, list(compress(sources, is_row)), dtype=pl.UInt32)
    rows = pl.concat(frames).insert_column(0, origins)
    possible = rows.filter(_IS_POSSIBLE)
    broken = Counter(sources)
    broken.subtract(possible[SOURCE].to_list())
    return ParsedRows(
        possible.filter(pl.col("event").is_in(get_args(Event))),
        tuple(broken[source] for source in range(len(pieces))),
    )


def _parse_lines(lines: list[bytes], is_row: memoryview, frames: list[pl.DataFrame]) -> None:
    """Append the rows of `lines` to `frames` and mark them in `is_row`, a byte for each.

    Polars refuses a text as a whole, so one that it refuses is halved until the broken lines stand
    alone: whole files cost one call, and a broken line about twice the logarithm of their number.
    """
    if not lines:
        return
    try:
        # Beginning with an empty line: a text that begins as compressed data does would be unpacked.
        frame = pl.read_ndjson(io.BytesIO(b"\n".join([b"", *lines])), schema=dict(METRICS))
    except pl.exceptions.PolarsError:
        frame = None
    if frame is not None and frame.height == len(lines):
        frames.append(frame)
        is_row[:] = b"\1" * len(lines)
    elif len(lines) > 1:
        middle = len(lines) // 2
        _parse_lines(lines[:middle], is_row[:middle], frames)
        _parse_lines(lines[middle:], is_row[middle:], frames)


def drop_voided(rows: pl.DataFrame, by: str) -> pl.DataFrame:
    """Drop what a resumed worker did again, and the "resume" rows themselves.

    Rows of one run, which the column `by` tells, are in file order.
    """
    is_generator = pl.col("event") == "generator"
    if not rows.filter(is_generator).is_empty():
        is_last = pl.col("epoch").is_last_distinct().over(by, "event")
        rows = rows.filter(~is_generator | is_last)
    is_resume = pl.col("event") == "resume"
    if rows.filter(is_resume).is_empty():
        return rows
    # Per row, the earliest update that a later line of its run resumes from.
    resumed_from = pl.when(is_resume).then("update").reverse().cum_min().forward_fill().reverse().over(by)
    return rows.filter(~is_resume & (resumed_from.is_null() | (pl.col("update") <= resumed_from)))

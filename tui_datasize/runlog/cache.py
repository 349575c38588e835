"""Compacted copies of finished runs, so that ten thousand open about as fast as a hundred.

A segment is a pair of Parquet files, one with rows of runs and one with their metrics, each named by
the digest of its bytes. Files are written whole and never change: readers at work at the same time at
worst write the same segment, and a file whose bytes do not answer to its name is deleted. Losing any
of it loses time alone.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

import polars as pl

from tui_datasize.files import read_bounded
from tui_datasize.runlog.atomic import write_bytes
from tui_datasize.runlog.collect import RUN_METRICS, STAMPED
from tui_datasize.runlog.scan import SCANNED
from tui_datasize.runlog.schema import Schema
from tui_datasize.runlog.tables import parquet

_FORMAT = 2
"""To be raised when equal files would be summarised differently."""

METRICS_FILE = "metrics_file"
"""Column that names the segment's file with a run's metrics; null where the run is not cached."""

KNOWN: Schema = MappingProxyType({**STAMPED, METRICS_FILE: pl.String})
"""A run's row under a stamp, and where the cache has its metrics."""

SEGMENT_RUNS = 1024
"""Segments of this size or above are never merged."""
_MOST_SMALL_SEGMENTS = 8
_MOST_BYTES = 2**28
"""Of a file: of a thousand runs with some four thousand rows each."""


class RunCache:
    """The segments below one directory."""

    def __init__(self, directory: Path) -> None:
        # Another set of columns is another cache: versions of the package do not disturb each other.
        columns = repr((_FORMAT, sorted(KNOWN.items()), sorted(RUN_METRICS.items())))
        self._directory = directory / _digest(columns.encode())[:8]

    def runs(self) -> pl.DataFrame:
        """All cached rows, schema `KNOWN`; a run may stand there under several stamps."""
        rows = pl.concat([_empty(KNOWN), *(frame for _, frame in self._segments())])
        return rows.unique(list(SCANNED), keep="any")

    def metrics(self, file: str, run_ids: Collection[str]) -> pl.DataFrame | None:
        """Metric rows of some runs, schema `RUN_METRICS`; None where the file is lost."""
        data = self._read(file)
        if data is None:
            return None
        return pl.scan_parquet(io.BytesIO(data)).filter(pl.col("run_id").is_in(list(run_ids))).collect()

    def add(self, runs: pl.DataFrame, metrics: pl.DataFrame) -> set[str]:
        """Keep finished runs, schema `KNOWN`, and their metrics as one segment; the names of its files.

        Raises OSError: the directory cannot be written; nothing is kept.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        metrics_file = self._write(metrics, "metrics")
        # Last: a segment is known by its file of runs.
        return {
            metrics_file,
            self._write(runs.with_columns(pl.lit(metrics_file).alias(METRICS_FILE)), "runs"),
        }

    def tidy(self, present: pl.DataFrame) -> None:
        """Merge small segments once there are many, leaving out runs that are not present, schema `SCANNED`.

        Raises OSError: the directory cannot be written.
        """
        small = [(file, frame) for file, frame in self._segments() if frame.height < SEGMENT_RUNS]
        if len(small) <= _MOST_SMALL_SEGMENTS:
            return
        runs = pl.concat([frame for _, frame in small])
        outdated = {file.name for file, _ in small} | set(runs[METRICS_FILE])
        runs = runs.join(present, on=list(SCANNED), how="semi").unique("run_id", keep="any")
        metrics = [_empty(RUN_METRICS)]
        for (file,), group in runs.group_by(METRICS_FILE):
            rows = self.metrics(str(file), group["run_id"])
            if rows is None:
                runs = runs.filter(pl.col(METRICS_FILE) != file)
            else:
                metrics.append(rows)
        for name in outdated - self.add(runs, pl.concat(metrics)):
            (self._directory / name).unlink(missing_ok=True)

    def _segments(self) -> Iterator[tuple[Path, pl.DataFrame]]:
        for file in sorted(self._directory.glob("*.runs.parquet")):
            data = self._read(file.name)
            if data is not None:
                yield file, pl.read_parquet(io.BytesIO(data))

    def _write(self, frame: pl.DataFrame, kind: str) -> str:
        data = parquet(frame)
        name = f"{_digest(data)}.{kind}.parquet"
        write_bytes(self._directory / name, data)
        return name

    def _read(self, name: str) -> bytes | None:
        file = self._directory / name
        with suppress(OSError):
            data = read_bounded(file, _MOST_BYTES)
            if name.startswith(_digest(data)):
                return data
            file.unlink()
        return None


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _empty(columns: Schema) -> pl.DataFrame:
    return pl.DataFrame(schema=dict(columns))

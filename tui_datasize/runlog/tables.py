"""Parquet and JSON files of many run directories as one frame each."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import polars as pl

from tui_datasize.files import is_regular
from tui_datasize.runlog.paths import RunPaths
from tui_datasize.runlog.scan import Problem, object_or_problem
from tui_datasize.runlog.schema import Schema, schema

FileOf: TypeAlias = Callable[[RunPaths], Path]

DATASETS: Schema = schema(
    (pl.String, "run_id", "dataset"),
    (pl.Int64, "label"),
    (pl.String, "class_name"),
    (pl.Int64, "train_images", "test_images"),
    (pl.String, "fingerprint"),
)
"""The frame `datasets`: images per class of the whole training and test set, a row per run and class."""

_FILE = "file"
_UNREADABLE = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)
"""What Polars raises for a damaged Parquet file; its panics are no `Exception`."""


def read_tables(
    runs: Sequence[RunPaths], file_of: FileOf, columns: Schema
) -> tuple[pl.DataFrame, list[Problem]]:
    """One Parquet file of each run that has it, below one another in their order, and those that are damaged.

    A frame of `run_id` and `columns`; one that a file lacks is null, others are left out.
    """
    problems: list[Problem] = []
    files = {str(file): run.run_id for run in runs if (file := _present(file_of(run), problems))}
    try:
        rows = _scan(list(files), columns).collect()
    except _UNREADABLE:
        rows = pl.concat([_scan([], columns).collect(), *_read_each(list(files), columns, problems)])
    names = pl.DataFrame({_FILE: list(files), "run_id": list(files.values())}, schema_overrides=_NAMES)
    named = rows.join(names, on=_FILE, maintain_order="left")
    return named.select("run_id", *columns), problems


def _present(file: Path, problems: list[Problem]) -> Path | None:
    try:
        return file if is_regular(file) else None
    except OSError as error:
        problems.append(Problem(str(file), f"cannot be read: {error.strerror}"))
        return None


def parquet(frame: pl.DataFrame) -> bytes:
    """The content of a Parquet file."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def read_datasets(runs: Sequence[RunPaths]) -> tuple[pl.DataFrame, list[Problem]]:
    """Schema `DATASETS` from the `dataset.json` of each run that has one, and the unreadable ones."""
    frames = [pl.DataFrame(schema=dict(DATASETS))]
    problems: list[Problem] = []
    for run in runs:
        document = object_or_problem(run.dataset) if _present(run.dataset, problems) else None
        if isinstance(document, Problem):
            problems.append(document)
        elif document is not None:
            try:
                frames.append(_classes(run.run_id, document))
            except (KeyError, TypeError, ValueError, pl.exceptions.PolarsError):
                problems.append(Problem(str(run.dataset), "is not the description of a data set"))
    return pl.concat(frames), problems


_NAMES: Schema = MappingProxyType({_FILE: pl.String, "run_id": pl.String})


def _scan(files: list[str], columns: Schema) -> pl.LazyFrame:
    return pl.scan_parquet(
        files,
        schema=dict(columns),
        missing_columns="insert",
        extra_columns="ignore",
        include_file_paths=_FILE,
        glob=False,  # A directory may be named like a pattern.
    )


def _read_each(files: Sequence[str], columns: Schema, problems: list[Problem]) -> list[pl.DataFrame]:
    frames = []
    for file in files:
        try:
            frames.append(_scan([file], columns).collect())
        except _UNREADABLE as error:
            reason = next(iter(str(error).splitlines()), "")
            problems.append(Problem(file, f"is not a readable Parquet file: {reason}"))
    return frames


def _classes(run_id: str, document: Mapping[str, Any]) -> pl.DataFrame:
    names = [str(name) for name in document["class_names"]]
    return pl.DataFrame(
        {
            "run_id": [run_id] * len(names),
            "dataset": [str(document["name"])] * len(names),
            "label": range(len(names)),
            "class_name": names,
            "train_images": document["train_images_per_class"],
            "test_images": document["test_images_per_class"],
            "fingerprint": [str(document["fingerprint"])] * len(names),
        },
        schema=dict(DATASETS),
    )

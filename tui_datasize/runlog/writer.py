"""The worker's side of the record: metric rows appended, tables of a run directory replaced.

What the disk does not take is an `OSError`.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tui_datasize.files import open_regular
from tui_datasize.runlog import schema
from tui_datasize.runlog.atomic import sync_directory, write_bytes
from tui_datasize.runlog.claim import utc_now
from tui_datasize.runlog.tables import parquet

Integers: TypeAlias = NDArray[np.integer[Any]]
Value: TypeAlias = str | float | None


class MetricsWriter:
    """Appends rows to `metrics.jsonl`, each in one write: a reader sees whole rows and at most one torn."""

    def __init__(self, path: Path) -> None:
        is_new = not path.exists()
        self._file = open_regular(path, "ab", buffering=0)
        if is_new:
            sync_directory(path.parent)

    def close(self) -> None:
        """Close the file; the end of a run, which is written next, tells of its rows."""
        with suppress(OSError):
            self.sync()
        self._file.close()

    def sync(self) -> None:
        """Make all rows so far survive a power cut: before anything durable relies on them."""
        os.fsync(self._file.fileno())

    def write(self, event: schema.Event, update: int, **values: Value) -> None:
        """Append all columns of `schema.METRICS` and the present time; what is not finite is null.

        Raises ValueError: a column is unknown.
        Raises OSError: the disk is full; the row may be torn.
        """
        unknown = values.keys() - schema.METRICS.keys()
        if unknown:
            raise ValueError(f"expected columns of schema.METRICS, got {sorted(unknown)}")
        given = {"event": event, "update": update, "time": utc_now(), **values}
        self._append({column: _finite(given.get(column)) for column in schema.METRICS})

    def resume(self, update: int) -> None:
        """Void all earlier rows beyond `update`, after ending a row that was torn when a worker died.

        A file without rows stays as it is.
        """
        self.end_torn_row()
        if self._file.tell():
            self._append({"event": "resume", "update": update})

    def end_torn_row(self) -> None:
        """End a row that was torn when a worker died, so that the next stands in a line of its own."""
        if self._file.tell() == 0:
            return
        with Path(self._file.name).open("rb") as file:
            file.seek(-1, os.SEEK_END)
            is_torn = file.read(1) != b"\n"
        if is_torn:
            self._write(b"\n")

    def _append(self, row: Mapping[str, object]) -> None:
        self._write(json.dumps(row, allow_nan=False).encode() + b"\n")

    def _write(self, data: bytes) -> None:
        written = self._file.write(data)
        if written != len(data):
            # A disk that fills up takes a part first; writing the rest raises the error itself.
            self._file.write(data[written:])


def write_table(path: Path, frame: pl.DataFrame) -> None:
    """Replace a Parquet file."""
    write_bytes(path, parquet(frame))


def subset_frame(
    index: Integers,
    label: Integers,
    image_hash: Integers,
    true_label: Integers | None = None,
    is_held_out: NDArray[np.bool_] | None = None,
    twins: Mapping[int, tuple[str, str]] = MappingProxyType({}),
) -> pl.DataFrame:
    """`subset.parquet`: one row per image with a label, in draw order, each argument of shape (n,).

    `index` is the place in the whole training set, `label` the one given for training, `true_label` the one
    without noise where that differs; by default all are trained on. `twins` has by index the file of an
    image, and that of a test image that looks like it.
    """
    true = label if true_label is None else true_label
    held_out = np.zeros(len(label), dtype=np.bool_) if is_held_out is None else is_held_out
    role = np.where(held_out, "validation", "train")
    named = [twins.get(int(one), (None, None)) for one in index] if twins else [(None, None)] * len(index)
    files = {name: [one[place] for one in named] for place, name in enumerate(("image_file", "twin"))}
    columns = {"index": index, "label": label, "hash": image_hash, "true_label": true, "role": role}
    untold = dict.fromkeys(("step", "score"), [None] * len(index))
    return pl.DataFrame(columns | files | untold, schema=dict(schema.SUBSET))


def with_steps_chosen(subset: pl.DataFrame, steps: Integers, scores: NDArray[np.float64]) -> pl.DataFrame:
    """`subset.parquet` of a run on a path, with the step and the score of each image, shape (n,)."""
    return subset.with_columns(step=pl.Series(steps), score=pl.Series(scores).fill_nan(None))


def per_class_frame(
    evaluation: str, update: int, split: schema.Split, confusion: Integers, class_names: Sequence[str]
) -> pl.DataFrame:
    """Rows of `per_class.parquet` for the "last" or "best" evaluation of one split.

    `confusion` counts images per (label, predicted class), shape (K, K). The accuracy of a class without
    images is null.
    """
    images = confusion.sum(axis=1)
    hits = np.diag(confusion)
    return pl.DataFrame(
        {
            "evaluation": [evaluation] * len(images),
            "update": [update] * len(images),
            "split": [split] * len(images),
            "label": np.arange(len(images)),
            "class_name": list(class_names),
            "images": images,
            "accuracy": [hit / all_ if all_ else None for hit, all_ in zip(hits, images, strict=True)],
        },
        schema=dict(schema.PER_CLASS),
    )


def confusion_frame(evaluation: str, update: int, confusion: Integers) -> pl.DataFrame:
    """Rows of `confusion.parquet` for one evaluation of the test split; zero cells are left out."""
    label, predicted = np.nonzero(confusion)
    return pl.DataFrame(
        {
            "evaluation": [evaluation] * len(label),
            "update": [update] * len(label),
            "label": label,
            "predicted": predicted,
            "images": confusion[label, predicted],
        },
        schema=dict(schema.CONFUSION),
    )


def predictions_frame(
    evaluation: str,
    index: Integers,
    label: Integers,
    image_hash: Integers,
    classes: Integers,
    probabilities: NDArray[np.float16],
) -> pl.DataFrame:
    """Rows of `predictions.parquet` for the "last" or "best" evaluation of the test split.

    Of the N images that were measured, `probabilities` has shape (N, c), as `classes`, which says what its
    columns stand for; all else has shape (N,).
    """
    return pl.DataFrame(
        {
            "evaluation": [evaluation] * len(label),
            "index": index,
            "label": label,
            "hash": image_hash,
            "classes": pl.Series(np.ascontiguousarray(classes, dtype=np.int64)).arr.to_list(),
            "probabilities": pl.Series(probabilities.astype(np.float32)).arr.to_list(),
        },
        schema=dict(schema.PREDICTIONS),
    )


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value

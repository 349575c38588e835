"""Public learning curves for the benchmarks: error against train size, means over splits.

A Parquet file with the columns `openml_id`, `learner`, `train_size`, `test_error`, `test_stderr`, as made
from LCDB 1.1 (Learning Curve Database, CC BY 4.0).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import polars as pl

from tui_datasize.stats.laws import Floats

LOSS_FILE = Path(__file__).with_name("loss_curves.parquet")
"""Made by `benchmarks.loss_curves`."""
LEAST_SIZE = 32
LEAST_LARGEST = 2000
"""Shorter curves are left out."""
NO_LEARNER = "DummyClassifier"
"""It guesses, whatever the train size."""
IMAGE_SETS = frozenset({6, 28, 32, 182, 554, 40923, 40927, 40996})
"""OpenML ids of letter, optdigits, pendigits, satimage, MNIST, Devnagari, CIFAR-10 and Fashion-MNIST."""
PROCESSES = 2

In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(frozen=True, slots=True)
class PublicCurve:
    """One learner on one data set; arrays of shape (n,), train sizes a factor of sqrt 2 apart."""

    data_set: int
    learner: str
    train_sizes: Floats
    errors: Floats
    stderrs: Floats

    @property
    def is_image_like(self) -> bool:
        """Whether the data set is one of images, or of features of images."""
        return self.data_set in IMAGE_SETS

    def up_to(self, factor: int, n_sizes: int | None = None) -> PublicCurve:
        """The curve up to a fraction of its largest train size, of that the largest `n_sizes` sizes."""
        # Sizes are rounded to whole images: 363 is a quarter of 1449.
        kept = np.flatnonzero(self.train_sizes <= self.train_sizes[-1] / factor * 1.02)
        part = kept[-n_sizes:] if n_sizes else kept
        return PublicCurve(
            self.data_set, self.learner, self.train_sizes[part], self.errors[part], self.stderrs[part]
        )


def read_curves(path: Path) -> list[PublicCurve]:
    """Every curve that reaches `LEAST_LARGEST`, at the train sizes ceil(2^(k/2)) from `LEAST_SIZE` on."""
    anchors = [math.ceil(2 ** (k / 2) - 1e-9) for k in range(2, 60)]
    frame = pl.read_parquet(path).with_columns(pl.col("learner").cast(pl.String))
    kept = frame.filter(
        pl.col("train_size").is_in(anchors) & (pl.col("train_size") >= LEAST_SIZE),
        pl.col("learner") != NO_LEARNER,
    ).sort("openml_id", "learner", "train_size")
    groups = kept.group_by("openml_id", "learner", maintain_order=True)
    return [
        PublicCurve(int(str(data_set)), str(learner), *_columns(curve))
        for (data_set, learner), curve in groups
        if curve["train_size"][-1] >= LEAST_LARGEST
    ]


def read_loss_curves() -> list[PublicCurve]:
    """Curves of cross-entropy: means over three real trainings a size, of four image-like data sets."""
    frame = pl.read_parquet(LOSS_FILE).sort("data", "learner", "train_size")
    numbers = {name: number for number, name in enumerate(frame["data"].unique().sort())}
    return [
        PublicCurve(
            numbers[str(data)],
            str(learner),
            *(curve[name].cast(pl.Float64).to_numpy() for name in ("train_size", "loss", "stderr")),
        )
        for (data, learner), curve in frame.group_by("data", "learner", maintain_order=True)
    ]


def spread_over_processes(task: Callable[[In], Out], inputs: Sequence[In]) -> list[Out]:
    """Apply a picklable task to each input in `PROCESSES` processes, with a count on stderr."""
    results = []
    with ProcessPoolExecutor(PROCESSES) as pool:
        chunk = max(1, min(16, len(inputs) // (4 * PROCESSES)))
        for result in pool.map(task, inputs, chunksize=chunk):
            results.append(result)
            if len(results) % 200 == 0:
                print(f"{len(results)} of {len(inputs)} curves", file=sys.stderr, flush=True)
    return results


def _columns(curve: pl.DataFrame) -> tuple[Floats, Floats, Floats]:
    sizes, errors, stderrs = (
        curve[name].cast(pl.Float64).to_numpy() for name in ("train_size", "test_error", "test_stderr")
    )
    return sizes, errors, stderrs

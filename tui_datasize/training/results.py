"""The outcome of one evaluation of both splits, kept for the last and the best one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl
import torch

from tui_datasize.runlog.paths import RunPaths
from tui_datasize.runlog.schema import Split
from tui_datasize.runlog.writer import confusion_frame, per_class_frame, predictions_frame, write_table
from tui_datasize.training.arrays import LoadedDataset
from tui_datasize.training.evaluate import Integers, Predictions


@dataclass(frozen=True, slots=True)
class Result:
    """What the tables of a run directory need of one evaluation."""

    update: int
    """Updates made by then."""
    train_confusion: Integers
    """Images per (label, predicted class), shape (K, K)."""
    test_confusion: Integers
    predictions: Predictions
    """Of the test split."""

    @property
    def test_accuracy(self) -> float:
        """Fraction of the test images that were classified right."""
        return float(self.test_confusion.trace() / self.test_confusion.sum())

    def better_of(self, earlier: Result | None) -> Result:
        """The one with the higher test accuracy; the earlier one on ties."""
        return self if earlier is None or self.test_accuracy > earlier.test_accuracy else earlier

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "update": self.update,
            "train_confusion": torch.from_numpy(self.train_confusion),
            "test_confusion": torch.from_numpy(self.test_confusion),
            "classes": torch.from_numpy(self.predictions.classes.copy()),
            "probabilities": torch.from_numpy(self.predictions.probabilities),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Result:
        """What `state_dict` was taken of."""
        return cls(
            update=state["update"],
            train_confusion=state["train_confusion"].numpy(),
            test_confusion=state["test_confusion"].numpy(),
            predictions=Predictions(state["classes"].numpy(), state["probabilities"].numpy()),
        )


def write_results(paths: RunPaths, dataset: LoadedDataset, last: Result, best: Result) -> None:
    """Write `per_class.parquet`, `confusion.parquet` and `predictions.parquet`.

    Raises:
        OSError: The disk is full or read-only.
    """
    results = (("last", last), ("best", best))
    per_class = [
        per_class_frame(name, result.update, split, confusion, dataset.class_names)
        for name, result in results
        for split, confusion in _confusions(result)
    ]
    write_table(paths.per_class, pl.concat(per_class))
    write_table(
        paths.confusion, pl.concat(confusion_frame(name, r.update, r.test_confusion) for name, r in results)
    )
    predicted = [
        predictions_frame(
            name,
            dataset.test.labels,
            dataset.test.hashes,
            result.predictions.classes,
            result.predictions.probabilities,
        )
        for name, result in results
    ]
    write_table(paths.predictions, pl.concat(predicted))


def _confusions(result: Result) -> tuple[tuple[Split, Integers], ...]:
    return (("train", result.train_confusion), ("test", result.test_confusion))

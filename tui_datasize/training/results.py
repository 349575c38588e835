"""The outcome of one evaluation of both splits, kept for the last and the best one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
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
    tested: Integers | None
    """Which test images were measured, in the order of `predictions`, shape (M,); None for all."""
    predictions: Predictions
    """Of these images."""

    @property
    def test_accuracy(self) -> float:
        """Fraction of the test images that were classified right."""
        return float(self.test_confusion.trace() / self.test_confusion.sum())

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "update": self.update,
            "train_confusion": torch.from_numpy(self.train_confusion),
            "test_confusion": torch.from_numpy(self.test_confusion),
            "tested": None if self.tested is None else torch.from_numpy(self.tested),
            "classes": torch.from_numpy(self.predictions.classes.copy()),
            "probabilities": torch.from_numpy(self.predictions.probabilities),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Result:
        """What `state_dict` was taken of."""
        # Missing in checkpoints made before there was a protocol that measures a part.
        tested = state.get("tested")
        return cls(
            update=state["update"],
            train_confusion=state["train_confusion"].numpy(),
            test_confusion=state["test_confusion"].numpy(),
            tested=None if tested is None else tested.numpy(),
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
    predicted = [_predictions_frame(name, dataset, result) for name, result in results]
    write_table(paths.predictions, pl.concat(predicted))


def _predictions_frame(name: str, dataset: LoadedDataset, result: Result) -> pl.DataFrame:
    index = np.arange(len(dataset.test.labels)) if result.tested is None else result.tested
    return predictions_frame(
        name,
        index,
        dataset.test.labels[index],
        dataset.test.hashes[index],
        result.predictions.classes,
        result.predictions.probabilities,
    )


def _confusions(result: Result) -> tuple[tuple[Split, Integers], ...]:
    return (("train", result.train_confusion), ("test", result.test_confusion))

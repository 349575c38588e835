"""The outcome of one evaluation of both splits, kept for the last and the best one.

What the disk does not take is an `OSError`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from tui_datasize.runlog.paths import RunPaths
from tui_datasize.runlog.schema import Split
from tui_datasize.runlog.writer import confusion_frame, per_class_frame, predictions_frame, write_table
from tui_datasize.training import checkpoint
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
        return float(self.test_confusion.trace() / max(1, self.test_confusion.sum()))

    @classmethod
    def untested(cls, update: int) -> Result:
        """Of a run without labels, which measures no class and no test image."""
        none, nobody = np.zeros((0, 0), dtype=np.int64), np.zeros((0, 0), dtype=np.float16)
        return cls(update, none, none, none[0:0, 0:0].ravel(), Predictions(none.astype(np.int32), nobody))

    def state_dict(self) -> dict[str, Any]:
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
    """Write `per_class.parquet`, `confusion.parquet` and `predictions.parquet`."""
    results = (("last", last), ("best", best))
    splits: tuple[Split, ...] = ("train", "test")
    per_class = [
        per_class_frame(name, result.update, split, confusion, dataset.class_names)
        for name, result in results
        for split, confusion in zip(splits, (result.train_confusion, result.test_confusion), strict=True)
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


@dataclass(frozen=True, slots=True)
class Best:
    """The best evaluation of a run, by images held out or, without any, the test; the earliest of equals."""

    result: Result
    rank: tuple[float, ...]
    """By which it is the best; its first part is an accuracy."""
    weights: Mapping[str, Tensor] | None
    """Parameters and running statistics by their names in the model, on the CPU. None once they stand
    in a file of their own, and where the run resumed from a checkpoint made before they were kept."""
    since: int = 0
    """Evaluations since then."""

    @classmethod
    def of(cls, result: Result, rank: tuple[float, ...], measured: nn.Module, earlier: Best | None) -> Best:
        """The better one of an evaluation, with a copy of the weights it measured, and an earlier one."""
        if earlier is not None and rank <= earlier.rank:
            return replace(earlier, since=earlier.since + 1)
        # A copy in any case: further updates change the model's own.
        weights = {name: value.to("cpu", copy=True) for name, value in measured.state_dict().items()}
        return cls(result, rank, weights)

    def write_weights(self, paths: RunPaths, identity: Mapping[str, str]) -> Best:
        """Write `best.pt`, where the weights are known; the same without them."""
        if self.weights is None:
            return self
        state: dict[str, Any] = {
            "update": self.result.update,
            "model": self.weights,
        }
        if self.result.test_confusion.size:
            state["test_accuracy"] = self.result.test_accuracy
        if len(self.rank) > 1:
            state["validation_accuracy"] = self.rank[0]
        checkpoint.save(paths.best, identity, state)
        return replace(self, weights=None)

    def state_dict(self) -> dict[str, Any]:
        state = {"weights": self.weights, "rank": list(self.rank), "since": self.since}
        return {**self.result.state_dict(), **state}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Best:
        result = Result.from_state(state)
        # Missing in checkpoints made before images were held out.
        rank = tuple(state.get("rank", (result.test_accuracy,)))
        return cls(result, rank, state.get("weights"), state.get("since", 0))

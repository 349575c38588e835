"""What a model says about images, without gradients, and what is measured on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassCalibrationError,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
)

from tui_datasize.experiments.spec import Average

Floats: TypeAlias = NDArray[np.floating[Any]]
Integers: TypeAlias = NDArray[np.int64]

ECE_BINS = 15
ALL_CLASSES_UP_TO = 100
"""Up to this many classes all probabilities of an image are kept, above only the largest."""
KEPT_PROBABILITIES = 10
_TOP = 5
_BLOCK_VALUES = 1 << 22
"""Logits that are measured at once: the scores take some eighty small kernels, for many images as for few."""


class ImageBatches(Protocol):
    """A split, or a subset of one, from which batches are taken."""

    @property
    def home(self) -> torch.device:
        """Where `batch` wants positions to be."""

    def __len__(self) -> int:
        """N, the number of images."""

    def batch(self, positions: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Images, uint8 (B, C, H, W), and labels, int64 (B,), on the device of the run.

        Args:
            positions: Within the N images: int64 of shape (B,), or a slice.
        """


@dataclass(frozen=True, slots=True)
class DeviceSplit:
    """Images whole on the device."""

    images: Tensor
    """uint8, shape (N, C, H, W)."""
    labels: Tensor
    """int64, shape (N,)."""

    @property
    def home(self) -> torch.device:
        """The device."""
        return self.labels.device

    def __len__(self) -> int:
        """N, the number of images."""
        return len(self.labels)

    def batch(self, positions: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Images and labels at these positions."""
        return self.images[positions], self.labels[positions]


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a model said about images, on the host."""

    labels: Integers
    """Shape (N,)."""
    losses: Floats
    """Cross-entropy per image, nats, shape (N,)."""
    ranked: Integers
    """The most probable classes, best first, shape (N, k)."""
    confidences: Floats
    """Their probabilities, shape (N, k)."""
    probabilities: Floats
    """Of all classes in order, shape (N, K), or (N, 0) where they were not kept."""
    confusion: Integers
    """Images per (label, predicted class), shape (K, K)."""
    measured: Mapping[str, float]
    """What torchmetrics measured, by the names of `schema.SCORES`: see `score`."""

    @property
    def is_finite(self) -> bool:
        """Whether every loss is a number."""
        return bool(np.isfinite(self.losses).all())


@dataclass(frozen=True, slots=True)
class Predictions:
    """Probabilities per image as `predictions.parquet` keeps them."""

    classes: NDArray[np.int32]
    """What the columns of `probabilities` stand for, shape (N, c)."""
    probabilities: NDArray[np.float16]
    """Shape (N, c); the largest of a row is always that of the predicted class."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The scores of one pass over one split."""

    scores: Mapping[str, float | None]
    """By the names of `schema.SCORES`; None where a score is undefined."""
    confusion: Integers
    """Images per (label, predicted class), shape (K, K)."""


class Tally:
    """Gathers what a model says, batch by batch, on its device; nothing waits until it is read.

    Args:
        classes: K, the number of logits.
        device: Where the logits are.
        f1: How F1 is averaged over the classes.
        keep_all: Whether to keep the probabilities of all classes.
    """

    def __init__(
        self, classes: int, device: torch.device, *, f1: Average = "macro", keep_all: bool = False
    ) -> None:
        self._classes = classes
        self._keep_all = keep_all
        self._metrics = _metrics(classes, f1).to(device)
        self._waiting: list[tuple[Tensor, Tensor]] = []
        self._waiting_images = 0
        self._measured: list[tuple[Tensor, ...]] = []

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Take in a batch: logits (B, K), labels int64 (B,); both are kept, not copied."""
        self._waiting.append((logits, labels))
        self._waiting_images += len(labels)
        if self._waiting_images * self._classes >= _BLOCK_VALUES:
            self._measure()

    def outputs(self) -> Outputs:
        """Bring all of it to the host, at once."""
        if self._waiting:
            self._measure()
        labels, losses, ranked, confidences, probabilities = (
            torch.cat(parts).cpu().numpy() for parts in zip(*self._measured, strict=True)
        )
        measured = {name: value.cpu().numpy() for name, value in self._metrics.compute().items()}
        return Outputs(
            labels=labels,
            losses=losses,
            ranked=ranked,
            confidences=confidences,
            probabilities=probabilities,
            confusion=measured.pop("confusion"),
            measured={name: float(value) for name, value in measured.items()},
        )

    def _measure(self) -> None:
        """Measure the batches that wait, as one."""
        logits, labels = (torch.cat(parts) for parts in zip(*self._waiting, strict=True))
        self._waiting.clear()
        self._waiting_images = 0
        logits = logits.float()
        probabilities = logits.softmax(dim=1)
        self._metrics.update(probabilities, labels)
        best = probabilities.topk(min(KEPT_PROBABILITIES, self._classes))
        kept = probabilities[:, : None if self._keep_all else 0]
        self._measured.append((labels, _losses(logits, labels), best.indices, best.values, kept))


def predict(
    model: nn.Module,
    split: ImageBatches,
    view: Callable[[Tensor], Tensor],
    tally: Tally,
    *,
    batch_size: int,
    autocast: AbstractContextManager[object],
    check: Callable[[], None],
) -> Outputs:
    """Run a model over a whole split, as an evaluation does: no gradients, no dropout.

    Args:
        model: From what it sees to logits; its training mode is restored.
        split: The images.
        view: From stored pixels to what the model sees.
        tally: Empty; gathers the outputs.
        batch_size: Images per step; bounds memory, changes no score.
        autocast: Entered around each forward pass.
        check: Called before every batch; may raise to leave.
    """
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            for start in range(0, len(split), batch_size):
                check()
                images, labels = split.batch(slice(start, start + batch_size))
                with autocast:
                    logits = model(view(images))
                tally.add(logits, labels)
            return tally.outputs()
    finally:
        model.train(was_training)


def _losses(logits: Tensor, labels: Tensor) -> Tensor:
    return cross_entropy(logits, labels, reduction="none")


def _metrics(classes: int, f1: Average) -> MetricCollection:
    """What torchmetrics measures; it accumulates on the device and is read once, at the end of a pass."""
    metrics: dict[str, Metric | MetricCollection] = {
        "confusion": MulticlassConfusionMatrix(classes, validate_args=False),
        "f1_macro": MulticlassF1Score(classes, average=f1, validate_args=False),
        "ece": MulticlassCalibrationError(classes, n_bins=ECE_BINS, norm="l1", validate_args=False),
        "top5": MulticlassAccuracy(classes, top_k=min(_TOP, classes), average="micro", validate_args=False),
    }
    # Grouping compares the states after the first batch, and merges metrics that only happen to agree on it.
    return MetricCollection(metrics, compute_groups=False)


def score(outputs: Outputs) -> Evaluation:
    """Put together what a pass measured.

    Returns:
        Mean cross-entropy in nats; accuracy, top-5 (or top-K below five classes), F1 averaged over the
        classes that occur as label or prediction (micro-averaged F1 is the accuracy again), and
        expected calibration error (15 bins of equal width, Guo et al. 2017, eq. 3 and 5), all in
        [0, 1]; the confidence margin (C1 - C2) / C1 in [0, 1], averaged over correct and over wrong
        predictions, None where there are none.
    """
    is_correct = outputs.ranked[:, 0] == outputs.labels
    margins = _margins(outputs.confidences)
    return Evaluation(
        scores={
            "loss": float(outputs.losses.mean(dtype=np.float64)),
            # From the counts, so that it is exactly a multiple of 1/N.
            "accuracy": float(outputs.confusion.trace() / outputs.confusion.sum()),
            **outputs.measured,
            "margin_correct": _mean_or_none(margins[is_correct]),
            "margin_wrong": _mean_or_none(margins[~is_correct]),
        },
        confusion=outputs.confusion,
    )


def predictions(outputs: Outputs) -> Predictions:
    """What to keep of the outputs: all classes in order, or the most probable ones, best first."""
    images, classes = outputs.probabilities.shape
    if not classes:
        return Predictions(outputs.ranked.astype(np.int32), outputs.confidences.astype(np.float16))
    in_order = np.broadcast_to(np.arange(classes, dtype=np.int32), (images, classes))
    return Predictions(in_order, _round_keeping_best(outputs.probabilities, outputs.ranked[:, 0]))


def _round_keeping_best(probabilities: Floats, best: Integers) -> NDArray[np.float16]:
    """Round to float16 so that the first largest value of a row stays where it was."""
    rounded = probabilities.astype(np.float16)
    tied = np.flatnonzero(rounded.argmax(axis=1) != best)
    above = np.nextafter(rounded[tied].max(axis=1, initial=0), np.float16(2))
    rounded[tied, best[tied]] = above
    return rounded


def _margins(confidences: Floats) -> Floats:
    """(C1 - C2) / C1 per image; C2 is 0 where there is one class."""
    first = confidences[:, 0].astype(np.float64)
    second = confidences[:, 1] if confidences.shape[1] > 1 else 0.0
    margins: Floats = (first - second) / first
    return margins


def _mean_or_none(values: Floats) -> float | None:
    return float(values.mean()) if len(values) else None

"""One pass over a whole split without gradients, and what is measured on it.

The measures are a few lines each on counts; the tests hold them against torchmetrics and scikit-learn.
torchmetrics itself would add ten seconds of imports to the start of every worker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

Floats: TypeAlias = NDArray[np.floating[Any]]
Integers: TypeAlias = NDArray[np.int64]

ECE_BINS = 15
ALL_CLASSES_UP_TO = 100
"""Up to this many classes all probabilities of an image are kept, above only the largest."""
KEPT_PROBABILITIES = 10
_TOP = 5


@dataclass(frozen=True, slots=True)
class DeviceSplit:
    """A split, or a subset of one, whole on the device."""

    images: Tensor
    """uint8, shape (N, C, H, W)."""
    labels: Tensor
    """int64, shape (N,)."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a model said about every image of a split, on the host."""

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


def predict(
    model: nn.Module,
    split: DeviceSplit,
    normalise: Callable[[Tensor], Tensor],
    *,
    batch_size: int,
    keep_all: bool,
    check: Callable[[], None],
) -> Outputs:
    """Run a model over a whole split; its training mode is restored.

    Args:
        model: From normalised images to logits.
        split: The images.
        normalise: From stored pixels to what the model sees.
        batch_size: Images per step; bounds memory, changes no score.
        keep_all: Whether to keep the probabilities of all classes.
        check: Called before every batch; may raise to leave.
    """
    batches = []
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            for start in range(0, len(split.labels), batch_size):
                check()
                images, labels = (part[start : start + batch_size] for part in (split.images, split.labels))
                batches.append(_predict_batch(model(normalise(images)), labels, keep_all))
    finally:
        model.train(was_training)
    outputs = (torch.cat(parts).cpu().numpy() for parts in zip(*batches, strict=True))
    return Outputs(split.labels.cpu().numpy(), *outputs)


def _predict_batch(logits: Tensor, labels: Tensor, keep_all: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    losses = cross_entropy(logits, labels, reduction="none")
    probabilities = logits.softmax(dim=1)
    best = probabilities.topk(min(KEPT_PROBABILITIES, logits.shape[1]))
    return losses, best.indices, best.values, probabilities[:, : None if keep_all else 0]


def score(outputs: Outputs, classes: int) -> Evaluation:
    """Measure the outputs of a pass.

    Returns:
        Mean cross-entropy in nats; accuracy, top-5 (or top-K below five classes), macro F1 over the
        classes that occur as label or prediction, and expected calibration error (15 bins of equal
        width, Guo et al. 2017, eq. 3 and 5), all in [0, 1]; the confidence margin (C1 - C2) / C1 in
        [0, 1], averaged over correct and over wrong predictions, None where there are none.
    """
    predicted = outputs.ranked[:, 0]
    is_correct = predicted == outputs.labels
    confusion = np.bincount(outputs.labels * classes + predicted, minlength=classes**2)
    confusion = confusion.reshape(classes, classes)
    margins = _margins(outputs.confidences)
    return Evaluation(
        scores={
            "loss": float(outputs.losses.mean(dtype=np.float64)),
            "accuracy": float(is_correct.mean()),
            "top5": float((outputs.ranked[:, :_TOP] == outputs.labels[:, None]).any(axis=1).mean()),
            "f1_macro": f1_macro(confusion),
            "ece": calibration_error(outputs.confidences[:, 0], is_correct),
            "margin_correct": _mean_or_none(margins[is_correct]),
            "margin_wrong": _mean_or_none(margins[~is_correct]),
        },
        confusion=confusion,
    )


def f1_macro(confusion: Integers) -> float:
    """Mean F1 over the classes that occur as a label or as a prediction, in [0, 1]."""
    hits = np.diag(confusion)
    occurrences = confusion.sum(axis=0) + confusion.sum(axis=1)
    occurs = occurrences > 0
    return float((2 * hits[occurs] / occurrences[occurs]).mean())


def calibration_error(confidences: Floats, is_correct: NDArray[np.bool_]) -> float:
    """Expected calibration error: mean gap of confidence and accuracy over bins, weighted by images.

    Bin m of M holds confidences in ((m - 1) / M, m / M] (Guo et al. 2017, eq. 3).
    """
    exact = confidences.astype(np.float64)
    bins = np.clip(np.ceil(exact * ECE_BINS).astype(np.int64) - 1, 0, ECE_BINS - 1)
    gaps = np.bincount(bins, weights=is_correct - exact, minlength=ECE_BINS)
    return float(np.abs(gaps).sum() / len(exact))


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

"""What a model says about images, without gradients, and what is measured on it.

The device makes logits and nothing else: whatever is measured on them is measured on the host, so that equal
logits have equal scores wherever they were computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tui_datasize.experiments.spec import Average
from tui_datasize.training.graph import Replays

Floats: TypeAlias = NDArray[np.floating[Any]]
Integers: TypeAlias = NDArray[np.int64]

ECE_BINS = 15
ALL_CLASSES_UP_TO = 100
"""Up to this many classes all probabilities of an image are kept, above only the largest."""
KEPT_PROBABILITIES = 10
_TOP = 5
_BLOCK_VALUES = 1 << 22
"""Logits that come to the host at once."""


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
    classes: int
    """K."""

    @property
    def is_finite(self) -> bool:
        return bool(np.isfinite(self.losses).all())

    def in_order_of(self, positions: Integers) -> Outputs:
        """Those of images that were taken in this order, shape (N,), by their positions."""
        place = np.argsort(positions)
        parts = ("labels", "losses", "ranked", "confidences", "probabilities")
        return replace(self, **{part: getattr(self, part)[place] for part in parts})


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

    @property
    def rank(self) -> tuple[float, ...]:
        """What the best evaluation has most of: accuracy, then, as few images leave many equal, less loss."""
        accuracy, loss = self.scores["accuracy"], self.scores["loss"]
        assert accuracy is not None
        assert loss is not None
        return accuracy, -loss


@dataclass(eq=False)
class Tally:
    """Gathers what a model of so many classes says, batch by batch."""

    _classes: int
    keep_all: bool = False
    _waiting: list[tuple[Tensor, Tensor]] = field(default_factory=list, init=False)
    _waiting_images: int = field(default=0, init=False)
    _read: list[tuple[Tensor, ...]] = field(default_factory=list, init=False)

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Take in a batch of any device: logits (B, K), labels int64 (B,); both are kept, not copied."""
        self._waiting.append((logits, labels))
        self._waiting_images += len(labels)
        if self._waiting_images * self._classes >= _BLOCK_VALUES:
            self._read_waiting()

    def outputs(self) -> Outputs:
        if self._waiting:
            self._read_waiting()
        labels, losses, ranked, confidences, probabilities = (
            torch.cat(parts).numpy() for parts in zip(*self._read, strict=True)
        )
        return Outputs(labels, losses, ranked, confidences, probabilities, self._classes)

    def _read_waiting(self) -> None:
        logits, labels = (torch.cat(parts).cpu() for parts in zip(*self._waiting, strict=True))
        self._waiting.clear()
        self._waiting_images = 0
        logits = logits.float()
        probabilities = logits.softmax(dim=1)
        ranked, confidences = _rank(probabilities)
        # A copy: a part would keep the whole.
        kept = probabilities if self.keep_all else probabilities[:, :0].clone()
        losses = cross_entropy(logits, labels, reduction="none")
        self._read.append((labels, losses, ranked, confidences, kept))


def _rank(probabilities: Tensor) -> tuple[Tensor, Tensor]:
    """The most probable classes of each row and their probabilities, of equal ones the first class first."""
    classes = probabilities.topk(min(KEPT_PROBABILITIES, probabilities.shape[1])).indices
    first = probabilities.argmax(dim=1, keepdim=True)
    # `topk` takes any of equals, and of more equals than it takes perhaps not the first.
    has_first = (classes == first).any(dim=1, keepdim=True)
    classes[:, -1:] = torch.where(has_first, classes[:, -1:], first)
    classes = classes.sort(dim=1).values
    best = probabilities.gather(1, classes).sort(dim=1, descending=True, stable=True)
    return classes.gather(1, best.indices), best.values


class Pass(Protocol):
    """Images of one pass, as an `ImageBatches` gives them."""

    @property
    def pass_order(self) -> Integers | None: ...

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]: ...


def predict(
    model: nn.Module,
    split: Pass,
    view: Callable[[Tensor], Tensor],
    tally: Tally,
    *,
    batch_size: int,
    autocast: AbstractContextManager[object],
    check: Callable[[], None],
    replays: Replays[Tensor] | None = None,
) -> Outputs:
    """Run a model over a whole split, as an evaluation does: no gradients, no dropout.

    The batch size bounds memory and changes no score. `check` is called before every batch, and may raise
    to leave. In `replays`, of this model and view alone, forward passes are recorded, and replayed.
    """

    def forward(images: Tensor) -> Tensor:
        with autocast:
            logits: Tensor = model(view(images))
        return logits

    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            check()
            for images, labels in split.batches(batch_size):
                check()
                # The next replay overwrites what this one gives.
                logits = forward(images) if replays is None else replays(forward, images).clone()
                tally.add(logits, labels)
            outputs = tally.outputs()
            return outputs if split.pass_order is None else outputs.in_order_of(split.pass_order)
    finally:
        model.train(was_training)


def score(outputs: Outputs, f1: Average = "macro") -> Evaluation:
    """Measure a pass.

    What torchmetrics would add up in float32, or sort again, is added up in float64 and read from the ranks.

    Returns:
        Mean cross-entropy in nats; accuracy, top-5 (or top-K below five classes), F1 averaged over the
        classes that occur as label or prediction (micro-averaged F1 is the accuracy again), and
        expected calibration error (15 bins of equal width, Guo et al. 2017, eq. 3 and 5, and one of
        confidences of 1), all in [0, 1]; the mean and the smallest accuracy of the classes that have images;
        the area under the receiver operating characteristic of each class against all others, averaged over
        the classes that have images beside others, None where not all probabilities were kept; the confidence
        margin (C1 - C2) / C1 in [0, 1], averaged over correct and over wrong predictions, None without any.
    """
    # Not needed by a process that only prepares a run.
    from tui_datasize.training.measures import classification as measure

    f1_score, error = measure.multiclass_f1_score, measure.binary_calibration_error
    labels, predicted = torch.from_numpy(outputs.labels), torch.from_numpy(outputs.ranked[:, 0].copy())
    is_correct = predicted == labels
    first, right = outputs.confidences[:, 0].astype(np.float64), is_correct.numpy()
    # (C1 - C2) / C1 per image; C2 is 0 where there is one class.
    margins = (first - (outputs.confidences[:, 1] if outputs.confidences.shape[1] > 1 else 0.0)) / first
    found = measure.multiclass_confusion_matrix(predicted, labels, outputs.classes, validate_args=False)
    return Evaluation(
        scores={
            "loss": float(outputs.losses.mean(dtype=np.float64)),
            "accuracy": float(right.mean()),
            "f1_macro": float(f1_score(predicted, labels, outputs.classes, average=f1, validate_args=False)),
            "ece": float(
                error(torch.from_numpy(first), is_correct, ECE_BINS, norm="l1", validate_args=False)
            ),
            **_of_classes(found.numpy()),
            "auroc": _auroc(outputs),
            "top5": float((outputs.ranked[:, :_TOP] == outputs.labels[:, None]).any(axis=1).mean()),
            "margin_correct": _mean_or_none(margins[right]),
            "margin_wrong": _mean_or_none(margins[~right]),
        },
        confusion=found.numpy(),
    )


def predictions(outputs: Outputs) -> Predictions:
    """What to keep of the outputs: all classes in order, or the most probable ones, best first."""
    images, classes = outputs.probabilities.shape
    if not classes:
        return Predictions(outputs.ranked.astype(np.int32), outputs.confidences.astype(np.float16))
    in_order = np.broadcast_to(np.arange(classes, dtype=np.int32), (images, classes))
    rounded, best = outputs.probabilities.astype(np.float16), outputs.ranked[:, 0]
    # The first largest value of a row stays where it was.
    tied = np.flatnonzero(rounded.argmax(axis=1) != best)
    rounded[tied, best[tied]] = np.nextafter(rounded[tied].max(axis=1, initial=0), np.float16(2))
    return Predictions(in_order, rounded)


def _of_classes(confusion: Integers) -> dict[str, float | None]:
    """The mean and the smallest accuracy of the classes that have images."""
    images = confusion.sum(axis=1)
    own = confusion.diagonal()[images > 0] / images[images > 0]
    return {
        "balanced_accuracy": _mean_or_none(own),
        "worst_class_accuracy": float(min(own, default=math.nan)),
    }


def _auroc(outputs: Outputs) -> float | None:
    """Mean over classes of the chance that an image of it is given more of it than one of another; ties half.

    By ranks, which gives the area of all thresholds (Hanley and McNeil 1982).
    """
    areas = []
    for label, given in enumerate(outputs.probabilities.T):
        is_own = outputs.labels == label
        own, others = int(is_own.sum()), int((~is_own).sum())
        if own and others:
            _, place, counts = np.unique(given, return_inverse=True, return_counts=True)
            ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
            areas.append((ranks[is_own].sum() - own * (own + 1) / 2) / (own * others))
    return float(np.mean(areas)) if areas else None


def _mean_or_none(values: Floats) -> float | None:
    return float(values.mean()) if len(values) else None

"""Images without labels in an update: what of them is shown to the model, and the loss that they add."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from tui_datasize.experiments.augmentation import AugmentationSpec
from tui_datasize.experiments.budget import batch_images, total_updates
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.experiments.unlabelled import Unlabelled
from tui_datasize.training.accelerator.device import accelerator_of
from tui_datasize.training.arrays import ImageSplit
from tui_datasize.training.augment.pipeline import Pipeline
from tui_datasize.training.placement import HasRoom, place_images
from tui_datasize.training.streams import BatchFeed, BatchOrder, Purpose, stream


@dataclass(frozen=True, slots=True)
class UnlabelledBatch:
    """Images without labels of one update, augmented and normalised: float32, shape (N, C, H, W)."""

    learned: Tensor
    """What the gradient is of."""
    hidden: Tensor
    """Labels that nothing but the log looks at, int64, shape (N,)."""
    weight: Tensor
    """Of their loss, shape ()."""
    asked: Tensor | None = None
    """The view of each that targets are predicted of; None where that is what is learned."""

    @property
    def parts(self) -> tuple[Tensor, ...]:
        """Those that there are, in the order of the fields."""
        parts = (self.learned, self.hidden, self.weight, self.asked)
        return tuple(part for part in parts if part is not None)


@dataclass(frozen=True, slots=True)
class AddedLoss:
    """What images without labels add to an update, on the device."""

    loss: Tensor
    """Nats, or squared distance of probabilities; weighted, shape ()."""
    accepted: Tensor
    """How many had a target, float32, shape ()."""
    right: Tensor
    """How many of these targets are the hidden label, likewise."""


class Rest:
    """The images without labels of a run: `next` draws those of an update, from streams of their own."""

    def __init__(
        self,
        spec: RunSpec,
        split: ImageSplit,
        normalise: Callable[[Tensor], Tensor],
        device: torch.device,
        room: HasRoom,
    ) -> None:
        rule, self._spec, self._device = spec.unlabelled, spec, device
        self.images = place_images(split, slice(None), device, room)
        most = rule.ratio * spec.batch_size
        order = BatchOrder(
            len(split.labels), most, stream(spec.seed, Purpose.UNLABELLED_ORDER), self.images.home
        )
        self._feed = BatchFeed(self.images, order, total_updates(spec), partial(_count, spec))
        self._augmentation = stream(spec.seed, Purpose.UNLABELLED_AUGMENTATION)
        weak = weak_changes(spec.augmentation)
        learned = strong_changes(weak) if rule.method == "fixmatch" else weak
        self._weak, self._learned = (Pipeline(one, normalise, self._augmentation) for one in (weak, learned))
        self._whole = torch.tensor(rule.weight, device=device)
        self._update = 0

    def next(self) -> UnlabelledBatch:
        """Those of the next update."""
        self._update += 1
        images, hidden = self.images.batch(self._feed.next(self._update))
        learned, _ = self._learned(images, hidden)
        is_asked = self._spec.unlabelled.method != "pseudo-label"
        asked = self._weak(images, hidden)[0] if is_asked else None
        return UnlabelledBatch(learned, hidden, self._weight(), asked)

    def _weight(self) -> Tensor:
        grown = growth(self._spec.unlabelled, self._update, total_updates(self._spec))
        if grown == 1:
            return self._whole
        accelerator = accelerator_of(self._device)
        # In memory that a transfer does not wait for.
        return accelerator.send(
            accelerator.staging((), torch.float32).fill_(grown * self._spec.unlabelled.weight)
        )

    def state_dict(self) -> dict[str, Any]:
        """Order and stream, for a checkpoint."""
        return {"order": self._feed.order.state_dict(), "augmentation": self._augmentation.get_state()}

    def load_state_dict(self, state: Mapping[str, Any], update: int) -> None:
        """Continue behind the update at which it was taken."""
        self._update = update
        self._feed.load_state_dict(state["order"], update)
        self._augmentation.set_state(state["augmentation"])


def _count(spec: RunSpec, update: int) -> int:
    """Images without labels of an update."""
    return spec.unlabelled.ratio * batch_images(spec, update)


def weak_changes(augmentation: AugmentationSpec) -> AugmentationSpec:
    """Where the pixels of an image come from, and nothing else that is changed of it."""
    named = ("resized_crop", "crop_px", "crop_padding_px", "flip", "rotation_deg")
    return AugmentationSpec(**{name: getattr(augmentation, name) for name in named})


def strong_changes(weak: AugmentationSpec) -> AugmentationSpec:
    """The weak ones, then TrivialAugment and an erased rectangle, as FixMatch has RandAugment and Cutout."""
    return replace(weak, trivial_augment=True, random_erasing=1.0)


def growth(rule: Unlabelled, update: int, updates: int) -> float:
    """The share of its weight that the loss has at an update: grows in a line from 0, then 1.

    >>> [growth(Unlabelled("pseudo-label", ramp=0.4), update, 10) for update in (0, 1, 2, 4, 10)]
    [0.0, 0.25, 0.5, 1.0, 1.0]
    >>> growth(Unlabelled("fixmatch"), 1, 10)
    1.0
    """
    length = 0.0 if rule.method == "fixmatch" else rule.ramp * updates
    return min(1.0, update / length) if length else 1.0


def pseudo_labels(logits: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """The most probable classes (N,), of logits (N, K), and which are probable enough to be targets."""
    confidences, labels = logits.softmax(dim=1).max(dim=1)
    return labels, confidences >= threshold


def accepted_loss(logits: Tensor, labels: Tensor, accepted: Tensor) -> Tensor:
    """Cross-entropy in nats of the images accepted, over the number of all (Sohn et al. 2020, eq. 4)."""
    return (cross_entropy(logits, labels, reduction="none") * accepted).mean()


def consistency_loss(logits: Tensor, of_teacher: Tensor) -> Tensor:
    """Mean squared distance of the probabilities, summed over classes (their mean in the paper)."""
    return (logits.softmax(dim=1) - of_teacher.softmax(dim=1)).square().sum(dim=1).mean()


def added_loss(rule: Unlabelled, logits: Tensor, asked: Tensor, batch: UnlabelledBatch) -> AddedLoss:
    """From what the model says of what is learned, and of what was asked: float32, shape (N, K)."""
    asked = asked.detach()
    labels, accepted = pseudo_labels(asked, rule.threshold)
    if rule.method == "mean-teacher":
        accepted = torch.ones_like(accepted)
        loss = consistency_loss(logits, asked)
    else:
        loss = accepted_loss(logits, labels, accepted)
    right = accepted & (labels == batch.hidden)
    return AddedLoss(batch.weight * loss, *(one.sum(dtype=torch.float32) for one in (accepted, right)))

"""The training step: model, optimiser and random streams of one run, and what its updates measured.

Batches are vectors of positions; nothing here waits for the device.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import Any

import torch
from torch import Tensor, nn

from tui_datasize.experiments.budget import batch_images, total_updates
from tui_datasize.experiments.schedule import learning_rate_factor
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.training.accelerator.device import accelerator_of
from tui_datasize.training.arrays import ImageSplit, LoadedDataset
from tui_datasize.training.augment.mixing import Targets
from tui_datasize.training.augment.pipeline import Pipeline
from tui_datasize.training.descent import Descent
from tui_datasize.training.evaluate import Integers
from tui_datasize.training.graph import CaptureOn, Replays, capture_on
from tui_datasize.training.placement import DeviceSplit, HasRoom, ImageBatches, has_room, place_images
from tui_datasize.training.pretext import network, shown_by, similarities
from tui_datasize.training.streams import BatchFeed, BatchOrder, Purpose, stream
from tui_datasize.training.transfer import SourceWeights, take_over
from tui_datasize.training.transforms import normalisation
from tui_datasize.training.unlabelled import Rest, UnlabelledBatch, added_loss


@dataclass(frozen=True, slots=True)
class Readings:
    """Losses and gradient norms of consecutive updates, read from the device."""

    losses: tuple[float, ...]
    """What each update made smaller, nats: mean cross-entropy against the batch's targets as they
    were smoothed and mixed."""
    gradient_norms: tuple[float, ...]
    """Global, before clipping."""
    accepted: tuple[float, ...] = ()
    """How many images without labels had a target; empty where a run has none such."""
    right: tuple[float, ...] = ()
    """For how many that is the label that nobody told."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one update is made on."""

    inputs: Tensor
    """Augmented and normalised, float32, shape (B, C, H, W)."""
    targets: Targets
    rest: UnlabelledBatch | None = None
    """Images without labels, where the run learns from such."""


@dataclass(frozen=True, slots=True)
class SeenBatch:
    """What the model said of the batch of an update, before that update."""

    logits: Tensor
    """Float32, shape (B, K)."""
    labels: Tensor
    """int64, shape (B,)."""


@dataclass(frozen=True, slots=True)
class UpdateResult:
    """What an update measured, on the device."""

    measured: tuple[Tensor, ...]
    """What `Readings` has of it, in the order of its fields, each of shape ()."""
    seen: SeenBatch | None
    """Where the protocol measures it."""


@dataclass(frozen=True, slots=True)
class Beside:
    """Images that a run learns from beside those of its subset."""

    unlabelled: ImageSplit | None = None
    generated: ImageSplit | None = None
    """With labels: batches are of both alike."""
    made_s: float = 0.0
    """What it took to make these."""


_NONE_BESIDE = Beside()


class Trainer:
    """One run's training: `step` moves it by one update.

    On a GPU the updates are recorded and replayed, each as a whole. Whoever computes the gradients of
    several runs together takes the parts of a step one by one: `next_batch`, `advance`, `loss`, and,
    once the parameters have their gradients, `apply_gradients` and `note`.

    `subset` holds the indices of the training images, shape (n,), in draw order.

    Raises DataError: the images or the source do not suit the model, or images are smaller than the crop.
    """

    def __init__(
        self,
        spec: RunSpec,
        dataset: LoadedDataset,
        subset: Integers,
        device: torch.device,
        source: SourceWeights | None = None,
        capture: CaptureOn = capture_on,
        room: HasRoom = has_room,
        beside: Beside = _NONE_BESIDE,
    ) -> None:
        self._spec, self.device, self.capture = spec, device, capture
        """How its updates may be recorded; the optimiser is prepared for it."""
        self._updates = total_updates(spec)
        self._dropout = stream(spec.seed, Purpose.DROPOUT, device)
        self.model = _make_model(spec, dataset, device, self._dropout, source)
        normalise = normalisation(dataset.mean, dataset.std, device)
        self.view = normalisation(dataset.mean, dataset.std, device, spec.augmentation.crop_px)
        self.subset = place_images(dataset.train, subset, device, room, beside.generated)
        # Evaluations of the subset are of its real images.
        self.measured = self.subset.first(len(subset)) if beside.generated else self.subset
        self.batch_size, self.update = spec.batch_size, 0
        """Of the batches, and updates made."""
        self.replayed = 0
        """How many of those since this object was made were replays of a recorded one."""
        self.last_batch: SeenBatch | None = None
        """Of the last update, kept only where the protocol measures it."""
        self.autocast = accelerator_of(device).autocast(spec.precision)
        """Around each forward pass, in evaluations too."""
        self._feed = _feed(spec, self.subset)
        self.rest = Rest(spec, beside.unlabelled, normalise, device, room) if beside.unlabelled else None
        self._augmentation = stream(spec.seed, Purpose.AUGMENTATION)
        self.pipeline_of = partial(Pipeline, spec.augmentation, normalise)
        self._pipeline = self.pipeline_of(self._augmentation)
        self._shown = shown_by(spec.task, self._pipeline)
        self._replays = Replays[UpdateResult].on(device, (self._dropout,), capture)
        self._descent = Descent(self.model, spec, device if self._replays else None)
        self._unread: list[tuple[Tensor, ...]] = []

    @property
    def evaluated_model(self) -> nn.Module:
        """What evaluations measure: the average of weights where there is one."""
        average = self._descent.average
        return average.model if average else self.model

    @property
    def learning_rate(self) -> float:
        """Of the last update made, or of the first before there is one."""
        factor = learning_rate_factor(self._spec.schedule, max(0, self.update - 1), self._updates)
        return self._spec.optimizer.lr * factor

    def step(self) -> None:
        rows = self._next_rows()
        self.advance()
        if self._replays is None:
            self.note(*self._learn_from(self._batch(rows)).measured, is_replay=False)
            return
        before = self._replays.count
        learned = self._learn_recorded(rows, self._replays)
        self.last_batch = learned.seen
        # The next replay overwrites them.
        self.note(*torch.stack(learned.measured).unbind(), is_replay=self._replays.count > before)

    def next_batch(self) -> Batch:
        """Draw what the next update is made on; moves the streams of order and augmentation."""
        return self._batch(self._next_rows())

    def advance(self) -> None:
        """Begin the next update: what the host decides of it."""
        self.update += 1
        self._descent.rate.set(self.learning_rate)

    def loss(self, logits: Tensor, targets: Targets) -> Tensor:
        """What the next update makes smaller, nats, from the logits (B, K) of its batch."""
        logits = logits.float()
        if self._spec.task.name == "simclr":
            logits = similarities(logits, self._spec.task.temperature)
        if self._spec.protocol.measured == "last-batch":
            self.last_batch = SeenBatch(logits.detach(), targets.labels)
        return targets.loss(logits, self._spec.label_smoothing)

    def apply_gradients(self) -> Tensor:
        """Change weights and average by the gradients; returns their norm before clipping."""
        return self._descent.step(is_first=self.update == 1)

    def note(self, *measured: Tensor, is_replay: bool) -> None:
        """Keep what an update measured until it is read, and count those that were replays."""
        self._unread.append(measured)
        self.replayed += is_replay

    def read(self) -> Readings:
        """What was measured since the last reading; waits for the device."""
        if not self._unread:
            return Readings((), ())
        measured = torch.stack([each for update in self._unread for each in update])
        rows = measured.reshape(len(self._unread), -1).tolist()
        self._unread.clear()
        return Readings(*zip(*rows, strict=True))

    def state_dict(self) -> dict[str, Any]:
        """All that decides the further updates and evaluations, for a checkpoint.

        Keys `model` and, where weights are averaged, `ema` hold weights by the same names.
        """
        state = {
            "update": self.update,
            "model": self.model.state_dict(),
            **self._descent.state_dict(),
            "order": self._feed.order.state_dict(),
            "dropout": self._dropout.get_state(),
            "augmentation": self._augmentation.get_state(),
        }
        if self.rest:
            state["rest"] = self.rest.state_dict()
        if self.last_batch:
            state["last_batch"] = {"logits": self.last_batch.logits, "labels": self.last_batch.labels}
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken, bit for bit on the same kind of device."""
        self.update = state["update"]
        self.model.load_state_dict(state["model"])
        self._descent.load_state_dict(state)
        self._feed.load_state_dict(state["order"], self.update)
        if self.rest:
            self.rest.load_state_dict(state["rest"], self.update)
        self._dropout.set_state(state["dropout"])
        # Checkpoints made before there was augmentation are of runs without it.
        self._augmentation.set_state(state.get("augmentation", self._augmentation.get_state()))
        if "last_batch" in state:
            self.last_batch = SeenBatch(**{k: v.to(self.device) for k, v in state["last_batch"].items()})
        if self._replays:
            # The optimiser's state now stands in other tensors.
            self._replays.forget()

    def _learn_recorded(self, rows: Tensor, replays: Replays[UpdateResult]) -> UpdateResult:
        if isinstance(self.subset, DeviceSplit) and self._pipeline.is_fixed and self.rest is None:
            return replays(lambda rows: self._learn_from(self._batch(rows)), rows)
        batch = self._batch(rows)
        count, others = len(batch.targets.parts), batch.rest.parts if batch.rest else ()

        def learn(inputs: Tensor, *parts: Tensor) -> UpdateResult:
            targets, rest = parts[:count], parts[count:]
            return self._learn_from(
                Batch(inputs, Targets(*targets), UnlabelledBatch(*rest) if rest else None)
            )

        return replays(learn, batch.inputs, *batch.targets.parts, *others)

    def _learn_from(self, batch: Batch) -> UpdateResult:
        """All that the device does in an update, once its batch is there."""
        loss, counted = self._losses(batch)
        self._descent.forget_gradients()
        loss.backward()  # type: ignore[no-untyped-call]
        return UpdateResult((loss.detach(), self.apply_gradients(), *counted), self.last_batch)

    def _losses(self, batch: Batch) -> tuple[Tensor, tuple[Tensor, ...]]:
        """What the update makes smaller, and how many targets of images without labels there are, and right.

        All that is learned from goes through the model at once.
        """
        rest, answers = batch.rest, self._answers(batch.rest)
        with self.autocast:
            logits = self.model(batch.inputs if rest is None else torch.cat([batch.inputs, rest.learned]))
        if rest is None:
            return self.loss(logits, batch.targets), ()
        own, others = logits.float().split([len(batch.inputs), len(rest.learned)])
        rule = self._spec.unlabelled
        added = added_loss(rule, others, others if answers is None else answers, rest)
        return self.loss(own, batch.targets) + added.loss, (added.accepted, added.right)

    @torch.no_grad()
    def _answers(self, rest: UnlabelledBatch | None) -> Tensor | None:
        """Logits that targets are made of; None where they are those of what is learned.

        In a context of its own: what autocast keeps of the weights has no gradients.
        """
        if rest is None or rest.asked is None:
            return None
        average = self._descent.average if self._spec.unlabelled.method == "mean-teacher" else None
        teacher = average.model if average else self.model
        was_training = teacher.training
        teacher.eval()
        with self.autocast:
            logits: Tensor = teacher(rest.asked)
        teacher.train(was_training)
        return logits.float()

    def _batch(self, rows: Tensor) -> Batch:
        inputs, targets = self._shown(*self.subset.batch(rows))
        return Batch(inputs, targets, self.rest.next() if self.rest else None)

    def _next_rows(self) -> Tensor:
        """Positions within the subset of the next batch, each as often as augmentation repeats it."""
        return self._feed.next(self.update + 1)


def _feed(spec: RunSpec, images: ImageBatches) -> BatchFeed:
    draws = stream(spec.seed, Purpose.BATCH_ORDER)
    order = BatchOrder(len(images), spec.batch_size, draws, images.home)
    return BatchFeed(images, order, total_updates(spec), partial(_drawn, spec), partial(_repeated, spec))


def _drawn(spec: RunSpec, update: int) -> int:
    """Different positions among the images of an update."""
    return ceil(batch_images(spec, update) / spec.augmentation.repeats)


def _repeated(spec: RunSpec, rows: Tensor, update: int) -> Tensor:
    repeats = spec.augmentation.repeats
    if repeats == 1:
        return rows
    # One copy of all images behind the other: neighbours, which mixing pairs, are different images.
    return rows.repeat(repeats)[: batch_images(spec, update)]


def _make_model(
    spec: RunSpec,
    dataset: LoadedDataset,
    device: torch.device,
    dropout: torch.Generator,
    source: SourceWeights | None,
) -> nn.Module:
    model = network(spec, dataset, dropout, stream(spec.seed, Purpose.INITIALISATION))
    if source:
        take_over(model, source)
    placed: nn.Module = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return placed

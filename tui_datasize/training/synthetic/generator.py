"""A run's own generator: trained on the images of its subset that are trained on, then asked for images."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil, isfinite, prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tui_datasize.errors import RunFailedError
from tui_datasize.experiments.spec import OptimizerSpec, RunSpec
from tui_datasize.runlog.paths import RunPaths
from tui_datasize.runlog.writer import MetricsWriter
from tui_datasize.training import checkpoint
from tui_datasize.training.accelerator.device import accelerator_of, evaluation_batch_size
from tui_datasize.training.arrays import ImageSplit, LoadedDataset
from tui_datasize.training.build import hash_images
from tui_datasize.training.descent import build_optimizer
from tui_datasize.training.evaluate import Integers
from tui_datasize.training.placement import HasRoom, place_images
from tui_datasize.training.streams import BatchFeed, BatchOrder, Purpose, stream
from tui_datasize.training.synthetic.autoencoder import Autoencoder, bound

_SAVE_INTERVAL_S = 9.0
"""As long as of the run itself."""


@dataclass(frozen=True, slots=True)
class EpochBound:
    """Means over the images of an epoch, nats per image."""

    elbo: float
    """Log likelihood less divergence, whatever the weight of the latter."""
    divergence: float


class Generator:
    """An autoencoder in training: `train_epoch` moves it by a pass over its images, `rows` of a split.

    Streams are the run's own, so that nothing but its seed and these images decides what becomes of it.
    """

    def __init__(
        self,
        spec: RunSpec,
        dataset: LoadedDataset,
        rows: Integers,
        device: torch.device,
        room: HasRoom,
    ) -> None:
        self._rule, self._device, self.epoch = spec.synthetic, device, 0
        self._images = place_images(dataset.train, rows, device, room)
        self._batch = min(spec.batch_size, len(rows))
        self._updates = ceil(len(rows) / self._batch)
        draws = stream(spec.seed, Purpose.GENERATOR_ORDER)
        order = BatchOrder(len(rows), self._batch, draws, self._images.home)
        updates = self._rule.epochs * self._updates
        self._feed = BatchFeed(self._images, order, updates, lambda _update: self._batch)
        first_weights = stream(spec.seed, Purpose.GENERATOR_INITIALISATION)
        shape, classes = dataset.image_shape, len(dataset.class_names)
        self.model = Autoencoder(spec.synthetic, shape, classes, first_weights).to(device)
        self._noise = stream(spec.seed, Purpose.GENERATOR_NOISE, device)
        optimizer = OptimizerSpec("adamw", lr=self._rule.lr)
        self._optimizer = build_optimizer(self.model.parameters(), optimizer)

    @property
    def is_trained(self) -> bool:
        """Whether it has made all passes."""
        return self.epoch == self._rule.epochs

    def train_epoch(self) -> EpochBound:
        """One pass; waits for the device once."""
        self.epoch += 1
        first = (self.epoch - 1) * self._updates + 1
        sums = torch.stack([self._learn(first + number) for number in range(self._updates)]).mean(dim=0)
        likelihood, divergence = sums.tolist()
        return EpochBound(likelihood - divergence, divergence)

    def _learn(self, update: int) -> Tensor:
        """Make an update; mean log likelihood and divergence of its batch, shape (2,)."""
        images, labels = self._images.batch(self._feed.next(update))
        pixels = images.float().div_(255)
        noise = torch.randn((len(labels), self._rule.latent), generator=self._noise, device=self._device)
        likelihood, divergence = (one.mean() for one in bound(self.model, self._rule, pixels, labels, noise))
        self._optimizer.zero_grad()
        (self._rule.beta * divergence - likelihood).backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        return torch.stack([likelihood, divergence]).detach()

    def state_dict(self) -> dict[str, Any]:
        """All that decides further epochs; at the end the weights alone."""
        state = {"epoch": self.epoch, "model": self.model.state_dict()}
        if self.is_trained:
            return state
        return state | {
            "optimizer": self._optimizer.state_dict(),
            "order": self._feed.order.state_dict(),
            "noise": self._noise.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where it was taken."""
        self.epoch = state["epoch"]
        self.model.load_state_dict(state["model"])
        if self.is_trained:
            return
        self._optimizer.load_state_dict(state["optimizer"])
        self._feed.load_state_dict(state["order"], self.epoch * self._updates)
        self._noise.set_state(state["noise"])


def trained_generator(
    paths: RunPaths,
    generator: Generator,
    identity: Mapping[str, str],
    clock: Callable[[], float] = time.monotonic,
) -> float:
    """Train to the end, from `generator.pt` on where that is of the same images; seconds it took in all.

    An epoch is a row of `metrics.jsonl`. Who asks the process to leave, or kills it, loses seconds.

    Raises RunFailedError: the bound is no number.
    """
    state = _known(paths, identity)
    earlier_s, saved_s = (state["wall_s"] if state else 0.0), clock()
    if state:
        generator.load_state_dict(state)
    wall_s, began_s, metrics = earlier_s, saved_s, MetricsWriter(paths.metrics)
    metrics.end_torn_row()
    try:
        while not generator.is_trained:
            read = generator.train_epoch()
            if not isfinite(read.elbo):
                what = f"the generator's bound is no number at epoch {generator.epoch}"
                raise RunFailedError(what, fix="use a smaller synthetic.lr")
            wall_s = earlier_s + clock() - began_s
            values = {"elbo": read.elbo, "divergence": read.divergence}
            metrics.write("generator", 0, epoch=float(generator.epoch), wall_s=wall_s, **values)
            if generator.is_trained or clock() - saved_s >= _SAVE_INTERVAL_S:
                metrics.sync()
                checkpoint.save(paths.generator, identity, generator.state_dict() | {"wall_s": wall_s})
                saved_s = clock()
    finally:
        metrics.close()
    return wall_s


def _known(paths: RunPaths, identity: Mapping[str, str]) -> dict[str, Any] | None:
    try:
        return checkpoint.load(paths.generator, identity)
    except checkpoint.CheckpointUnfit as unfit:
        print(f"the generator starts over, its checkpoint does not fit: {unfit}", flush=True)
        return None


@torch.inference_mode()
def sample(
    generator: Generator, spec: RunSpec, wanted: Mapping[int, int], dataset: LoadedDataset
) -> ImageSplit:
    """So many images of each class, in the order of the labels: the means of their pixels, uint8."""
    labels = np.repeat([*wanted], [*wanted.values()]).astype(np.int64)
    # On the host, so that what is drawn is the same on each device.
    z = torch.randn((len(labels), spec.synthetic.latent), generator=stream(spec.seed, Purpose.GENERATED))
    images = np.empty((len(labels), *dataset.image_shape), dtype=np.uint8)
    device = next(generator.model.parameters()).device
    size = evaluation_batch_size(device, prod(dataset.image_shape))
    for start in range(0, len(labels), size):
        rows = slice(start, start + size)
        sent = (accelerator_of(device).send(one[rows]) for one in (z, torch.from_numpy(labels)))
        pixels = generator.model.decode(*sent).sigmoid().mul(255).round()
        images[rows] = pixels.to(torch.uint8).cpu().numpy()
    return ImageSplit(images, labels, hash_images(images))

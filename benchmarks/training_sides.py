"""What one side of `benchmarks.training` does and costs, and our engine as such a side."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from statistics import quantiles
from typing import Protocol

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.training_work import Work
from tui_datasize.experiments.budget import batches_per_epoch
from tui_datasize.experiments.spec import ModelSpec
from tui_datasize.training.accelerator import device as devices
from tui_datasize.training.arrays import LoadedDataset
from tui_datasize.training.engine import Trainer
from tui_datasize.training.evaluate import Integers, Tally, predict, score
from tui_datasize.training.graph import CaptureOn, capture_on
from tui_datasize.training.models import build_model
from tui_datasize.training.placement import place_images
from tui_datasize.training.streams import Purpose, stream

_CEILING_SIDE = {"cpu": 1024, "cuda": 8192}
_CEILING_S = 0.5
_COUNTED_IMAGES = 8


@dataclass(frozen=True, slots=True)
class Done:
    """What a side did when asked, and what it cost."""

    images: int
    updates: int
    loss: float
    """Mean over what was done, nats."""
    accuracy: float
    """Likewise, in [0, 1]; NaN where the side does not measure it."""
    replayed: int = 0
    """Of the updates, how many were replays of a recorded one."""
    wall_s: float = 0.0
    cpu_s: float = 0.0
    """Of the process and of the loader workers that it started and that ended."""


class Side(Protocol):
    """A way to train and to evaluate."""

    def set_up(self) -> None:
        """Prepare the process; called before each piece of work."""

    def train(self, epochs: int) -> Done:
        """Train so many further epochs."""

    def evaluate(self) -> Done:
        """Measure the whole test split."""


class EngineSide:
    """Our engine as a worker runs it: one thread on a CPU, all of a GPU.

    Args:
        work: What is trained.
        data: The images.
        subset: Indices of the training images, shape (n,).
        device: Where to train.
        seed: Training seed.
        bf16: Whether products and convolutions are in bf16; else fp32 on a CPU and tf32 on a GPU.
        capture: How updates are recorded on that device.
    """

    def __init__(
        self,
        work: Work,
        data: LoadedDataset,
        subset: Integers,
        device: torch.device,
        seed: int,
        *,
        bf16: bool,
        capture: CaptureOn = capture_on,
    ) -> None:
        self._spec = work.spec(seed, len(subset), bf16=bf16)
        self._device = device
        self._classes = len(data.class_names)
        self.set_up()
        self.trainer = Trainer(self._spec, data, subset, device, capture=capture)
        self._replayed = 0
        self._test = place_images(data.test, slice(None), device)
        self._evaluation_batch = devices.evaluation_batch_size(device, prod(data.image_shape))

    def set_up(self) -> None:
        """As a worker sets itself up."""
        devices.set_up(self._device, self._spec.precision)

    def train(self, epochs: int) -> Done:
        """Train so many further epochs."""
        for _ in range(self.updates(epochs)):
            self.trainer.step()
        return self.trained(epochs)

    def updates(self, epochs: int) -> int:
        """How many updates make so many epochs."""
        return epochs * batches_per_epoch(self._spec)

    def trained(self, epochs: int) -> Done:
        """What was done in the epochs since this was asked last."""
        losses, replayed = self.trainer.read().losses, self.trainer.replayed
        before, self._replayed = self._replayed, replayed
        images = epochs * self._spec.train_size
        return Done(images, len(losses), float(np.mean(losses)), float("nan"), replayed - before)

    def evaluate(self) -> Done:
        """Measure the test split with all scores of the record."""
        outputs = predict(
            self.trainer.evaluated_model,
            self._test,
            self.trainer.view,
            Tally(self._classes, keep_all=True),
            batch_size=self._evaluation_batch,
            autocast=self.trainer.autocast,
            check=lambda: None,
        )
        scores = score(outputs).scores
        return Done(len(outputs.labels), 0, scores["loss"] or 0.0, scores["accuracy"] or 0.0)


def timed(task: Callable[[], Done], device: torch.device) -> Done:
    """Do something, and tell what it cost."""
    _finish(device)
    wall_s, cpu_s = time.perf_counter(), _cpu_s()
    done = task()
    _finish(device)
    return replace(done, wall_s=time.perf_counter() - wall_s, cpu_s=_cpu_s() - cpu_s)


def matrix_flops(device: torch.device, *, bf16: bool) -> float:
    """FLOP/s of products of large square matrices in this process, as it is set up."""
    side = _CEILING_SIDE[device.type]
    dtype = torch.bfloat16 if bf16 else torch.float32
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    torch.mm(left, right)
    _finish(device)
    products, started_s = 0, time.perf_counter()
    while (elapsed_s := time.perf_counter() - started_s) < _CEILING_S:
        torch.mm(left, right)
        _finish(device)
        products += 1
    return 2 * side**3 * products / elapsed_s


def flops_per_image(work: Work) -> tuple[float, float]:
    """Of convolutions and matrix products alone: for training on, and for evaluating, one image."""
    generator = stream(0, Purpose.INITIALISATION)
    model = build_model(
        ModelSpec(work.model), work.image_shape, work.classes, initialisation=generator, dropout=generator
    )
    # Only shapes, no values.
    model = model.eval().to("meta")
    images = torch.zeros(_COUNTED_IMAGES, *work.image_shape, device="meta")
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        model(images)
    with FlopCounterMode(display=False) as both:
        model(images).sum().backward()
    return both.get_total_flops() / _COUNTED_IMAGES, forward.get_total_flops() / _COUNTED_IMAGES


def per_wall_s(done: Sequence[Done]) -> float:
    """Images per second of processes that began together."""
    return sum(one.images for one in done) / max(one.wall_s for one in done)


def spread(values: Sequence[float]) -> str:
    """Median and quartiles, for a table."""
    if len(values) == 1:
        return f"{values[0]:.2f}"
    low, middle, high = quantiles(values, n=4, method="inclusive")
    return f"{middle:.2f} [{low:.2f} {high:.2f}]"


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0))


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _cpu_s() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)

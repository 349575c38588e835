"""Random streams: one per run and purpose, inputs of the training loop.

A run's numbers follow from its seed alone, whatever else its process did before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor

from tui_datasize.training.accelerator.device import accelerator_of
from tui_datasize.training.evaluate import Integers
from tui_datasize.training.placement import ImageBatches

_BLOCK_BATCHES = 64


class Purpose(StrEnum):
    """What random numbers are drawn for."""

    INITIALISATION = "initialisation"
    BATCH_ORDER = "batch order"
    DROPOUT = "dropout"
    AUGMENTATION = "augmentation"
    EVALUATION_ORDER = "evaluation order"
    EVALUATION_VIEWS = "evaluation views"
    UNLABELLED_ORDER = "unlabelled order"
    UNLABELLED_AUGMENTATION = "unlabelled augmentation"
    GENERATOR_INITIALISATION = "generator initialisation"
    GENERATOR_ORDER = "generator order"
    GENERATOR_NOISE = "generator noise"
    GENERATED = "generated"


def stream(
    seed: int, purpose: Purpose, device: torch.device | str = "cpu", *, part: int | None = None
) -> torch.Generator:
    """A generator that depends on the training seed, the purpose and the kind of device alone.

    `part` is which of many streams of one purpose, for what must not depend on what was drawn before.
    """
    name = f"{seed}/{purpose}" if part is None else f"{seed}/{purpose}/{part}"
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    generator = torch.Generator(device)
    generator.manual_seed(int.from_bytes(digest, "little") >> 1)
    return generator


class BatchOrder:
    """Batches out of whole permutations of the subset, one behind the other.

    Full batches reach across epoch ends; where the subset is smaller than a batch, images repeat
    within it. Whoever wants an epoch to end with a smaller batch asks for fewer images then.

    Permutations are drawn from a CPU stream; `device` is where the indices are needed.
    """

    def __init__(
        self, images: int, batch_size: int, generator: torch.Generator, device: torch.device
    ) -> None:
        self._images = images
        self._batch_size = batch_size
        self._generator = generator
        self._pending = torch.empty(0, dtype=torch.int64, device=device)
        self._used = 0

    def next(self, size: int | None = None) -> Tensor:
        """Positions within the subset of the next batch, int64, shape (size,); None for a full one."""
        size = self._batch_size if size is None else size
        if len(self._pending) - self._used < size:
            self._refill()
        start, self._used = self._used, self._used + size
        return self._pending[start : self._used]

    def peek(self, skip: int, size: int) -> Tensor:
        """What `next` will return once `skip` more positions are used; moves nothing.

        Permutations that are drawn for it early are those that would be drawn later.
        """
        while len(self._pending) - self._used < skip + size:
            self._refill()
        return self._pending[self._used + skip : self._used + skip + size]

    def state_dict(self) -> dict[str, Any]:
        """The generator and what was drawn but not used, for a checkpoint."""
        return {"generator": self._generator.get_state(), "pending": self._pending[self._used :].cpu()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._generator.set_state(state["generator"])
        self._pending = state["pending"].to(self._pending.device)
        self._used = 0

    def _refill(self) -> None:
        """Draw many batches at once: one copy to the device for all of them."""
        missing = _BLOCK_BATCHES * self._batch_size
        epochs = -(-missing // self._images)
        drawn = [torch.randperm(self._images, generator=self._generator) for _ in range(epochs)]
        rest = self._pending[self._used :]
        self._pending = torch.cat([rest, accelerator_of(rest.device).send(torch.cat(drawn))])
        self._used = 0


@dataclass(eq=False)
class BatchFeed:
    """Which images each update is made on; those that stay in their file are announced ahead."""

    images: ImageBatches
    order: BatchOrder
    updates: int
    """Of the whole training."""
    drawn: Callable[[int], int]
    """How many different ones an update is made on."""
    shown: Callable[[Tensor, int], Tensor] = lambda rows, _update: rows
    """From these and the update to the positions of its batch."""
    _announced: int = field(default=0, init=False)
    """The last update whose images are being read."""

    def next(self, update: int) -> Tensor:
        """Positions of the images of the next update, which is this one."""
        if self.images.ahead:
            skip = 0
            for coming in range(update, min(update + self.images.ahead, self.updates) + 1):
                drawn = self.drawn(coming)
                if coming > self._announced:
                    self.images.announce(self.shown(self.order.peek(skip, drawn), coming))
                    self._announced = coming
                skip += drawn
        return self.shown(self.order.next(self.drawn(update)), update)

    def load_state_dict(self, state: Mapping[str, Any], update: int) -> None:
        """Continue with the order as it was saved after an update."""
        self.order.load_state_dict(state)
        self._announced = update


def last_batch(images: int, batch_size: int, seed: int, update: int) -> Integers:
    """Indices of the last mini-batch of a pass over a split in an order of its own.

    The images before it are not looked at: without gradients and with fixed statistics they change
    nothing. The code of Hansson, Padban and Silwer (2025) measures so: 64 of 20,800 test images.
    The order follows from the training seed and the updates made, so that an evaluation may be made again.
    """
    order = torch.randperm(images, generator=stream(seed, Purpose.EVALUATION_ORDER, part=update))
    rows: Integers = order[-(images % batch_size or min(batch_size, images)) :].numpy()
    return rows

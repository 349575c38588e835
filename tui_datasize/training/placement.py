"""Where images lie while a run uses them: whole on its device, or in their file where they are too many."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from tui_datasize.experiments.device_settings import IMAGES_SHARE
from tui_datasize.training.accelerator.device import accelerator_of
from tui_datasize.training.arrays import ImageRows, ImageSplit, Indices, JoinedRows
from tui_datasize.training.reading import ImageReader, upload

HasRoom: TypeAlias = Callable[[int, torch.device], bool]
"""Decides whether so many bytes of images are placed on a device."""


@dataclass(frozen=True, slots=True)
class DeviceSplit:
    """Images whole on the device."""

    images: Tensor
    """uint8, shape (N, C, H, W)."""
    labels: Tensor
    """int64, shape (N,)."""

    # No batch is announced: all images are there.
    ahead = 0
    pass_order = None

    @property
    def home(self) -> torch.device:
        """Where `batch` wants positions to be."""
        return self.labels.device

    @property
    def device_bytes(self) -> int:
        """What the images take of the device's memory as long as they are there."""
        return self.images.nbytes

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int) -> DeviceSplit:
        """The first so many, in the same memory."""
        return DeviceSplit(self.images[:count], self.labels[:count])

    def batch(self, positions: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Images, uint8 (B, C, H, W), and labels, int64 (B,), on the device; positions are int64 (B,)."""
        return self.images[positions], self.labels[positions]

    def announce(self, positions: Tensor) -> None:
        """Nothing to read."""

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All images and labels, `size` at a time."""
        for start in range(0, len(self), size):
            yield self.batch(slice(start, start + size))


class MappedSplit:
    """Images that stay in their file, memory-mapped, and come to the device by the batch.

    Images on a CPU are those of the latest batch alone: the next one takes their memory.
    """

    home = torch.device("cpu")
    # All images are in their file.
    device_bytes = 0

    def __init__(self, images: ImageRows, rows: Indices, host_labels: Tensor, device: torch.device) -> None:
        self._images, self._rows, self._labels = images, rows, host_labels
        self._device = device
        self._reader = ImageReader(images, device)
        self.ahead = self._reader.ahead
        """How many batches are to be announced before they are asked for."""
        is_ascending = len(rows) < 2 or bool((np.diff(rows) >= 0).all())
        self.pass_order = None if is_ascending or not self.ahead else np.argsort(rows, kind="stable")
        """Positions in the order in which a pass takes all images, that of their places in the file, where
        reading is what it may wait for; None for that of the positions."""

    def __len__(self) -> int:
        return len(self._rows)

    def first(self, count: int) -> MappedSplit:
        """The first so many, with a reader of their own."""
        return MappedSplit(self._images, self._rows[:count], self._labels[:count], self._device)

    def announce(self, positions: Tensor) -> None:
        """Tell which batch will be asked for behind those announced before."""
        self._reader.announce(self._rows[positions.numpy()])

    def batch(self, positions: Tensor | slice) -> tuple[Tensor, Tensor]:
        """As of a `DeviceSplit`."""
        return self._take(self._reader, positions if isinstance(positions, slice) else positions.numpy())

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All images, `size` at a time, in the order of a pass; leaves what is announced as it is."""
        order = np.arange(len(self)) if self.pass_order is None else self.pass_order
        parts = [order[start : start + size] for start in range(0, len(self), size)]
        reader = ImageReader(self._images, self._device)
        try:
            for number, part in enumerate(parts):
                # All of the first, then one more each time.
                for coming in parts[number + reader.ahead if number else 0 : number + reader.ahead + 1]:
                    reader.announce(self._rows[coming])
                yield self._take(reader, part)
        finally:
            reader.close()

    def _take(self, reader: ImageReader, chosen: Indices | slice) -> tuple[Tensor, Tensor]:
        labels = accelerator_of(self._device).send(self._labels[chosen])
        return reader.read(self._rows[chosen]), labels


ImageBatches: TypeAlias = DeviceSplit | MappedSplit
"""A split, or a subset of one, from which batches are taken."""


def has_room(images_bytes: int, device: torch.device) -> bool:
    """Whether images take up at most half of what is free: on a GPU, or of a CPU slot's part of memory."""
    return images_bytes <= IMAGES_SHARE * accelerator_of(device).free_bytes()


def place_images(
    split: ImageSplit,
    rows: Indices | slice,
    device: torch.device,
    room: HasRoom = has_room,
    behind: ImageSplit | None = None,
) -> ImageBatches:
    """Make the images at `rows` of a split ready for batches, in this order; `room` says where they lie.

    All those of the split `behind`, if any, follow.
    """
    chosen = np.arange(len(split.labels))[rows] if isinstance(rows, slice) else rows
    parts = [(split, chosen), *([(behind, np.arange(len(behind.labels)))] if behind else [])]
    # A copy: the arrays are read-only maps of files.
    labels = torch.from_numpy(np.concatenate([one.labels[own] for one, own in parts]))
    if not room(len(labels) * int(np.prod(split.images.shape[1:])), device):
        joined = JoinedRows(split.images, behind.images) if behind else split.images
        chosen = np.concatenate([chosen, len(split.labels) + parts[-1][1]]) if behind else chosen
        return MappedSplit(joined, chosen, labels, device)
    images = torch.empty((len(labels), *split.images.shape[1:]), dtype=torch.uint8, device=device)
    place = 0
    for one, own in parts:
        upload(one.images, own, images[place : place + len(own)])
        place += len(own)
    return DeviceSplit(images, labels.to(device))


def nowhere(images_bytes: int, device: torch.device) -> bool:  # noqa: ARG001
    """A `HasRoom` that leaves all images in their file, for where memory has run out."""
    return False


@dataclass(eq=False)
class NotedRoom:
    """A `HasRoom` that notes whether it let images onto the device."""

    _room: HasRoom
    was_given: bool = field(default=False, init=False)

    def __call__(self, images_bytes: int, device: torch.device) -> bool:
        is_given = self._room(images_bytes, device)
        self.was_given = self.was_given or is_given
        return is_given

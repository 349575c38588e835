"""Where images lie while a run uses them: whole on its device, or in their file where they are too many."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from tui_datasize.experiments.device_settings import IMAGES_SHARE
from tui_datasize.training.accelerator.device import accelerator_of
from tui_datasize.training.arrays import ImageRows, ImageSplit
from tui_datasize.training.evaluate import DeviceSplit, ImageBatches, Integers
from tui_datasize.training.reading import ImageReader, upload

HasRoom: TypeAlias = Callable[[int, torch.device], bool]
"""Decides whether so many bytes of images are placed on a device."""


class MappedSplit:
    """Images that stay in their file, memory-mapped, and come to the device by the batch.

    Images on a CPU are those of the latest batch alone: the next one takes their memory.
    """

    home = torch.device("cpu")
    # All images are in their file.
    device_bytes = 0

    def __init__(self, images: ImageRows, rows: Integers, host_labels: Tensor, device: torch.device) -> None:
        self._images = images
        self._rows = rows
        self._labels = host_labels
        self._device = device
        self._reader = ImageReader(images, device)
        self.ahead = self._reader.ahead
        is_ascending = len(rows) < 2 or bool((np.diff(rows) >= 0).all())
        self.pass_order = None if is_ascending or not self.ahead else np.argsort(rows, kind="stable")
        """That of their places in the file, where reading is what a pass may wait for."""

    def __len__(self) -> int:
        return len(self._rows)

    def announce(self, positions: Tensor) -> None:
        self._reader.announce(self._rows[positions.numpy()])

    def batch(self, positions: Tensor | slice) -> tuple[Tensor, Tensor]:
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

    def _take(self, reader: ImageReader, chosen: Integers | slice) -> tuple[Tensor, Tensor]:
        labels = accelerator_of(self._device).send(self._labels[chosen])
        return reader.read(self._rows[chosen]), labels


def has_room(images_bytes: int, device: torch.device) -> bool:
    """Whether images take up at most half of what is free: on a GPU, or of a CPU slot's part of memory."""
    return images_bytes <= IMAGES_SHARE * accelerator_of(device).free_bytes()


def place(
    split: ImageSplit, rows: Integers | slice, device: torch.device, room: HasRoom = has_room
) -> ImageBatches:
    """Make the images at `rows` of a split ready for batches, in this order; `room` says where they lie."""
    chosen = np.arange(len(split.labels))[rows] if isinstance(rows, slice) else rows
    # A copy: the arrays are read-only maps of files.
    labels = torch.from_numpy(np.array(split.labels[chosen]))
    if not room(len(chosen) * int(np.prod(split.images.shape[1:])), device):
        return MappedSplit(split.images, chosen, labels, device)
    images = torch.empty((len(chosen), *split.images.shape[1:]), dtype=torch.uint8, device=device)
    upload(split.images, chosen, images)
    return DeviceSplit(images, labels.to(device))


def nowhere(images_bytes: int, device: torch.device) -> bool:  # noqa: ARG001
    """A `HasRoom` that leaves all images in their file, for where memory has run out."""
    return False


class NotedRoom:
    """A `HasRoom` that notes whether it let images onto the device."""

    def __init__(self, room: HasRoom) -> None:
        self._room = room
        self.was_given = False

    def __call__(self, images_bytes: int, device: torch.device) -> bool:
        is_given = self._room(images_bytes, device)
        self.was_given = self.was_given or is_given
        return is_given

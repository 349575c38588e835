"""Where images lie while a run uses them: whole on its device, or in their file where they are too many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from tui_datasize.experiments.device_settings import IMAGES_SHARE
from tui_datasize.training.accelerator.choice import accelerator_of
from tui_datasize.training.arrays import ImageRows, ImageSplit
from tui_datasize.training.evaluate import DeviceSplit, ImageBatches, Integers
from tui_datasize.training.reading import upload


class Room(Protocol):
    """Decides whether so many bytes of images are placed on a device."""

    def __call__(self, images_bytes: int, device: torch.device) -> bool:
        """Whether they may."""


@dataclass(frozen=True, slots=True)
class MappedSplit:
    """Images that stay in their file, memory-mapped, and come to the device by the batch.

    Nothing waits for the device: while it works on one batch, the host reads the next.
    """

    images: ImageRows
    rows: Integers
    """Which of the images, shape (N,)."""
    host_labels: Tensor
    """int64, shape (N,), on the CPU."""
    device: torch.device

    @property
    def home(self) -> torch.device:
        """Where `batch` takes positions from: the CPU."""
        return torch.device("cpu")

    def __len__(self) -> int:
        """N, the number of images."""
        return len(self.rows)

    @property
    def device_bytes(self) -> int:
        """None: all images are in their file."""
        return 0

    def batch(self, positions: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Images and labels on the device."""
        chosen = positions if isinstance(positions, slice) else positions.numpy()
        images = torch.from_numpy(np.array(self.images[self.rows[chosen]]))
        return self._move(images), self._move(self.host_labels[positions])

    def _move(self, part: Tensor) -> Tensor:
        return accelerator_of(self.device).send(part)


def has_room(images_bytes: int, device: torch.device) -> bool:
    """Whether images take up at most half of what is free: on a GPU, or of a CPU slot's part of memory."""
    return images_bytes <= IMAGES_SHARE * accelerator_of(device).free_bytes()


def place(
    split: ImageSplit, rows: Integers | slice, device: torch.device, room: Room = has_room
) -> ImageBatches:
    """Make the images at `rows` of a split ready for batches, as they are stored.

    Args:
        split: The images.
        rows: Which of them, in which order.
        device: Where the batches are needed.
        room: Decides whether they are copied to the device as a whole.
    """
    chosen = np.arange(len(split.labels))[rows] if isinstance(rows, slice) else rows
    # A copy: the arrays are read-only maps of files.
    labels = torch.from_numpy(np.array(split.labels[chosen]))
    if not room(len(chosen) * int(np.prod(split.images.shape[1:])), device):
        return MappedSplit(split.images, chosen, labels, device)
    images = torch.empty((len(chosen), *split.images.shape[1:]), dtype=torch.uint8, device=device)
    upload(split.images, chosen, images)
    return DeviceSplit(images, labels.to(device))


def nowhere(images_bytes: int, device: torch.device) -> bool:  # noqa: ARG001
    """A `Room` that leaves all images in their file, for where memory has run out."""
    return False


class NotedRoom:
    """A `Room` that notes whether it let images onto the device.

    Args:
        room: Decides.
    """

    def __init__(self, room: Room) -> None:
        self._room = room
        self.was_given = False

    def __call__(self, images_bytes: int, device: torch.device) -> bool:
        """Whether they may be copied to it."""
        is_given = self._room(images_bytes, device)
        self.was_given = self.was_given or is_given
        return is_given

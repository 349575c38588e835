"""Images out of their file: gathered by row into memory that is used again, batches ahead of a device."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tui_datasize.training.accelerator.choice import accelerator_of
from tui_datasize.training.accelerator.interface import Accelerator, Mark
from tui_datasize.training.arrays import ImageRows, Indices, resolve
from tui_datasize.training.chunks import Images

CHUNK_BYTES = 32 * 2**20
"""Host memory through which images come to a device as a whole, both halves together."""


@dataclass(slots=True)
class _Bank:
    """Memory of the host for a batch, used again and again."""

    images: Tensor
    """uint8, shape (capacity, C, H, W)."""
    sent: Mark | None = None
    """Reached when the device has its copy; until then the memory may not be filled again."""

    def fill(self, images: Images, rows: Indices) -> Tensor:
        """Read the images at `rows` into the memory and return that part of it."""
        if self.sent is not None:
            self.sent.wait()
        part = self.images[: len(rows)]
        gather(images, rows, part.numpy())
        return part


class Reader:
    """Batches of images on a device, out of their file.

    A thread reads those that are announced before they are asked for, where a device works beside the
    host; else they are read when they are asked for, since a thread would take its time from training.
    On a CPU what is returned holds until the next batch is asked for.

    Args:
        images: In their file.
        device: Where batches are needed.
    """

    def __init__(self, images: ImageRows, device: torch.device) -> None:
        self._images = images
        self._accelerator: Accelerator = accelerator_of(device)
        self.ahead = self._accelerator.batches_ahead
        """How many batches are to be announced before they are asked for."""
        self._thread = ThreadPoolExecutor(1, "images") if self.ahead else None
        self._free: list[_Bank] = []
        self._lent: _Bank | None = None
        self._coming: deque[tuple[Indices, _Bank, Future[Tensor]]] = deque()

    def announce(self, rows: Indices) -> None:
        """Have the images at these rows read; they will be asked for behind those announced before."""
        if self._thread is not None:
            bank = self._bank(len(rows))
            read = self._thread.submit(bank.fill, *resolve(self._images, rows))
            self._coming.append((rows, bank, read))

    def read(self, rows: Indices) -> Tensor:
        """The images at these rows on the device, uint8, shape (B, C, H, W).

        Raises:
            OSError: They could not be read.
        """
        if self._lent is not None:
            self._free.append(self._lent)
            self._lent = None
        if self._drop_until(rows):
            _, bank, read = self._coming.popleft()
            part = read.result()
        else:
            bank = self._bank(len(rows))
            part = bank.fill(*resolve(self._images, rows))
        self._lent = bank
        moved = self._accelerator.send(part)
        bank.sent = self._accelerator.current_stream().mark()
        return moved

    def close(self) -> None:
        """End the thread once it has read what it is reading; nothing may be announced any more."""
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)

    def _drop_until(self, rows: Indices) -> bool:
        """Give up what was announced before these rows; False where they were not announced."""
        if not any(np.array_equal(announced, rows) for announced, _, _ in self._coming):
            return False
        while not np.array_equal(self._coming[0][0], rows):
            # What the thread has begun keeps its memory to itself.
            self._coming.popleft()[2].cancel()
        return True

    def _bank(self, images: int) -> _Bank:
        for place, bank in enumerate(self._free):
            if len(bank.images) >= images:
                return self._free.pop(place)
        self._free.clear()
        return _bank_of(self._accelerator, images, self._images)


def upload(images: ImageRows, rows: Indices, target: Tensor) -> None:
    """Fill a tensor with the images at `rows`, by ascending place in their file.

    Host memory beyond the target's own is that of one chunk, however many images there are; one half
    of it is filled while a device copies the other.

    Args:
        images: In their file.
        rows: Which of them, shape (N,).
        target: uint8, shape (N, C, H, W), on any device.
    """
    accelerator = accelerator_of(target.device)
    array, found = resolve(images, rows)
    order = np.argsort(found, kind="stable")
    size = max(1, min(len(rows), CHUNK_BYTES // 2 // int(np.prod(array.shape[1:]))))
    banks = [_bank_of(accelerator, size, array) for _ in range(2)]
    for start in range(0, len(rows), size):
        positions = order[start : start + size]
        bank = banks[0]
        banks.reverse()
        part = bank.fill(array, found[positions])
        places = accelerator.send(torch.from_numpy(positions))
        target.index_copy_(0, places, accelerator.send(part))
        bank.sent = accelerator.current_stream().mark()


def gather(images: Images, rows: Indices, out: NDArray[np.uint8]) -> None:
    """Copy the images at `rows` once, in the order of `rows`; other threads run meanwhile.

    Args:
        images: Shape (N, C, H, W).
        rows: Shape (B,), each from 0 to N - 1.
        out: Shape (B, C, H, W).

    Raises:
        IndexError: A row is none of the images.
    """
    if len(rows) and not (rows.min() >= 0 and rows.max() < len(images)):
        raise IndexError(f"expected rows from 0 to {len(images) - 1}, got {rows.min()} to {rows.max()}")
    # The rows are checked: any other mode would copy once more.
    np.take(images, rows, axis=0, out=out, mode="clip")


def _bank_of(accelerator: Accelerator, images: int, like: ImageRows) -> _Bank:
    return _Bank(accelerator.staging((images, *like.shape[1:]), torch.uint8))

"""Images out of their file: gathered by row into memory that is used again, batches ahead of a device.

What a batch costs is copying its pixels, and one core copies slower than memory allows.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tui_datasize.training.accelerator.device import accelerator_of
from tui_datasize.training.accelerator.interface import Accelerator, Mark
from tui_datasize.training.arrays import ImageRows, Indices, array_and_rows
from tui_datasize.training.build import Images

CHUNK_BYTES = 32 * 2**20
"""Host memory through which images come to a device as a whole, both halves together."""
_MOST_THREADS = 4
_PART_BYTES = 2**20
"""Fewer are not worth a thread of their own."""


@dataclass(slots=True)
class _Bank:
    """Memory of the host for a batch, used again and again."""

    images: Tensor
    """uint8, shape (capacity, C, H, W)."""
    sent: Mark | None = None
    """Reached when the device has its copy; until then the memory may not be filled again."""

    def fill(self, images: Images, rows: Indices, start: int = 0) -> Tensor:
        if self.sent is not None:
            self.sent.wait()
        part = self.images[start : start + len(rows)]
        gather(images, rows, part.numpy())
        return part


@dataclass(frozen=True, slots=True)
class _Coming:
    rows: Indices
    bank: _Bank
    parts: list[Future[Tensor]]

    def images(self) -> Tensor:
        """Wait until all of it is there."""
        for part in self.parts:
            part.result()
        return self.bank.images[: len(self.rows)]


class ImageReader:
    """Batches of images on a device, out of their file.

    Threads read those that are announced before they are asked for, where a device works beside the
    host; else they are read when they are asked for, since a thread would take its time from training.
    On a CPU what is returned holds until the next batch is asked for.
    """

    def __init__(self, images: ImageRows, device: torch.device) -> None:
        self._images = images
        self._accelerator: Accelerator = accelerator_of(device)
        self.ahead = self._accelerator.batches_ahead
        """How many batches are to be announced before they are asked for."""
        self._most_parts = min(_MOST_THREADS, len(os.sched_getaffinity(0)))
        self._threads = ThreadPoolExecutor(self._most_parts, "images") if self.ahead else None
        self._free: list[_Bank] = []
        self._lent: _Bank | None = None
        self._coming: deque[_Coming] = deque()

    def announce(self, rows: Indices) -> None:
        """Have the images at these rows read; they will be asked for behind those announced before."""
        if self._threads is not None:
            bank = self._bank(len(rows))
            array, found = array_and_rows(self._images, rows)
            parts = [
                self._threads.submit(bank.fill, array, found[start:end], start)
                for start, end in self._parts(len(rows))
            ]
            self._coming.append(_Coming(rows, bank, parts))

    def read(self, rows: Indices) -> Tensor:
        """The images at these rows on the device, uint8, shape (B, C, H, W)."""
        if self._lent is not None:
            self._free.append(self._lent)
            self._lent = None
        if self._drop_until(rows):
            coming = self._coming.popleft()
            bank, part = coming.bank, coming.images()
        else:
            bank = self._bank(len(rows))
            part = bank.fill(*array_and_rows(self._images, rows))
        self._lent = bank
        moved = self._accelerator.send(part)
        bank.sent = self._accelerator.current_stream().mark()
        return moved

    def close(self) -> None:
        """End the threads once they have read what they are reading; nothing may be announced any more."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    def _drop_until(self, rows: Indices) -> bool:
        """Give up what was announced before these rows; False where they were not announced."""
        if not any(np.array_equal(coming.rows, rows) for coming in self._coming):
            return False
        while not np.array_equal(self._coming[0].rows, rows):
            # What a thread has begun keeps its memory to itself.
            for part in self._coming.popleft().parts:
                part.cancel()
        return True

    def _parts(self, images: int) -> Iterator[tuple[int, int]]:
        worth_it = images * int(np.prod(self._images.shape[1:])) // _PART_BYTES
        count = max(1, min(self._most_parts, worth_it))
        return pairwise(images * part // count for part in range(count + 1))

    def _bank(self, images: int) -> _Bank:
        for place, bank in enumerate(self._free):
            if len(bank.images) >= images:
                return self._free.pop(place)
        self._free.clear()
        return _Bank(self._accelerator.staging((images, *self._images.shape[1:]), torch.uint8))


def upload(images: ImageRows, rows: Indices, target: Tensor) -> None:
    """Fill a tensor with the images at `rows`, by ascending place in their file.

    Host memory beyond the target's own is that of one chunk, however many images there are; one half
    of it is filled while a device copies the other. The target is uint8, shape (N, C, H, W), on any device.
    """
    accelerator = accelerator_of(target.device)
    array, found = array_and_rows(images, rows)
    order = np.argsort(found, kind="stable")
    size = max(1, min(len(rows), CHUNK_BYTES // 2 // int(np.prod(array.shape[1:]))))
    banks = [_Bank(accelerator.staging((size, *array.shape[1:]), torch.uint8)) for _ in range(2)]
    for start in range(0, len(rows), size):
        positions = order[start : start + size]
        bank = banks[0]
        banks.reverse()
        part = bank.fill(array, found[positions])
        places = accelerator.send(torch.from_numpy(positions))
        target.index_copy_(0, places, accelerator.send(part))
        bank.sent = accelerator.current_stream().mark()


def gather(images: Images, rows: Indices, out: NDArray[np.uint8]) -> None:
    """Copy the images (N, C, H, W) at `rows` once, in the order of `rows`; other threads run meanwhile.

    Raises IndexError: a row is none of the images.
    """
    if len(rows) and not (rows.min() >= 0 and rows.max() < len(images)):
        raise IndexError(f"expected rows from 0 to {len(images) - 1}, got {rows.min()} to {rows.max()}")
    # The rows are checked: any other mode would copy once more.
    np.take(images, rows, axis=0, out=out, mode="clip")

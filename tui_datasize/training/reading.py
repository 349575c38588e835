"""Images out of their file: gathered by row into memory that is used again."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tui_datasize.training.arrays import ImageRows, Indices, resolve
from tui_datasize.training.chunks import Images

CHUNK_BYTES = 32 * 2**20
"""Host memory through which images come to a device as a whole."""


def upload(images: ImageRows, rows: Indices, target: Tensor) -> None:
    """Fill a tensor with the images at `rows`, by ascending place in their file.

    Host memory beyond the target's own is that of one chunk, however many images there are.

    Args:
        images: In their file.
        rows: Which of them, shape (N,).
        target: uint8, shape (N, C, H, W), on any device.
    """
    array, found = resolve(images, rows)
    order = np.argsort(found, kind="stable")
    size = max(1, min(len(rows), CHUNK_BYTES // int(np.prod(array.shape[1:]))))
    chunk = torch.empty((size, *array.shape[1:]), dtype=torch.uint8)
    for start in range(0, len(rows), size):
        positions = order[start : start + size]
        part = chunk[: len(positions)]
        gather(array, found[positions], part.numpy())
        places = torch.from_numpy(positions).to(target.device)
        target.index_copy_(0, places, part.to(target.device))


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

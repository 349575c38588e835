"""Decoded images on disk in chunks: filled, checked by digests, and noted in a journal.

A build that was killed goes on behind the chunks whose digests still hold.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from tui_datasize.files import is_regular, parse_object, read_bounded

Images: TypeAlias = NDArray[np.uint8]
Hashes: TypeAlias = NDArray[np.uint64]
Shape: TypeAlias = tuple[int, int, int, int]
SplitName: TypeAlias = Literal["train", "test"]
Read: TypeAlias = Callable[[int, int], Images]
"""Images start .. stop - 1 of a split, shape (stop - start, C, H, W)."""

CHUNK_IMAGES = 512
_JOURNAL = "chunks.jsonl"
_MOST_BYTES = 2**28
"""Of the journal: of a thousand million images."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive images of a split, and their digest where they have been written before."""

    split: SplitName
    start: int
    stop: int
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Filled:
    """A chunk that is written."""

    chunk: Chunk
    """With the digest of its pixels."""
    counts: tuple[tuple[int, ...], ...]
    """Pixels per channel and value, shape (C, 256)."""


@dataclass(frozen=True, slots=True)
class SplitArrays:
    """The images of a split and their hashes, memory-mapped from files that hold their space."""

    images: Images
    hashes: Hashes

    @classmethod
    def reserve(cls, folder: Path, split: SplitName, shape: Shape) -> None:
        """Make the files where they are missing.

        Their disk space is taken at once: a full disk must not surface as SIGBUS.

        Raises:
            OSError: The disk is full.
        """
        for path, dtype, size in (
            (folder / f"{split}_images.npy", np.uint8, shape),
            (folder / f"{split}_hashes.npy", np.uint64, shape[:1]),
        ):
            if not path.exists():
                open_memmap(path, mode="w+", dtype=dtype, shape=size)
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)

    @classmethod
    def open(cls, folder: Path, split: SplitName) -> SplitArrays:
        """Open reserved files for writing."""
        images, hashes = (
            np.load(folder / f"{split}_{part}.npy", mmap_mode="r+") for part in ("images", "hashes")
        )
        return cls(images, hashes)

    def fill(self, chunk: Chunk, read: Read) -> Filled:
        """Write a chunk, unless what is there has its digest.

        Args:
            chunk: Which images.
            read: Called for them where they are missing or damaged.
        """
        rows = slice(chunk.start, chunk.stop)
        images = self.images[rows]
        hashes = hash_images(images) if chunk.digest else None
        if hashes is None or _digest(hashes) != chunk.digest:
            images[...] = read(chunk.start, chunk.stop)
            hashes = hash_images(images)
        self.hashes[rows] = hashes
        counts = [np.bincount(channel.reshape(-1), minlength=256) for channel in images.swapaxes(0, 1)]
        filled = Chunk(chunk.split, chunk.start, chunk.stop, _digest(hashes))
        return Filled(filled, tuple(tuple(count.tolist()) for count in counts))


class Journal:
    """The chunks that a build has written, one line each; what is torn or foreign counts as not written.

    Args:
        folder: Where the arrays are built.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _JOURNAL
        self._digests = dict(self._read())
        # Without the digest's check on resumption a line would have to reach the disk behind its chunk.
        self._file = self._path.open("a", encoding="ascii")

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._file.close()

    def chunks(self, split: SplitName, images: int) -> Sequence[Chunk]:
        """All chunks of a split, those written with their digest."""
        starts = range(0, images, CHUNK_IMAGES)
        bounds = [(start, min(start + CHUNK_IMAGES, images)) for start in starts]
        return [Chunk(split, *bound, self._digests.get((split, *bound), "")) for bound in bounds]

    def note(self, chunk: Chunk) -> None:
        """Add a chunk that is written, unless it stands there."""
        key = (chunk.split, chunk.start, chunk.stop)
        if self._digests.get(key) == chunk.digest:
            return
        self._digests[key] = chunk.digest
        self._file.write(json.dumps(asdict(chunk)) + "\n")
        self._file.flush()

    def _read(self) -> Iterator[tuple[tuple[Any, ...], str]]:
        if not is_regular(self._path):
            return
        for line in read_bounded(self._path, _MOST_BYTES).split(b"\n")[:-1]:
            try:
                chunk = Chunk(**parse_object(line))
            except (ValueError, TypeError):
                continue
            yield (chunk.split, chunk.start, chunk.stop), chunk.digest


def hash_images(images: Images) -> Hashes:
    """First 64 bits of the BLAKE2b digest of each image's pixels, shape (N,)."""
    digests = b"".join(hashlib.blake2b(image.tobytes(), digest_size=8).digest() for image in images)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def _digest(hashes: Hashes) -> str:
    return hashlib.blake2b(hashes.tobytes(), digest_size=8).hexdigest()

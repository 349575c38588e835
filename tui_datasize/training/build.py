"""Building the arrays of a data set: chunk by chunk, telling its progress, going on where it was killed.

A build that was killed goes on behind the chunks whose digests in the journal still hold.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from tui_datasize.files import is_regular, known_object, parse_object, read_bounded
from tui_datasize.runlog.atomic import rename, sync_directory, write_json
from tui_datasize.training.twins import SIDE, Thumbnails, find_twins, thumbnails

Images: TypeAlias = NDArray[np.uint8]
Hashes: TypeAlias = NDArray[np.uint64]
Shape: TypeAlias = tuple[int, int, int, int]
SplitName: TypeAlias = Literal["train", "test"]
Read: TypeAlias = Callable[[int, int], Images]
"""Images start .. stop - 1 of a split, shape (stop - start, C, H, W)."""

CHUNK_IMAGES = 512
_THUMBNAILS = "thumbnails.npy"
_MOST_TWINS = 20_000
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
    thumbnails: Thumbnails | None = None
    """Where image files are compared with one another."""

    @classmethod
    def reserve(cls, folder: Path, split: SplitName, shape: Shape, *, has_names: bool) -> None:
        """Make the files where they are missing; those of images with names have thumbnails beside.

        Their disk space is taken at once: a full disk must not surface as SIGBUS.
        """
        for path, dtype, size in (
            (folder / f"{split}_images.npy", np.uint8, shape),
            (folder / f"{split}_hashes.npy", np.uint64, shape[:1]),
            *([(folder / f"{split}_{_THUMBNAILS}", np.uint8, (shape[0], SIDE, SIDE))] if has_names else []),
        ):
            if not path.exists():
                open_memmap(path, mode="w+", dtype=dtype, shape=size)
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)

    @classmethod
    def open(cls, folder: Path, split: SplitName) -> SplitArrays:
        images, hashes = (
            np.load(folder / f"{split}_{part}.npy", mmap_mode="r+") for part in ("images", "hashes")
        )
        small = folder / f"{split}_{_THUMBNAILS}"
        return cls(images, hashes, np.load(small, mmap_mode="r+") if small.is_file() else None)

    def fill(self, chunk: Chunk, read: Read) -> Filled:
        """Write a chunk, unless what is there has its digest."""
        rows = slice(chunk.start, chunk.stop)
        images = self.images[rows]
        hashes = hash_images(images) if chunk.digest else None
        if hashes is None or _digest(hashes) != chunk.digest:
            images[...] = read(chunk.start, chunk.stop)
            hashes = hash_images(images)
        self.hashes[rows] = hashes
        if self.thumbnails is not None:
            self.thumbnails[rows] = thumbnails(images)
        counts = [np.bincount(channel.reshape(-1), minlength=256) for channel in images.swapaxes(0, 1)]
        filled = Chunk(chunk.split, chunk.start, chunk.stop, _digest(hashes))
        return Filled(filled, tuple(tuple(count.tolist()) for count in counts))


class Journal:
    """The chunks that a build has written, one line each; what is torn or foreign counts as not written."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "chunks.jsonl"
        self._digests = dict(self._read())
        # Without the digest's check on resumption a line would have to reach the disk behind its chunk.
        self._file = self._path.open("a", encoding="ascii")

    def close(self) -> None:
        self._file.close()

    def chunks(self, split: SplitName, images: int) -> Sequence[Chunk]:
        """All chunks of a split, those written with their digest."""
        starts = range(0, images, CHUNK_IMAGES)
        bounds = [(start, min(start + CHUNK_IMAGES, images)) for start in starts]
        return [Chunk(split, *bound, self._digests.get((split, *bound), "")) for bound in bounds]

    def note(self, chunk: Chunk) -> None:
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


def _digest(values: NDArray[Any]) -> str:
    return hashlib.blake2b(values.tobytes(), digest_size=8).hexdigest()


Labels: TypeAlias = NDArray[np.int64]
Fill: TypeAlias = Callable[[Path, Sequence[Chunk]], Iterator[Filled]]
"""Writes chunks of the arrays in a folder, and yields each when it is done."""

SPLITS: tuple[SplitName, ...] = ("train", "test")
_PLAN = "plan.json"
_BAR_WIDTH = 20
_TELLING_INTERVAL_S = 5.0


@dataclass(frozen=True, slots=True)
class SplitSource:
    """Where the images of one split come from."""

    shape: Shape
    """N, C, H, W."""
    labels: Labels
    """Shape (N,), values 0 .. K - 1."""
    read: Read

    @classmethod
    def of_array(cls, images: Images, labels: Labels) -> SplitSource:
        """Images that are decoded already: shape (N, C, H, W)."""
        count, channels, height, width = images.shape
        return cls((count, channels, height, width), labels, lambda start, stop: images[start:stop])


@dataclass(frozen=True, slots=True)
class DatasetSource:
    """Where a data set comes from."""

    train: SplitSource
    test: SplitSource
    class_names: tuple[str, ...]
    mean: tuple[float, ...] | None = None
    """Published statistics; None computes both over the full training set."""
    std: tuple[float, ...] | None = None
    fill: Fill | None = None
    """How to write chunks in another way than reading them one after the other."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What else is to be told of the images in `dataset.json`."""
    names: Sequence[str] = ()
    """Of the images, those for training first, where they are to be told apart by name."""

    @property
    def splits(self) -> Mapping[SplitName, SplitSource]:
        return {"train": self.train, "test": self.test}

    def fill_chunks(self, folder: Path, chunks: Sequence[Chunk]) -> Iterator[Filled]:
        if self.fill is not None:
            yield from self.fill(folder, chunks)
            return
        for name, split in self.splits.items():
            arrays = SplitArrays.open(folder, name)
            for chunk in chunks:
                if chunk.split == name:
                    yield arrays.fill(chunk, split.read)


def build(directory: Path, source: DatasetSource) -> None:
    """Write all arrays into a folder beside `directory`, then rename it: whole or not there.

    A folder that a killed process left is gone on with.

    Raises DataError: an image cannot be decoded.
    Raises OSError: the disk is full or read-only.
    """
    partial = directory.with_name(f".{directory.name}.partial")
    # What two builds must have in common for one to go on where the other was left.
    plan = {
        name: {"shape": list(split.shape), "labels": _digest(split.labels)}
        for name, split in source.splits.items()
    }
    if known_object(partial / _PLAN) != plan:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        write_json(partial / _PLAN, plan)
    try:
        _write(partial, source)
        sync_directory(partial)
        rename(partial, directory)
    # Not for a request to leave: what is decoded by then is kept for the next attempt.
    except Exception:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _write(folder: Path, source: DatasetSource) -> None:
    for name, split in source.splits.items():
        SplitArrays.reserve(folder, name, split.shape, has_names=bool(source.names))
        np.save(folder / f"{name}_labels.npy", split.labels)
    counts = _fill(folder, source)
    digest = hashlib.blake2b(digest_size=8)
    for name, split in source.splits.items():
        hashes = SplitArrays.open(folder, name).hashes
        for part in (np.asarray(split.shape), hashes, split.labels):
            digest.update(part.tobytes())
    if rules := source.facts.get("images", {}).get("rules"):
        digest.update(f"rules {rules}".encode())
    mean, std = (source.mean, source.std) if source.mean and source.std else _statistics(counts)
    facts = {"class_names": source.class_names, "mean": mean, "std": std, "fingerprint": digest.hexdigest()}
    twins = _twins(folder, source.names) if source.names else {}
    write_json(folder / "dataset.json", facts | dict(source.facts) | {"twins": twins})
    for path in folder.glob("*.npy"):
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _twins(folder: Path, names: Sequence[str]) -> dict[str, tuple[str, str, int]]:
    """By row of a training image its name, and name and row of a test image that looks like it.

    Those with the same pixels are found by their hashes. The thumbnails are not kept.
    """
    train, test = (SplitArrays.open(folder, name) for name in SPLITS)
    if train.thumbnails is None or test.thumbnails is None:
        return {}
    first = len(train.hashes)
    twins = {
        str(row): (names[row], names[first + other], other)
        for row, other in find_twins(train.thumbnails, test.thumbnails).items()
        if train.hashes[row] != test.hashes[other]
    }
    for name in SPLITS:
        (folder / f"{name}_{_THUMBNAILS}").unlink()
    return dict(islice(twins.items(), _MOST_TWINS))


def _fill(folder: Path, source: DatasetSource) -> NDArray[np.int64]:
    """Write all chunks; pixels of the training images per channel and value, shape (C, 256)."""
    counts = np.zeros((source.train.shape[1], 256), dtype=np.int64)
    with closing(Journal(folder)) as journal:
        chunks = [
            chunk for name, split in source.splits.items() for chunk in journal.chunks(name, split.shape[0])
        ]
        progress = Progress(sum(chunk.stop - chunk.start for chunk in chunks))
        with closing(source.fill_chunks(folder, chunks)) as filled:  # type: ignore[type-var]
            for done in filled:
                chunk = done.chunk
                journal.note(chunk)
                progress.add(chunk.stop - chunk.start)
                if chunk.split == "train":
                    counts += done.counts
    return counts


class Progress:
    """Tells every few seconds how many images are decoded, and how long the rest will take."""

    def __init__(self, images: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._images = images
        self._done = 0
        self._clock = clock
        self._started_s = self._told_s = clock()

    def add(self, images: int) -> None:
        self._done += images
        now_s = self._clock()
        if now_s - self._told_s < _TELLING_INTERVAL_S:
            return
        self._told_s = now_s
        left_s = (now_s - self._started_s) / self._done * (self._images - self._done)
        left = f"{left_s / 60:.0f} min" if left_s >= 90 else f"{left_s:.0f} s"
        bar = ("━" * int(_BAR_WIDTH * self._done / self._images)).ljust(_BAR_WIDTH, "─")
        print(f"decoding {bar} {self._done:,} of {self._images:,} images, {left} left", flush=True)


def _statistics(counts: NDArray[np.int64]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel, exact: from how often each of the 256 values occurs."""
    values = np.arange(256) / 255
    pixels = counts.sum(axis=1)
    mean = counts @ values / pixels
    std = np.sqrt(((values - mean[:, None]) ** 2 * counts).sum(axis=1) / pixels)
    return tuple(mean.tolist()), tuple(np.where(std > 0, std, 1.0).tolist())

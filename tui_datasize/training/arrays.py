"""Decoded images on disk: built once, memory-mapped by every worker after that.

A worker that finds them imports neither Pillow nor torchvision nor scikit-learn.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from tui_datasize.errors import DataError
from tui_datasize.runlog.atomic import sync_directory, write_json

Images: TypeAlias = NDArray[np.uint8]
Labels: TypeAlias = NDArray[np.int64]
Hashes: TypeAlias = NDArray[np.uint64]
Shape: TypeAlias = tuple[int, int, int, int]

FORMAT = 1
_SPLITS = ("train", "test")
_CHUNK_IMAGES = 4096


@dataclass(frozen=True, slots=True)
class ImageSplit:
    """The images of one split, memory-mapped and read-only."""

    images: Images
    """Shape (N, C, H, W), values 0 .. 255."""
    labels: Labels
    """Shape (N,), values 0 .. K - 1."""
    hashes: Hashes
    """Shape (N,): first 64 bits of the BLAKE2b digest of each image's pixels."""


@dataclass(frozen=True, slots=True)
class LoadedDataset:
    """A whole data set, decoded."""

    name: str
    train: ImageSplit
    test: ImageSplit
    class_names: tuple[str, ...]
    """Position is the label."""
    mean: tuple[float, ...]
    """Per channel, of pixels scaled to [0, 1]."""
    std: tuple[float, ...]
    """Per channel, of pixels scaled to [0, 1]; 1 for a channel that is the same everywhere."""
    fingerprint: str
    """16 hexadecimal digits that change with any pixel or label."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width


@dataclass(frozen=True, slots=True)
class SplitSource:
    """Where the images of one split come from."""

    shape: Shape
    labels: Labels
    fill: Callable[[Images], None]
    """Writes all images into an array of the given shape."""

    @classmethod
    def of_array(cls, images: Images, labels: Labels) -> SplitSource:
        """Images that are decoded already: shape (N, C, H, W)."""
        count, channels, height, width = images.shape
        return cls((count, channels, height, width), labels, lambda out: np.copyto(out, images))


@dataclass(frozen=True, slots=True)
class Source:
    """Where a data set comes from."""

    train: SplitSource
    test: SplitSource
    class_names: tuple[str, ...]
    mean: tuple[float, ...] | None = None
    """Published statistics; None computes both over the full training set."""
    std: tuple[float, ...] | None = None


def cached(name: str, directory: Path, source: Callable[[], Source]) -> LoadedDataset:
    """Open the arrays of a data set, building them first where they are missing.

    Args:
        name: Name of the data set.
        directory: Where its arrays lie or shall lie.
        source: Finds, downloads or lists the images; called in one process at a time.

    Raises:
        DataError: The images cannot be had, or the arrays are damaged.
        OSError: The directory cannot be written.
    """
    if not directory.is_dir():
        directory.parent.mkdir(parents=True, exist_ok=True)
        with _one_process_at_a_time(directory.with_name(f".{directory.name}.lock")):
            if not directory.is_dir():
                _build(directory, source())
    try:
        return _open(name, directory)
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise DataError(
            f"the decoded images of {name} are damaged ({error})",
            where=str(directory),
            fix="delete this folder and retry",
        ) from error


@contextmanager
def _one_process_at_a_time(lock: Path) -> Iterator[None]:
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _open(name: str, directory: Path) -> LoadedDataset:
    facts = json.loads((directory / "dataset.json").read_bytes())
    train, test = (
        ImageSplit(
            *(
                np.load(directory / f"{split}_{part}.npy", mmap_mode="r")
                for part in ("images", "labels", "hashes")
            )
        )
        for split in _SPLITS
    )
    return LoadedDataset(
        name=name,
        train=train,
        test=test,
        class_names=tuple(facts["class_names"]),
        mean=tuple(facts["mean"]),
        std=tuple(facts["std"]),
        fingerprint=facts["fingerprint"],
    )


def _build(directory: Path, source: Source) -> None:
    """Write all arrays into a folder beside `directory`, then rename it: whole or not there."""
    partial = directory.with_name(f".{directory.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        facts = _write(partial, source)
        write_json(partial / "dataset.json", facts)
        partial.rename(directory)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    sync_directory(directory.parent)


def _write(folder: Path, source: Source) -> dict[str, Any]:
    digest = hashlib.blake2b(digest_size=8)
    mean, std = source.mean, source.std
    for name, split in zip(_SPLITS, (source.train, source.test), strict=True):
        images = _reserve(folder / f"{name}_images.npy", split.shape)
        split.fill(images)
        images.flush()
        hashes = _hash_images(images)
        _save(folder / f"{name}_labels.npy", split.labels)
        _save(folder / f"{name}_hashes.npy", hashes)
        for part in (np.asarray(split.shape), hashes, split.labels):
            digest.update(part.tobytes())
        if name == "train" and (mean is None or std is None):
            mean, std = _statistics(images)
    return {
        "class_names": source.class_names,
        "mean": mean,
        "std": std,
        "fingerprint": digest.hexdigest(),
    }


def _reserve(path: Path, shape: Shape) -> np.memmap[Any, np.dtype[np.uint8]]:
    """A memory-mapped array whose disk space is taken: a full disk must not surface as SIGBUS."""
    images = open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return images


def _save(path: Path, array: NDArray[Any]) -> None:
    with path.open("wb") as file:
        np.save(file, array)
        file.flush()
        os.fsync(file.fileno())


def _hash_images(images: Images) -> Hashes:
    digests = b"".join(hashlib.blake2b(image.tobytes(), digest_size=8).digest() for image in images)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def _statistics(images: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel, exact: from counts of the 256 values."""
    counts = np.zeros((images.shape[1], 256), dtype=np.int64)
    for start in range(0, len(images), _CHUNK_IMAGES):
        chunk = images[start : start + _CHUNK_IMAGES]
        for channel, total in enumerate(counts):
            total += np.bincount(chunk[:, channel].reshape(-1), minlength=256)
    values = np.arange(256) / 255
    pixels = counts.sum(axis=1)
    mean = counts @ values / pixels
    std = np.sqrt(((values - mean[:, None]) ** 2 * counts).sum(axis=1) / pixels)
    return tuple(mean.tolist()), tuple(np.where(std > 0, std, 1.0).tolist())

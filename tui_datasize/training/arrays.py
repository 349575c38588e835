"""Decoded images on disk: built once, memory-mapped by every worker after that.

A worker that finds them imports neither Pillow nor torchvision nor scikit-learn.
"""

from __future__ import annotations

import errno
import fcntl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tui_datasize.errors import DataError
from tui_datasize.files import is_regular, open_regular, read_object
from tui_datasize.training.build import SPLITS, DatasetSource, Hashes, Images, Labels, build

Indices: TypeAlias = NDArray[np.int64]

FORMAT = 1
UNKNOWN = -1
"""In place of the label of an image of which nobody knows it."""


@dataclass(frozen=True, slots=True)
class ChosenRows:
    """Some rows of an array in an order of their own; only those asked for are copied."""

    array: ImageRows
    rows: Indices

    @property
    def shape(self) -> tuple[int, ...]:
        """N, C, H, W."""
        return (len(self.rows), *self.array.shape[1:])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: Indices | slice) -> Images:
        """The images at these, shape (n, C, H, W)."""
        chosen: Images = self.array[self.rows[rows]]
        return chosen


@dataclass(frozen=True, slots=True)
class JoinedRows:
    """The images of one array, then those of another of the same shape; only those asked for are copied."""

    first: ImageRows
    second: ImageRows

    @property
    def shape(self) -> tuple[int, ...]:
        """N, C, H, W."""
        return (len(self), *self.first.shape[1:])

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def __getitem__(self, rows: Indices | slice) -> Images:
        """The images at these, shape (n, C, H, W)."""
        chosen = np.arange(len(self))[rows] if isinstance(rows, slice) else rows
        images = np.empty((len(chosen), *self.shape[1:]), dtype=np.uint8)
        is_second = chosen >= len(self.first)
        images[~is_second] = self.first[chosen[~is_second]]
        images[is_second] = self.second[chosen[is_second] - len(self.first)]
        return images


ImageRows: TypeAlias = Images | ChosenRows | JoinedRows
"""Images that are read by row: an array, some rows of one, or those of two."""


def array_and_rows(images: ImageRows, rows: Indices) -> tuple[Images, Indices]:
    """The array behind images, and where in it their `rows` are; of two, what is asked for is copied."""
    while isinstance(images, ChosenRows):
        rows, images = images.rows[rows], images.array
    if isinstance(images, JoinedRows):
        return images[rows], np.arange(len(rows))
    return np.asarray(images), rows


@dataclass(frozen=True, slots=True)
class ImageSplit:
    """The images of one split, memory-mapped and read-only, or some of them."""

    images: ImageRows
    """Shape (N, C, H, W), values 0 .. 255."""
    labels: Labels
    """Shape (N,), values 0 .. K - 1, or `UNKNOWN`."""
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
    images: Mapping[str, Any] = field(default_factory=dict)
    """How image files were listed and decoded, as `dataset.json` tells it; empty for others."""
    twins: Mapping[int, tuple[str, str, int]] = field(default_factory=dict)
    """By row of a training image its file, and file and row of a test image that looks almost like it."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        _, channels, height, width = self.train.images.shape
        return channels, height, width


def cached(name: str, directory: Path, source: Callable[[], DatasetSource]) -> LoadedDataset:
    """Open the arrays of a data set, building them first where they are missing.

    What `source` does to find, download or list the images is done in one process at a time.

    Raises DataError: the images cannot be had, or the arrays are damaged.
    Raises OSError: the directory cannot be written.
    """
    if not directory.is_dir():
        directory.parent.mkdir(parents=True, exist_ok=True)
        with _one_process_at_a_time(directory.with_name(f".{directory.name}.lock")):
            if not directory.is_dir():
                build(directory, source())
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
    with open_regular(lock, "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another process that builds {lock.name[1:-5]}", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _open(name: str, directory: Path) -> LoadedDataset:
    facts = read_object(directory / "dataset.json")
    train, test = (
        ImageSplit(*(_mapped(directory / f"{split}_{part}.npy") for part in ("images", "labels", "hashes")))
        for split in SPLITS
    )
    return LoadedDataset(
        name=name,
        train=train,
        test=test,
        class_names=tuple(facts["class_names"]),
        mean=tuple(facts["mean"]),
        std=tuple(facts["std"]),
        fingerprint=facts["fingerprint"],
        images=facts.get("images", {}),
        twins={int(row): tuple(twin) for row, twin in facts.get("twins", {}).items()},
    )


def _mapped(file: Path) -> NDArray[Any]:
    # NumPy would wait for a pipe.
    if not is_regular(file):
        raise FileNotFoundError(errno.ENOENT, "no such file", str(file))
    array: NDArray[Any] = np.load(file, mmap_mode="r")
    return array

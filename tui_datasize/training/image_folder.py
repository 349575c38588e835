"""Image folders: `train/CLASS/` and `test/CLASS/` or `val/CLASS/`, listed, then decoded with Pillow."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tui_datasize.experiments.catalogue import (
    image_files,
    image_folder,
    matching_classes,
    refuse_empty,
    tested_classes,
)
from tui_datasize.training.build import DatasetSource, SplitSource
from tui_datasize.training.decoders import FileFiller
from tui_datasize.training.decoding_process import Form, common_form, read_files


@dataclass(frozen=True, slots=True)
class FileSplit:
    """The files of one split, none of them opened."""

    files: tuple[str, ...]
    labels: NDArray[np.int64]
    """Shape (N,)."""


@dataclass(frozen=True, slots=True)
class FolderListing:
    """The files of an image folder, none of them opened."""

    train: FileSplit
    test: FileSplit
    class_names: tuple[str, ...]
    key: str
    """Digest of path, file names, sizes and modification times: the name of its cache."""


def list_folder(name: str, data_dir: Path) -> FolderListing:
    """List the images of `imagefolder:PATH`, class by class in name order.

    Raises DataError: the folder is missing, has no images, or its splits differ in classes.
    """
    digest = hashlib.blake2b(digest_size=8)
    classes = matching_classes(image_folder(name, data_dir))
    files = [[image_files(folder) for folder in split] for split in classes]
    train_images, test_images = ([len(entries) for entries in split] for split in files)
    refuse_empty(classes[0], train_images, classes[1], test_images)
    train, test = (file_split(split, digest) for split in files)
    return FolderListing(train, test, tuple(folder.name for folder in classes[0]), digest.hexdigest())


def list_tests(name: str, data_dir: Path) -> FolderListing:
    """List the images of a folder that are measured on alone: of `test/`, `val/`, or the folder itself.

    Raises DataError: it is missing or has no images.
    """
    digest = hashlib.blake2b(digest_size=8)
    classes = tested_classes(image_folder(name, data_dir))
    test = file_split([image_files(folder) for folder in classes], digest)
    refuse_empty((), (), classes, (len(test.files),))
    # Arrays have a part for training, which is never looked at.
    first = FileSplit(test.files[:1], test.labels[:1])
    return FolderListing(first, test, tuple(folder.name for folder in classes), digest.hexdigest())


def file_split(
    classes: Sequence[Iterable[os.DirEntry[str]]], digest: hashlib.blake2b | None = None
) -> FileSplit:
    """Files of a split by label; `digest` takes in the path, size and modification time of each."""
    files: list[str] = []
    counts = []
    for entries in classes:
        before = len(files)
        for entry in entries:
            files.append(entry.path)
            if digest is not None:
                status = entry.stat()
                line = f"{entry.path}\0{status.st_size}\0{status.st_mtime_ns}\n"
                digest.update(line.encode(errors="surrogateescape"))
        counts.append(len(files) - before)
    return FileSplit(tuple(files), np.repeat(np.arange(len(counts), dtype=np.int64), counts))


def folder_source(
    listing: FolderListing, image_px: int, shape: tuple[int, int, int] | None = None
) -> DatasetSource:
    """How the arrays of a listed folder are filled; decoding waits until they are.

    `image_px` is the side to which images are resized and cropped; 0 where all have one size. `shape`, of
    channels, height and width, is that of other images that these are to be like, resized where it is square.

    Raises DataError: a header cannot be read, or has more than 8 bits a channel.
    """
    files = (*listing.train.files, *listing.test.files)
    print(f"decoding {len(files):,} images below {Path(files[0]).parents[2]}", flush=True)
    form = Form(*shape, shape[1] == shape[2], files[0]) if shape else common_form(files, image_px)
    return DatasetSource(
        train=_split_source(listing.train, form),
        test=_split_source(listing.test, form),
        class_names=listing.class_names,
        fill=FileFiller({"train": listing.train.files, "test": listing.test.files}, form),
    )


def _split_source(split: FileSplit, form: Form) -> SplitSource:
    shape = (len(split.files), form.channels, form.height_px, form.width_px)
    return SplitSource(shape, split.labels, lambda start, stop: read_files(split.files[start:stop], form))

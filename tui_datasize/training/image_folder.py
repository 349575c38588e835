"""Image folders: their files as training needs them, then decoded with Pillow."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tui_datasize.experiments.catalogue import seen, walked
from tui_datasize.experiments.images.reading import FIRST_RULES, ImageReading
from tui_datasize.experiments.images.walk import Listing, Role
from tui_datasize.text import visible
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
    listing: Listing | None = None
    """What is behind it, where its rules are not the first."""


def list_folder(name: str, data_dir: Path, reading: ImageReading) -> FolderListing:
    """List the images of `imagefolder:PATH`, class by class in name order.

    Raises DataError: the folder is missing, has no images, or its splits differ in classes.
    """
    return _listed(walked(name, data_dir, reading), reading)


def list_others(name: str, data_dir: Path, reading: ImageReading, role: Role) -> FolderListing:
    """List the images of a folder that is no data set of its own, as test images.

    Raises DataError: it is missing or has no images.
    """
    return _listed(walked(name, data_dir, reading, role), reading)


def _listed(listing: Listing, reading: ImageReading) -> FolderListing:
    digest = hashlib.blake2b(digest_size=8)
    if reading.rules == FIRST_RULES:
        train, test = (file_split(split, digest) for split in (listing.train, listing.test))
    else:
        train, test = (file_split(split) for split in (listing.train, listing.test))
        digest.update(repr((listing.folder, reading.listing, reading.background, listing.keys)).encode())
    if not train.files:
        # Arrays have a part for training, which is never looked at.
        train = FileSplit(test.files[:1], test.labels[:1])
    kept = None if reading.rules == FIRST_RULES else listing
    return FolderListing(train, test, listing.class_names, digest.hexdigest(), kept)


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
    """How the arrays of a listed folder are filled by the first rules; decoding waits until they are.

    `image_px` is the side to which images are resized and cropped; 0 where all have one size. `shape`, of
    channels, height and width, is that of other images that these are to be like, resized where it is square.

    Raises DataError: a header cannot be read, or has more than 8 bits a channel.
    """
    files = (*listing.train.files, *listing.test.files)
    form = Form(*shape, shape[1] == shape[2], files[0]) if shape else common_form(files, image_px)
    return _source(listing, form)


def seen_source(
    listing: FolderListing,
    data_dir: Path,
    reading: ImageReading,
    image_px: int,
    shape: tuple[int, int, int] | None = None,
) -> DatasetSource:
    """The same by the newest rules.

    Raises DataError: some images are bad, and none is skipped.
    """
    if listing.listing is None:
        return folder_source(listing, image_px, shape)
    found = seen(listing.listing, data_dir, reading)
    kept = replace(_listed(found.listing, reading), key=listing.key)
    first = found.headers[0]
    width_px, height_px = (image_px, image_px) if image_px else (first.width_px, first.height_px)
    as_it_is = (3 if found.has_colour else 1, height_px, width_px)
    form = Form(
        *(shape or as_it_is),
        resize=shape[1] == shape[2] if shape else image_px > 0,
        example=kept.train.files[0],
        rules=reading.rules,
        background=reading.background,
        most_megapixels=reading.most_megapixels,
        whites=found.whites,
    )
    for clause in found.told:
        print(clause, flush=True)
    files = (*kept.train.files, *kept.test.files)
    names = [found.listing.named(file) for file in files]
    return replace(_source(kept, form), facts={"images": found.facts}, names=names)


def _source(listing: FolderListing, form: Form) -> DatasetSource:
    files = (*listing.train.files, *listing.test.files)
    print(visible(f"decoding {len(files):,} images below {os.path.commonpath(files)}"), flush=True)
    return DatasetSource(
        train=_split_source(listing.train, form),
        test=_split_source(listing.test, form),
        class_names=listing.class_names,
        fill=FileFiller({"train": listing.train.files, "test": listing.test.files}, form),
    )


def _split_source(split: FileSplit, form: Form) -> SplitSource:
    shape = (len(split.files), form.channels, form.height_px, form.width_px)
    return SplitSource(shape, split.labels, lambda start, stop: read_files(split.files[start:stop], form))

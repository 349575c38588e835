"""Image folders: `train/CLASS/` and `test/CLASS/` or `val/CLASS/`, decoded with Pillow."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tui_datasize.errors import DataError
from tui_datasize.experiments.catalogue import (
    class_folders,
    dataset_info,
    image_files,
    image_folder,
    split_folders,
)
from tui_datasize.training.arrays import Images, Source, SplitSource

_GREY_MODES = frozenset({"1", "L", "LA"})
_WIDE_MODES = frozenset({"I", "F", "I;16", "I;16B", "I;16L", "I;16N"})


@dataclass(frozen=True, slots=True)
class FolderListing:
    """The files of an image folder, none of them opened."""

    train: tuple[Path, ...]
    test: tuple[Path, ...]
    class_names: tuple[str, ...]
    key: str
    """Digest of path, file names, sizes and modification times: the name of its cache."""


def list_folder(name: str, data_dir: Path) -> FolderListing:
    """List the images of `imagefolder:PATH`, class by class in name order.

    Raises:
        DataError: The folder is missing, has no images, or its splits differ in classes.
    """
    dataset_info(name, data_dir)
    splits = split_folders(image_folder(name, data_dir))
    train, test = ([file for c in class_folders(split) for file in image_files(c)] for split in splits)
    return FolderListing(
        train=tuple(train),
        test=tuple(test),
        class_names=tuple(c.name for c in class_folders(splits[0])),
        key=_key([*train, *test]),
    )


def folder_source(listing: FolderListing) -> Source:
    """Check size and mode of every image; decoding waits until the arrays are filled.

    Raises:
        DataError: An image cannot be read, has more than 8 bits a channel, or another size.
    """
    files = (*listing.train, *listing.test)
    print(f"decoding {len(files)} images below {listing.train[0].parents[2]}", flush=True)
    (width, height), channels = _common_form(files)
    return Source(
        train=_split_source(listing.train, listing.class_names, (channels, height, width)),
        test=_split_source(listing.test, listing.class_names, (channels, height, width)),
        class_names=listing.class_names,
    )


def _key(files: Sequence[Path]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for file in files:
        status = file.stat()
        line = f"{file}\0{status.st_size}\0{status.st_mtime_ns}\n"
        digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()


def _split_source(
    files: Sequence[Path], class_names: Sequence[str], image_shape: tuple[int, int, int]
) -> SplitSource:
    label_of = {name: label for label, name in enumerate(class_names)}
    labels = np.asarray([label_of[file.parent.name] for file in files], dtype=np.int64)

    def fill(images: Images) -> None:
        for image, file in zip(images, files, strict=True):
            image[...] = _decode(file, image_shape[0])

    return SplitSource((len(files), *image_shape), labels, fill)


def _common_form(files: Sequence[Path]) -> tuple[tuple[int, int], int]:
    """Width and height, and the channels: 1 where every image is grey, 3 otherwise."""
    first_size: tuple[int, int] | None = None
    channels = 1
    for file in files:
        size, mode = _read_header(file)
        if mode in _WIDE_MODES:
            raise DataError(
                f"more than 8 bits a channel (mode {mode})", where=str(file), fix="convert it to 8 bits"
            )
        first_size = first_size or size
        if size != first_size:
            raise DataError(
                f"{size[0]}x{size[1]} pixels, but {files[0]} has {first_size[0]}x{first_size[1]}",
                where=str(file),
                fix="resize all images to one size",
            )
        if mode not in _GREY_MODES:
            channels = 3
    if first_size is None:
        raise ValueError("no files")
    return first_size, channels


def _read_header(file: Path) -> tuple[tuple[int, int], str]:
    from PIL import Image

    try:
        with Image.open(file) as image:
            return image.size, image.mode
    # Pillow's plug-ins let through whatever the parser of a format raises.
    except Exception as error:
        raise _undecodable(file, error) from error


def _decode(file: Path, channels: int) -> Images:
    """One image, shape (C, H, W)."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"), dtype=np.uint8)
    except Exception as error:
        raise _undecodable(file, error) from error
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _undecodable(file: Path, error: Exception) -> DataError:
    why = str(error).splitlines()[0] if str(error) else type(error).__name__
    return DataError(
        f"image cannot be decoded ({why})", where=str(file), fix="replace or remove this file and retry"
    )

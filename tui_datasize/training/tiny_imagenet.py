"""Tiny-ImageNet as Stanford's archive has it; its validation images, which have labels, are for testing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np

from tui_datasize.errors import DataError
from tui_datasize.experiments.catalogue import image_files
from tui_datasize.files import read_bounded
from tui_datasize.training.image_folder import FileSplit, FolderListing, file_split

URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
MD5 = "90528d7ca1a48142e341f4ef8d21d0de"
FOLDER = "tiny-imagenet-200"


def download(data_dir: Path) -> None:
    """Fetch and unpack the archive where the folder is missing.

    Raises:
        OSError: There is no network, or the disk is full.
        RuntimeError: The archive does not have its checksum.
    """
    folder = data_dir / FOLDER
    if folder.is_dir():
        return
    from torchvision.datasets.utils import download_and_extract_archive

    unpacked = data_dir / f".{FOLDER}.partial"
    shutil.rmtree(unpacked, ignore_errors=True)
    download_and_extract_archive(URL, str(data_dir), str(unpacked), md5=MD5, remove_finished=False)
    # The folder is whole or not there.
    (unpacked / FOLDER).rename(folder)
    unpacked.rmdir()


def list_tiny_imagenet(folder: Path) -> FolderListing:
    """List the images: `train/WNID/images/`, and `val/images/` by its table of labels.

    Args:
        folder: Where `train/` and `val/` lie. Labels count the classes in the order of their WordNet ids.

    Raises:
        DataError: A file or folder of the archive is missing, or a line of the table has no known class.
    """
    try:
        with os.scandir(folder / "train") as entries:
            names = tuple(sorted(entry.name for entry in entries if entry.is_dir()))
        train = file_split(
            [image_files(_of_the_archive(folder / "train" / name / "images")) for name in names]
        )
        test = _validation_images(folder / "val", names)
    except FileNotFoundError as error:
        raise DataError(
            "not as the archive has it: missing", where=str(error.filename), fix=f"unpack {URL} again"
        ) from error
    return FolderListing(train, test, names, key="")


def _of_the_archive(folder: Path) -> Path:
    """A folder that is there: what is missing is no matter of who may read it."""
    folder.stat()
    return folder


def _validation_images(folder: Path, class_names: tuple[str, ...]) -> FileSplit:
    label_of = {name: label for label, name in enumerate(class_names)}
    table = folder / "val_annotations.txt"
    labels: dict[str, int] = {}
    for number, line in enumerate(read_bounded(table).decode().splitlines(), start=1):
        file, _, rest = line.partition("\t")
        name = rest.split("\t")[0]
        if name not in label_of:
            raise DataError(
                f"line {number} names class {name!r}, which train/ has not",
                where=str(table),
                fix=f"unpack {URL} again",
            )
        labels[file] = label_of[name]
    files = sorted(labels, key=lambda file: (labels[file], file))
    return FileSplit(
        tuple(str(folder / "images" / file) for file in files),
        np.asarray([labels[file] for file in files], dtype=np.int64),
    )

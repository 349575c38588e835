"""The data sets by name: found or downloaded, decoded once, opened as arrays."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.client import HTTPException
from importlib.metadata import distribution
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from tui_datasize.errors import EXIT_OK, EXIT_RUN_FAILED, DataError, DatasizeError
from tui_datasize.experiments.catalogue import (
    ARRAYS,
    DATASETS,
    IMAGE_FOLDER,
    NEWEST,
    refuse_classes,
    refuse_other_size,
    refuse_unshown,
)
from tui_datasize.experiments.images.named import NamedImages
from tui_datasize.experiments.images.reading import ImageReading
from tui_datasize.experiments.images.walk import Role, images_in
from tui_datasize.experiments.project_tables import data_directory
from tui_datasize.experiments.spec import SubsetSpec
from tui_datasize.experiments.subsets import draw
from tui_datasize.experiments.synthetic import refuse_other_classes
from tui_datasize.files import read_bounded
from tui_datasize.training import failures
from tui_datasize.training.arrays import FORMAT, UNKNOWN, ChosenRows, ImageSplit, LoadedDataset, cached
from tui_datasize.training.build import DatasetSource, SplitSource
from tui_datasize.training.image_folder import (
    FileSplit,
    FolderListing,
    file_split,
    folder_source,
    list_folder,
    list_others,
    seen_source,
)

if TYPE_CHECKING:
    from torchvision.datasets import VisionDataset

_DIGITS_TEST_IMAGES = 360
_DIGITS_HIGHEST_VALUE = 16
_TINY_IMAGENET = "tiny-imagenet"
_NETWORK_PATIENCE_S = 30.0


def load_dataset(
    name: str, data_dir: Path, image_px: int = 0, reading: ImageReading = NEWEST
) -> LoadedDataset:
    """Open a data set, downloading and decoding it first where that has not been done.

    `image_px` is the side of the square to which image files are resized and cropped; 0: as they are.
    `reading` is of image folders.

    Raises DataError: the data set is unknown, cannot be had, or an image cannot be decoded.
    Raises OSError: `data_dir` cannot be written.
    """
    arrays = data_dir / ARRAYS
    version = f"px{image_px}-v{FORMAT}" if image_px else f"v{FORMAT}"
    if name.startswith(IMAGE_FOLDER):
        listing = list_folder(name, data_dir, reading)
        directory = arrays / f"imagefolder-{listing.key}-{version}"
        return cached(name, directory, partial(seen_source, listing, data_dir, reading, image_px))
    if name == _TINY_IMAGENET:
        return cached(name, arrays / f"{name}-{version}", partial(_tiny_imagenet, data_dir, image_px))
    if name not in SOURCES:
        raise DataError(
            f"unknown data set {name!r}", fix=f"known are {', '.join([*SOURCES, IMAGE_FOLDER + 'PATH'])}"
        )
    if image_px:
        raise DataError(f"image_px resizes image files, {name} has none", fix="leave image_px out")
    return cached(name, arrays / f"{name}-{version}", partial(SOURCES[name], data_dir))


def load_tests(
    name: str,
    data_dir: Path,
    whole: LoadedDataset,
    class_names: Sequence[str],
    reading: ImageReading = NEWEST,
) -> ImageSplit:
    """The test images of another data set, in the shape of a whole one, of some of its classes.

    Labels are places in `class_names`.

    Raises DataError: it cannot be had, or has other classes, none of these, or images of another shape.
    Raises OSError: `data_dir` cannot be written.
    """
    if name.startswith(IMAGE_FOLDER):
        found = load_as(name, data_dir, whole.image_shape, reading, "tests")
    else:
        found = load_dataset(name, data_dir)
    refuse_classes(set(found.class_names) - set(whole.class_names), name)
    if found.image_shape != whole.image_shape:
        sizes = " and ".join("x".join(map(str, one.image_shape)) for one in (found, whole))
        raise DataError(f"the images of {name} and {whole.name} differ in channels, height or width: {sizes}")
    tests = _of_classes(found, class_names)
    if not len(tests.labels):
        raise DataError(
            f"{name} has no image of the classes that are trained on: {', '.join(class_names[:5])}",
            fix="put some there, or leave it out of tests",
        )
    return tests


def _of_classes(found: LoadedDataset, class_names: Sequence[str]) -> ImageSplit:
    """The test images of some classes, whose labels are places in these."""
    place = {class_name: label for label, class_name in enumerate(class_names)}
    labels = np.asarray([place.get(class_name, -1) for class_name in found.class_names])[found.test.labels]
    rows = np.flatnonzero(labels >= 0)
    return ImageSplit(ChosenRows(found.test.images, rows), labels[rows], found.test.hashes[rows])


def load_synthetic(
    name: str,
    data_dir: Path,
    whole: LoadedDataset,
    class_names: Sequence[str],
    reading: ImageReading = NEWEST,
) -> tuple[ImageSplit, str]:
    """The images of a folder by class in the shape of a whole data set, of some of its classes; fingerprint.

    Labels are places in `class_names`.

    Raises DataError: they cannot be decoded, one of these classes has none, or some are of another data set.
    Raises OSError: `data_dir` cannot be written.
    """
    found = load_as(name, data_dir, whole.image_shape, reading.of_learned, "synthetic")
    refuse_other_classes(name, found.class_names, whole.class_names, class_names)
    return _of_classes(found, class_names), found.fingerprint


def load_unlabelled(
    name: str, data_dir: Path, whole: LoadedDataset, image_px: int = 0, reading: ImageReading = NEWEST
) -> ImageSplit:
    """The images of a folder at any depth, in the shape of a whole data set; nobody knows their labels.

    Raises DataError: there are none, they cannot be decoded, or are of another size where `image_px` is 0.
    Raises OSError: `data_dir` cannot be written.
    """
    reading, (_, height, width) = reading.of_learned, whole.image_shape
    if not image_px and (seen := refuse_unshown(name, data_dir, reading, 0, "unlabelled")):
        refuse_other_size(seen, whole.name, width, height)
    found = load_as(name, data_dir, whole.image_shape, reading, "unlabelled").test
    return replace(found, labels=np.full(len(found.labels), UNKNOWN))


def load_as(
    name: str, data_dir: Path, shape: tuple[int, int, int], reading: ImageReading, role: Role
) -> LoadedDataset:
    """A folder whose images are to be like others, of channels, height and width.

    Raises DataError: it cannot be had, or an image is of another size, which is no square.
    Raises OSError: `data_dir` cannot be written.
    """
    listing = list_others(name, data_dir, reading, role)
    kind = "" if role == "tests" else f"-{role}"
    directory = data_dir / ARRAYS / f"imagefolder-{listing.key}-{'x'.join(map(str, shape))}{kind}-v{FORMAT}"
    return cached(name, directory, partial(seen_source, listing, data_dir, reading, 0, shape))


def _digits(_data_dir: Path) -> DatasetSource:
    """scikit-learn's 1,797 images of 8x8; every fifth one, stratified by a fixed seed, is for testing."""
    # Read as its `load_digits` does: to import that takes longer than all else that a small run needs.
    file = distribution("scikit-learn").locate_file("sklearn/datasets/data/digits.csv.gz")
    rows = np.loadtxt(str(file), delimiter=",")
    images = np.rint(rows[:, :-1] * (255 / _DIGITS_HIGHEST_VALUE)).astype(np.uint8).reshape(-1, 1, 8, 8)
    labels = rows[:, -1].astype(np.int64)
    is_test = np.zeros(len(labels), dtype=bool)
    is_test[draw(labels, _DIGITS_TEST_IMAGES, SubsetSpec("stratified", nested=False, seed=0))] = True
    return DatasetSource(
        train=SplitSource.of_array(images[~is_test], labels[~is_test]),
        test=SplitSource.of_array(images[is_test], labels[is_test]),
        class_names=DATASETS["digits"].class_names,
    )


def _mnist_like(name: str, kind: str, class_names: Sequence[str], data_dir: Path) -> DatasetSource:
    """A class of torchvision in MNIST's format; its classes have their own names where none are given."""
    from torchvision import datasets

    made = getattr(datasets, kind)
    train, test = _both_splits(name, data_dir / kind / "raw", made.mirrors[0], partial(made, data_dir))
    return DatasetSource(_grey(train), _grey(test), tuple(class_names or made.classes))


def _emnist_letters(data_dir: Path) -> DatasetSource:
    """EMNIST's files hold images transposed and labels from 1.

    Mean and standard deviation are those of Hansson, Padban and Silwer (2025).
    """
    from torchvision.datasets import EMNIST

    folder = data_dir / "EMNIST" / "raw"
    make = partial(EMNIST, data_dir, split="letters")
    train, test = _both_splits("emnist-letters", folder, EMNIST.url, make)
    return DatasetSource(
        train=_grey(train, transposed=True, first_label=1),
        test=_grey(test, transposed=True, first_label=1),
        class_names=tuple(train.classes[1:]),
        mean=(0.1736,),
        std=(0.3248,),
    )


def _cifar(name: str, kind: str, data_dir: Path) -> DatasetSource:
    """The data set of torchvision's class `CIFAR10`, or the class that it makes of it."""
    from torchvision import datasets

    made = getattr(datasets, kind)
    loaded = _both_splits(name, data_dir / made.base_folder, made.url, partial(made, data_dir))
    train, test = (
        SplitSource.of_array(split.data.transpose(0, 3, 1, 2), np.asarray(split.targets, dtype=np.int64))
        for split in loaded
    )
    return DatasetSource(train, test, tuple(loaded[0].classes))


def _tiny_imagenet(data_dir: Path, image_px: int = 0) -> DatasetSource:
    folder = data_dir / TINY_IMAGENET_FOLDER
    with _fetching(_TINY_IMAGENET, data_dir, TINY_IMAGENET_URL):
        download_tiny_imagenet(data_dir)
    return folder_source(list_tiny_imagenet(folder), image_px)


SOURCES: Mapping[str, Callable[[Path], DatasetSource]] = MappingProxyType(
    {
        "digits": _digits,
        "mnist": partial(_mnist_like, "mnist", "MNIST", DATASETS["mnist"].class_names),
        "fashion-mnist": partial(_mnist_like, "fashion-mnist", "FashionMNIST", ""),
        "kmnist": partial(_mnist_like, "kmnist", "KMNIST", ""),
        "emnist-letters": _emnist_letters,
        "cifar10": partial(_cifar, "cifar10", "CIFAR10"),
        "cifar100": partial(_cifar, "cifar100", "CIFAR100"),
        _TINY_IMAGENET: _tiny_imagenet,
    }
)
"""How each data set's images are found, from the data directory; image folders beside these."""


def _grey(loaded: Any, *, transposed: bool = False, first_label: int = 0) -> SplitSource:
    """A split in MNIST's format: images (N, H, W)."""
    images = loaded.data.numpy()
    upright = images.transpose(0, 2, 1) if transposed else images
    return SplitSource.of_array(upright[:, None], loaded.targets.numpy().astype(np.int64) - first_label)


def _both_splits(name: str, folder: Path, url: str, make: Callable[..., VisionDataset]) -> tuple[Any, Any]:
    """Training and test split through torchvision, which downloads what is missing."""
    with _fetching(name, folder, url):
        return make(train=True, download=True), make(train=False, download=True)


@contextmanager
def _fetching(name: str, folder: Path, url: str) -> Iterator[None]:
    """Tell in one line what to do where a data set is missing and cannot be downloaded."""
    before = socket.getdefaulttimeout()
    # Of a network that does not answer; torchvision itself waits for ever.
    socket.setdefaulttimeout(_NETWORK_PATIENCE_S)
    try:
        yield
    # What torchvision raises for a missing network, a bad checksum and a torn file.
    except (OSError, RuntimeError, ValueError, EOFError, AssertionError, HTTPException) as error:
        if failures.is_short_of_disk(error):
            raise
        why = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"data set {name} is neither here nor can it be downloaded ({why[:200]})",
            where=str(folder),
            fix=f"retry with a network, or put the files of {url} into this folder",
        ) from error
    finally:
        socket.setdefaulttimeout(before)


TINY_IMAGENET_URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
TINY_IMAGENET_MD5 = "90528d7ca1a48142e341f4ef8d21d0de"
TINY_IMAGENET_FOLDER = "tiny-imagenet-200"


def download_tiny_imagenet(data_dir: Path) -> None:
    """Fetch and unpack the archive where the folder is missing.

    Raises OSError: there is no network, or the disk is full.
    Raises RuntimeError: the archive does not have its checksum.
    """
    folder = data_dir / TINY_IMAGENET_FOLDER
    if folder.is_dir():
        return
    from torchvision.datasets.utils import download_and_extract_archive

    unpacked = data_dir / f".{TINY_IMAGENET_FOLDER}.partial"
    shutil.rmtree(unpacked, ignore_errors=True)
    download_and_extract_archive(
        TINY_IMAGENET_URL, str(data_dir), str(unpacked), md5=TINY_IMAGENET_MD5, remove_finished=False
    )
    # The folder is whole or not there.
    (unpacked / TINY_IMAGENET_FOLDER).rename(folder)
    unpacked.rmdir()


def list_tiny_imagenet(folder: Path) -> FolderListing:
    """List the images: `train/WNID/images/`, and `val/images/` by its table of labels.

    Labels count the classes in the order of their WordNet ids.

    Raises DataError: a file or folder of the archive is missing, or a line of the table has no known class.
    """
    try:
        with os.scandir(folder / "train") as entries:
            names = tuple(sorted(entry.name for entry in entries if entry.is_dir()))
        train = file_split([images_in(_of_the_archive(folder / "train" / name / "images")) for name in names])
        test = _validation_images(folder / "val", names)
    except FileNotFoundError as error:
        raise DataError(
            "not as the archive has it: missing",
            where=str(error.filename),
            fix=f"unpack {TINY_IMAGENET_URL} again",
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
                fix=f"unpack {TINY_IMAGENET_URL} again",
            )
        labels[file] = label_of[name]
    files = sorted(labels, key=lambda file: (labels[file], file))
    return FileSplit(
        tuple(str(folder / "images" / file) for file in files),
        np.asarray([labels[file] for file in files], dtype=np.int64),
    )


def main(argv: Sequence[str]) -> int:
    """Have a data set decoded where that has not been done, then images that belong to it.

    The arguments are the project's directory and, as JSON, `NamedImages`, of which the data set is the first.

    Returns:
        Exit status: 0 they are there; 1 some cannot be had, which a line says.
    """
    data_dir = data_directory(Path(argv[0]))
    named = [NamedImages.from_words(json.loads(words)) for words in argv[1:]]
    name = named[0].name
    try:
        whole = load_dataset(name, data_dir, named[0].image_px, named[0].reading)
        for name, role, image_px, reading in named[1:]:
            if role == "tests":
                load_tests(name, data_dir, whole, whole.class_names, reading)
            elif role == "synthetic":
                load_synthetic(name, data_dir, whole, (), reading)
            else:
                load_unlabelled(name, data_dir, whole, image_px, reading)
    except DatasizeError as error:
        print(error.line, file=sys.stderr, flush=True)
        return EXIT_RUN_FAILED
    except OSError as error:
        print(f"{name}: cannot be decoded: {error}", file=sys.stderr, flush=True)
        return EXIT_RUN_FAILED
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Names and sizes of data sets, so that a sweep is checked in full before it is queued.

A folder of images that is missing, or is not as it should be, is a `DataError` whose `where` names it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from tui_datasize.errors import DataError
from tui_datasize.files import is_utf8, named_path
from tui_datasize.text import shortened

IMAGE_FOLDER = "imagefolder:"
ARRAYS = "arrays"
"""Below the directory of the data sets: their decoded images, each in a folder that its name begins with."""
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff")


_OF_THE_PLACE = (
    *(errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.ELOOP),
    *(errno.ENAMETOOLONG, errno.EIO, errno.ESTALE),
)
"""Errors of a folder itself; what the machine lacks, such as memory, is another matter."""
_DIGITS = tuple("0123456789")
_TORCHVISION = "the first run downloads it through torchvision"


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """What is known of a data set without opening an image."""

    name: str
    title: str
    train_per_class: tuple[int, ...]
    """By label, as those for testing."""
    test_per_class: tuple[int, ...]
    channels: int
    """Colour channels; 0 where only an image would tell."""
    size_px: int
    """Height and width; 0 where only an image would tell."""
    how_to_get: str = _TORCHVISION
    """One clause for a person whose data set is missing."""
    is_files: bool = False
    """Whether it lies as image files, which `image_px` resizes when they are decoded."""
    is_installed: bool = False
    """Whether it comes with a package, so that nothing is downloaded."""
    class_names: tuple[str, ...] = ()
    """By label; empty where only its files would tell."""

    @property
    def classes(self) -> int:
        return len(self.train_per_class)

    @property
    def train_images(self) -> int:
        return sum(self.train_per_class)

    @property
    def test_images(self) -> int:
        return sum(self.test_per_class)

    @property
    def smallest_class(self) -> int:
        return min(self.train_per_class)


DATASETS: Mapping[str, DatasetInfo] = MappingProxyType(
    {
        info.name: info
        for info in (
            DatasetInfo(
                "digits",
                "scikit-learn's handwritten digits, 80/20 stratified split",
                train_per_class=(142, 145, 142, 146, 145, 146, 145, 143, 139, 144),
                test_per_class=(36, 37, 35, 37, 36, 36, 36, 36, 35, 36),
                channels=1,
                size_px=8,
                how_to_get="it comes with scikit-learn",
                is_installed=True,
                class_names=_DIGITS,
            ),
            DatasetInfo(
                "mnist",
                "MNIST",
                train_per_class=(5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
                test_per_class=(980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009),
                channels=1,
                size_px=28,
                class_names=_DIGITS,
            ),
            DatasetInfo("fashion-mnist", "Fashion-MNIST", (6000,) * 10, (1000,) * 10, 1, 28),
            DatasetInfo("kmnist", "Kuzushiji-MNIST, cursive hiragana", (6000,) * 10, (1000,) * 10, 1, 28),
            DatasetInfo(
                "emnist-letters",
                "EMNIST Letters, upright",
                train_per_class=(4800,) * 26,
                test_per_class=(800,) * 26,
                channels=1,
                size_px=28,
                how_to_get=f"{_TORCHVISION} (0.5 GB)",
            ),
            DatasetInfo("cifar10", "CIFAR-10", (5000,) * 10, (1000,) * 10, 3, 32),
            DatasetInfo("cifar100", "CIFAR-100, fine labels", (500,) * 100, (100,) * 100, 3, 32),
            DatasetInfo(
                "tiny-imagenet",
                "Tiny-ImageNet, its validation images for testing",
                train_per_class=(500,) * 200,
                test_per_class=(50,) * 200,
                channels=3,
                size_px=64,
                how_to_get="the first run downloads cs231n.stanford.edu/tiny-imagenet-200.zip (0.25 GB)",
                is_files=True,
            ),
        )
    }
)


def dataset_info(name: str, data_dir: Path) -> DatasetInfo:
    """Look a data set up by its name, or list an image folder, whose path may be relative to `data_dir`.

    Raises DataError: the name is unknown, or the folder is missing or has no images.
    """
    if name.startswith(IMAGE_FOLDER):
        return _folder_info(name, image_folder(name, data_dir))
    refuse_unknown(name)
    return DATASETS[name]


def refuse_unknown(name: str) -> None:
    """Whether there is an image folder of this name is not looked at.

    Raises DataError: no data set has this name.
    """
    if not name.startswith(IMAGE_FOLDER) and name not in DATASETS:
        known = ", ".join([*DATASETS, f"{IMAGE_FOLDER}PATH"])
        raise DataError(f"unknown data set {name!r}", fix=f"known are {known}")


def takes_preparing(name: str) -> bool:
    """Whether a data set is downloaded, or decoded from image files, before it is first used."""
    return name.startswith(IMAGE_FOLDER) or (name in DATASETS and not DATASETS[name].is_installed)


def image_folder(name: str, data_dir: Path) -> Path:
    """Absolute path of the folder that `imagefolder:PATH` names."""
    named = name.removeprefix(IMAGE_FOLDER)
    try:
        return named_path(named, data_dir)
    except ValueError as error:
        raise DataError(f"{shortened(named)!r} is no image folder: {error}", fix="correct the path") from None


def split_folders(folder: Path) -> tuple[Path, Path]:
    """The training and the test folder of an image folder: `train/` and `test/` or `val/`."""
    layout = "an image folder holds train/CLASS/ and test/CLASS/ or val/CLASS/"
    with _reading(folder):
        if not folder.is_dir():
            raise DataError("no such image folder", where=str(folder), fix="create it or correct the path")
        train = folder / "train"
        test = next((folder / name for name in ("test", "val") if (folder / name).is_dir()), folder / "test")
        for split in (train, test):
            if not split.is_dir():
                raise DataError("no such folder", where=str(split), fix=layout)
    return train, test


def class_folders(split: Path) -> tuple[Path, ...]:
    """The class folders of a split, in name order: their positions are the labels."""
    with _reading(split), os.scandir(split) as entries:
        return tuple(sorted(Path(e.path) for e in entries if e.is_dir() and not e.name.startswith(".")))


def matching_classes(folder: Path) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """The class folders of the training and of the test split of an image folder, in name order.

    Raises DataError: a split is missing or has none, they differ in classes, or a class has a name that is
        not UTF-8.
    """
    train, test = split_folders(folder)
    train_classes, test_classes = class_folders(train), class_folders(test)
    missing = {c.name for c in train_classes} ^ {c.name for c in test_classes}
    if missing:
        raise DataError(
            f"{train.name}/ and {test.name}/ differ in classes {', '.join(sorted(missing)[:5])}",
            where=str(folder),
            fix="both splits need the same class folders",
        )
    for folder_of_class in train_classes:
        if not is_utf8(folder_of_class.name):
            raise DataError("the name of a class is not UTF-8", where=str(folder_of_class), fix="rename it")
    if not train_classes:
        raise DataError("no images", where=str(train), fix="put images there")
    return train_classes, test_classes


def refuse_empty(
    train_classes: Sequence[Path],
    train_per_class: Sequence[int],
    test_classes: Sequence[Path],
    test_per_class: Sequence[int],
) -> None:
    """Refuse an image folder with a class without training images, or without any test image."""
    empty = next((c for c, images in zip(train_classes, train_per_class, strict=True) if not images), None)
    if empty or not any(test_per_class):
        raise DataError("no images", where=str(empty or test_classes[0].parent), fix="put images there")


def tested_classes(folder: Path) -> tuple[Path, ...]:
    """The class folders of images that are measured on alone: below `test/`, `val/`, or the folder itself.

    Raises DataError: there are none.
    """
    split = next((folder / name for name in ("test", "val") if (folder / name).is_dir()), folder)
    found = class_folders(split)
    if not found:
        raise DataError("no images", where=str(split), fix="put images there, into a folder for each class")
    return found


def refuse_tests(tests: str, name: str | None, data_dir: Path) -> None:
    """Refuse a further test set without images, or with classes that the data set `name` has not, if any.

    Raises DataError: it is one of these.
    """
    refuse_unknown(tests)
    if tests.startswith(IMAGE_FOLDER):
        classes = tested_classes(image_folder(tests, data_dir))
        refuse_empty((), (), classes, (any(map(image_files, classes)),))
        found = {path.name for path in classes}
    else:
        found = set(DATASETS[tests].class_names)
    if name is None:
        return
    if name.startswith(IMAGE_FOLDER):
        known = {path.name for path in class_folders(split_folders(image_folder(name, data_dir))[0])}
    else:
        known = set(DATASETS[name].class_names)
    if known:
        refuse_classes(found - known, tests)


def refuse_classes(unknown: Collection[str], tests: str) -> None:
    """Raises DataError: a further test set has classes that nothing is trained on."""
    if unknown:
        named = ", ".join(sorted(unknown)[:5])
        fix = "name the folders of its classes as those that are trained on"
        raise DataError(f"{tests} has classes that the data set has not: {named}", fix=fix)


def image_files(folder: Path) -> tuple[os.DirEntry[str], ...]:
    """The image files of a class folder, in name order, told by their suffix.

    Raises DataError: something else has such a name, or the folder cannot be read.
    """
    with _reading(folder), os.scandir(folder) as entries:
        named = [e for e in entries if e.name[0] != "." and e.name.lower().endswith(IMAGE_SUFFIXES)]
    for entry in named:
        if not entry.is_file():
            # A pipe would keep a run waiting in its slot for ever.
            fix = "remove it, or give it another suffix"
            raise DataError("not a regular file", where=entry.path, fix=fix)
    return tuple(sorted(named, key=lambda entry: entry.name))


@contextmanager
def _reading(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _OF_THE_PLACE:
            raise
        raise DataError(
            f"cannot be read: {error.strerror}",
            where=os.fsdecode(error.filename or folder),
            fix="let this user read it, or correct the path",
        ) from None


def _folder_info(name: str, folder: Path) -> DatasetInfo:
    train_classes, test_classes = matching_classes(folder)
    train_per_class = tuple(len(image_files(c)) for c in train_classes)
    test_per_class = tuple(len(image_files(c)) for c in test_classes)
    refuse_empty(train_classes, train_per_class, test_classes, test_per_class)
    return DatasetInfo(
        name=name,
        title=folder.name,
        train_per_class=train_per_class,
        test_per_class=test_per_class,
        channels=0,
        size_px=0,
        how_to_get=f"put train/ and test/ below {folder}",
        is_files=True,
    )

"""Names and sizes of data sets, so that a sweep is checked in full before it is queued.

A folder of images that is missing, or is not as it should be, is a `DataError` whose `where` names it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from tui_datasize.errors import DataError
from tui_datasize.experiments.images.reading import FIRST_RULES, NEWEST_RULES, ImageReading
from tui_datasize.experiments.images.walk import (
    Listing,
    Role,
    trained_classes,
    walk,
    walk_part,
    walk_unlabelled,
)
from tui_datasize.files import named_path
from tui_datasize.text import shortened

if TYPE_CHECKING:
    from tui_datasize.experiments.images.look import SeenImages

IMAGE_FOLDER = "imagefolder:"
ARRAYS = "arrays"
"""Below the directory of the data sets: their decoded images, each in a folder that its name begins with."""
NEWEST = ImageReading(NEWEST_RULES)
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


def dataset_info(name: str, data_dir: Path, reading: ImageReading = NEWEST) -> DatasetInfo:
    """Look a data set up by its name, or list an image folder, whose path may be relative to `data_dir`.

    Raises DataError: the name is unknown, or the folder is missing or has no images.
    """
    if not name.startswith(IMAGE_FOLDER):
        refuse_unknown(name)
        return DATASETS[name]
    listing = folder_listing(name, data_dir, reading)
    return DatasetInfo(
        name=name,
        title=listing.folder.name,
        train_per_class=tuple(map(len, listing.train)),
        test_per_class=tuple(map(len, listing.test)),
        channels=0,
        size_px=0,
        how_to_get=f"put train/ and test/ below {listing.folder}",
        is_files=True,
    )


def folder_listing(name: str, data_dir: Path, reading: ImageReading) -> Listing:
    """The images of `imagefolder:PATH`; where bad ones are skipped, without these.

    Raises DataError: the folder is missing or has no images, or some are bad and not skipped.
    """
    listing = walked(name, data_dir, reading)
    return seen(listing, data_dir, reading).listing if reading.skips else listing


def walked(name: str, data_dir: Path, reading: ImageReading, role: Role = "own") -> Listing:
    """The files of `imagefolder:PATH`, none of them opened, that count in this role.

    Raises DataError: it is missing, or has no images.
    """
    folder = image_folder(name, data_dir)
    arrays = data_dir / ARRAYS
    if role == "unlabelled":
        return walk_unlabelled(folder, reading, arrays)
    if role == "synthetic":
        return walk_part(folder, reading, arrays, ("train",))
    return (walk_part if role == "tests" else walk)(folder, reading, arrays)


def seen(listing: Listing, data_dir: Path, reading: ImageReading) -> SeenImages:
    """What the images of a folder look like; raises DataError: some are bad, and not skipped."""
    # It imports NumPy, which would delay the first screen of every app.
    from tui_datasize.experiments.images.look import look

    return look(listing, reading, data_dir / ARRAYS)


def refuse_unshown(
    name: str, data_dir: Path, reading: ImageReading, image_px: int, role: Role = "own"
) -> SeenImages | None:
    """Refuse images that cannot be shown as a person sees them, and say what is to be told of the others.

    None for what is no image folder, and under the first rules. Further test sets and generated images are
    made as large as those of the data set when decoded; see `refuse_other_size` for images without labels.

    Raises DataError: some are bad and not skipped, or differ in size where `image_px` is 0.
    """
    if not name.startswith(IMAGE_FOLDER) or reading.rules == FIRST_RULES:
        return None
    from tui_datasize.experiments.images.look import refuse_sizes

    # What is bad by its place is told together with what is by its content.
    skipping = replace(reading, on_bad_image="skip")
    found = seen(walked(name, data_dir, skipping, role), data_dir, reading)
    if not image_px and role not in ("tests", "synthetic"):
        refuse_sizes(found)
    return found


def refuse_other_size(found: SeenImages, beside: str, width_px: int, height_px: int) -> None:
    """Raises DataError: an image is not as large as those of the data set that it is to be learned beside."""
    for file, header in zip(found.listing.files, found.headers, strict=True):
        if header[:2] != (width_px, height_px):
            sizes = f"{header.width_px}x{header.height_px} pixels, but {beside} has {width_px}x{height_px}"
            fix = "resize them, or set image_px where both are image files"
            raise DataError(sizes, where=file.path, fix=fix)


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


def refuse_tests(tests: str, name: str | None, data_dir: Path, reading: ImageReading) -> None:
    """Refuse a further test set without images, or with classes that the data set `name` has not, if any.

    Raises DataError: it is one of these.
    """
    refuse_unknown(tests)
    if tests.startswith(IMAGE_FOLDER):
        found = frozenset(walked(tests, data_dir, reading, "tests").class_names)
    else:
        found = frozenset(DATASETS[tests].class_names)
    known = frozenset(known_classes(name, data_dir, reading)) if name else None
    if known:
        refuse_classes(found - known, tests)


def known_classes(name: str, data_dir: Path, reading: ImageReading) -> tuple[str, ...]:
    """The names of a data set's classes by label; empty where only its files would tell."""
    if name.startswith(IMAGE_FOLDER):
        return tuple(sorted(trained_classes(image_folder(name, data_dir), reading)))
    return DATASETS[name].class_names


def refuse_classes(unknown: Collection[str], tests: str) -> None:
    """Raises DataError: a further test set has classes that nothing is trained on."""
    if unknown:
        named = ", ".join(sorted(unknown)[:5])
        fix = "name the folders of its classes as those that are trained on"
        raise DataError(f"{tests} has classes that the data set has not: {named}", fix=fix)

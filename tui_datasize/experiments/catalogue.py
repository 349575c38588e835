"""Names and sizes of data sets, so that a sweep is checked in full before it is queued."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from tui_datasize.errors import DataError

IMAGE_FOLDER = "imagefolder:"
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff"})


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """What is known of a data set without opening an image."""

    name: str
    title: str
    classes: int
    train_images: int
    test_images: int
    smallest_class: int
    """Training images of the rarest class."""
    channels: int
    """Colour channels; 0 where only an image would tell."""
    size_px: int
    """Height and width; 0 where only an image would tell."""
    how_to_get: str
    """One clause for a person whose data set is missing."""


DATASETS: Mapping[str, DatasetInfo] = MappingProxyType(
    {
        info.name: info
        for info in (
            DatasetInfo(
                name="digits",
                title="scikit-learn's handwritten digits, 80/20 stratified split",
                classes=10,
                train_images=1437,
                test_images=360,
                smallest_class=139,
                channels=1,
                size_px=8,
                how_to_get="it comes with scikit-learn",
            ),
            DatasetInfo(
                name="mnist",
                title="MNIST",
                classes=10,
                train_images=60_000,
                test_images=10_000,
                smallest_class=5421,
                channels=1,
                size_px=28,
                how_to_get="the first run downloads it through torchvision",
            ),
            DatasetInfo(
                name="fashion-mnist",
                title="Fashion-MNIST",
                classes=10,
                train_images=60_000,
                test_images=10_000,
                smallest_class=6000,
                channels=1,
                size_px=28,
                how_to_get="the first run downloads it through torchvision",
            ),
            DatasetInfo(
                name="emnist-letters",
                title="EMNIST Letters, upright",
                classes=26,
                train_images=124_800,
                test_images=20_800,
                smallest_class=4800,
                channels=1,
                size_px=28,
                how_to_get="the first run downloads it through torchvision (0.5 GB)",
            ),
            DatasetInfo(
                name="cifar10",
                title="CIFAR-10",
                classes=10,
                train_images=50_000,
                test_images=10_000,
                smallest_class=5000,
                channels=3,
                size_px=32,
                how_to_get="the first run downloads it through torchvision",
            ),
        )
    }
)


def dataset_info(name: str, data_dir: Path) -> DatasetInfo:
    """Look a data set up, or list an image folder.

    Args:
        name: A key of `DATASETS`, or `imagefolder:PATH`.
        data_dir: What a relative PATH is relative to.

    Raises:
        DataError: The name is unknown, or the folder is missing or has no images.
    """
    if name.startswith(IMAGE_FOLDER):
        return _folder_info(name, image_folder(name, data_dir))
    if name in DATASETS:
        return DATASETS[name]
    known = ", ".join([*DATASETS, f"{IMAGE_FOLDER}PATH"])
    raise DataError(f"unknown data set {name!r}", fix=f"known are {known}")


def image_folder(name: str, data_dir: Path) -> Path:
    """Absolute path of the folder that `imagefolder:PATH` names."""
    return (data_dir / Path(name.removeprefix(IMAGE_FOLDER)).expanduser()).absolute()


def split_folders(folder: Path) -> tuple[Path, Path]:
    """The training and the test folder of an image folder: `train/` and `test/` or `val/`.

    Raises:
        DataError: One of them is missing; `where` names the path.
    """
    layout = "an image folder holds train/CLASS/ and test/CLASS/ or val/CLASS/"
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
    with os.scandir(split) as entries:
        return tuple(sorted(Path(e.path) for e in entries if e.is_dir() and not e.name.startswith(".")))


def image_files(folder: Path) -> tuple[Path, ...]:
    """The image files of a class folder, in name order, told by their suffix."""
    with os.scandir(folder) as entries:
        return tuple(
            sorted(
                Path(e.path)
                for e in entries
                if not e.name.startswith(".") and Path(e.name).suffix.lower() in IMAGE_SUFFIXES
            )
        )


def _folder_info(name: str, folder: Path) -> DatasetInfo:
    train, test = split_folders(folder)
    train_classes, test_classes = class_folders(train), class_folders(test)
    missing = {c.name for c in train_classes} ^ {c.name for c in test_classes}
    if missing:
        raise DataError(
            f"{train.name}/ and {test.name}/ differ in classes {', '.join(sorted(missing)[:5])}",
            where=str(folder),
            fix="both splits need the same class folders",
        )
    per_class = [len(image_files(c)) for c in train_classes]
    tested = sum(len(image_files(c)) for c in test_classes)
    empty = next((c for c, images in zip(train_classes, per_class, strict=True) if not images), None)
    if not per_class or empty or not tested:
        raise DataError(
            "no images", where=str(empty or (train if not per_class else test)), fix="put images there"
        )
    return DatasetInfo(
        name=name,
        title=folder.name,
        classes=len(per_class),
        train_images=sum(per_class),
        test_images=tested,
        smallest_class=min(per_class),
        channels=0,
        size_px=0,
        how_to_get=f"put train/ and test/ below {folder}",
    )

"""What is known of data sets without opening an image, and of halves of their classes."""

import errno
import os
from unittest.mock import Mock

import numpy as np
import pytest

from tui_datasize.cli.dispatch import main
from tui_datasize.errors import DataError
from tui_datasize.experiments.catalogue import DATASETS, dataset_info
from tui_datasize.experiments.spec import ClassSplit
from tui_datasize.experiments.subsets import chosen_classes, restrict

# Published totals: (classes, training images, test images).
TOTALS = {
    "digits": (10, 1437, 360),
    "mnist": (10, 60_000, 10_000),
    "fashion-mnist": (10, 60_000, 10_000),
    "kmnist": (10, 60_000, 10_000),
    "emnist-letters": (26, 124_800, 20_800),
    "cifar10": (10, 50_000, 10_000),
    "cifar100": (100, 50_000, 10_000),
    "tiny-imagenet": (200, 100_000, 10_000),
}


def test_counts_per_class_add_up_to_what_is_published():
    assert {
        name: (info.classes, info.train_images, info.test_images) for name, info in DATASETS.items()
    } == TOTALS
    assert all(len(info.train_per_class) == len(info.test_per_class) for info in DATASETS.values())


@pytest.mark.parametrize("seed", range(5))
def test_the_halves_of_an_uneven_data_set_are_counted_exactly(seed):
    info = DATASETS["mnist"]
    source, target = (restrict(info, ClassSplit(half, seed)) for half in ("source", "target"))
    assert (source.classes, target.classes) == (5, 5)
    assert source.train_images + target.train_images == 60_000
    assert source.test_images + target.test_images == 10_000
    kept = chosen_classes(10, ClassSplit("target", seed))
    assert target.train_per_class == tuple(info.train_per_class[label] for label in kept)
    assert target.smallest_class == min(target.train_per_class)
    assert restrict(info, ClassSplit()) is info


def test_an_image_folder_is_counted_per_class(tmp_path):
    for split, counts in (("train", (3, 5)), ("test", (2, 1))):
        for name, images in zip(("cat", "dog"), counts, strict=True):
            folder = tmp_path / "pets" / split / name
            folder.mkdir(parents=True)
            for i in range(images):
                (folder / f"{i}.JPEG").touch()
            (folder / "jpeg").touch()
    info = dataset_info("imagefolder:pets", tmp_path)
    assert info.is_files
    assert info.train_per_class == (3, 5)
    assert info.test_per_class == (2, 1)
    half = restrict(info, ClassSplit("source", 0))
    assert half.train_images in {3, 5}


def test_both_halves_are_drawn_by_the_seed():
    halves = {chosen_classes(200, ClassSplit("source", seed)) for seed in range(4)}
    assert len(halves) == 4
    assert all(np.all(np.diff(half) > 0) for half in halves)


@pytest.mark.parametrize(
    ("call", "locked"),
    [("stat", "."), ("scandir", "train"), ("scandir", "train/a"), ("scandir", "test/a")],
)
@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
def test_a_folder_that_cannot_be_read_is_told_by_name(tmp_path, monkeypatch, capsys, call, locked, number):
    folder, real = tmp_path / "photos" / locked, getattr(os, call)
    for split in ("train", "test"):
        (tmp_path / "photos" / split / "a").mkdir(parents=True)
        (tmp_path / "photos" / split / "a" / "1.png").touch()
    (tmp_path / "experiments.toml").write_text(
        f'[experiments.x]\ndataset = "imagefolder:{tmp_path}/photos"\nmodel = "mlp"\nsizes = [1]\n'
        "seeds = [0]\nbudget = { updates = 1 }\n"
    )

    def refusing(path, *arguments, **options):
        if path == folder:
            raise OSError(number, os.strerror(number), str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, call, refusing)
    with pytest.raises(DataError) as caught:
        dataset_info(f"imagefolder:{tmp_path}/photos", tmp_path)
    assert f"{folder}: cannot be read: {os.strerror(number)}" in caught.value.line
    assert main(["queue", "x", "--project", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{folder}: cannot be read" in line


def test_what_the_machine_lacks_is_no_fault_of_a_folder(tmp_path, monkeypatch):
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
    error = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    monkeypatch.setattr(os, "scandir", Mock(side_effect=error))
    with pytest.raises(OSError, match="Too many open files"):
        dataset_info(f"imagefolder:{tmp_path}", tmp_path)


def test_what_is_no_image_file_of_a_class_is_refused_by_name(tmp_path):
    for split in ("train", "test"):
        (tmp_path / split / "a").mkdir(parents=True)
        (tmp_path / split / "a" / "1.png").touch()
    assert dataset_info(f"imagefolder:{tmp_path}", tmp_path).train_images == 1
    pipe = tmp_path / "train" / "a" / "2.png"
    os.mkfifo(pipe)
    with pytest.raises(DataError, match=r"2\.png: not a regular file"):
        dataset_info(f"imagefolder:{tmp_path}", tmp_path)
    pipe.unlink()
    for split in ("train", "test"):
        (tmp_path / split / os.fsdecode(b"\xff")).mkdir()
    with pytest.raises(DataError, match=r"udcff: the name of a class is not UTF-8"):
        dataset_info(f"imagefolder:{tmp_path}", tmp_path)

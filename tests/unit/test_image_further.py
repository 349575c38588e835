"""Further image folders of each kind, with the files that a person would count.

What belongs to each kind is written beside it; the public case and what is refused have modules of their own.
Pixels are in `training/test_image_pixels.py`, images that look alike in `training/test_twins.py`.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pytest
from PIL import Image

from tests.unit.image_desk import image_folder
from tui_datasize.errors import DataError
from tui_datasize.experiments.catalogue import folder_listing, refuse_unshown
from tui_datasize.experiments.images.reading import ImageReading

NFC, NFD = (unicodedata.normalize(form, "Ångström") for form in ("NFC", "NFD"))
PAIR = ("test/cat/1.png", "test/dog/1.png")


class Folder(NamedTuple):
    """The files of one folder, and what is read."""

    files: Sequence[str | bytes]
    right: Mapping[str, tuple[int, int]] | str
    """By class the images for training and for testing; or what a refusal says."""
    passed: Mapping[str, int] = {}
    split: float = 0.0


class Kind(NamedTuple):
    """What belongs to a kind, and folders of it."""

    what: str
    folders: Sequence[Folder]


KINDS: Mapping[str, Kind] = {
    "deeper": Kind("images in folders of any name and depth below a class, in both splits", [
        Folder(("train/cat/images/1.JPEG", "train/dog/images/2.JPEG", *PAIR), {"cat": (1, 1), "dog": (1, 1)}),
        Folder(("train/cat/1.png", "train/cat/a/b/c/2.png", "test/cat/x/3.png", "test/cat/x/4.png"),
               {"cat": (2, 2)}),
        Folder(("train/cat/train/1.png", "train/cat/test/2.png", "test/cat/val/1.png"), {"cat": (2, 1)}),
    ]),
    "suffixes": Kind("every suffix that Pillow opens, in any case, and no other", [
        Folder(("train/cat/1.TIFF", "train/cat/2.jp2", "train/cat/3.Bmp", "test/cat/1.webp"), {"cat": (3,
              1)}),
        Folder(("train/cat/1.jpg.png", "train/cat/2.tga", "test/cat/a.b.ppm"), {"cat": (2, 1)}),
        Folder(("train/cat/1.png", "train/cat/png.txt", "train/cat/2.heic", "test/cat/1.png"), {"cat": (1,
              1)},
               {".txt": 1, ".heic": 1}),
    ]),
    "passed over": Kind("other suffixes, files in no class, splits and folders beside those that are read", [
        Folder(("train/cat/1.png", "test/cat/1.png", "train/2.png", "labels.txt", "3.png"), {"cat": (1, 1)},
               {"in no class folder": 2}),
        Folder(("train/cat/1.png", "test/cat/1.png", "raw/cat/1.png", "raw/2.png"), {"cat": (1, 1)},
               {"in raw/": 2}),
        Folder(("train/cat/1.png", "train/cat/a.txt", "train/cat/deep/b.txt", "test/cat/1.png", "test/cat/c"),
               {"cat": (1, 1)}, {".txt": 2, "without a suffix": 1}),
    ]),
    "left by systems": Kind("Thumbs.db, dot files and folders, __MACOSX, @eaDir: passed over silently", [
        Folder(("train/cat/1.png", "train/cat/._1.png", "test/cat/1.png", "test/cat/THUMBS.DB"), {"cat": (1,
              1)}),
        Folder(("__MACOSX/train/cat/1.png", "train/cat/1.png", "test/__MACOSX/1.png", "test/cat/1.png"),
               {"cat": (1, 1)}),
        Folder((".git/1.png", "train/.cache/1.png", "train/cat/@eaDir/2.png", "train/cat/1.png",
                "test/cat/1.png"), {"cat": (1, 1)}),
    ]),
    "names of splits": Kind("valid, validation, capitals; with test/ there val*/ is for validation", [
        Folder(("Train/cat/1.png", "Valid/cat/1.png", "Valid/cat/2.png"), {"cat": (1, 2)}),
        Folder(("training/cat/1.png", "Validation/cat/1.png", "test/cat/1.png"), {"cat": (1, 1)},
               {"in Validation/ (validation)": 1}),
        Folder(("TRAIN/cat/1.png", "VAL/cat/1.png", "TEST/cat/1.png", "TEST/cat/2.png"), {"cat": (1, 2)},
               {"in VAL/ (validation)": 1}),
        Folder(("train/cat/1.png", "val/cat/1.png", "valid/cat/1.png"),
              "val/ mean the same|valid/ mean the same"),
    ]),
    "no splits": Kind("a share of each class, drawn; classes alone, or below train/; each class has some", [
        Folder([f"{name}/{i}.png" for name in ("cat", "dog") for i in range(10)], {"cat": (8, 2), "dog": (8,
              2)},
               split=0.2),
        Folder(["train/cat/1.png", "train/cat/2.png", *(f"train/dog/{i}.png" for i in range(5))],
               {"cat": (1, 1), "dog": (4, 1)}, split=0.2),
        Folder([f"{n}/deep/{i}.png" for n in ("a", "b") for i in range(4)], {"a": (2, 2), "b": (2, 2)},
              split=0.5),
        Folder(("cat/1.png", "dog/1.png"), "draws a test set"),
    ]),
    "names in Unicode": Kind("composed and decomposed names are one class, in a split and across both", [
        Folder((f"train/{NFC}/1.png", f"test/{NFD}/1.png"), {NFC: (1, 1)}),
        Folder((f"train/{NFC}/1.png", f"train/{NFD}/1.png", f"test/{NFC}/1.png"), {NFC: (2, 1)}),
        Folder((f"{NFD}/1.png", f"{NFC}/2.png", "z/1.png", "z/2.png"), {NFC: (1, 1), "z": (1, 1)}, split=0.5),
    ]),
    "names that are no UTF-8": Kind("a class of such a name is one line; files and folders within are images",
    [
        Folder((b"train/\xe9t\xe9/1.png", b"test/\xe9t\xe9/1.png"),
              "the name of a class is not UTF-8; rename it"),
        Folder((b"train/cat/\xe9.png", b"train/cat/\xff\xfe/1.png", "test/cat/1.png"), {"cat": (2, 1)}),
        Folder(("train/cat/1.png", "test/cat/1.png", b"test/\xff/1.png"), "the name of a class is not UTF-8"),
    ]),
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "number"), [(kind, n) for kind, (_, folders) in KINDS.items() for n in range(len(folders))]
)
def test_a_folder_gives_the_images_that_a_person_counts(tmp_path, kind, number):
    given = KINDS[kind].folders[number]
    image_folder(tmp_path, *given.files)
    reading = ImageReading(2, split=given.split)
    if isinstance(given.right, str):
        with pytest.raises(DataError, match=given.right) as caught:
            folder_listing("imagefolder:odd", tmp_path, reading)
        assert "\n" not in caught.value.line
        return
    found = folder_listing("imagefolder:odd", tmp_path, reading)
    counts = zip(map(len, found.train), map(len, found.test), strict=True)
    assert dict(zip(found.class_names, counts, strict=True)) == given.right
    assert found.passed_over == given.passed


def test_each_kind_has_three_folders_at_least():
    assert {kind: len(folders) for kind, (_, folders) in KINDS.items() if len(folders) < 3} == {}


@pytest.mark.parametrize("size", [(300, 4000), (4000, 300), (1100, 1000)])
@pytest.mark.parametrize("skips", [False, True])
def test_an_image_above_the_bound_is_refused_or_skipped_before_it_is_decoded(tmp_path, size, skips):
    root = image_folder(tmp_path, "train/cat/1.png", "test/cat/1.png")
    Image.new("1", size).save(root / "train/cat/big.png")
    reading = ImageReading(2, most_megapixels=1, on_bad_image="skip" if skips else "fail")
    if skips:
        found = refuse_unshown("imagefolder:odd", tmp_path, reading, 4)
        assert found is not None
        assert [*found.skipped] == ["train/cat/big.png"]
        return
    with pytest.raises(DataError, match=r"big\.png: .*above most_megapixels = 1"):
        refuse_unshown("imagefolder:odd", tmp_path, reading, 4)


@pytest.mark.parametrize("target", ["/nowhere", "../dog/gone.png", os.devnull])
def test_a_link_to_no_file_is_told_by_name(tmp_path, target):
    root = image_folder(tmp_path, "train/cat/1.png", "test/cat/1.png")
    (root / "test/cat/2.png").symlink_to(target)
    with pytest.raises(DataError, match=r"test/cat/2\.png: (a link that leads nowhere|not a regular file)"):
        refuse_unshown("imagefolder:odd", tmp_path, ImageReading(2), 4)

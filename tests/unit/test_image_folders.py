"""Which files of a folder are images, of which class and split, and what is said of the others.

Kind: images passed over without a word. The case: half of the images of each class lie one folder deeper. Of
the same kind: suffixes in capitals and of further formats, splits by other names, classes whose names Unicode
writes in two ways, folders without splits, formats that are not read, files in no class.

Kind: a traceback, or a run that fails, in place of a line at queueing. The case: a class folder whose name is
not UTF-8. Of the same kind: links that lead nowhere or back, pipes, files that are no images, large ones.
"""

from __future__ import annotations

import os
import shutil
import unicodedata
from collections.abc import Callable, Mapping
from functools import partial
from itertools import chain
from pathlib import Path

import pytest
from PIL import Image

from tests.unit.image_desk import BOTH, image_folder, names
from tui_datasize.errors import DataError
from tui_datasize.experiments.catalogue import dataset_info, refuse_unshown
from tui_datasize.experiments.images import look, walk
from tui_datasize.experiments.images.pixels import _UNDECODED
from tui_datasize.experiments.images.reading import ImageReading
from tui_datasize.training.datasets import load_dataset, load_tests

NEWEST = ImageReading(rules=2)
SKIP = ImageReading(rules=2, on_bad_image="skip")
SPLIT = ImageReading(rules=2, split=0.25)
NFC, NFD = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
Make = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Make:
    """Make an image folder of these files, as `image_folder` does."""
    return partial(image_folder, tmp_path)


def test_images_in_sub_folders_are_taken_in_the_order_of_torchvision(folder):
    from torchvision.datasets import ImageFolder

    root = folder(*BOTH, "train/cat/batch2/0.png", "train/cat/batch2/deep/2.png", "train/cat/a/9.png")
    listing = walk.walk(root, NEWEST)
    theirs = [os.path.relpath(file, root) for file, _ in ImageFolder(str(root / "train")).samples]
    assert [*chain(*names(listing)[0])] == theirs
    assert len(theirs) == 5
    assert not listing.passed_over


def test_every_suffix_that_pillow_decodes_is_an_image():
    Image.init()
    known = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    undecoded = {suffix for suffix, kind in Image.registered_extensions().items() if kind in _UNDECODED}
    assert set(walk.SUFFIXES) == known - undecoded
    assert len(walk.SUFFIXES) == len(set(walk.SUFFIXES))


def test_suffixes_in_capitals_and_of_further_formats_are_taken(folder):
    root = folder(*BOTH, "train/cat/2.JPG", "train/cat/3.Gif", "train/cat/4.jfif", "train/cat/5.avif")
    assert len(walk.walk(root, NEWEST).train[0]) == 5


def test_what_is_passed_over_is_counted_by_reason(folder):
    root = folder(
        *(*BOTH, "train/cat/2.heic", "train/cat/deep/3.HEIC", "train/dog/notes.txt", "train/dog/README"),
        *("train/5.png", "6.png", "val/cat/1.png", "val/dog/deep/2.png", "more/cat/1.png"),
        *("train/cat/Thumbs.db", "train/.DS_Store.png", "train/cat/._1.png", "train/__MACOSX/cat/1.png"),
        *("@eaDir/1.png", "train/dog/@eaDir/1.png", "train/cat/.ipynb_checkpoints/1.png", "desktop.ini"),
    )
    assert walk.walk(root, NEWEST).passed_over == {
        ".heic": 2,
        "in no class folder": 2,
        "in val/ (validation)": 2,
        ".txt": 1,
        "without a suffix": 1,
        "in more/": 1,
    }


def test_a_class_of_images_that_are_not_read_is_told_as_such(folder):
    root = folder("train/cat/1.heic", "train/dog/1.png", "test/cat/1.png", "test/dog/1.png")
    with pytest.raises(DataError, match=r"train/cat: no images \(1 \.heic passed over\)"):
        walk.walk(root, NEWEST)


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train", "valid"),
        ("train", "validation"),
        ("Train", "Test"),
        ("TRAINING", "Val"),
        ("training", "testing"),
    ],
)
def test_splits_have_other_names_too(folder, train, test):
    root = folder(f"{train}/cat/1.png", f"{test}/cat/1.png", f"{test}/cat/2.png")
    listing = walk.walk(root, NEWEST)
    assert (len(listing.train[0]), len(listing.test[0])) == (1, 2)
    # Also where they are measured on alone.
    assert len(walk.walk_part(root, NEWEST).test[0]) == 2


@pytest.mark.parametrize("other", ["Train/cat/1.png", "training/cat/1.png", "Test/cat/1.png"])
def test_two_splits_of_one_kind_are_not_guessed_at(folder, other):
    with pytest.raises(DataError, match="mean the same"):
        walk.walk(folder(*BOTH, other), NEWEST)


def test_names_that_unicode_writes_in_two_ways_are_one_class(folder):
    root = folder(
        f"train/{NFC}/1.png", f"train/{NFD}/2.png", "train/dog/1.png", f"test/{NFD}/1.png", "test/dog/1.png"
    )
    listing = walk.walk(root, NEWEST)
    assert listing.class_names == (NFC, "dog")
    assert [len(files) for files in (*listing.train, *listing.test)] == [2, 1, 1, 1]


def test_a_folder_without_splits_is_drawn(folder):
    files = [f"{name}/{place}{i}.png" for name in ("cat", "dog") for place in ("", "deep/") for i in range(8)]
    root = folder(*files, "cat/notes.txt")
    listing = walk.walk(root, SPLIT)
    train, test = names(listing)
    assert [len(one) for one in (*train, *test)] == [12, 12, 4, 4]
    assert sorted(chain(*train, *test)) == sorted(files)
    assert listing.passed_over == {".txt": 1}
    again, other = (names(walk.walk(root, ImageReading(2, split=0.25, split_seed=seed))) for seed in (0, 1))
    assert again == (train, test) != other
    # The same files wherever the folder lies.
    moved = root.rename(root.with_name("moved"))
    assert names(walk.walk(moved, SPLIT)) == (train, test)
    info = dataset_info(f"imagefolder:{moved}", moved, SPLIT)
    assert (info.train_per_class, info.test_per_class) == ((12, 12), (4, 4))
    loaded = load_dataset(f"imagefolder:{moved}", moved.parent, 0, SPLIT)
    assert (len(loaded.train.labels), len(loaded.test.labels)) == (24, 8)


def test_a_folder_for_training_alone_is_drawn_and_so_are_classes_called_like_splits(folder):
    root = folder(*(f"train/{name}/{i}.png" for name in ("cat", "dog") for i in range(4)))
    assert walk.walk(root, SPLIT).class_names == ("cat", "dog")
    shutil.rmtree(root)
    root = folder(*(f"{name}/{i}.png" for name in ("bus", "test", "train") for i in range(4)))
    assert walk.walk(root, SPLIT).class_names == ("bus", "test", "train")


def test_what_is_decoded_into_the_folder_itself_is_no_class(folder):
    root = folder(*(f"{name}/{i}.png" for name in ("cat", "dog") for i in range(4)))
    for _ in range(2):
        assert load_dataset("imagefolder:.", root, 0, SPLIT).class_names == ("cat", "dog")
        assert (root / "arrays").is_dir()


def test_the_folder_above_is_not_taken_for_one_class(folder):
    root = folder("pets/cat/1.png", "pets/cat/2.png", "pets/dog/1.png")
    with pytest.raises(DataError, match="one class alone, pets; name the folder in which"):
        walk.walk(root, SPLIT)


def test_a_split_is_drawn_only_where_it_is_asked_for_and_there_is_none(folder):
    root = folder("cat/1.png", "cat/2.png")
    with pytest.raises(DataError, match=r"split = 0\.2 draws a test set"):
        walk.walk(root, NEWEST)
    with pytest.raises(DataError, match="nothing is to be split; leave split out"):
        walk.walk(folder(*BOTH), SPLIT)


def test_a_class_folder_that_is_not_utf8_is_one_line(folder):
    root = folder(b"train/caf\xe9/1.png", b"test/caf\xe9/1.png")
    with pytest.raises(DataError) as caught:
        walk.walk(root, NEWEST)
    assert r"train/caf\udce9: the name of a class is not UTF-8; rename it" in caught.value.line


def test_a_file_whose_name_is_not_utf8_is_an_image_and_is_shown_with_a_stand_in(folder):
    root = folder(*BOTH, b"train/cat/\xff.png")
    (root / "train/cat" / os.fsdecode(b"\xfe.png")).write_bytes(b"none")
    loaded = load_dataset("imagefolder:odd", root.parent, 0, SKIP)
    assert len(loaded.train.labels) == 3
    assert list(loaded.images["skipped"]) == [r"train/cat/\udcfe.png"]


def link_to(target: str) -> Callable[[Path], None]:
    return lambda file: file.symlink_to(target)


BAD: Mapping[str, tuple[str, Callable[[Path], object], str]] = {
    "dangling": ("train/cat/9.png", link_to("/nowhere/9.png"), "a link that leads nowhere"),
    "dangling folder": ("train/cat/batch", link_to("/nowhere"), "a link that leads nowhere"),
    "dangling class": ("train/bird", link_to("/nowhere"), "a link that leads nowhere"),
    "link to itself": ("test/dog/9.png", link_to("9.png"), "a link that leads nowhere"),
    "pipe": ("train/cat/9.png", os.mkfifo, "not a regular file"),
    "empty": ("train/cat/9.jpg", lambda file: file.write_bytes(b""), "cannot be decoded"),
    "text": ("train/cat/9.jpg", lambda file: file.write_text("<html>404</html>"), "cannot be decoded"),
    "video": (
        "test/cat/9.jpg",
        lambda file: file.write_bytes(b"\0\0\1\xb3" + bytes(100)),
        "cannot be decoded",
    ),
    "large": (
        "test/cat/9.png",
        lambda file: Image.new("1", (2000, 600)).save(file),
        "(1200000 pixels), above most_megapixels = 1",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_image_is_refused_by_name_at_queueing_or_skipped_and_listed(folder, kind):
    root = folder(*BOTH)
    name, make, told = BAD[kind]
    make(root / name)
    with pytest.raises(DataError) as caught:
        refuse_unshown("imagefolder:odd", root.parent, ImageReading(2, most_megapixels=1), 4)
    assert f"{root / name}: " in caught.value.line
    assert told in caught.value.line
    assert "\n" not in caught.value.line
    skip = ImageReading(2, on_bad_image="skip", most_megapixels=1)
    info = dataset_info("imagefolder:odd", root.parent, skip)
    assert (info.train_per_class, info.test_per_class) == ((1, 1), (1, 1))
    loaded = load_dataset("imagefolder:odd", root.parent, 4, skip)
    assert (len(loaded.train.labels), len(loaded.test.labels)) == (2, 2)
    assert list(loaded.images["skipped"]) == [name]
    assert told in loaded.images["skipped"][name]


def test_a_folder_within_a_class_may_have_any_name(folder, capsys):
    root = folder(b"train/cat/\xff\n/1.png", b"test/cat/\xff\n/2.png", b"far/cat/\xff\n/2.png")
    whole = load_dataset("imagefolder:odd", root.parent, 4)
    assert len(load_tests("imagefolder:odd/far", root.parent, whole, ["cat"]).labels) == 1
    assert r"\udcff" in capsys.readouterr().out


def test_a_truncated_image_is_skipped_before_sizes_are_counted(folder):
    root = folder(*BOTH)
    noise = Image.effect_noise((64, 64), 90)
    noise.save(root / "train/cat/2.jpg")
    (root / "train/cat/2.jpg").write_bytes((root / "train/cat/2.jpg").read_bytes()[:-500])
    assert dataset_info("imagefolder:odd", root.parent, NEWEST).train_images == 3
    with pytest.raises(DataError, match=r"2\.jpg: image cannot be decoded"):
        refuse_unshown("imagefolder:odd", root.parent, NEWEST, 4)
    assert dataset_info("imagefolder:odd", root.parent, SKIP).train_images == 2
    with pytest.raises(DataError, match=r"2\.jpg: image cannot be decoded"):
        load_dataset("imagefolder:odd", root.parent, 4)
    assert len(load_dataset("imagefolder:odd", root.parent, 4, SKIP).train.labels) == 2


def test_a_class_of_bad_images_alone_is_refused(folder):
    root = folder(*BOTH)
    (root / "train/dog/1.png").write_bytes(b"none")
    with pytest.raises(DataError, match="train/dog: no images"):
        dataset_info("imagefolder:odd", root.parent, SKIP)


def test_links_are_followed_and_never_in_a_circle(folder):
    root = folder(*BOTH, "elsewhere/7.png")
    (root / "train/cat/more").symlink_to(root / "elsewhere")
    (root / "train/cat/again").symlink_to(root / "train")
    listing = walk.walk(root, NEWEST)
    assert names(listing)[0][0] == ["train/cat/1.png", "train/cat/more/7.png"]
    assert listing.passed_over["links back to a folder above"] == 1


def test_many_bad_images_are_named_and_all_are_in_a_file(folder):
    root = folder(*BOTH)
    for i in range(9):
        (root / f"train/cat/bad{i}.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"so are 8 more: .*bad4\.png; .* names them all") as caught:
        refuse_unshown("imagefolder:odd", root.parent, NEWEST, 4)
    assert "bad5" not in caught.value.line
    assert len((root.parent / "arrays/bad-images.txt").read_text().splitlines()) == 9


def test_all_kinds_of_bad_images_are_told_in_one_line_with_their_numbers(folder):
    """A link is known to lead nowhere before any file is opened, and is told with what is known later."""
    root = folder(*BOTH)
    for i in range(2):
        (root / f"train/cat/gone{i}.png").symlink_to("/nowhere")
        (root / f"train/dog/text{i}.png").write_bytes(b"none")
    os.mkfifo(root / "test/dog/pipe.png")
    with pytest.raises(DataError) as caught:
        refuse_unshown("imagefolder:odd", root.parent, NEWEST, 4)
    line = caught.value.line
    assert line.startswith(
        f"{root}/test/dog/pipe.png: not a regular file; 2 with: a link that leads nowhere, "
    )
    assert f"such as {root}/train/cat/gone0.png; 2 with: image cannot be decoded (" in line
    assert line.endswith("bad-images.txt names them all; replace or remove it, or set on_bad_image = 'skip'")


def test_images_of_two_sizes_are_refused_at_queueing(folder):
    root = folder(*BOTH)
    Image.new("L", (5, 4)).save(root / "train/cat/2.png")
    with pytest.raises(DataError, match=r"cat/2\.png: 5x4 pixels, but .*1\.png has 4x4; set image_px"):
        refuse_unshown("imagefolder:odd", root.parent, NEWEST, 0)
    assert refuse_unshown("imagefolder:odd", root.parent, NEWEST, 4) is not None


def test_headers_are_read_once(folder, monkeypatch):
    root = folder(*BOTH)
    opened = look._look_at
    asked: list[int] = []
    monkeypatch.setattr(
        look, "_look_at", lambda files, *most, **how: asked.append(len(files)) or opened(files, *most, **how)
    )
    for _ in range(2):
        refuse_unshown("imagefolder:odd", root.parent, NEWEST, 4)
    Image.new("L", (4, 4), 99).save(root / "train/cat/2.png")
    refuse_unshown("imagefolder:odd", root.parent, NEWEST, 4)
    assert asked == [4, 0, 1]


def test_many_are_looked_at_by_other_processes_which_a_bad_one_may_bring_down(folder, monkeypatch):
    root = folder(*BOTH)
    monkeypatch.setattr(look, "_MOST_DECODED_HERE", 0)
    whole = refuse_unshown("imagefolder:odd", root.parent, NEWEST, 4)
    assert whole is not None
    assert {header[:3] for header in whole.headers} == {(4, 4, "L")}
    monkeypatch.setattr(look, "python_module", lambda _: ("/bin/sh", "-c", "kill -SEGV $$"))
    (root / "train/cat/2.png").write_bytes((root / "train/cat/1.png").read_bytes())
    with pytest.raises(DataError, match=r"cat/2\.png: image brings down what decodes it"):
        refuse_unshown("imagefolder:odd", root.parent, NEWEST, 4)

"""Building the arrays of image files: resized, in processes, killed and gone on with, repaired."""

from __future__ import annotations

import gc
import json
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tui_datasize.errors import EXIT_OK, EXIT_RUN_FAILED, DataError
from tui_datasize.experiments.images import look
from tui_datasize.experiments.images.reading import ImageReading
from tui_datasize.training import arrays, build, decoders
from tui_datasize.training.arrays import LoadedDataset
from tui_datasize.training.build import Progress
from tui_datasize.training.datasets import load_dataset, load_tests, load_unlabelled, main

SIDES = [(40, 30), (24, 36), (16, 16), (50, 20)]
GRADIENT = np.add.outer(np.arange(50), 4 * np.arange(60)).astype(np.uint8)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes of ten and four JPEG files of several sizes, some grey; a data directory holds them."""
    for split, count in (("train", 10), ("test", 4)):
        for label, name in enumerate(("cat", "dog")):
            folder = tmp_path / "pets" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                width, height = SIDES[i % len(SIDES)]
                image = Image.fromarray(np.roll(GRADIENT, 7 * i + 3 * label)[:height, :width].copy())
                image.convert("RGB" if i % 3 else "L").save(folder / f"{i}.JPEG")
    return tmp_path


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three images a chunk."""
    monkeypatch.setattr(build, "CHUNK_IMAGES", 3)


def load(data_dir: Path, image_px: int = 16) -> LoadedDataset:
    return load_dataset("imagefolder:pets", data_dir, image_px)


def partial_folder(data_dir: Path) -> Path:
    (folder,) = (data_dir / "arrays").glob(".*.partial")
    return folder


def test_images_are_resized_by_their_shorter_side_and_cropped_to_the_centre(photos):
    dataset = load(photos)
    assert dataset.train.images.shape == (20, 3, 16, 16)
    for row, (file, side) in enumerate(zip("0123", SIDES, strict=True)):
        with Image.open(photos / "pets/train/cat" / f"{file}.JPEG") as image:
            colours = image.convert("RGB")
        factor = 16 / min(side)
        size = (round(side[0] * factor), round(side[1] * factor))
        left, top = (size[0] - 16) // 2, (size[1] - 16) // 2
        expected = colours.resize(size, Image.Resampling.BILINEAR).crop((left, top, left + 16, top + 16))
        assert np.array_equal(dataset.train.images[row], np.asarray(expected).transpose(2, 0, 1))


def test_each_resolution_has_arrays_of_its_own(photos):
    small, large = load(photos, 8), load(photos, 16)
    assert (small.image_shape, large.image_shape) == ((3, 8, 8), (3, 16, 16))
    assert small.fingerprint != large.fingerprint
    assert load(photos, 8).fingerprint == small.fingerprint


def test_images_of_several_sizes_need_image_px(photos):
    with pytest.raises(DataError, match=r"24x36 pixels, but .*40x30; set image_px"):
        load(photos, 0)


def test_processes_end_with_the_error_and_wait_for_no_garbage_collector(photos, small_chunks, monkeypatch):
    started: list[subprocess.Popen[str]] = []
    start = subprocess.Popen

    def note(*args: object, **options: object) -> subprocess.Popen[str]:
        started.append(start(*args, **options))  # type: ignore[call-overload]
        return started[-1]

    monkeypatch.setattr(decoders.os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(decoders.subprocess, "Popen", note)
    gc.disable()
    try:
        with pytest.raises(DataError, match="set image_px") as caught:
            load(photos, 0)
        assert len(started) == 2
        assert all(process.poll() is not None for process in started), caught
    finally:
        gc.enable()


def test_two_processes_decode_what_one_does(photos, small_chunks, monkeypatch):
    one = load(photos)
    monkeypatch.setattr(decoders.os, "sched_getaffinity", lambda _: {0, 1})
    (photos / "arrays").rename(photos / "arrays of one")
    two = load(photos)
    assert two.fingerprint == one.fingerprint
    assert two.mean == one.mean
    assert np.array_equal(two.test.images, one.test.images)


BUILD = """
import os, signal, sys
from pathlib import Path
from tui_datasize.training import build, decoders
from tui_datasize.training.datasets import load_dataset, main
build.CHUNK_IMAGES = 3
decoders.os.sched_getaffinity = lambda _: {0, 1}
add = build.Progress.add
def add_and_die(self, images):
    add(self, images)
    if self._done >= 12:
        os.kill(os.getpid(), signal.SIGKILL)
build.Progress.add = add_and_die
load_dataset("imagefolder:pets", Path(sys.argv[1]), 16)
"""


@pytest.mark.faults
def test_a_killed_build_goes_on_where_it_was_and_decodes_a_damaged_chunk_again(
    photos, small_chunks, monkeypatch
):
    killed = subprocess.run([sys.executable, "-c", BUILD, str(photos)], check=False)
    assert killed.returncode == -9
    folder = partial_folder(photos)
    journal = [json.loads(line) for line in (folder / "chunks.jsonl").read_bytes().splitlines()]
    assert sum(chunk["stop"] - chunk["start"] for chunk in journal) >= 12
    damaged = next(chunk["start"] for chunk in journal if chunk["split"] == "train")
    images = np.load(folder / "train_images.npy", mmap_mode="r+")
    images[damaged + 1, 0, 5, 5] ^= 255
    images.flush()
    with (folder / "chunks.jsonl").open("a") as file:
        file.write('{"split": "tr')

    decoded = []
    monkeypatch.setattr(decoders.os, "sched_getaffinity", lambda _: {0})
    read = decoders.read_files
    monkeypatch.setattr(
        decoders, "read_files", lambda files, form: decoded.extend(files) or read(files, form)
    )
    resumed = load(photos)
    whole = {(chunk["split"], chunk["start"]) for chunk in journal} - {("train", damaged)}
    assert len(decoded) == 28 - sum(
        chunk["stop"] - chunk["start"] for chunk in journal if (chunk["split"], chunk["start"]) in whole
    )
    assert not list((photos / "arrays").glob(".*.partial"))
    (photos / "arrays").rename(photos / "arrays of the killed")
    assert load(photos).fingerprint == resumed.fingerprint


def test_a_process_of_its_own_decodes_before_any_run_or_says_why_it_cannot(photos, monkeypatch, capsys):
    monkeypatch.setenv("DATASIZE_DATA", str(photos))
    shutil.copytree(photos / "pets/test", photos / "sketches")
    pets = ["imagefolder:pets", "own", 16]
    assert main(words(pets, ["imagefolder:sketches", "tests", 0])) == EXIT_OK
    assert main(words(pets, ["imagefolder:sketches", "unlabelled", 16])) == EXIT_OK
    monkeypatch.setattr(arrays, "build", None)
    whole = load(photos)
    assert whole.image_shape == (3, 16, 16)
    assert len(load_tests("imagefolder:sketches", photos, whole, whole.class_names).labels) == 8
    assert len(load_unlabelled("imagefolder:sketches", photos, whole, 16).labels) == 8
    capsys.readouterr()
    for named in ([["imagefolder:nowhere", "own", 16]], [pets, ["imagefolder:nowhere", "tests", 0]]):
        assert main(words(*named)) == EXIT_RUN_FAILED
        (line,) = capsys.readouterr().err.splitlines()
        assert "nowhere" in line


def words(*named: list[object]) -> list[str]:
    return ["/", *(json.dumps([*one, asdict(ImageReading(rules=2))]) for one in named)]


def test_all_bad_images_are_named_at_once(photos, small_chunks, monkeypatch, capsys):
    monkeypatch.setattr(decoders.os, "sched_getaffinity", lambda _: {0, 1})
    # Of a large folder, of which headers alone are read before.
    monkeypatch.setattr(look, "_MOST_BYTES_DECODED", 0)
    bad = [photos / "pets" / file for file in ("train/cat/3.JPEG", "train/dog/8.JPEG", "test/dog/1.JPEG")]
    for file in bad:
        file.write_bytes(file.read_bytes()[:-60])
    with pytest.raises(DataError, match=r"cannot be decoded \(.*; so are 2 more") as caught:
        load(photos)
    told = capsys.readouterr().out
    for file in bad:
        assert str(file) in told
        assert str(file) in caught.value.line
    assert not list((photos / "arrays").glob(".*.partial"))


def test_a_decoding_process_that_vanishes_is_told(photos, small_chunks, monkeypatch):
    monkeypatch.setattr(decoders.os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(ChildProcessError, match="ended with exit status 1"):
        load(photos)


@pytest.mark.faults
def test_a_disk_that_is_too_small_is_an_error_before_anything_is_decoded(photos, small_disk, monkeypatch):
    small_disk.mount(photos / "arrays")
    monkeypatch.setattr(decoders, "read_files", lambda *_: pytest.fail("decoded"))
    with pytest.raises(OSError, match="No space left on device"):
        load(photos, 400)
    assert not list((photos / "arrays").glob(".*.partial"))


def test_progress_is_told_now_and_then_with_what_is_left(capsys):
    now = [0.0]
    progress = Progress(1_281_167, clock=lambda: now[0])
    for now[0] in (1.0, 2.0, 6.0, 7.0):
        progress.add(12_345)
    assert capsys.readouterr().out == "decoding ──────────────────── 37,035 of 1,281,167 images, 3 min left\n"

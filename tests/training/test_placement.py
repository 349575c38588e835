"""Images that stay in their file make the same run as those on the device."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.image_paths import AnonymousPeak, synthetic, upload_peak
from tests.training.helpers import evaluations, small_spec, train, train_until, weights
from tui_datasize.experiments.augmentation import AugmentationSpec
from tui_datasize.training import engine, reading, session
from tui_datasize.training.arrays import ChosenRows, ImageSplit
from tui_datasize.training.evaluate import DeviceSplit
from tui_datasize.training.placement import MappedSplit, has_room, nowhere, place

CPU = torch.device("cpu")


def test_batches_are_the_same_wherever_the_images_lie(digits):
    rows = np.array([5, 900, 17, 3])
    placed, mapped = place(digits.train, rows, CPU), place(digits.train, rows, CPU, nowhere)
    assert isinstance(placed, DeviceSplit)
    assert isinstance(mapped, MappedSplit)
    assert len(placed) == len(mapped) == 4
    for positions in (slice(1, 3), slice(None), torch.tensor([2, 2, 0])):
        for found, expected in zip(mapped.batch(positions), placed.batch(positions), strict=True):
            assert torch.equal(found, expected)
    assert placed.batch(slice(None))[0].numpy().tolist() == digits.train.images[rows].tolist()
    whole = place(digits.test, slice(None), CPU, nowhere)
    assert torch.equal(whole.batch(slice(None))[0], torch.from_numpy(np.array(digits.test.images)))


def test_a_run_on_images_in_their_file_is_that_on_images_in_memory(queue_run, monkeypatch):
    spec = small_spec(augmentation=AugmentationSpec(crop_padding_px=1, mixup=0.5))
    in_memory, in_file = queue_run(spec), queue_run(spec)
    expected = train(in_memory)
    for module in (engine, session):
        monkeypatch.setattr(module, "place", lambda *arguments: place(*arguments[:3], room=nowhere))
    train_until(in_file, 19)
    found = train(in_file)
    assert isinstance(found.trainer.subset, MappedSplit)
    assert torch.equal(weights(found), weights(expected))
    assert evaluations(in_file) == evaluations(in_memory)


@pytest.mark.parametrize(("images_bytes", "fits"), [(1, True), (1 << 60, False)])
def test_what_takes_too_much_memory_stays_in_its_file(images_bytes, fits):
    assert has_room(images_bytes, CPU) == fits


def test_an_upload_takes_host_memory_for_one_chunk_however_many_images(tmp_path):
    gained, allowed = upload_peak(tmp_path, 160 * 10**6, 64)
    assert gained <= allowed


def test_placing_images_takes_their_memory_and_that_of_one_chunk(tmp_path):
    images = synthetic(tmp_path, 80 * 10**6, 64)
    count = len(images)
    split = ImageSplit(images, np.zeros(count, np.int64), np.zeros(count, np.uint64))
    with AnonymousPeak() as peak:
        placed = place(split, np.arange(count)[::-1].copy(), CPU, lambda *_: True)
    assert np.array_equal(placed.images[:3].numpy(), images[:-4:-1])
    assert peak.gained_bytes <= images.size + 1.2 * reading.CHUNK_BYTES + 8 * count


@pytest.mark.parametrize("chunk_bytes", [1, 5 * 64, 1 << 20])
def test_an_upload_in_chunks_holds_the_images_in_the_order_asked_for(digits, monkeypatch, chunk_bytes):
    monkeypatch.setattr(reading, "CHUNK_BYTES", chunk_bytes)
    rows = np.array([90, 3, 3, 77, 12, 0])
    chosen = ChosenRows(digits.train.images, np.arange(100)[::-1].copy())
    target = torch.empty((6, *digits.image_shape), dtype=torch.uint8)
    reading.upload(chosen, rows, target)
    assert target.numpy().tolist() == digits.train.images[99 - rows].tolist()


def test_a_row_that_is_none_of_the_images_is_refused(digits):
    out = np.empty((2, *digits.image_shape), np.uint8)
    for row in (-1, len(digits.train.labels)):
        with pytest.raises(IndexError, match="expected rows from 0 to"):
            reading.gather(np.asarray(digits.train.images), np.array([0, row]), out)

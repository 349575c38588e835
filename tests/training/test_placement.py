"""Images that stay in their file make the same run as those on the device."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from dataclasses import astuple

import numpy as np
import pytest
import torch

from benchmarks.image_paths import AnonymousPeak, synthetic, upload_peak
from tests.training.helpers import evaluations, small_spec, train, train_until, weights
from tui_datasize.experiments.augmentation import AugmentationSpec
from tui_datasize.training import engine, reading, session
from tui_datasize.training.accelerator.interface import Accelerator
from tui_datasize.training.arrays import ChosenRows, ImageSplit
from tui_datasize.training.evaluate import Tally, predict
from tui_datasize.training.placement import DeviceSplit, MappedSplit, has_room, nowhere, place_images
from tui_datasize.training.streams import BatchOrder

CPU = torch.device("cpu")


def test_batches_are_the_same_wherever_the_images_lie(digits):
    rows = np.array([5, 900, 17, 3])
    placed, mapped = place_images(digits.train, rows, CPU), place_images(digits.train, rows, CPU, nowhere)
    assert isinstance(placed, DeviceSplit)
    assert isinstance(mapped, MappedSplit)
    assert len(placed) == len(mapped) == 4
    for positions in (slice(1, 3), slice(None), torch.tensor([2, 2, 0])):
        for found, expected in zip(mapped.batch(positions), placed.batch(positions), strict=True):
            assert torch.equal(found, expected)
    assert placed.batch(slice(None))[0].numpy().tolist() == digits.train.images[rows].tolist()
    whole = place_images(digits.test, slice(None), CPU, nowhere)
    assert torch.equal(whole.batch(slice(None))[0], torch.from_numpy(np.array(digits.test.images)))


@pytest.mark.parametrize("batches_ahead", [0, 3])
def test_a_run_on_images_in_their_file_is_that_on_images_in_memory(queue_run, monkeypatch, batches_ahead):
    monkeypatch.setattr(Accelerator, "batches_ahead", batches_ahead)
    spec = small_spec(augmentation=AugmentationSpec(crop_padding_px=1, mixup=0.5))
    in_memory, in_file = queue_run(spec), queue_run(spec)
    expected = train(in_memory)
    for module in (engine, session):
        monkeypatch.setattr(
            module, "place_images", lambda *arguments: place_images(*arguments[:3], room=nowhere)
        )
    threads, _ = noting_readers(monkeypatch)
    train_until(in_file, 19)
    found = train(in_file)
    assert isinstance(found.trainer.subset, MappedSplit)
    assert torch.equal(weights(found), weights(expected))
    assert evaluations(in_file) == evaluations(in_memory)
    # Each batch, of updates and passes, was read ahead, or none was; test images are placed twice.
    assert len(threads) > 40
    assert threads.count(threading.main_thread()) == (2 if batches_ahead else len(threads))


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
        placed = place_images(split, np.arange(count)[::-1].copy(), CPU, lambda *_: True)
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


@pytest.fixture
def ahead(monkeypatch):
    """Reads ahead, as for a device beside the host."""
    monkeypatch.setattr(Accelerator, "batches_ahead", 3)


def mapped(split, rows=None):
    return place_images(split, np.arange(40) if rows is None else rows, CPU, nowhere)


def noting_readers(monkeypatch):
    """The threads that read, one for each batch, and what counts them."""
    gather, threads, read = reading.gather, [], threading.Semaphore(0)

    def noting(*arguments):
        gather(*arguments)
        threads.append(threading.current_thread())
        read.release()

    monkeypatch.setattr(reading, "gather", noting)
    return threads, read


def test_batches_that_were_announced_are_read_before_they_are_asked_for(digits, monkeypatch, ahead):
    threads, read = noting_readers(monkeypatch)
    split = mapped(digits.train)
    first, second, third = torch.tensor([3, 1]), torch.tensor([8, 8, 2]), torch.tensor([9])
    for rows in (first, second, third):
        split.announce(rows)
    for _ in range(3):
        assert read.acquire(timeout=30)
    assert threading.main_thread() not in threads
    assert split.batch(first)[0].tolist() == digits.train.images[first.numpy()].tolist()
    # Others than were announced, and what is announced behind them.
    for rows in (torch.tensor([0]), third, second):
        assert split.batch(rows)[0].tolist() == digits.train.images[rows.numpy()].tolist()
    assert threads.count(threading.main_thread()) == 2


def test_threads_that_share_a_batch_fill_all_of_it(digits, monkeypatch, ahead):
    monkeypatch.setattr(reading, "_PART_BYTES", 64)
    monkeypatch.setattr(reading.os, "sched_getaffinity", lambda _: range(3))
    threads, _ = noting_readers(monkeypatch)
    split, rows = mapped(digits.train), torch.tensor([7, 7, 30, 2, 11])
    split.announce(rows)
    assert split.batch(rows)[0].tolist() == digits.train.images[rows.numpy()].tolist()
    assert len(threads) == 3
    assert threading.main_thread() not in threads


def test_an_error_of_the_reading_thread_is_that_of_the_batch(digits, monkeypatch, ahead):
    def fails(*_):
        raise OSError("input/output error")

    split = mapped(digits.train)
    monkeypatch.setattr(reading, "gather", fails)
    split.announce(torch.tensor([1]))
    with pytest.raises(OSError, match="input/output"):
        split.batch(torch.tensor([1]))
    with pytest.raises(OSError, match="input/output"):
        list(split.batches(8))


def test_the_memory_of_batches_is_used_again(digits):
    split = mapped(digits.train)
    places = {batch.data_ptr() for _ in range(3) for batch, _ in [split.batch(slice(0, 8))]}
    assert len(places) == 1


def test_a_pass_takes_images_as_they_lie_in_their_file_and_tells_them_in_their_order(digits, ahead):
    rows = np.array([33, 4, 20, 5, 31])
    split = mapped(digits.train, rows)
    taken = [images.clone() for images, _ in split.batches(2)]
    assert torch.cat(taken).tolist() == digits.train.images[np.sort(rows)].tolist()
    told = [
        predict(
            torch.nn.Flatten(),
            images,
            lambda pixels: pixels.float(),
            Tally(64),
            batch_size=2,
            autocast=nullcontext(),
            check=lambda: None,
        )
        for images in (split, place_images(digits.train, rows, CPU))
    ]
    for found, expected in zip(*(astuple(outputs) for outputs in told), strict=True):
        assert np.array_equal(found, expected)
    assert mapped(digits.train).pass_order is None


def test_positions_looked_at_early_are_those_drawn_later():
    def order():
        return BatchOrder(5, 3, torch.Generator().manual_seed(1), CPU)

    plain, peeking = order(), order()
    for size in (3, 2, 3) * 60:
        ahead = peeking.peek(4, 7)
        assert peeking.next(size).tolist() == plain.next(size).tolist()
        assert len(ahead) == 7
    assert plain.peek(0, 3).tolist() == peeking.next(3).tolist()
    resumed = order()
    resumed.load_state_dict(peeking.state_dict())
    assert torch.equal(
        torch.cat([resumed.next(3) for _ in range(99)]), torch.cat([peeking.next(3) for _ in range(99)])
    )


class LateDevice(Accelerator):
    """Copies what it is sent only when somebody waits for it, as a device may that is busy."""

    batches_ahead = 2

    def __init__(self):
        super().__init__(CPU)
        self.sent = []
        self.marks = []

    def send(self, part):
        self.sent.append((part, torch.zeros_like(part)))
        return self.sent[-1][1]

    def current_stream(self):
        return self

    def mark(self):
        self.marks.append(LateCopies(self.sent[-1:]))
        return self.marks[-1]


class LateCopies:
    def __init__(self, copies):
        self.copies = copies

    def wait(self):
        while self.copies:
            source, target = self.copies.pop()
            target.copy_(source)


@pytest.mark.parametrize("is_announced", [False, True])
def test_memory_is_filled_again_only_once_the_device_has_its_copy(digits, monkeypatch, is_announced):
    device = LateDevice()
    monkeypatch.setattr(reading, "accelerator_of", lambda _: device)
    reader = reading.ImageReader(digits.train.images, CPU)
    batches = [np.arange(start, start + 4) for start in range(0, 48, 4)]
    received = []
    for number, rows in enumerate(batches):
        for coming in batches[number + 2 if number else 0 : number + 3] if is_announced else ():
            reader.announce(coming)
        received.append(reader.read(rows))
    assert any(mark.copies for mark in device.marks)
    for mark in device.marks:
        mark.wait()
    assert torch.cat(received).tolist() == digits.train.images[:48].tolist()
    reader.close()


def test_an_upload_fills_its_memory_again_only_once_the_device_has_its_copy(digits, monkeypatch):
    monkeypatch.setattr(reading, "CHUNK_BYTES", 8 * 64)
    waited = []

    class Waits(Accelerator):
        def staging(self, shape, dtype):
            waited.append(shape)
            return super().staging(shape, dtype)

        def current_stream(self):
            return self

        def mark(self):
            return self

        def wait(self):
            waited.append("wait")

    monkeypatch.setattr(reading, "accelerator_of", lambda _: Waits(CPU))
    target = torch.empty((20, *digits.image_shape), dtype=torch.uint8)
    reading.upload(digits.train.images, np.arange(20), target)
    # Two halves of four images each; the first two fills wait for nothing.
    assert waited == [(4, 1, 8, 8)] * 2 + ["wait"] * 3
    assert target.tolist() == digits.train.images[:20].tolist()

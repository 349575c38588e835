"""Images whole on the device and mapped from their file: equal losses, and how fast each is."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch.nn.functional import cross_entropy

from tui_datasize.experiments.spec import ModelSpec
from tui_datasize.training.arrays import LoadedDataset
from tui_datasize.training.evaluate import ImageBatches
from tui_datasize.training.placement import place
from tui_datasize.training.selftest import subject as subjects
from tui_datasize.training.selftest.record import Findings, NotHere
from tui_datasize.training.selftest.subject import Shape, Subject

LARGE: tuple[int, Shape] = (4 << 30, (3, 256, 256))
"""Bytes of all images, and the shape of one: for a card."""
SMALL: tuple[int, Shape] = (96 << 20, (3, 64, 64))
"""Likewise for a CPU."""
_BATCH = 128
_UPDATES = 8
_UPDATE_IMAGES = 16
_PART = 512
_MOST_OF_IMAGES = 1.2
_SLACK_BYTES = 128 << 20
"""Of anonymous memory, for labels, rows and buffers."""


def run(subject: Subject, findings: Findings) -> None:
    """Writes random images to disk, and trains on them both ways."""
    wanted, shape = LARGE if subject.is_card else SMALL
    # What a context takes of the host is no part of any image.
    subject.open()
    with tempfile.TemporaryDirectory() as folder:
        room = int(shutil.disk_usage(folder).free * 0.5)
        if room < wanted // 16:
            raise NotHere(f"{room / 1e9:.1f} GB can be written to {folder}; set TMPDIR to another disk")
        data = _on_disk(Path(folder), min(wanted, room), shape)
        images_bytes = int(np.prod(data.train.images.shape))
        findings.figure("images_bytes", images_bytes)
        losses = {}
        for name, is_resident in (("mapped", False), ("resident", True)):
            before = _anonymous_bytes()
            split = _placed(subject, data, is_resident=is_resident)
            taken = _anonymous_bytes() - before
            held_bytes = images_bytes if is_resident and not subject.is_card else 0
            most = _MOST_OF_IMAGES * held_bytes + _SLACK_BYTES
            findings.figure(f"{name}_host_bytes", taken)
            findings.check(
                f"{name}: memory of the host",
                taken <= most,
                f"{taken / 1e6:.0f} MB, expected {most / 1e6:.0f}",
            )
            findings.figure(f"{name}_images_per_s", _rate(subject, split))
            losses[name] = _losses(subject, data, split)
        is_equal = losses["mapped"] == losses["resident"]
        findings.check("losses of both are equal", is_equal, f"not equal: {losses}")
        findings.say(f"{images_bytes / 1e9:.1f} GB of {shape[1]} px: losses of both ways are equal")


def _placed(subject: Subject, data: LoadedDataset, *, is_resident: bool) -> ImageBatches:
    rows = np.random.default_rng(3).permutation(len(data.train.labels))
    return place(data.train, rows, subject.device, room=lambda *_: is_resident)


def _on_disk(folder: Path, wanted_bytes: int, shape: Shape) -> LoadedDataset:
    """As many random images as take so many bytes, their pixels in a file."""
    count = wanted_bytes // int(np.prod(shape)) // _BATCH * _BATCH
    part = subjects.dataset(_PART, shape)
    images = open_memmap(folder / "images.npy", mode="w+", dtype=np.uint8, shape=(count, *shape))
    for start in range(0, count, _PART):
        images[start : start + _PART] = part.train.images[: count - start]
    images.flush()
    labels = np.resize(part.train.labels, count)
    split = replace(
        part.train,
        images=np.load(folder / "images.npy", mmap_mode="r"),
        labels=labels,
        hashes=np.zeros(count, np.uint64),
    )
    return replace(part, train=split)


def _rate(subject: Subject, split: ImageBatches) -> float:
    """Images/s that come to the device in batches of random rows."""
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(5)).to(split.home)
    batches = list(order.split(_BATCH))[: 400 if subject.is_card else 40]  # type: ignore[no-untyped-call]

    def read() -> None:
        for number, rows in enumerate(batches):
            # As a run does: all of the first, then one more each time.
            for coming in batches[number + split.ahead if number else 0 : number + split.ahead + 1]:
                if split.ahead:
                    split.announce(coming)
            split.batch(rows)
        subject.accelerator.wait()

    read()
    return sum(map(len, batches)) / _seconds(read)


def _seconds(work: Callable[[], None]) -> float:
    started_s = time.perf_counter()
    work()
    return time.perf_counter() - started_s


def _losses(subject: Subject, data: LoadedDataset, split: ImageBatches) -> list[float]:
    """Of a few updates on random images."""
    trainer = subject.trainer(subjects.spec(ModelSpec("cnn3", {"width": 8}), train_size=_BATCH), data)
    optimiser = torch.optim.SGD(trainer.model.parameters(), lr=0.05)
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(5)).to(split.home)
    losses = []
    for rows in order[: _UPDATES * _UPDATE_IMAGES].split(_UPDATE_IMAGES):  # type: ignore[no-untyped-call]
        images, labels = split.batch(rows)
        loss = cross_entropy(trainer.model(trainer.view(images)), labels)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss.detach()))
    return losses


def _anonymous_bytes() -> int:
    """Memory of this process that belongs to no file."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon:")), 0)

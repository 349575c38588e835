"""Memory that runs out, in an update, a recording or a pack; images whole on the device or in their file."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch import Tensor
from torch.nn.functional import cross_entropy

from tui_datasize.experiments.spec import Budget, ModelSpec, RunSpec
from tui_datasize.files import read_object
from tui_datasize.runlog.paths import RunPaths
from tui_datasize.training import failures
from tui_datasize.training.accelerator.interface import Capture
from tui_datasize.training.arrays import LoadedDataset
from tui_datasize.training.graph import capture_on
from tui_datasize.training.placement import ImageBatches, place_images
from tui_datasize.training.selftest import subject as subjects
from tui_datasize.training.selftest.catalogue import STEPS
from tui_datasize.training.selftest.record import Findings, NotHere
from tui_datasize.training.selftest.subject import (
    Shape,
    Subject,
    check_equal,
    images,
    kinds,
    make,
    outcome,
    recording_by,
)
from tui_datasize.training.worker import PACK_OPTION
from tui_datasize.training.worker import main as work

_LEFT_BYTES = 2 << 30
_UPDATES = 20
_LANES = 4
_ROOM_OF_LANES = 1.6
"""Memory that a pack is left, in runs: one fits, two do not."""
_LARGE: dict[str, Any] = {"model": ModelSpec("resnet", {"depth": 20, "width": 64}), "batch_size": 1024}


def check_memory(subject: Subject, findings: Findings) -> None:
    """Takes all memory of the GPU but 2 GiB, and asks for more.

    Raises NotHere: others use the GPU, whose runs would fail.
    """
    subject.open()
    accelerator = subject.accelerator
    free_bytes = accelerator.free_bytes()
    findings.figure("free_bytes", free_bytes)
    data, spec = images(is_gpu=True), kinds(is_gpu=True)["cnn3 with dropout and clipping"]
    expected = outcome(make(subject.trainer(spec, data), _UPDATES), data)
    accelerator.release_memory()
    if free_bytes < 2 * _LEFT_BYTES:
        raise NotHere(f"{free_bytes / 2**30:.1f} GiB are free, at least 4 are needed")
    ballast = torch.empty(accelerator.free_bytes() - _LEFT_BYTES, dtype=torch.uint8, device=subject.device)
    _run_out(subject, findings)
    accelerator.release_memory()
    kept = accelerator.reserved_bytes() - ballast.nbytes
    findings.check("memory is given back", kept < _LEFT_BYTES / 8, f"{kept / 2**20:.0f} MiB are kept")
    survived = outcome(make(subject.trainer(spec, data), _UPDATES), data)
    check_equal(findings, "the process goes on", survived, expected)
    _run_out_while_recording(subject, findings, spec, data)
    del ballast
    accelerator.release_memory()
    if missing := STEPS["end-to-end"].missing:
        findings.figure("pack", f"needs {', '.join(missing)}")
    else:
        _check_pack(subject, findings)
    findings.say("running out, also in a recording, is reported as such; the process goes on with equal bits")


def _check_pack(subject: Subject, findings: Findings) -> None:
    """A pack for which memory suffices only run by run: it halves, halves again, and each run succeeds."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DATASIZE_DATA"] = folder
        first, *runs = [_queued(Path(folder), seed) for seed in range(_LANES + 1)]
        work([str(first.directory)])
        peak_bytes = int(read_object(first.provenance)["peak_device_memory_bytes"])
        findings.figure("run_alone_bytes", peak_bytes)
        accelerator = subject.accelerator
        accelerator.release_memory()
        left_bytes = int(_ROOM_OF_LANES * peak_bytes)
        size = max(0, accelerator.free_bytes() - left_bytes)
        ballast = torch.empty(size, dtype=torch.uint8, device=subject.device)
        work([PACK_OPTION, *(str(paths.directory) for paths in runs)])
        del ballast
        accelerator.release_memory()
        said = runs[0].stdout.read_text(encoding="utf-8")
        for lanes in (_LANES, _LANES // 2):
            told = f"out of memory in a pack of {lanes}, going on in a smaller one"
            findings.check(f"a pack of {lanes} without memory is halved", told in said, said[-200:])
        ends = [str(read_object(paths.exit)["outcome"]) for paths in runs]
        findings.figure("pack", ends)
        findings.check("all of its runs succeed", set(ends) == {"succeeded"}, ", ".join(ends))


def _queued(folder: Path, seed: int) -> RunPaths:
    size: dict[str, Any] = {"train_size": 1024, "budget": Budget("updates", 5), "evaluations": 1}
    return subjects.queued(folder, subjects.spec(dataset="digits", seed=seed, **size, **_LARGE))


def _run_out(subject: Subject, findings: Findings) -> None:
    parts: list[Tensor] = []
    try:
        while len(parts) < 64:
            parts.append(torch.zeros(_LEFT_BYTES // 8, dtype=torch.uint8, device=subject.device))
    except RuntimeError as error:
        findings.check("running out is reported as such", failures.is_out_of_memory(error), str(error)[:200])
        findings.check("it ruins no process", not failures.ruins_process(error), str(error)[:200])
        return
    findings.check("memory runs out", False, "it did not")


def _run_out_while_recording(
    subject: Subject, findings: Findings, spec: RunSpec, data: LoadedDataset
) -> None:
    """A recording that finds no memory is refused; the run goes on without."""

    def capture(device: torch.device, generators: Sequence[torch.Generator]) -> Capture | None:
        if (own := capture_on(device, generators)) is None:
            return None
        record = own.record

        def hungry(work: Callable[[], Any]) -> Any:
            made = work()
            torch.empty(4 * _LEFT_BYTES, dtype=torch.uint8, device=device)
            return made

        return recording_by(own, lambda work: record(lambda: hungry(work)))

    refused = make(subject.trainer(spec, data, capture), _UPDATES)
    findings.check("a recording without memory is refused", refused.replayed == 0, "it was made")
    recorded = make(subject.trainer(spec, data), _UPDATES)
    check_equal(findings, "the run goes on", outcome(refused, data), outcome(recorded, data))


LARGE: tuple[int, Shape] = (4 << 30, (3, 256, 256))
"""Bytes of all images, and the shape of one: for a GPU."""
SMALL: tuple[int, Shape] = (96 << 20, (3, 64, 64))
"""Likewise for a CPU."""
_BATCH = 128
_PLACED_UPDATES = 8
_UPDATE_IMAGES = 16
_PART = 512
_MOST_OF_IMAGES = 1.2
_SLACK_BYTES = 128 << 20
"""Of anonymous memory, for labels, rows and buffers."""


def check_placement(subject: Subject, findings: Findings) -> None:
    """Writes random images to disk, and trains on them both ways."""
    wanted, shape = LARGE if subject.is_gpu else SMALL
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
            rows = np.random.default_rng(3).permutation(len(data.train.labels))
            split = place_images(data.train, rows, subject.device, lambda *_, there=is_resident: there)
            taken = _anonymous_bytes() - before
            held_bytes = images_bytes if is_resident and not subject.is_gpu else 0
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
    batches = list(order.split(_BATCH))[: 400 if subject.is_gpu else 40]  # type: ignore[no-untyped-call]

    def read() -> None:
        for number, rows in enumerate(batches):
            # As a run does: all of the first, then one more each time.
            for coming in batches[number + split.ahead if number else 0 : number + split.ahead + 1]:
                if split.ahead:
                    split.announce(coming)
            split.batch(rows)
        subject.accelerator.wait()

    read()
    started_s = time.perf_counter()
    read()
    return sum(map(len, batches)) / (time.perf_counter() - started_s)


def _losses(subject: Subject, data: LoadedDataset, split: ImageBatches) -> list[float]:
    trainer = subject.trainer(subjects.spec(ModelSpec("cnn3", {"width": 8}), train_size=_BATCH), data)
    optimiser = torch.optim.SGD(trainer.model.parameters(), lr=0.05)
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(5)).to(split.home)
    losses = []
    for rows in order[: _PLACED_UPDATES * _UPDATE_IMAGES].split(_UPDATE_IMAGES):  # type: ignore[no-untyped-call]
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

"""What comes of memory that runs out: in an update, while one is recorded, and in a pack."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tui_datasize.experiments.spec import Budget, ModelSpec, RunSpec
from tui_datasize.files import read_object
from tui_datasize.runlog.paths import RunPaths
from tui_datasize.training import failures
from tui_datasize.training.accelerator.interface import Capture
from tui_datasize.training.arrays import LoadedDataset
from tui_datasize.training.graph import capture_on
from tui_datasize.training.selftest import subject as subjects
from tui_datasize.training.selftest.catalogue import STEPS
from tui_datasize.training.selftest.record import Findings, NotHere
from tui_datasize.training.selftest.subject import Subject, compare, images, kinds, make, outcome
from tui_datasize.training.worker import PACK_OPTION
from tui_datasize.training.worker import main as work

_LEFT_BYTES = 2 << 30
_UPDATES = 20
_LANES = 4
_ROOM_OF_LANES = 1.6
"""Memory that a pack is left, in runs: one fits, two do not."""
_LARGE: dict[str, Any] = {"model": ModelSpec("resnet", {"depth": 20, "width": 64}), "batch_size": 1024}


def run(subject: Subject, findings: Findings) -> None:
    """Takes all memory of the card but 2 GiB, and asks for more.

    Raises:
        NotHere: Others use the card, whose runs would fail.
    """
    subject.open()
    accelerator = subject.accelerator
    free_bytes = accelerator.free_bytes()
    findings.figure("free_bytes", free_bytes)
    data, spec = images(is_card=True), kinds(is_card=True)["cnn3 with dropout and clipping"]
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
    compare(findings, "the process goes on", survived, expected)
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
        own = capture_on(device, generators)
        return _Hungry(own, device) if own else None

    refused = make(subject.trainer(spec, data, capture), _UPDATES)
    findings.check("a recording without memory is refused", refused.replayed == 0, "it was made")
    recorded = make(subject.trainer(spec, data), _UPDATES)
    compare(findings, "the run goes on", outcome(refused, data), outcome(recorded, data))


class _Hungry:
    """A way to record in which memory runs out behind the work."""

    def __init__(self, own: Capture, device: torch.device) -> None:
        self.prepare, self.forget = own.prepare, own.forget
        self._own, self._device = own, device

    def record(self, work: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
        def hungry() -> Any:
            made = work()
            torch.empty(4 * _LEFT_BYTES, dtype=torch.uint8, device=self._device)
            return made

        return self._own.record(hungry)

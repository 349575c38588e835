"""Whether bits repeat: the same seed twice, after kill -9, and side by side with others."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from tui_datasize.errors import EXIT_OK
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.training import checkpoint
from tui_datasize.training.arrays import LoadedDataset
from tui_datasize.training.engine import Readings
from tui_datasize.training.packs.implementations import SideBySide
from tui_datasize.training.selftest.child import in_fork
from tui_datasize.training.selftest.record import Findings
from tui_datasize.training.selftest.subject import (
    Subject,
    SubjectResult,
    compare,
    images,
    joined,
    kinds,
    make,
    outcome,
)

_LANES = 3
_IDENTITY = {"run": "selftest"}


def run(subject: Subject, findings: Findings) -> None:
    """Compares weights, losses, gradient norms and every column of evaluations."""
    updates, data, specs = _work(subject)
    with tempfile.TemporaryDirectory() as folder:
        _train_and_be_killed(subject, Path(folder))
        for name, spec in specs.items():
            expected = _alone(subject, spec, data, updates)
            compare(findings, f"{name}: again", _alone(subject, spec, data, updates), expected)
            resumed = _resumed(subject, spec, data, updates, _file(Path(folder), name))
            compare(findings, f"{name}: after kill -9", resumed, expected)
            beside = _side_by_side(subject, spec, data, updates)
            compare(findings, f"{name}: side by side", beside, expected)
    columns = sum(key.startswith("test ") for key in expected.scores)
    findings.figure("updates", updates)
    findings.say(
        f"{len(specs)} kinds of run again, after kill -9 and side by side: "
        f"weights and {columns} columns of evaluations are equal"
    )


def _work(subject: Subject) -> tuple[int, LoadedDataset, Mapping[str, RunSpec]]:
    updates = 60 if subject.is_card else 6
    return updates, images(is_card=subject.is_card), kinds(is_card=subject.is_card)


def _alone(subject: Subject, spec: RunSpec, data: LoadedDataset, updates: int) -> SubjectResult:
    return outcome(make(subject.trainer(spec, data), updates), data)


def _side_by_side(subject: Subject, spec: RunSpec, data: LoadedDataset, updates: int) -> SubjectResult:
    """Of one of several lanes, neither the first nor the last."""
    lanes = [
        subject.trainer(replace(spec, seed=spec.seed + shift), data) for shift in (1, 0, *range(2, _LANES))
    ]
    together = SideBySide(lanes)
    for _ in range(updates):
        together.step(range(_LANES))
    return outcome(lanes[1], data)


def _resumed(
    subject: Subject, spec: RunSpec, data: LoadedDataset, updates: int, saved: Path
) -> SubjectResult:
    """Of a run that goes on from a checkpoint of the process that was killed."""
    state = checkpoint.load(saved, _IDENTITY)
    if state is None:
        raise RuntimeError("the process that was killed left no checkpoint")
    trainer = subject.trainer(spec, data)
    trainer.load_state_dict(state["trainer"])
    earlier = Readings(tuple(state["losses"]), tuple(state["gradient_norms"]))
    make(trainer, updates - trainer.update)
    return outcome(trainer, data, joined([earlier, trainer.read()]))


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.pt"


def _train_and_be_killed(subject: Subject, folder: Path) -> None:
    """Have a process of its own train each kind of run for a part, and die; this one has opened no device."""
    status = in_fork(partial(_train_and_die, subject, folder))
    if status != -signal.SIGKILL:
        raise RuntimeError(f"the process that was to be killed ended with {status}")


def _train_and_die(subject: Subject, folder: Path) -> int:
    """Train each kind of run, save it, and go on until the end."""
    updates, data, specs = _work(subject)
    for name, spec in specs.items():
        trainer = make(subject.trainer(spec, data), updates // 2)
        measured = trainer.read()
        state = {
            "trainer": trainer.state_dict(),
            "losses": list(measured.losses),
            "gradient_norms": list(measured.gradient_norms),
        }
        checkpoint.save(_file(folder, name), _IDENTITY, state)
        make(trainer, 1)
    os.kill(os.getpid(), signal.SIGKILL)
    return EXIT_OK

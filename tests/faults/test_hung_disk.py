"""A shared disk that does not answer: this machine's own runs go on, and commands are answered."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.lab import Lab
from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.queue.state import JobState

pytestmark = pytest.mark.faults
HUNG = "tests.faults.hung_disk"


def commands_of_a_mock(directory: Path, state: Path) -> None:
    """sbatch and its like, that answer from a file."""
    directory.mkdir()
    for name in ("sbatch", "squeue", "scontrol", "scancel"):
        call = shlex.join([sys.executable, "-P", "-m", "tests.slurm_mock", str(state), name])
        (directory / name).write_text(f'#!/bin/sh\nexec {call} "$@"\n')
        (directory / name).chmod(0o755)


def test_local_runs_go_on_while_a_shared_disk_does_not_answer(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared, hung = tmp_path / "shared", tmp_path / "shared.hung"
    shared.mkdir()
    commands_of_a_mock(tmp_path / "bin", tmp_path / "slurm.json")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("DATASIZE_HUNG_DISK", str(shared))
    lab.project.experiments.write_text(f"[cluster]\ngpus = 0\nshared = '{shared}'\n")
    (far,) = lab.enqueue(lab.spec(7), on="slurm")
    lab.start_scheduler("--squeue-s", "0.2", through=[HUNG], is_forked=False)
    lab.wait(lambda: lab.job(far).reason.startswith("waits for"))
    hung.touch()
    # A cancel finds the disk silent; whoever looks at the cluster goes on with it.
    assert lab.ask(CommandKind.CANCEL, far) == [(True, f"{far.run_id}: is being cancelled")]
    near = lab.enqueue(*(replace(lab.spec(seed), experiment="near") for seed in range(3)))
    for run in near:
        assert lab.wait_for(run, JobState.SUCCEEDED).attempts == 1
    assert lab.job(far).state is JobState.QUEUED
    hung.unlink()
    lab.wait_for(far, JobState.CANCELLED)

"""A copy of a project whose runs are under way, as a backup or a second try makes one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.forked import Server
from tests.faults.lab import Lab, is_alive
from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.queue.state import JobState

pytestmark = pytest.mark.faults


@pytest.mark.usefixtures("_own_machine")
@pytest.mark.parametrize(
    ("copy", "starts"),
    [
        (shutil.copy2, "cold"),
        (os.link, "warm"),
        pytest.param(shutil.copy2, "warm", marks=pytest.mark.exhaustive),
        pytest.param(os.link, "cold", marks=pytest.mark.exhaustive),
    ],
)
def test_what_is_asked_in_a_copy_ends_no_worker_of_the_original(
    tmp_path: Path, server: Server, copy: Callable[..., object], starts: str
) -> None:
    options = ("--cold",) if starts == "cold" else ()
    (tmp_path / "project").mkdir()
    lab = Lab(tmp_path / "project", options, server)
    try:
        stubborn = lab.spec(1, gate=str(lab.gate()), stubborn=True)
        runs = lab.enqueue(lab.spec(0, gate=str(lab.gate())), stubborn)
        lab.start_scheduler()
        workers = [lab.worker_pid(run) for run in runs]
        for run in runs:
            lab.wait_for(run, JobState.RUNNING)
        shutil.copytree(lab.project.root, tmp_path / "copy", copy_function=shutil.copy2)
        for run in runs:
            there = tmp_path / "copy" / run.directory.relative_to(lab.project.root)
            for file in (run.lock, run.claim):
                (there / file.name).unlink()
                copy(file, there / file.name)
        other = Lab(tmp_path / "copy", options, server)
        other.start_scheduler("--grace-s", "0.1")
        asked = other.client.send(CommandKind.CANCEL, [run.run_id for run in runs])
        assert other.client.wait(asked, 60) is not None
        there = [other.project.run(run.experiment, run.run_id) for run in runs]
        if copy is shutil.copy2:
            for run in there:
                other.wait_for(run, JobState.CANCELLED)
        # Both schedulers have looked again and again at what is asked of them.
        (third,) = other.enqueue(other.spec(3))
        other.wait_for(third, JobState.SUCCEEDED)
        assert all(map(is_alive, workers))
        assert other.client.orphans() == []
        lab.gate().touch()
        for run in runs:
            assert lab.wait_for(run, JobState.SUCCEEDED).attempts == 1
            lab.assert_ran_once(run)
    finally:
        lab.close()

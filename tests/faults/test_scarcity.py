"""The machine is short of something that runs need: they wait for it, and lose nothing."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.disks import SmallDisk
from tests.faults.lab import Lab
from tui_datasize.jobs.queue.faults import FaultKind
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.programs import python_module

pytestmark = pytest.mark.faults

ACTIVE = tuple(state for state in JobState if state.is_active)


def stands(lab: Lab, kind: FaultKind) -> bool:
    return kind in [fault.kind for fault in lab.client.faults()]


@pytest.mark.long
@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        ({"behaviour": "die", "deaths": 10**6, "early": True}, FaultKind.ALIKE),
        # A disk that hovers at its end is below; a real one that is full in test_machine_faults.
        pytest.param({"behaviour": "fail", "reason": "disk full", "lack": "disk"}, FaultKind.DISK,
                     marks=pytest.mark.exhaustive),
        # No library fits into the memory of a worker below.
        pytest.param({"behaviour": "fail", "reason": "No module named 'torch'", "lack": "libraries",
                      "early": True}, FaultKind.PROCESSES, marks=pytest.mark.exhaustive),
    ],
)  # fmt: skip
def test_what_ends_every_run_fails_none_and_is_told(
    warm_lab: Lab, behaviour: dict[str, object], kind: FaultKind
) -> None:
    lab = warm_lab
    mended = lab.gate("mended")
    runs = lab.enqueue(*(lab.spec(seed, until=str(mended), **behaviour) for seed in range(5)))
    lab.start_scheduler("--cpu-slots", "2", "--pause-s", "0.002")
    lab.wait(lambda: stands(lab, kind))
    lab.wait(lambda: sum(job.attempts for job in lab.client.jobs()) >= 7)
    for job in lab.client.jobs():
        assert job.state not in (JobState.FAILED, JobState.SUCCEEDED)
        # At most the attempt that is under way.
        assert job.max_attempts - job.attempts >= 2
    assert lab.client.faults()[0].count >= 1
    mended.touch()
    for run in runs:
        assert lab.wait_for(run, JobState.SUCCEEDED)
    lab.wait(lambda: lab.client.faults() == [])


SOMEBODY = 54_321
"""The number of a user who has no other processes."""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root acts as another user")
@pytest.mark.usefixtures("_own_machine")
# Cold starts without processes are in test_machine_faults.
@pytest.mark.parametrize("starts", [pytest.param("cold", marks=pytest.mark.exhaustive), "forked"])
def test_a_user_who_may_have_no_more_processes_waits_and_loses_nothing(starts: str) -> None:
    # The interpreter may lie where only root looks.
    reading = [f"--{kind}-caps=+dac_override" for kind in ("inh", "ambient")]
    as_somebody = ["setpriv", f"--reuid={SOMEBODY}", f"--regid={SOMEBODY}", "--clear-groups", *reading]
    if not shutil.which("setpriv") or subprocess.run([*as_somebody, "true"], check=False).returncode:
        pytest.skip("nobody may act as another user here")
    # Directories of tests are their user's alone.
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, SOMEBODY, SOMEBODY)
        project = Path(folder) / "project"
        project.mkdir()
        os.chown(project, SOMEBODY, SOMEBODY)
        done = subprocess.run(
            [*as_somebody, *python_module("tests.faults.few_processes", str(project), starts)],
            env=os.environ | {"DATASIZE_SLOTS_DIR": f"{folder}/slots", "HOME": folder},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr


def test_a_limit_on_memory_that_no_library_fits_into_fails_no_run(lab: Lab) -> None:
    """Under `ulimit -v`, where the worker of the package cannot import torch."""
    worker = shlex.join(["prlimit", "--as=400000000", *python_module("tui_datasize.training")])
    lab.enqueue(*lab.lanes(3))
    lab.start_scheduler("--worker", worker, "--cpu-slots", "1")
    lab.wait(lambda: stands(lab, FaultKind.PROCESSES))
    assert "failed to map segment from shared object" in lab.client.faults()[0].sentence
    assert {job.state for job in lab.client.jobs()} <= {JobState.QUEUED, JobState.INTERRUPTED, *ACTIVE}
    assert all(job.max_attempts - job.attempts >= 2 for job in lab.client.jobs())


def test_a_run_that_dies_by_itself_keeps_the_others_waiting_for_a_moment_and_fails(
    warm_lab: Lab,
) -> None:
    lab = warm_lab
    healthy = lab.enqueue(*(lab.spec(seed, work_s=0.1) for seed in range(5)))
    (ill,) = lab.enqueue(lab.spec(99, behaviour="die", deaths=10**6, early=True), priority=1)
    lab.start_scheduler("--cpu-slots", "2")
    job = lab.wait_for(ill, JobState.FAILED)
    assert "killed by signal 9" in job.reason
    for run in healthy:
        assert lab.wait_for(run, JobState.SUCCEEDED).attempts == 1


def test_an_experiment_whose_runs_fail_alike_does_not_fail_whole(warm_lab: Lab) -> None:
    """Its data may be on a disk that is not mounted; once it is, the rest is trained."""
    lab = warm_lab
    mended = lab.gate("mended")
    options = {"behaviour": "fail", "reason": "/data: no such directory", "early": True}
    runs = lab.enqueue(*(lab.spec(seed, until=str(mended), **options) for seed in range(8)))
    lab.start_scheduler("--cpu-slots", "1")
    lab.wait(lambda: stands(lab, FaultKind.ALIKE))
    lab.wait(lambda: sum(job.attempts for job in lab.client.jobs()) >= 5)
    mended.touch()
    lab.wait_until_over()
    states = [lab.job(run).state for run in runs]
    assert (states.count(JobState.FAILED), states.count(JobState.SUCCEEDED)) == (2, 6)


def test_a_disk_that_hovers_at_its_end_fails_nothing(warm_lab: Lab, small_disk: SmallDisk) -> None:
    lab = warm_lab
    small_disk.mount(lab.project.runs)
    runs = lab.enqueue(*(lab.spec(seed) for seed in range(6)))
    ballast = small_disk.fill(lab.project.runs)
    keep_free(ballast, 250_000)
    lab.start_scheduler()
    assert any("kB free on the disk" in fault.sentence for fault in lab.client.faults())
    # The scheduler has seen it, too.
    lab.wait(lambda: "kB free on the disk" in lab.log())
    assert not any(run.claim.exists() for run in runs)
    ballast.unlink()
    for run in runs:
        assert lab.wait_for(run, JobState.SUCCEEDED).attempts == 1


def keep_free(ballast: Path, free_bytes: int) -> None:
    with ballast.open("r+b") as file:
        file.truncate(ballast.stat().st_size - free_bytes)

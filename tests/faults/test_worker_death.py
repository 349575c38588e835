"""Workers die in every way they can; their runs are resumed, or fail with a reason."""

from __future__ import annotations

import os
import signal
from contextlib import closing

import pytest

from tests.faults.lab import Lab, is_alive
from tui_datasize.jobs.queue.faults import FaultKind
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.jobs.queue.store import Store
from tui_datasize.runlog.claim import RunOutcome, read_exit

pytestmark = pytest.mark.faults


def test_a_killed_worker_is_replaced_and_its_run_succeeds(lab: Lab) -> None:
    (run,) = lab.enqueue(lab.spec(behaviour="die", deaths=1))
    lab.start_scheduler()
    assert lab.wait_for(run, JobState.SUCCEEDED).attempts == 2
    lab.assert_ran_once(run)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_after_three_deaths_the_run_fails_and_names_the_signal(lab: Lab, number: signal.Signals) -> None:
    (run,) = lab.enqueue(lab.spec(behaviour="die", deaths=3, signal=int(number)))
    lab.start_scheduler()
    job = lab.wait_for(run, JobState.FAILED)
    assert job.attempts == 3
    assert f"worker vanished: killed by signal {int(number)} ({number.name})" in job.reason
    record = read_exit(run)
    assert record is not None
    assert (record.outcome, record.attempt, record.reason) == (RunOutcome.FAILED, 3, job.reason)


def test_a_death_while_the_disk_takes_nothing_names_the_disk(lab: Lab) -> None:
    (run,) = lab.enqueue(lab.spec(behaviour="die", deaths=1))
    with closing(Store(lab.project.queue)) as store:
        store.faults.report(FaultKind.DISK, "", "its disk took nothing more")
        lab.start_scheduler()
        lab.wait_for(run, JobState.SUCCEEDED)
        first = "SELECT reason FROM attempts WHERE run_id = ? AND attempt = 1"
        (reason,) = store._one(first, run.run_id)
    assert reason == "worker vanished: killed by signal 9 (SIGKILL), while its disk took nothing more"


def test_a_worker_that_dies_before_its_claim_fails_the_run_in_the_end(lab: Lab) -> None:
    """In the end: others get further after each of its deaths."""
    (run,) = lab.enqueue(lab.spec(die_before_claim=True))
    others = lab.enqueue(*(lab.spec(seed, work_s=0.1) for seed in range(1, 3)))
    lab.start_scheduler("--cpu-slots", "1")
    job = lab.wait_for(run, JobState.FAILED)
    assert job.max_attempts == 4
    assert all(lab.wait_for(other, JobState.SUCCEEDED).attempts == 1 for other in others)
    assert "SIGSEGV" in job.reason
    assert "before it claimed the run" in job.reason


def test_a_failure_carries_the_reason_of_its_worker_and_is_not_repeated(lab: Lab) -> None:
    """Of its memory, too: the kernel's own killer is a SIGKILL like any other."""
    reasons = ("NaN loss at update 7", "out of memory: tried to allocate 40 GiB")
    runs = lab.enqueue(*(lab.spec(behaviour="fail", reason=reason) for reason in reasons))
    lab.start_scheduler()
    for run, reason in zip(runs, reasons, strict=True):
        job = lab.wait_for(run, JobState.FAILED)
        assert (job.attempts, job.reason) == (1, reason)


@pytest.mark.parametrize("escape", [False, True])
def test_a_child_that_keeps_the_lock_of_a_dead_worker_is_killed(lab: Lab, escape: bool) -> None:
    (run,) = lab.enqueue(lab.spec(behaviour="leave child", escape=escape))
    lab.start_scheduler()
    assert lab.wait_for(run, JobState.SUCCEEDED).attempts == 2
    assert not is_alive(int((run.directory / "child.pid").read_text()))
    lab.assert_ran_once(run)


def test_a_terminated_worker_leaves_in_order_and_is_resumed(lab: Lab) -> None:
    (run,) = lab.enqueue(lab.spec(gate=str(lab.gate())))
    lab.start_scheduler()
    os.kill(lab.worker_pid(run), signal.SIGTERM)
    lab.wait(lambda: lab.job(run).attempts == 2)
    lab.gate().touch()
    lab.wait_for(run, JobState.SUCCEEDED)
    assert [row["event"] for row in lab.executions(run)] == ["begin", "end", "begin", "end"]


def test_a_directory_that_cannot_be_made_holds_its_job_alone(lab: Lab) -> None:
    blocked, free = lab.enqueue(lab.spec(0), lab.spec(1))
    blocked.directory.parent.mkdir(parents=True)
    blocked.directory.write_text("in the way")
    lab.start_scheduler()
    assert lab.wait_for(free, JobState.SUCCEEDED)
    assert "File exists" in lab.wait_for(blocked, JobState.HELD).reason

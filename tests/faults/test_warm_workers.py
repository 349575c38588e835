"""Workers forked from a preloader behave as plain ones, and outlive whoever started them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.faults.lab import Lab, is_alive
from tui_datasize.jobs.state import JobState
from tui_datasize.runlog.claim import TAG_VARIABLE, read_claim

pytestmark = pytest.mark.faults

PRELOADER = "jobs.preloader"


def test_every_run_ends_exactly_once(warm_lab: Lab) -> None:
    runs = warm_lab.enqueue(*(warm_lab.spec(seed) for seed in range(30)))
    warm_lab.start_scheduler()
    warm_lab.wait_until_over()
    for run in runs:
        assert warm_lab.job(run).state is JobState.SUCCEEDED
        warm_lab.assert_ran_once(run)


def test_a_worker_has_its_own_session_environment_and_logs(warm_lab: Lab) -> None:
    (run,) = warm_lab.enqueue(warm_lab.spec(gate=str(warm_lab.gate())))
    warm_lab.start_scheduler()
    pid = warm_lab.worker_pid(run)
    claim = read_claim(run)
    assert claim is not None
    assert os.getsid(pid) == pid
    # As /proc shows it, which is where leftovers are looked for.
    assert f"{TAG_VARIABLE}={claim.tag}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    assert Path(f"/proc/{pid}/fd/2").readlink() == run.stderr
    targets = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
    assert not any("socket" in target or "pidfd" in target for target in targets)
    assert sum("slots" in target for target in targets) == 1


def test_a_worker_outlives_scheduler_and_preloader(warm_lab: Lab) -> None:
    (run,) = warm_lab.enqueue(warm_lab.spec(gate=str(warm_lab.gate())))
    scheduler = warm_lab.start_scheduler()
    warm_lab.wait_for(run, JobState.RUNNING)
    (preloader,) = [pid for pid in warm_lab.processes(PRELOADER) if pid != warm_lab.worker_pid(run)]
    warm_lab.kill(scheduler)
    warm_lab.wait(lambda: not is_alive(preloader))
    warm_lab.start_scheduler()
    warm_lab.gate().touch()
    assert warm_lab.wait_for(run, JobState.SUCCEEDED).attempts == 1
    warm_lab.assert_ran_once(run)


def test_a_killed_preloader_is_replaced_and_its_workers_go_on(warm_lab: Lab) -> None:
    first, second = warm_lab.enqueue(warm_lab.spec(0, gate=str(warm_lab.gate())), warm_lab.spec(1))
    warm_lab.start_scheduler("--cpu-slots", "1")
    warm_lab.wait_for(first, JobState.RUNNING)
    (preloader,) = [pid for pid in warm_lab.processes(PRELOADER) if pid != warm_lab.worker_pid(first)]
    os.kill(preloader, signal.SIGKILL)
    warm_lab.wait(lambda: not is_alive(preloader))
    warm_lab.gate().touch()
    assert warm_lab.wait_for(first, JobState.SUCCEEDED).attempts == 1
    assert warm_lab.wait_for(second, JobState.SUCCEEDED).attempts == 1
    assert preloader not in warm_lab.processes(PRELOADER)
    assert warm_lab.processes(PRELOADER)


def test_the_signal_that_killed_a_worker_is_reported(warm_lab: Lab) -> None:
    (run,) = warm_lab.enqueue(warm_lab.spec(behaviour="die", deaths=3))
    warm_lab.start_scheduler()
    assert "killed by signal 9 (SIGKILL)" in warm_lab.wait_for(run, JobState.FAILED).reason


def test_a_child_that_keeps_the_lock_of_a_dead_worker_is_killed(warm_lab: Lab) -> None:
    (run,) = warm_lab.enqueue(warm_lab.spec(behaviour="leave child", escape=True))
    warm_lab.start_scheduler()
    assert warm_lab.wait_for(run, JobState.SUCCEEDED).attempts == 2
    assert not is_alive(int((run.directory / "child.pid").read_text()))


@pytest.mark.parametrize("preload", ["no_such_module", "tests.faults.threaded_module"])
def test_workers_start_cold_where_no_preloader_can_be_had(warm_lab: Lab, preload: str) -> None:
    (run,) = warm_lab.enqueue(warm_lab.spec())
    warm_lab.start_scheduler("--preload", preload)
    assert warm_lab.wait_for(run, JobState.SUCCEEDED).attempts == 1

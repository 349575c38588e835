"""Runs that share a worker: each keeps its own fate, whatever becomes of the others and of the scheduler."""

from __future__ import annotations

import os
import signal
from contextlib import closing

import pytest

from tests.faults.lab import Lab, is_alive
from tests.faults.test_scheduler_death import in_place_of_a_scheduler
from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.queue.state import CPU, JobState
from tui_datasize.jobs.queue.store import Store
from tui_datasize.jobs.rebuild import repair
from tui_datasize.runlog.claim import LEFT_WITH_PACK, RunOutcome, observe, read_exit, take_lock
from tui_datasize.runlog.paths import RunPaths

pytestmark = pytest.mark.faults

PACKS = ("--packs", "always", "--cpu-slots", "1")


def running_pack(lab: Lab, count: int = 3, **options: object) -> list[RunPaths]:
    """Runs that one worker executes, under a scheduler that takes packs."""
    runs = lab.enqueue(*lab.lanes(count, **options))
    lab.start_scheduler(*PACKS)
    for run in runs:
        lab.wait_for(run, JobState.RUNNING)
    assert len({lab.worker_pid(run) for run in runs}) == 1
    return runs


def begins(lab: Lab, run: RunPaths) -> list[int]:
    """How many runs the worker of each of its executions was started for; 1 for one of its own."""
    return [row.get("lanes", 1) for row in lab.executions(run) if row["event"] == "begin"]


@pytest.mark.parametrize("fixture", ["lab", "warm_lab"])
def test_runs_of_a_pack_end_one_by_one_and_the_last_frees_the_slot(
    fixture: str, request: pytest.FixtureRequest
) -> None:
    lab: Lab = request.getfixturevalue(fixture)
    first, second, third = runs = running_pack(lab)
    (waiting,) = lab.enqueue(lab.spec(9))
    assert lab.job(first).pack == tuple(run.run_id for run in runs)
    lab.open_lanes(0)
    lab.wait_for(first, JobState.SUCCEEDED)
    lab.open_lanes(1, reason="NaN loss at update 7")
    assert lab.wait_for(second, JobState.FAILED).reason == "NaN loss at update 7"
    assert is_alive(lab.worker_pid(third))
    assert (lab.job(third).state, lab.job(third).pack) == (JobState.RUNNING, ())
    assert lab.job(waiting).state is JobState.QUEUED
    # One that failed is tried again elsewhere, though the process of its first attempt still lives.
    lab.gate("gate1").unlink()
    lab.ask(CommandKind.RETRY, second)
    lab.open_lanes(0, 1, 2)
    lab.wait_until_over()
    assert all(lab.job(run).state is JobState.SUCCEEDED for run in (*runs, waiting))
    assert begins(lab, second) == [3, 1]
    assert lab.job(third).attempts == 1


def test_a_retry_runs_beside_the_pack_that_it_failed_in(lab: Lab) -> None:
    failed, other = lab.enqueue(*lab.lanes(2))
    lab.start_scheduler("--packs", "always", "--cpu-slots", "1")
    lab.wait_for(failed, JobState.RUNNING)
    lab.open_lanes(0, reason="out of luck")
    lab.wait_for(failed, JobState.FAILED)
    lab.client.stop_scheduler()
    lab.start_scheduler("--packs", "always", "--cpu-slots", "2")
    lab.gate("gate0").unlink()
    lab.ask(CommandKind.RETRY, failed)
    lab.wait(lambda: len(begins(lab, failed)) == 2)
    # Its new worker is cancelled, and the old one, which its claim named before, goes on with the other.
    lab.ask(CommandKind.CANCEL, failed)
    lab.wait_for(failed, JobState.CANCELLED)
    assert lab.job(other).state is JobState.RUNNING
    assert is_alive(lab.worker_pid(other))
    lab.open_lanes(1)
    assert lab.wait_for(other, JobState.SUCCEEDED).attempts == 1


def test_cancelling_one_run_costs_the_others_nothing(lab: Lab) -> None:
    cancelled, *others = running_pack(lab)
    assert lab.ask(CommandKind.CANCEL, cancelled)[0][0]
    lab.wait_for(cancelled, JobState.CANCELLED)
    record = read_exit(cancelled)
    assert record is not None
    assert record.outcome is RunOutcome.CANCELLED
    for run in others:
        lab.wait(lambda run=run: begins(lab, run) == [3, 2])
        lab.wait_for(run, JobState.RUNNING)
        job = lab.job(run)
        assert (job.attempts, job.max_attempts) == (2, 4)
    lab.open_lanes(0, 1, 2)
    for run in others:
        lab.wait_for(run, JobState.SUCCEEDED)
    assert lab.job(cancelled).state is JobState.CANCELLED


def test_a_pack_that_ignores_the_request_is_killed_for_the_one_and_costs_the_others_nothing(lab: Lab) -> None:
    cancelled, *others = running_pack(lab, stubborn=True)
    worker = lab.worker_pid(cancelled)
    lab.ask(CommandKind.CANCEL, cancelled)
    lab.wait_for(cancelled, JobState.CANCELLED)
    assert not is_alive(worker)
    # They have brought nothing down, and share a worker again.
    lab.wait(lambda: all(begins(lab, run) == [3, 2] for run in others))
    assert [(lab.job(run).attempts, lab.job(run).max_attempts) for run in others] == [(2, 4)] * 2
    lab.open_lanes(0, 1, 2)
    for run in others:
        lab.wait_for(run, JobState.SUCCEEDED)


def test_what_a_pack_was_ended_for_is_known_to_the_next_scheduler(lab: Lab) -> None:
    runs = lab.enqueue(*lab.lanes(3, stubborn=True))
    scheduler = lab.start_scheduler(*PACKS, "--grace-s", "60")
    for run in runs:
        lab.wait_for(run, JobState.RUNNING)
    lab.ask(CommandKind.CANCEL, runs[0])
    lab.kill(scheduler)
    os.kill(lab.worker_pid(runs[0]), signal.SIGKILL)
    lab.start_scheduler(*PACKS)
    lab.wait_for(runs[0], JobState.CANCELLED)
    lab.wait(lambda: all(begins(lab, run) == [3, 2] for run in runs[1:]))
    assert [(lab.job(run).attempts, lab.job(run).max_attempts) for run in runs[1:]] == [(2, 4)] * 2
    lab.open_lanes(1, 2)
    lab.wait_until_over()


def test_a_run_that_is_cancelled_before_its_claim_leaves_the_others_alone(lab: Lab) -> None:
    specs = lab.lanes(3, claim_gate=str(lab.gate("claim{seed}")))
    first, second, third = lab.enqueue(*specs)
    lab.start_scheduler(*PACKS)
    lab.gate("claim0").touch()
    lab.wait_for(first, JobState.RUNNING)
    lab.ask(CommandKind.CANCEL, second)
    lab.wait_for(second, JobState.CANCELLED)
    for name in ("claim1", "claim2"):
        lab.gate(name).touch()
    lab.wait_for(third, JobState.RUNNING)
    assert lab.executions(second) == []
    lab.open_lanes(0, 1, 2)
    for run in (first, third):
        assert lab.wait_for(run, JobState.SUCCEEDED).attempts == 1


def test_a_killed_pack_is_interrupted_as_a_whole_and_each_run_begins_again_by_itself(lab: Lab) -> None:
    runs = running_pack(lab)
    os.kill(lab.worker_pid(runs[0]), signal.SIGKILL)
    lab.wait(lambda: len(begins(lab, runs[0])) == 2)
    lab.open_lanes(0, 1, 2)
    for run in runs:
        assert lab.wait_for(run, JobState.SUCCEEDED).attempts == 2
        # Whatever brought the worker down brings down no others.
        assert begins(lab, run) == [3, 1]
        lab.assert_ran_once(run)


def test_a_terminated_pack_starts_again_together(lab: Lab) -> None:
    runs = running_pack(lab)
    os.kill(lab.worker_pid(runs[0]), signal.SIGTERM)
    lab.wait(lambda: all(begins(lab, run) == [3, 3] for run in runs))
    record = read_exit(runs[1])
    assert record is not None
    assert (record.outcome, record.reason) == (RunOutcome.INTERRUPTED, LEFT_WITH_PACK)
    lab.open_lanes(0, 1, 2)
    lab.wait_until_over()
    # Nobody has cancelled one of them: it costs each an attempt, as it would a run alone.
    assert [(lab.job(run).attempts, lab.job(run).max_attempts) for run in runs] == [(2, 3)] * 3


def test_a_pack_that_is_terminated_again_and_again_fails_as_a_run_alone_does(lab: Lab) -> None:
    runs = running_pack(lab, 2)
    for executions in (1, 2, 3):
        lab.wait(lambda n=executions: all(len(begins(lab, run)) == n for run in runs))
        os.kill(lab.worker_pid(runs[1]), signal.SIGTERM)
    lab.wait_until_over()
    for run in runs:
        job = lab.job(run)
        assert (job.state, job.reason) == (
            JobState.FAILED,
            f"{LEFT_WITH_PACK} on attempt 3, the last one",
        )


def test_a_run_that_the_worker_cannot_claim_is_left_out_and_starts_later(lab: Lab) -> None:
    runs = lab.enqueue(*lab.lanes(3))
    runs[1].directory.mkdir(parents=True)
    lock = take_lock(runs[1], patience_s=0)
    assert lock is not None
    lab.start_scheduler(*PACKS)
    for run in (runs[0], runs[2]):
        lab.wait_for(run, JobState.RUNNING)
    os.close(lock)
    # It is not kept waiting for the end of the others.
    lab.wait_for(runs[1], JobState.INTERRUPTED)
    assert [lab.job(run).state for run in (runs[0], runs[2])] == [JobState.RUNNING] * 2
    lab.open_lanes(0, 1, 2)
    lab.wait_until_over()
    assert [(lab.job(run).attempts, lab.job(run).max_attempts) for run in runs] == [(1, 3), (2, 4), (1, 3)]
    for run in runs:
        lab.assert_ran_once(run)


def test_a_pack_that_was_committed_and_not_started_is_repeated(lab: Lab) -> None:
    runs = lab.enqueue(*lab.lanes(3))
    with in_place_of_a_scheduler(lab) as store, store.transaction():
        for run in runs:
            store.begin_attempt(run.run_id, 1, CPU, 0, "f" * 32)
    lab.start_scheduler(*PACKS)
    lab.wait(lambda: all(begins(lab, run) == [3] for run in runs))
    lab.open_lanes(0, 1, 2)
    lab.wait_until_over()
    assert [(lab.job(run).attempts, lab.job(run).max_attempts) for run in runs] == [(2, 4)] * 3


def test_a_pack_is_adopted_while_one_of_its_runs_has_ended(lab: Lab) -> None:
    ended, *others = runs = lab.enqueue(*lab.lanes(3))
    scheduler = lab.start_scheduler(*PACKS)
    for run in runs:
        lab.wait_for(run, JobState.RUNNING)
    lab.kill(scheduler)
    lab.open_lanes(0)
    lab.wait(lambda: observe(ended).final_exit)
    lab.start_scheduler(*PACKS)
    lab.wait_for(ended, JobState.SUCCEEDED)
    assert [lab.job(run).state for run in others] == [JobState.RUNNING] * 2
    assert lab.client.orphans() == []
    lab.ask(CommandKind.CANCEL, others[0])
    lab.wait_for(others[0], JobState.CANCELLED)
    lab.wait(lambda: begins(lab, others[1]) == [3, 1])
    lab.open_lanes(0, 1, 2)
    lab.wait_for(others[1], JobState.SUCCEEDED)
    for run in (ended, others[1]):
        assert not any(row.get("overlaps") for row in lab.executions(run))


def test_a_queue_rebuilt_beside_a_pack_knows_what_has_ended_and_what_runs(lab: Lab) -> None:
    ended, *others = runs = lab.enqueue(*lab.lanes(3))
    scheduler = lab.start_scheduler(*PACKS)
    for run in runs:
        lab.wait_for(run, JobState.RUNNING)
    lab.open_lanes(0)
    lab.wait_for(ended, JobState.SUCCEEDED)
    lab.kill(scheduler)
    for file in lab.project.runs.glob("queue.db*"):
        file.unlink()
    assert repair(lab.project).added == {JobState.SUCCEEDED: 1, JobState.RUNNING: 2}
    with closing(Store(lab.project.queue)) as store:
        assert len({job.tag for job in store.active()}) == 1
    lab.start_scheduler(*PACKS)
    lab.ask(CommandKind.CANCEL, others[0])
    lab.wait_for(others[0], JobState.CANCELLED)
    lab.wait(lambda: begins(lab, others[1]) == [3, 1])
    lab.open_lanes(0, 1, 2)
    assert lab.wait_for(others[1], JobState.SUCCEEDED).attempts == 2

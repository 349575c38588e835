"""Cancelling a job in each of its states, with everything that belongs to it."""

from __future__ import annotations

import os
import signal

import pytest

from tests.faults.lab import Lab, is_alive
from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.runlog.claim import RunOutcome, read_exit
from tui_datasize.runlog.paths import RunPaths

pytestmark = pytest.mark.faults


def cancel(lab: Lab, run: RunPaths) -> None:
    ((ok, message),) = lab.ask(CommandKind.CANCEL, run)
    assert ok, message
    lab.wait_for(run, JobState.CANCELLED)


def outcome(run: RunPaths) -> RunOutcome | None:
    record = read_exit(run)
    return record.outcome if record else None


def test_a_job_is_cancelled_before_any_scheduler_saw_it(lab: Lab) -> None:
    (run,) = lab.enqueue(lab.spec())
    acknowledgement = lab.client.send(CommandKind.CANCEL, [run.run_id])
    lab.start_scheduler()
    assert all(ok for ok, _ in lab.answers(acknowledgement))
    assert lab.job(run).state is JobState.CANCELLED
    assert not run.directory.exists()


def test_a_starting_job_is_cancelled_and_its_worker_cannot_claim_any_more(lab: Lab) -> None:
    (run,) = lab.enqueue(lab.spec(claim_gate=str(lab.gate())))
    lab.start_scheduler()
    lab.wait(lambda: lab.processes(run.run_id))
    cancel(lab, run)
    lab.gate().touch()
    lab.wait(lambda: not lab.processes(run.run_id))
    assert lab.executions(run) == []
    assert outcome(run) is RunOutcome.CANCELLED


def test_a_running_job_is_cancelled_in_order(lab: Lab) -> None:
    (run,) = lab.enqueue(lab.spec(gate=str(lab.gate())))
    lab.start_scheduler()
    lab.worker_pid(run)
    cancel(lab, run)
    assert lab.job(run).attempts == 1
    assert outcome(run) is RunOutcome.CANCELLED
    assert [row["event"] for row in lab.executions(run)] == ["begin", "end"]


def test_a_worker_that_ignores_the_request_is_killed_with_all_its_children(lab: Lab) -> None:
    (run,) = lab.enqueue(lab.spec(behaviour="parent", gate=str(lab.gate()), stubborn=True))
    lab.start_scheduler()
    children = [run.directory / f"child{number}.pid" for number in range(2)]
    lab.wait(lambda: all(file.exists() and file.read_text() for file in children))
    cancel(lab, run)
    assert not is_alive(lab.worker_pid(run))
    lab.wait(lambda: not any(is_alive(int(file.read_text())) for file in children))
    assert outcome(run) is RunOutcome.CANCELLED


def test_an_adopted_worker_is_cancelled(lab: Lab) -> None:
    (run,) = lab.enqueue(lab.spec(gate=str(lab.gate())))
    scheduler = lab.start_scheduler()
    lab.wait_for(run, JobState.RUNNING)
    lab.kill(scheduler)
    lab.start_scheduler()
    cancel(lab, run)
    assert not is_alive(lab.worker_pid(run))


def test_a_cancel_survives_the_scheduler_that_acknowledged_it(lab: Lab) -> None:
    (run,) = lab.enqueue(lab.spec(gate=str(lab.gate()), stubborn=True))
    scheduler = lab.start_scheduler("--grace-s", "60")
    worker = lab.worker_pid(run)
    lab.ask(CommandKind.CANCEL, run)
    lab.kill(scheduler)
    os.kill(worker, signal.SIGKILL)
    lab.start_scheduler()
    lab.wait_for(run, JobState.CANCELLED)
    assert lab.job(run).attempts == 1


def test_an_interrupted_job_is_cancelled_while_it_waits_and_its_directory_says_so(lab: Lab) -> None:
    (run,) = lab.enqueue(lab.spec(0, gate=str(lab.gate("never"))))
    lab.start_scheduler("--cpu-slots", "1")
    worker = lab.worker_pid(run)
    (urgent,) = lab.enqueue(lab.spec(1, gate=str(lab.gate())), priority=1)
    lab.wait(lambda: urgent.run_id in lab.jobs())
    os.kill(worker, signal.SIGTERM)
    lab.wait_for(urgent, JobState.RUNNING)
    assert lab.job(run).state is JobState.INTERRUPTED
    cancel(lab, run)
    assert outcome(run) is RunOutcome.CANCELLED
    lab.ask(CommandKind.RETRY, run)
    for gate in ("gate", "never"):
        lab.gate(gate).touch()
    lab.wait_for(run, JobState.SUCCEEDED)


def test_cancelling_what_has_ended_is_refused(lab: Lab) -> None:
    (run,) = lab.enqueue(lab.spec())
    lab.start_scheduler()
    lab.wait_for(run, JobState.SUCCEEDED)
    ((ok, message),) = lab.ask(CommandKind.CANCEL, run)
    assert not ok
    assert message == f"{run.run_id}: has succeeded already; `queue --force` runs it again"


def test_queueing_what_is_just_being_cancelled_is_refused_and_not_lost_in_silence(lab: Lab) -> None:
    spec = lab.spec(gate=str(lab.gate()), stubborn=True)
    (run,) = lab.enqueue(spec)
    lab.start_scheduler("--grace-s", "60")
    worker = lab.worker_pid(run)
    lab.ask(CommandKind.CANCEL, run)
    acknowledgement = lab.client.enqueue([spec])
    assert acknowledgement.new == 1
    ((ok, message),) = lab.answers(acknowledgement)
    assert not ok
    assert "is just being cancelled; queue it again in a moment" in message
    os.kill(worker, signal.SIGKILL)
    lab.wait_for(run, JobState.CANCELLED)
    lab.gate().touch()
    assert lab.answers(lab.client.enqueue([spec])) == [(True, f"{run.run_id}: queued again")]
    lab.wait_for(run, JobState.SUCCEEDED)

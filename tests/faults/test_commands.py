"""Holding, releasing, retrying and reordering jobs; enqueueing again."""

from __future__ import annotations

import pytest

from tests.faults.forked import Server
from tests.faults.lab import Lab
from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.runlog.claim import read_claim
from tui_datasize.runlog.paths import RunPaths

pytestmark = pytest.mark.faults


def order_of_starts(runs: list[RunPaths]) -> list[int]:
    """Indices of the runs in the order in which their workers claimed them."""
    claims = {index: read_claim(run) for index, run in enumerate(runs)}
    return sorted(claims, key=lambda index: claims[index].started_at if claims[index] else "")


def test_jobs_run_by_priority_and_then_in_their_order(warm_lab: Lab) -> None:
    lab = warm_lab
    runs = lab.enqueue(*(lab.spec(seed, work_s=0.02) for seed in range(6)))
    lab.client.send(CommandKind.PRIORITY, [runs[4].run_id], 2)
    lab.client.send(CommandKind.MOVE, [runs[2].run_id, runs[3].run_id], -1)
    lab.client.send(CommandKind.MOVE, [runs[0].run_id], +1)
    lab.start_scheduler("--cpu-slots", "1")
    lab.wait_until_over()
    assert order_of_starts(runs) == [4, 2, 0, 3, 1, 5]


def test_a_block_at_the_top_keeps_its_order_when_moved_up(lab: Lab) -> None:
    runs = lab.enqueue(*(lab.spec(seed) for seed in range(4)))
    lab.client.send(CommandKind.HOLD, [run.run_id for run in runs])
    lab.start_scheduler()
    answers = lab.ask(CommandKind.MOVE, runs[0], runs[1], runs[3], amount=-1)
    assert [message.partition(": ")[2] for _, message in answers] == [
        "is at the front of its line already",
        "is at the front of its line already",
        "moved",
    ]
    positions = [job.run_id for job in lab.client.jobs()]
    assert positions == [runs[index].run_id for index in (0, 1, 3, 2)]


def test_a_held_job_waits_until_it_is_released(lab: Lab) -> None:
    held, free = lab.enqueue(lab.spec(0), lab.spec(1))
    acknowledgement = lab.client.send(CommandKind.HOLD, [held.run_id])
    lab.start_scheduler()
    assert lab.answers(acknowledgement) == [(True, f"{held.run_id}: held")]
    lab.wait_for(free, JobState.SUCCEEDED)
    assert lab.job(held).state is JobState.HELD
    lab.ask(CommandKind.RELEASE, held)
    lab.wait_for(held, JobState.SUCCEEDED)


def test_a_running_job_cannot_be_held(lab: Lab) -> None:
    (run,) = lab.enqueue(lab.spec(gate=str(lab.gate())))
    lab.start_scheduler()
    lab.wait_for(run, JobState.RUNNING)
    assert lab.ask(CommandKind.HOLD, run) == [(False, f"{run.run_id}: is running; cancel it to stop it")]


def test_failed_and_cancelled_runs_are_retried_with_new_attempts(lab: Lab) -> None:
    failed, cancelled = lab.enqueue(lab.spec(0, behaviour="fail", reason="no"), lab.spec(1))
    acknowledgement = lab.client.send(CommandKind.CANCEL, [cancelled.run_id])
    lab.start_scheduler()
    lab.answers(acknowledgement)
    lab.wait_for(failed, JobState.FAILED)
    assert all(ok for ok, _ in lab.ask(CommandKind.RETRY, failed, cancelled))
    lab.wait_for(cancelled, JobState.SUCCEEDED)
    lab.wait(lambda: lab.job(failed).attempts == 2)
    assert lab.wait_for(failed, JobState.FAILED).max_attempts == 4


def test_commands_for_unknown_runs_are_answered(lab: Lab) -> None:
    acknowledgement = lab.client.send(CommandKind.CANCEL, ["nothing"])
    lab.start_scheduler()
    assert lab.answers(acknowledgement) == [(False, "nothing: is not in the queue")]


def test_enqueueing_again_adds_only_what_is_missing(lab: Lab) -> None:
    first = [lab.spec(0), lab.spec(1, behaviour="fail", reason="no")]
    done, failed = lab.enqueue(*first)
    lab.start_scheduler()
    lab.wait_for(done, JobState.SUCCEEDED)
    lab.wait_for(failed, JobState.FAILED)
    acknowledgement = lab.client.enqueue([*first, lab.spec(2)])
    assert (acknowledgement.new, acknowledgement.present, acknowledgement.failed) == (1, 2, 1)
    lab.wait_until_over()
    lab.assert_ran_once(done)


def test_force_moves_the_old_directory_aside_and_runs_afresh(lab: Lab) -> None:
    spec = lab.spec()
    (run,) = lab.enqueue(spec)
    lab.start_scheduler()
    lab.wait_for(run, JobState.SUCCEEDED)
    lab.enqueue(spec, force=True)
    lab.wait(lambda: lab.job(run).attempts == 2)
    lab.wait_for(run, JobState.SUCCEEDED)
    (old,) = lab.project.superseded("lab").iterdir()
    assert (old / "exit.json").exists()
    lab.assert_ran_once(run)


def test_force_does_not_touch_a_running_run(lab: Lab) -> None:
    spec = lab.spec(gate=str(lab.gate()))
    (run,) = lab.enqueue(spec)
    lab.start_scheduler()
    lab.wait_for(run, JobState.RUNNING)
    answers = lab.answers(lab.client.enqueue([spec], force=True))
    assert answers == [(False, f"{run.run_id}: is running; cancel it first")]
    lab.gate().touch()
    lab.wait_for(run, JobState.SUCCEEDED)
    lab.assert_ran_once(run)


def test_two_projects_share_the_slots_of_one_machine(
    lab: Lab, server: Server, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = Lab(tmp_path_factory.mktemp("other"), server=server)
    (mine,) = lab.enqueue(lab.spec(gate=str(lab.gate())))
    scheduler = lab.start_scheduler("--cpu-slots", "1")
    lab.wait_for(mine, JobState.RUNNING)
    lab.kill(scheduler)
    (theirs,) = other.enqueue(other.spec())
    second = other.start_scheduler("--cpu-slots", "1", "--idle-s", "0.1")
    other.wait(lambda: "devices:" in other.log())
    assert other.job(theirs).state is JobState.QUEUED
    lab.gate().touch()
    other.wait_for(theirs, JobState.SUCCEEDED)
    assert order_of_starts([mine, theirs]) == [0, 1]
    assert second.wait(60) == 0

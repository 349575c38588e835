"""Taking commands back, the last one first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.queue_desk import FIRST, OTHER, SECOND, Queue
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.queue import requests
from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.queue.requests import Answered, Drain, Outcome, Undo
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.jobs.queue.undo import UNDO, last_done
from tui_datasize.runlog.paths import ProjectPaths

ALL = (FIRST, SECOND, OTHER)


@pytest.fixture
def undo(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Outcome]:
    """Asks a client of which the scheduler is this queue."""
    monkeypatch.setattr(QueueClient, "ensure_scheduler", lambda _: queue.apply())
    return lambda: queue.client.request(Undo())


def states(queue: Queue) -> list[JobState]:
    return [queue.job(spec).state for spec in ALL]


def test_each_command_is_taken_back_and_then_the_one_before(
    queue: Queue, undo: Callable[[], Outcome]
) -> None:
    queue.enqueue(*ALL)
    queue.ask(CommandKind.HOLD, FIRST, SECOND)
    queue.ask(CommandKind.PRIORITY, OTHER, amount=5)
    queue.ask(CommandKind.MOVE, SECOND, amount=-1)
    queue.ask(CommandKind.CANCEL, OTHER)
    assert undo().sentence == f"undo of: cancel 1 run: {OTHER.run_id}: queued again"
    assert undo().answered is Answered.DONE
    assert [job.run_id for job in queue.client.jobs()][:2] == [FIRST.run_id, SECOND.run_id]
    undo()
    assert queue.job(OTHER).priority == 0
    assert undo().sentence == "undo of: hold 2 runs: 2 runs: released"
    assert states(queue) == [JobState.QUEUED] * 3
    assert undo().sentence == "undo of: queue 3 runs: 3 runs: cancelled"
    outcome = undo()
    assert outcome.answered is Answered.REFUSED
    assert outcome.sentence.startswith("nothing to undo")


def test_what_runs_goes_on_and_is_told(queue: Queue, undo: Callable[[], Outcome]) -> None:
    queue.enqueue(*ALL)
    queue.begin(FIRST)
    assert undo().sentence == ("undo of: queue 3 runs: 2 runs: cancelled; 1 run left alone, as changed since")
    assert states(queue) == [JobState.RUNNING, JobState.CANCELLED, JobState.CANCELLED]


def test_a_job_that_a_command_did_not_change_is_not_changed_by_its_undo(
    queue: Queue, undo: Callable[[], Outcome]
) -> None:
    queue.enqueue(*ALL)
    queue.ask(CommandKind.HOLD, FIRST)
    queue.ask(CommandKind.HOLD, *ALL)
    undo()
    assert states(queue) == [JobState.HELD, JobState.QUEUED, JobState.QUEUED]


def test_a_retry_is_taken_back_where_nothing_has_begun(queue: Queue, undo: Callable[[], Outcome]) -> None:
    queue.enqueue(*ALL)
    queue.end(FIRST, JobState.FAILED)
    queue.end(SECOND, JobState.FAILED)
    queue.ask(CommandKind.CANCEL, OTHER)
    queue.ask(CommandKind.RETRY, *ALL)
    queue.begin(SECOND)
    assert undo().sentence == "undo of: retry 3 runs: 2 runs: cancelled; 1 run left alone, as changed since"
    assert states(queue) == [JobState.CANCELLED, JobState.RUNNING, JobState.CANCELLED]
    # The command before: what was cancelled by it is queued again.
    assert undo().sentence == f"undo of: cancel 1 run: {OTHER.run_id}: queued again"


def test_a_release_and_a_lower_priority_are_taken_back(queue: Queue, undo: Callable[[], Outcome]) -> None:
    queue.enqueue(*ALL)
    queue.ask(CommandKind.HOLD, *ALL)
    queue.ask(CommandKind.RELEASE, FIRST, SECOND)
    queue.ask(CommandKind.PRIORITY, *ALL, amount=-3)
    assert undo().answered is Answered.DONE
    assert [queue.job(spec).priority for spec in ALL] == [0, 0, 0]
    assert undo().sentence == "undo of: release 2 runs: 2 runs: held"
    assert states(queue) == [JobState.HELD] * 3


def test_an_end_of_draining_is_taken_back(queue: Queue, undo: Callable[[], Outcome]) -> None:
    queue.client.request(Drain())
    queue.client.request(Drain(draining=False))
    assert undo().answered is Answered.DONE
    assert queue.client.settings().draining
    assert undo().sentence == "undo of: drain: the queue starts jobs again"


def test_a_drain_is_taken_back(queue: Queue, undo: Callable[[], Outcome]) -> None:
    queue.client.request(Drain())
    assert queue.client.settings().draining
    assert undo().sentence == "undo of: drain: the queue starts jobs again"
    assert not queue.client.settings().draining


def test_a_move_by_several_places_is_refused(queue: Queue, undo: Callable[[], Outcome]) -> None:
    queue.enqueue(*ALL)
    queue.ask(CommandKind.MOVE, OTHER, amount=-2)
    before = [job.run_id for job in queue.client.jobs()]
    assert undo().sentence == "moves by several places are not undone; move the jobs where they belong"
    assert [job.run_id for job in queue.client.jobs()] == before


def test_without_a_queue_there_is_nothing_to_undo(tmp_path: Path) -> None:
    assert (
        QueueClient(ProjectPaths(tmp_path)).request(Undo()).sentence
        == "nothing to undo: there is no queue here yet"
    )


def test_a_running_job_begins_again_once_its_worker_has_left(
    queue: Queue, undo: Callable[[], Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "ANSWER_WITHIN_S", 0)
    queue.enqueue(*ALL)
    queue.begin(FIRST)
    queue.ask(CommandKind.CANCEL, *ALL)
    assert undo().sentence == "the jobs are still being cancelled; undo it once they have ended"
    queue.store.change(FIRST.run_id, JobState.CANCELLED)
    undo()
    assert states(queue) == [JobState.QUEUED] * 3


def test_an_undo_that_was_refused_has_taken_nothing_back(queue: Queue, undo: Callable[[], Outcome]) -> None:
    queue.enqueue(*ALL)
    queue.ask(CommandKind.HOLD, FIRST)
    held = last_done(queue.store._connection)
    queue.client.send(CommandKind.RELEASE, [SECOND.run_id], 0, UNDO + held.batch)
    queue.apply()
    assert undo().sentence == f"undo of: hold 1 run: {FIRST.run_id}: released"

"""Taking commands back, the last one first."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.queue_desk import FIRST, OTHER, SECOND, SOURCE, Queue
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.queue import requests
from tui_datasize.jobs.queue.commands import JOB_COMMANDS, UNDO, CommandKind
from tui_datasize.jobs.queue.requests import Answered, Drain, Outcome, Undo
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.jobs.queue.store import Store
from tui_datasize.jobs.queue.undo import last_done
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
    assert undo().sentence == f"undo of: cancel 1 run: {OTHER.run_id}: queued as before"
    assert undo().answered is Answered.DONE
    assert [job.run_id for job in queue.client.jobs()][:2] == [FIRST.run_id, SECOND.run_id]
    undo()
    assert queue.job(OTHER).priority == 0
    assert undo().sentence == "undo of: hold 2 runs: 2 runs: queued as before"
    assert states(queue) == [JobState.QUEUED] * 3
    assert undo().sentence == "undo of: queue 3 runs: 3 runs: taken out of the queue"
    outcome = undo()
    assert outcome.answered is Answered.REFUSED
    assert outcome.sentence.startswith("nothing to undo")


def test_what_runs_goes_on_and_is_told(queue: Queue, undo: Callable[[], Outcome]) -> None:
    queue.enqueue(*ALL)
    queue.begin(FIRST)
    told = "undo of: queue 3 runs: 2 runs: taken out of the queue; "
    assert undo().sentence == f"{told}{FIRST.run_id}: left alone, as changed since"
    assert [(job.run_id, job.state) for job in queue.client.jobs()] == [(FIRST.run_id, JobState.RUNNING)]
    # What of it could not be taken back keeps nobody from taking back what was before.
    assert undo().sentence.startswith("nothing to undo")


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
    queue.end(FIRST, JobState.FAILED, "out of memory")
    queue.end(SECOND, JobState.FAILED)
    queue.ask(CommandKind.CANCEL, OTHER)
    queue.ask(CommandKind.RETRY, *ALL)
    queue.begin(SECOND)
    undo()
    assert states(queue) == [JobState.FAILED, JobState.RUNNING, JobState.CANCELLED]
    assert queue.job(FIRST).reason == "out of memory"
    # The command before: what was cancelled by it is queued as it was.
    assert undo().sentence == f"undo of: cancel 1 run: {OTHER.run_id}: queued as before"


def test_a_command_that_cannot_be_taken_back_is_passed(queue: Queue, undo: Callable[[], Outcome]) -> None:
    queue.enqueue(FIRST, OTHER)
    queue.end(FIRST, JobState.FAILED)
    queue.ask(CommandKind.HOLD, OTHER)
    queue.ask(CommandKind.RETRY, FIRST)
    queue.end(FIRST, JobState.FAILED)
    outcome = undo()
    told = f"undo of: retry 1 run: {FIRST.run_id}: left alone, as changed since"
    assert (outcome.answered, outcome.sentence) == (Answered.REFUSED, told)
    assert undo().sentence == f"undo of: hold 1 run: {OTHER.run_id}: queued as before"


def test_a_release_and_a_lower_priority_are_taken_back(queue: Queue, undo: Callable[[], Outcome]) -> None:
    queue.enqueue(*ALL)
    queue.ask(CommandKind.HOLD, *ALL)
    queue.ask(CommandKind.RELEASE, FIRST, SECOND)
    queue.ask(CommandKind.PRIORITY, *ALL, amount=-3)
    assert undo().answered is Answered.DONE
    assert [queue.job(spec).priority for spec in ALL] == [0, 0, 0]
    assert undo().sentence == "undo of: release 2 runs: 2 runs: held as before"
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


def rows(queue: Queue) -> list[tuple[object, ...]]:
    """Everything that is known of the jobs."""
    return [tuple(row) for row in queue.store._all("SELECT * FROM jobs ORDER BY run_id")]


KINDS = tuple(JOB_COMMANDS)
COMMANDS = st.tuples(
    st.sampled_from(KINDS),
    st.lists(st.sampled_from((SOURCE, *ALL)), min_size=1, unique=True),
    st.sampled_from((-2, 1)),
)


@settings(max_examples=settings.default.max_examples // 6)
@given(st.lists(COMMANDS, min_size=1, max_size=6))
@example([(kind, [*ALL, SOURCE], -2) for kind in KINDS])
@example([(CommandKind.MOVE, [OTHER], -2), (CommandKind.CANCEL, [OTHER, SOURCE, SECOND], 1)])
@example([(CommandKind.CANCEL, [SECOND, SOURCE], 1), (CommandKind.RETRY, [SECOND, SOURCE], 1)])
def test_an_undo_puts_back_all_that_a_command_changed(
    commands: list[tuple[CommandKind, list[RunSpec], int]],
) -> None:
    """States, places, priorities, attempts and times, also of jobs that failed or moved for others."""
    with TemporaryDirectory() as root, pytest.MonkeyPatch.context() as patch:
        project = ProjectPaths(Path(root))
        with closing(Store(project.queue)) as store:
            queue = Queue(project, store)
            patch.setattr(QueueClient, "ensure_scheduler", lambda _: queue.apply())
            queue.enqueue(SOURCE, *ALL, after={SECOND: [SOURCE]})
            queue.ask(CommandKind.HOLD, OTHER)
            queue.end(FIRST, JobState.FAILED, "out of memory")
            known = [rows(queue)]
            for kind, specs, amount in commands:
                queue.ask(kind, *specs, amount=amount)
                known += [now] if (now := rows(queue)) != known[-1] else []
            for before in known[-2::-1]:
                assert queue.client.request(Undo()).answered is Answered.DONE
                assert rows(queue) == before


def test_an_undo_gives_no_number_of_an_attempt_twice(
    queue: Queue, undo: Callable[[], Outcome], project: ProjectPaths
) -> None:
    queue.enqueue(FIRST)
    queue.end(FIRST, JobState.INTERRUPTED)
    project.run(FIRST.experiment, FIRST.run_id).directory.mkdir(parents=True)
    queue.ask(CommandKind.CANCEL, FIRST)
    assert undo().answered is Answered.DONE
    job = queue.job(FIRST)
    # The second was used up to tell late workers of the first that the run was cancelled.
    assert (job.state, job.attempts, job.max_attempts) == (JobState.INTERRUPTED, 2, 4)


@pytest.mark.parametrize("made", [True, False], ids=["whose directory made room", "that was never begun"])
def test_a_forced_run_goes_back_unless_its_directory_made_room(
    queue: Queue, undo: Callable[[], Outcome], project: ProjectPaths, made: bool
) -> None:
    queue.enqueue(FIRST)
    if made:
        queue.end(FIRST, JobState.SUCCEEDED)
        project.run(FIRST.experiment, FIRST.run_id).directory.mkdir(parents=True)
    before = rows(queue)
    queue.enqueue(FIRST, force=True)
    undo()
    assert (queue.job(FIRST).state is JobState.CANCELLED) is made
    assert (rows(queue) == before) is not made


def test_what_was_never_queued_before_is_not_in_the_queue_again(
    queue: Queue, undo: Callable[[], Outcome], project: ProjectPaths
) -> None:
    """So that queueing it anew is not one of cancelled runs; where its directory is there it is cancelled."""
    queue.enqueue(SOURCE, *ALL, after={FIRST: [SOURCE]})
    project.run(OTHER.experiment, OTHER.run_id).directory.mkdir(parents=True)
    undo()
    assert [(job.run_id, job.state) for job in queue.client.jobs()] == [(OTHER.run_id, JobState.CANCELLED)]


def test_what_waits_for_a_run_that_has_failed_since_fails_for_it(
    queue: Queue, undo: Callable[[], Outcome]
) -> None:
    queue.enqueue(SOURCE, FIRST, after={FIRST: [SOURCE]})
    queue.ask(CommandKind.CANCEL, FIRST)
    queue.end(SOURCE, JobState.FAILED)
    assert undo().answered is Answered.REFUSED
    assert queue.job(FIRST).reason == f"its source {SOURCE.run_id} failed"


def test_what_was_cancelled_at_work_goes_on_in_its_place(queue: Queue, undo: Callable[[], Outcome]) -> None:
    queue.enqueue(*ALL)
    queue.begin(FIRST)
    queue.ask(CommandKind.CANCEL, FIRST)
    queue.store.change(FIRST.run_id, JobState.CANCELLED, "cancelled")
    undo()
    job = queue.job(FIRST)
    assert (job.state, job.position, job.attempts, job.max_attempts) == (JobState.QUEUED, 1, 1, 3)


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
    assert undo().sentence == f"undo of: hold 1 run: {FIRST.run_id}: queued as before"

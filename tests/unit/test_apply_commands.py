"""What people ask of a queue, applied without a scheduler: drain, retry, sources, limits, old databases."""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from unittest.mock import Mock

import pytest

from tests.fakes import fake_spec, fake_sweep
from tests.unit.queue_desk import FIRST, OTHER, SECOND, SOURCE, Queue
from tui_datasize.errors import UnknownRunError
from tui_datasize.experiments.budget import total_updates
from tui_datasize.experiments.spec import RunSpec, Transfer
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.queue.commands import CommandKind, select_jobs
from tui_datasize.jobs.queue.database import PassingStorageError
from tui_datasize.jobs.queue.notices import NoticeEvent
from tui_datasize.jobs.queue.schema import STEPS
from tui_datasize.jobs.queue.settings import QueueSettings
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.jobs.queue.store import Store
from tui_datasize.jobs.scheduler import apply_commands
from tui_datasize.jobs.scheduler.apply_commands import CommandApplier
from tui_datasize.runlog.paths import ProjectPaths, RunPaths


def test_a_draining_queue_starts_nothing_and_remembers_it(queue: Queue, project: ProjectPaths) -> None:
    queue.enqueue(FIRST)
    assert queue.store.has_waiting()
    queue.client.drain()
    assert queue.client.settings() == QueueSettings(draining=True)
    queue.apply()
    assert not queue.store.has_waiting()
    with closing(Store(project.queue)) as after_a_restart:
        assert after_a_restart.settings.read().draining
    assert queue.client.settings().draining
    queue.client.drain(False)
    assert not queue.client.settings().draining
    queue.apply()
    assert queue.store.has_waiting()


def test_a_project_without_a_queue_does_not_drain(project: ProjectPaths) -> None:
    assert QueueClient(project).settings() == QueueSettings()
    assert not project.queue.exists()


def test_a_run_has_its_own_limit_of_attempts_and_a_retry_grants_it_anew(queue: Queue) -> None:
    queue.enqueue(FIRST, max_attempts=1)
    queue.enqueue(SECOND)
    assert [queue.job(spec).max_attempts for spec in (FIRST, SECOND)] == [1, 3]
    queue.end(FIRST, JobState.FAILED, "worker vanished")
    assert queue.ask(CommandKind.RETRY, FIRST) == ["queued again"]
    assert (queue.job(FIRST).attempts, queue.job(FIRST).max_attempts) == (1, 2)
    queue.enqueue(FIRST, force=True, max_attempts=5)
    assert queue.job(FIRST).max_attempts == 6


def test_runs_are_retried_in_the_order_that_they_had(queue: Queue) -> None:
    in_order = [OTHER, FIRST, SOURCE, SECOND]
    queue.enqueue(*in_order)
    queue.ask(CommandKind.CANCEL, *in_order)
    assert queue.ask(CommandKind.RETRY, SECOND, SOURCE, OTHER, FIRST) == ["queued again"] * 4
    assert queue.startable() == [spec.run_id for spec in in_order]


def test_an_interrupted_run_is_retried_with_new_attempts(queue: Queue) -> None:
    queue.enqueue(FIRST)
    for _ in range(2):
        queue.end(FIRST, JobState.INTERRUPTED, "worker vanished")
    assert queue.ask(CommandKind.RETRY, FIRST) == ["waits already; its attempts are counted from 0 again"]
    assert queue.job(FIRST).max_attempts == 5


def test_a_run_waits_until_all_its_sources_succeeded(queue: Queue) -> None:
    queue.enqueue(SOURCE, OTHER)
    queue.enqueue(FIRST, after={FIRST: [SOURCE, OTHER]})
    assert queue.startable() == [SOURCE.run_id, OTHER.run_id]
    assert set(queue.job(FIRST).waits_for) == {SOURCE.run_id, OTHER.run_id}
    queue.end(SOURCE, JobState.SUCCEEDED)
    assert queue.job(FIRST).waits_for == (OTHER.run_id,)
    assert queue.startable() == [OTHER.run_id]
    queue.end(OTHER, JobState.SUCCEEDED)
    assert queue.startable() == [FIRST.run_id]
    assert (queue.job(FIRST).waits_for, len(queue.job(FIRST).after)) == ((), 2)


def test_sources_may_come_in_the_same_breath(queue: Queue) -> None:
    queue.enqueue(SOURCE, FIRST, SECOND, after={FIRST: [SOURCE], SECOND: [FIRST]})
    assert queue.startable() == [SOURCE.run_id]


def test_what_an_acknowledged_run_waits_for_is_seen_before_it_is_applied(queue: Queue) -> None:
    queue.client.enqueue([SOURCE, FIRST], after={FIRST.run_id: [SOURCE.run_id]})
    assert queue.job(FIRST).waits_for == (SOURCE.run_id,)


@pytest.mark.parametrize("held", [False, True])
def test_dependants_of_a_failed_source_fail_with_its_reason(queue: Queue, held: bool) -> None:
    queue.enqueue(SOURCE, FIRST, SECOND, after={FIRST: [SOURCE], SECOND: [FIRST]})
    if held:
        queue.ask(CommandKind.HOLD, FIRST)
    queue.end(SOURCE, JobState.FAILED, "out of memory")
    for spec in (FIRST, SECOND):
        assert queue.job(spec).state is JobState.FAILED
        assert queue.job(spec).reason == f"its source {SOURCE.run_id} failed: out of memory"
    assert not queue.store.has_waiting()


@pytest.mark.parametrize(
    ("marked", "amount", "after", "answers"),
    [
        ((2, 4), -1, [0, 2, 1, 4, 3, 5], ["moved", "moved"]),
        ((0, 1, 4), -3, [0, 1, 4, 2, 3, 5], ["is at the front of its line already"] * 2 + ["moved"]),
        ((1, 2), 2, [0, 3, 4, 1, 2, 5], ["moved", "moved"]),
        ((0, 4), 10**12, [1, 2, 3, 5, 0, 4], ["moved", "moved"]),
    ],
)
def test_a_block_is_moved_any_number_of_places(
    queue: Queue, marked: tuple[int, ...], amount: int, after: list[int], answers: list[str]
) -> None:
    specs = [fake_spec("line", seed=seed) for seed in range(6)]
    queue.enqueue(*specs)
    assert queue.ask(CommandKind.MOVE, *(specs[one] for one in marked), amount=amount) == answers
    assert queue.startable() == [specs[one].run_id for one in after]


def test_a_chain_of_many_runs_fails_with_its_first(queue: Queue) -> None:
    chain = [fake_spec("chain", seed=seed) for seed in range(1100)]
    queue.enqueue(*chain, after={later: [earlier] for earlier, later in pairwise(chain)})
    assert queue.startable() == [chain[0].run_id]
    queue.end(chain[0], JobState.FAILED, "no")
    assert {job.state for job in queue.client.jobs()} == {JobState.FAILED}
    # Those that are applied later are back by then.
    answers = queue.ask(CommandKind.RETRY, *chain)
    assert answers[:2] == ["queued again"] * 2
    assert not any(answer.startswith("-") for answer in answers)
    assert {job.state for job in queue.client.jobs()} == {JobState.QUEUED}


def test_dependants_of_a_cancelled_source_fail_too(queue: Queue) -> None:
    queue.enqueue(SOURCE, FIRST, after={FIRST: [SOURCE]})
    assert queue.ask(CommandKind.CANCEL, SOURCE) == ["cancelled"]
    assert queue.job(FIRST).reason == f"its source {SOURCE.run_id} was cancelled"


@pytest.mark.parametrize("together", [True, False])
def test_a_whole_experiment_is_cancelled_whatever_waits_for_what(queue: Queue, together: bool) -> None:
    queue.enqueue(SOURCE, OTHER, FIRST, SECOND, after={FIRST: [SOURCE], SECOND: [FIRST, OTHER]})
    queue.begin(OTHER)
    specs = (SOURCE, OTHER, FIRST, SECOND)
    said = ["cancelled", "is being cancelled", "cancelled", "cancelled"]
    if together:
        assert queue.ask(CommandKind.CANCEL, *specs) == said
    else:
        assert [queue.ask(CommandKind.CANCEL, spec)[0] for spec in specs] == said
    assert [queue.job(spec).state for spec in (SOURCE, FIRST, SECOND)] == [JobState.CANCELLED] * 3
    assert {queue.job(spec).reason for spec in (SOURCE, FIRST, SECOND)} == {"cancelled"}
    # What somebody has cancelled by name comes back when they say so.
    assert queue.ask(CommandKind.RETRY, SOURCE) == ["queued again"]
    assert queue.job(FIRST).state is JobState.CANCELLED


def test_a_failure_of_its_own_is_no_cancellation(queue: Queue) -> None:
    queue.enqueue(SOURCE, FIRST, after={FIRST: [SOURCE]})
    queue.end(SOURCE, JobState.FAILED, "no")
    for spec in (SOURCE, FIRST):
        assert queue.ask(CommandKind.CANCEL, spec) == ["-has failed already; `retry` runs it again"]


@pytest.mark.parametrize("cancelled", [True, False])
def test_a_retried_source_brings_back_what_failed_for_it(queue: Queue, cancelled: bool) -> None:
    queue.enqueue(SOURCE, OTHER, FIRST, SECOND, after={FIRST: [SOURCE], SECOND: [FIRST, OTHER]})
    if cancelled:
        queue.ask(CommandKind.CANCEL, SOURCE)
    else:
        queue.end(SOURCE, JobState.FAILED, "no")
    queue.end(OTHER, JobState.FAILED, "no")
    # SECOND waits for another run as well, and that one has failed.
    assert queue.ask(CommandKind.RETRY, SOURCE) == ["queued again, with 1 run that failed for it"]
    assert queue.job(FIRST).waits_for == (SOURCE.run_id,)
    assert queue.job(SECOND).state is JobState.FAILED
    assert queue.ask(CommandKind.RETRY, OTHER) == ["queued again, with 1 run that failed for it"]
    assert set(queue.job(SECOND).waits_for) == {FIRST.run_id, OTHER.run_id}
    assert queue.startable() == [SOURCE.run_id, OTHER.run_id]


def test_a_retried_source_leaves_those_alone_that_failed_by_themselves(queue: Queue) -> None:
    queue.enqueue(SOURCE, FIRST, SECOND, after={FIRST: [SOURCE], SECOND: [FIRST]})
    queue.end(SOURCE, JobState.SUCCEEDED)
    queue.end(FIRST, JobState.FAILED, "NaN loss")
    queue.enqueue(SOURCE, force=True)
    queue.end(SOURCE, JobState.FAILED, "no")
    assert queue.ask(CommandKind.RETRY, SOURCE) == ["queued again"]
    assert [queue.job(spec).state for spec in (FIRST, SECOND)] == [JobState.FAILED] * 2


def test_a_dependant_is_retried_after_or_with_its_source_and_not_before(queue: Queue) -> None:
    queue.enqueue(SOURCE, FIRST, SECOND, after={FIRST: [SOURCE], SECOND: [FIRST]})
    queue.end(SOURCE, JobState.FAILED, "no")
    (told,) = queue.ask(CommandKind.RETRY, FIRST)
    assert (
        told
        == f"-its source {SOURCE.run_id} failed; retry that first, or queue this again without waiting for it"
    )
    assert queue.ask(CommandKind.RETRY, SECOND, FIRST, SOURCE) == ["queued again"] * 3
    assert queue.startable() == [SOURCE.run_id]
    assert queue.job(SECOND).waits_for == (FIRST.run_id,)


def test_a_source_that_runs_anew_is_waited_for_again(queue: Queue) -> None:
    queue.enqueue(SOURCE, FIRST, after={FIRST: [SOURCE]})
    queue.end(SOURCE, JobState.SUCCEEDED)
    queue.enqueue(SOURCE, force=True)
    assert queue.startable() == [SOURCE.run_id]


def test_a_run_queued_anew_waits_for_what_it_is_told_to_alone(queue: Queue) -> None:
    queue.enqueue(SOURCE, FIRST, after={FIRST: [SOURCE]})
    queue.enqueue(FIRST, force=True)
    assert queue.job(FIRST).after == ()
    assert FIRST.run_id in queue.startable()


def test_what_failed_for_another_run_alone_is_queued_again_without_it(queue: Queue) -> None:
    queue.enqueue(SOURCE, FIRST, SECOND, OTHER, after={FIRST: [SOURCE], SECOND: [FIRST]})
    queue.end(SOURCE, JobState.FAILED, "no")
    queue.end(OTHER, JobState.FAILED, "of its own")
    with pytest.raises(UnknownRunError, match="retry that first, or queue this without waiting for it"):
        queue.enqueue(FIRST, after={FIRST: [SOURCE]})
    assert queue.job(FIRST).state is JobState.FAILED
    queue.enqueue(FIRST, SECOND, OTHER)
    assert queue.startable() == [FIRST.run_id, SECOND.run_id]
    assert [queue.job(spec).after for spec in (FIRST, SECOND)] == [(), ()]
    assert queue.job(OTHER).state is JobState.FAILED


def test_what_takes_weights_of_a_failed_run_waits_for_its_retry(queue: Queue) -> None:
    tuned = replace(FIRST, transfer=Transfer(SOURCE.run_id, None, freeze=False))
    queue.enqueue(SOURCE, tuned)
    queue.end(SOURCE, JobState.FAILED, "no")
    queue.enqueue(tuned)
    assert queue.job(tuned).state is JobState.FAILED


def test_sources_that_cannot_be_waited_for_are_refused_in_one_line(queue: Queue) -> None:
    queue.enqueue(SOURCE)
    with pytest.raises(UnknownRunError, match=f"{FIRST.run_id}: {OTHER.run_id} is not in the queue"):
        queue.enqueue(FIRST, after={FIRST: [OTHER]})
    queue.end(SOURCE, JobState.FAILED, "no")
    with pytest.raises(UnknownRunError, match=f"its source {SOURCE.run_id} failed; retry that first"):
        queue.enqueue(FIRST, after={FIRST: [SOURCE]})
    assert [job.run_id for job in queue.client.jobs()] == [SOURCE.run_id]


def test_circles_are_refused(queue: Queue) -> None:
    queue.enqueue(SOURCE, FIRST, SECOND, after={FIRST: [SOURCE], SECOND: [FIRST]})
    for spec, source in ((SOURCE, SECOND), (SOURCE, FIRST)):
        with pytest.raises(UnknownRunError, match=f"its source {source.run_id} waits for it"):
            queue.enqueue(spec, force=True, after={spec: [source]})
    assert queue.job(SOURCE).after == ()


def test_a_circle_of_two_acknowledged_commands_is_refused_by_the_scheduler(queue: Queue) -> None:
    queue.enqueue(SOURCE, FIRST)
    queue.client.enqueue([FIRST], force=True, after={FIRST.run_id: [SOURCE.run_id]})
    acknowledgement = queue.client.enqueue([SOURCE], force=True, after={SOURCE.run_id: [FIRST.run_id]})
    queue.apply()
    (result,) = queue.client.wait(acknowledgement, 0) or []
    assert (result.ok, result.message) == (False, f"{SOURCE.run_id}: its source {FIRST.run_id} waits for it")
    assert queue.startable() == [SOURCE.run_id]


def test_commands_for_many_pick_those_they_apply_to(queue: Queue) -> None:
    queue.enqueue(SOURCE, OTHER, FIRST, SECOND)
    queue.ask(CommandKind.HOLD, OTHER)
    queue.end(FIRST, JobState.FAILED, "no")
    queue.end(SECOND, JobState.INTERRUPTED)
    jobs = queue.client.jobs()

    def pick(kind: CommandKind, **options) -> list[RunSpec]:
        chosen = select_jobs(jobs, kind, **options)
        return [spec for spec in (SOURCE, OTHER, FIRST, SECOND) if spec.run_id in chosen]

    assert pick(CommandKind.HOLD) == [SOURCE, SECOND]
    assert pick(CommandKind.RELEASE) == [OTHER]
    assert pick(CommandKind.CANCEL) == [SOURCE, OTHER, SECOND]
    assert pick(CommandKind.RETRY) == [FIRST, SECOND]
    assert pick(CommandKind.RETRY, states={JobState.FAILED}) == [FIRST]
    assert pick(CommandKind.MOVE, experiment="base") == [SOURCE, OTHER]


def test_a_failure_and_the_end_of_an_experiment_are_noticed_once(queue: Queue) -> None:
    queue.enqueue(SOURCE, OTHER, FIRST, after={FIRST: [SOURCE]})
    assert not queue.store.has_notices()
    queue.end(SOURCE, JobState.FAILED, "out of memory")
    queue.end(OTHER, JobState.SUCCEEDED)
    notices = queue.store.notices.take(10)
    assert [(notice.event, notice.experiment, notice.run_id, notice.reason) for notice in notices] == [
        (NoticeEvent.JOB_FAILED, "base", SOURCE.run_id, "out of memory"),
        (NoticeEvent.EXPERIMENT_ENDED, "transfer", "", ""),
        (NoticeEvent.EXPERIMENT_ENDED, "base", "", ""),
    ]
    assert notices[2].counts == {JobState.FAILED: 1, JobState.SUCCEEDED: 1}
    assert not queue.store.has_notices()


def test_an_experiment_that_goes_on_before_it_is_told_of_has_not_ended(queue: Queue) -> None:
    queue.enqueue(SOURCE)
    queue.end(SOURCE, JobState.SUCCEEDED)
    queue.enqueue(OTHER)
    assert queue.store.notices.take(10) == []


def test_hours_are_those_of_all_attempts(queue: Queue) -> None:
    queue.enqueue(SOURCE, FIRST)
    for spec, device, hours in ((SOURCE, "cpu", (1, 2)), (FIRST, "GPU-a", (3,))):
        for attempt, hour in enumerate(hours, start=1):
            queue.store._run(
                "INSERT INTO attempts VALUES (?, ?, ?, 0, '', ?, ?, 'failed', '')",
                *(spec.run_id, attempt, device, "2026-01-01T00:00:00.000+00:00"),
                f"2026-01-01T0{hour}:00:00.000+00:00",
            )
    usage = {usage.experiment: (round(usage.cpu_s), round(usage.gpu_s)) for usage in queue.client.usage()}
    assert usage == {"base": (3 * 3600, 0), "transfer": (0, 3 * 3600)}
    queue.store._run("UPDATE attempts SET finished_at = ''")
    assert queue.client.usage() == []


def test_a_run_that_is_made_anew_is_learned_from_by_its_last_making(queue: Queue) -> None:
    queue.enqueue(SOURCE)
    for outcome in ("succeeded", "vanished", "succeeded"):
        queue.end(SOURCE, JobState.SUCCEEDED)
        queue.store._run(
            "UPDATE attempts SET outcome = ?, started_at = '2026-01-01T00:00:00.000+00:00', "
            "finished_at = '2026-01-01T01:00:00.000+00:00' WHERE attempt = ?",
            *(outcome, queue.job(SOURCE).attempts),
        )
        if queue.job(SOURCE).attempts < 3:
            queue.store.queue_again(SOURCE.run_id)
    assert round(queue.client.executions(queue.client.jobs())[0].used_s) == 2 * 3600
    assert round(queue.client.usage()[0].cpu_s) == 3 * 3600


def test_executions_are_those_to_come_and_the_latest_that_succeeded(queue: Queue) -> None:
    queue.enqueue(SOURCE, OTHER, FIRST, SECOND)
    queue.end(SOURCE, JobState.SUCCEEDED)
    queue.end(OTHER, JobState.CANCELLED)
    queue.begin(SECOND)
    executions = queue.client.executions(queue.client.jobs())
    assert [(execution.run_id, execution.state) for execution in executions] == [
        (SOURCE.run_id, JobState.SUCCEEDED),
        (FIRST.run_id, JobState.QUEUED),
        (SECOND.run_id, JobState.RUNNING),
    ]
    assert [total_updates(execution.spec) for execution in executions] == [200, 200, 200]


def test_a_database_of_the_first_version_goes_on(project: ProjectPaths) -> None:
    specs = fake_sweep()[:3]
    with closing(sqlite3.connect(project.queue)) as old:
        old.execute("PRAGMA journal_mode = WAL")
        old.executescript(STEPS[0])
        old.execute("PRAGMA application_id = 0x64733162")
        old.execute("PRAGMA user_version = 1")
        for position, spec in enumerate(specs):
            old.execute(
                "INSERT INTO jobs (run_id, experiment, workload, state, position, max_attempts, queued_at, "
                "document) VALUES (?, 'digits', 'w', 'queued', ?, 3, '', '{}')",
                (spec.run_id, position),
            )
        old.commit()
    client = QueueClient(project)
    assert [job.run_id for job in client.jobs()] == [spec.run_id for spec in specs]
    assert client.executions(client.jobs()) == []
    client.drain()
    with closing(Store(project.queue)) as store:
        CommandApplier(store, project).apply_pending()
        assert [job.run_id for job in store.waiting(9)] == [spec.run_id for spec in specs]
        assert store.settings.read().draining


def test_dependencies_of_an_older_database_become_shared_sets(project: ProjectPaths) -> None:
    first, second, third, fourth = (spec.run_id for spec in fake_sweep()[:4])
    with closing(sqlite3.connect(project.queue)) as old:
        old.execute("PRAGMA journal_mode = WAL")
        for step in STEPS[:9]:
            old.executescript(step)
        old.execute("PRAGMA application_id = 0x64733162")
        old.execute("PRAGMA user_version = 9")
        states = {first: "succeeded", second: "queued", third: "queued", fourth: "queued"}
        for position, (run_id, state) in enumerate(states.items()):
            old.execute(
                "INSERT INTO jobs (run_id, experiment, workload, state, position, max_attempts, queued_at, "
                "document) VALUES (?, 'digits', 'w', ?, ?, 3, '', '{}')",
                (run_id, state, position),
            )
        named = [(run_id, source) for run_id in (third, fourth) for source in (second, first)]
        old.executemany("INSERT INTO dependencies VALUES (?, ?)", named)
        old.execute("UPDATE jobs SET blocked = 1 WHERE run_id IN (?, ?)", (third, fourth))
        old.commit()
    sources = tuple(sorted((first, second)))
    with closing(Store(project.queue)) as store:
        assert [job.run_id for job in store.waiting(9)] == [second]
        by_id = {job.run_id: job for job in QueueClient(project).jobs()}
        assert [by_id[run_id].after for run_id in (first, second, third, fourth)] == [
            (),
            (),
            sources,
            sources,
        ]
        assert by_id[fourth].waits_for == (second,)
        with store.transaction():
            store.change(second, JobState.SUCCEEDED)
        assert [job.run_id for job in store.waiting(9)] == [third, fourth]


def test_runs_that_wait_for_the_same_runs_share_what_they_wait_for(
    queue: Queue, project: ProjectPaths
) -> None:
    sources, dependants = fake_sweep()[:8], fake_sweep()[8:16]
    queue.enqueue(*sources)
    queue.enqueue(*dependants, after=dict.fromkeys(dependants, sources))
    with closing(sqlite3.connect(project.queue)) as connection:
        assert connection.execute("SELECT count(*) FROM sources").fetchone() == (len(sources),)
    for spec in sources:
        assert queue.job(dependants[0]).waits_for
        queue.end(spec, JobState.SUCCEEDED)
    assert queue.startable() == [spec.run_id for spec in dependants]


MACHINE = (errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE)


@pytest.mark.parametrize("number", MACHINE)
@pytest.mark.parametrize("call", ["observe", "supersede", "conclude_if_there"])
def test_what_the_machine_lacks_for_a_moment_refuses_nothing_that_was_acknowledged(
    queue: Queue, project: ProjectPaths, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    """A disk that is read-only just now would have made a queue of nothing, and a cancel be forgotten."""
    if call == "conclude_if_there":
        queue.enqueue(FIRST)
        project.run(FIRST.experiment, FIRST.run_id).directory.mkdir(parents=True)
        asked = queue.client.send(CommandKind.CANCEL, [FIRST.run_id])
    else:
        queue.client.enqueue([FIRST], force=call == "supersede")
    with monkeypatch.context() as patched:
        error = OSError(number, os.strerror(number), str(project.runs / "x"))
        patched.setattr(apply_commands, call, Mock(side_effect=error))
        with pytest.raises(PassingStorageError) as caught:
            queue.apply()
        assert f"{project.runs / 'x'}: cannot be written: {os.strerror(number)}" in caught.value.line
        assert queue.store.pending_commands(9)
    queue.apply()
    state = JobState.CANCELLED if call == "conclude_if_there" else JobState.QUEUED
    assert queue.job(FIRST).state is state
    if call == "conclude_if_there":
        assert [result.ok for result in queue.client.wait(asked, 0) or ()] == [True]


@pytest.mark.parametrize("number", [errno.ELOOP, errno.ENOTDIR, errno.EACCES, errno.EIO])
def test_a_directory_of_a_run_that_cannot_be_used_refuses_that_run_alone(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    looked = apply_commands.observe

    def observe(paths: RunPaths) -> object:
        if paths.directory.name == FIRST.run_id:
            raise OSError(number, os.strerror(number), str(paths.lock))
        return looked(paths)

    monkeypatch.setattr(apply_commands, "observe", observe)
    acknowledgement = queue.client.enqueue([FIRST, SECOND])
    queue.apply()
    first, second = queue.client.wait(acknowledgement, 0) or ()
    assert (first.ok, second.ok) == (False, True)
    assert "its directory cannot be used: " in first.message
    assert os.strerror(number) in first.message

"""The queue's database is lost or damaged; the run directories alone tell what was done."""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.lab import Lab
from tui_datasize.cli.dispatch import main
from tui_datasize.errors import StorageError
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.queue.database import PassingStorageError
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.jobs.queue.store import Store
from tui_datasize.jobs.rebuild import damage, repair
from tui_datasize.runlog.claim import observe
from tui_datasize.runlog.paths import ProjectPaths

pytestmark = pytest.mark.faults


def scribble(queue: Path) -> bytes:
    """Replace the database by noise and empty its log, and return the noise."""
    noise = os.urandom(queue.stat().st_size)
    queue.write_bytes(noise)
    log = queue.with_name(f"{queue.name}-wal")
    if log.exists():
        log.write_bytes(b"")
    return noise


def test_a_rebuilt_queue_knows_every_finished_run(fake_project: ProjectPaths) -> None:
    """Without any database: 36 finished runs are found in their directories."""
    done = repair(fake_project)
    assert done.added == {JobState.SUCCEEDED: 36}
    assert (done.problem, done.aside, done.unreadable) == ("", None, ())
    jobs = QueueClient(fake_project).jobs()
    assert {job.run_id for job in jobs} == {paths.run_id for paths in fake_project.all_runs()}
    assert {(job.state, job.attempts) for job in jobs} == {(JobState.SUCCEEDED, 1)}
    assert all(job.started_at and job.finished_at for job in jobs)


def test_every_kind_of_end_is_told_by_its_directory(lab: Lab) -> None:
    specs = [
        lab.spec(0),
        lab.spec(1, behaviour="fail", reason="NaN loss at update 7"),
        lab.spec(2, gate=str(lab.gate("cancel"))),
        lab.spec(3, gate=str(lab.gate("dead"))),
        lab.spec(4, gate=str(lab.gate("alive"))),
        lab.spec(5),
    ]
    done, failed, cancelled, dead, alive, held = lab.enqueue(*specs)
    lab.client.send(CommandKind.HOLD, [held.run_id])
    scheduler = lab.start_scheduler()
    lab.worker_pid(cancelled)
    lab.ask(CommandKind.CANCEL, cancelled)
    lab.wait_for(cancelled, JobState.CANCELLED)
    lab.wait_for(done, JobState.SUCCEEDED)
    lab.wait_for(failed, JobState.FAILED)
    lab.worker_pid(alive)
    victim = lab.worker_pid(dead)
    lab.kill(scheduler)
    os.kill(victim, signal.SIGKILL)
    lab.wait(lambda: not observe(dead).lock_held)
    noise = scribble(lab.project.queue)

    repaired = repair(lab.project)

    assert repaired.aside is not None
    assert repaired.aside.name.startswith("queue.db.damaged-")
    assert repaired.aside.read_bytes() == noise
    jobs = lab.jobs()
    assert [jobs[run.run_id].state for run in (done, failed, cancelled, dead, alive)] == [
        JobState.SUCCEEDED,
        JobState.FAILED,
        JobState.CANCELLED,
        JobState.INTERRUPTED,
        JobState.RUNNING,
    ]
    assert jobs[failed.run_id].reason == "NaN loss at update 7"
    assert all(jobs[run.run_id].attempts == 1 for run in (done, failed, cancelled, dead, alive))
    # It never began, so that nothing but the experiment tells of it.
    assert held.run_id not in jobs
    assert lab.client.enqueue(specs).new == 2

    lab.start_scheduler()
    for gate in ("cancel", "dead", "alive"):
        lab.gate(gate).touch()
    lab.wait_until_over()
    for run in (done, dead, alive, held):
        lab.assert_ran_once(run)
    assert lab.job(alive).attempts == 1
    assert lab.job(dead).attempts == 2
    # Queued again by the second enqueue, which is what a cancelled run needs.
    assert lab.job(cancelled).attempts == 2


def test_a_repair_waits_for_no_scheduler_and_disturbs_none(lab: Lab) -> None:
    (run,) = lab.enqueue(lab.spec(gate=str(lab.gate())))
    lab.start_scheduler()
    lab.wait_for(run, JobState.RUNNING)
    with pytest.raises(StorageError, match="a scheduler has the queue; stop it"):
        repair(lab.project)
    lab.gate().touch()
    lab.wait_for(run, JobState.SUCCEEDED)


def test_a_queue_that_turns_to_noise_under_its_scheduler_is_repaired_and_its_workers_go_on(lab: Lab) -> None:
    (run,) = lab.enqueue(lab.spec(gate=str(lab.gate())))
    # By its command line it is known to whoever stops it without a database.
    scheduler = lab.start_scheduler(is_forked=False)
    lab.wait_for(run, JobState.RUNNING)
    scribble(lab.project.queue)
    with pytest.raises(StorageError, match="datasize-tui doctor --repair"):
        lab.client.jobs()
    # It may know nothing of it yet: what it has read, it has in memory.
    assert lab.client.stop_scheduler()
    assert scheduler.wait(60) in (0, 2)
    assert "Traceback" not in lab.log()
    assert repair(lab.project).added == {JobState.RUNNING: 1}
    lab.start_scheduler()
    lab.gate().touch()
    assert lab.wait_for(run, JobState.SUCCEEDED).attempts == 1
    lab.assert_ran_once(run)


def test_a_sound_queue_keeps_its_jobs_and_learns_of_unknown_directories(fake_project: ProjectPaths) -> None:
    repair(fake_project)
    before = QueueClient(fake_project).jobs()
    again = repair(fake_project)
    assert (again.added, again.problem, again.aside) == ({}, "", None)
    for file in fake_project.runs.glob("queue.db*"):
        file.unlink()
    Store(fake_project.queue).close()
    assert sum(repair(fake_project).added.values()) == 36
    assert [job.run_id for job in QueueClient(fake_project).jobs()] == [job.run_id for job in before]


def test_a_specification_of_another_run_is_named_and_its_directory_left_alone(
    fake_project: ProjectPaths,
) -> None:
    first, second, *_ = fake_project.all_runs()
    first.spec.write_bytes(second.spec.read_bytes())
    before = sorted(path.name for path in first.directory.iterdir())
    done = repair(fake_project)
    assert done.unreadable == (first.spec,)
    assert sum(done.added.values()) == 35
    known = {job.run_id for job in QueueClient(fake_project).jobs()}
    assert second.run_id in known
    assert first.run_id not in known
    assert sorted(path.name for path in first.directory.iterdir()) == before


def test_what_is_no_run_is_named_and_left_alone(fake_project: ProjectPaths) -> None:
    broken = next(fake_project.all_runs()).spec
    broken.write_text('{"spec": {}}')
    done = repair(fake_project)
    assert done.unreadable == (broken,)
    assert sum(done.added.values()) == 35


def test_a_queue_of_a_newer_version_is_not_repaired(fake_project: ProjectPaths) -> None:
    repair(fake_project)
    with closing(sqlite3.connect(fake_project.queue)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StorageError, match="is of version 99"):
        repair(fake_project)
    assert not list(fake_project.runs.glob("*.damaged-*"))


def test_a_rebuild_that_cannot_be_written_leaves_everything_as_it_was(
    fake_project: ProjectPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    Store(fake_project.queue).close()
    noise = scribble(fake_project.queue)
    before = sorted(fake_project.runs.rglob("*"))

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "link", no_space)
    with pytest.raises(PassingStorageError, match="No space left on device"):
        repair(fake_project)
    monkeypatch.undo()
    after = [path for path in sorted(fake_project.runs.rglob("*")) if path != fake_project.scheduler_lock]
    assert after == before
    assert fake_project.queue.read_bytes() == noise
    assert damage(fake_project.queue)


def test_doctor_repairs_and_says_what_it_did(
    fake_project: ProjectPaths, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui_datasize.cli.doctor.run_checks", lambda _: ())
    Store(fake_project.queue).close()
    scribble(fake_project.queue)
    arguments = ["doctor", "--repair", "--project", str(fake_project.root)]
    assert main(arguments) == 0
    told = capsys.readouterr().out
    for words in (
        "is not a queue database",
        "queue.db.damaged-",
        "36 succeeded",
        "whether the queue was drained",
        "queue the experiments again",
    ):
        assert words in told
    assert main(arguments) == 0
    assert "the queue is sound and lists every run directory" in capsys.readouterr().out

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tui_datasize.errors import StorageError
from tui_datasize.jobs.queue import store as store_module
from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.queue.database import (
    PassingStorageError,
    create_database,
    insert_commands,
    open_database,
    storage_errors,
)
from tui_datasize.jobs.queue.gpu_memory import Learned
from tui_datasize.jobs.queue.records import ActiveJob, NewJob, Verdict
from tui_datasize.jobs.queue.schema import SCHEMA_VERSION
from tui_datasize.jobs.queue.state import IllegalTransitionError, JobState
from tui_datasize.jobs.queue.store import Store


def new_job(run_id: str, state: JobState = JobState.QUEUED, **changes: object) -> NewJob:
    values: dict[str, object] = {
        "experiment": "letters",
        "workload": "emnist cnn3 b72",
        "priority": 0,
        "attempts": 0,
        "max_attempts": 3,
        "reason": "",
        "started_at": "",
        "finished_at": "",
        "document": "{}",
    }
    return NewJob(run_id=run_id, state=state, **(values | changes))  # type: ignore[arg-type]


def active_job(store: Store, run_id: str) -> ActiveJob:
    return next(job for job in store.active() if job.run_id == run_id)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(tmp_path / "runs" / "queue.db")) as store:
        yield store


def waiting(store: Store) -> list[str]:
    return [job.run_id for job in store.waiting(100)]


def test_jobs_wait_by_priority_and_then_in_their_order(store: Store) -> None:
    for run_id, priority in (("a", 0), ("b", 1), ("c", 0)):
        store.add(new_job(run_id, priority=priority))
    assert waiting(store) == ["b", "a", "c"]
    store.reorder(["c", "a"])
    assert store.increase("b", "priority", -2) == -1
    assert waiting(store) == ["c", "a", "b"]


def test_a_job_goes_through_its_states(store: Store) -> None:
    store.add(new_job("a"))
    store.begin_attempt("a", 1, "GPU-a", 5, "tag")
    (active,) = store.active()
    assert (active.state, active.attempts, active.device, active.reserved_bytes, active.tag) == (
        JobState.STARTING,
        1,
        "GPU-a",
        5,
        "tag",
    )
    store.change("a", JobState.RUNNING)
    store.change("a", JobState.INTERRUPTED, "worker vanished")
    store.end_attempt("a", 1, "vanished", "worker vanished")
    assert store.active() == []
    assert waiting(store) == ["a"]
    store.begin_attempt("a", 2, "cpu", 0, "tag 2")
    assert active_job(store, "a").attempts == 2
    store.change("a", JobState.RUNNING)
    store.change("a", JobState.SUCCEEDED)
    assert store.state("a") is JobState.SUCCEEDED
    store.queue_again("a")
    assert waiting(store) == ["a"]


@pytest.mark.parametrize("state", list(JobState))
@pytest.mark.parametrize("target", list(JobState))
def test_every_change_of_state_goes_through_the_table(
    store: Store, state: JobState, target: JobState
) -> None:
    from tui_datasize.jobs.queue.state import TRANSITIONS

    store.add(new_job("a", state))
    if target in TRANSITIONS[state]:
        store.change("a", target)
        assert store.state("a") is target
    else:
        with pytest.raises(IllegalTransitionError):
            store.change("a", target)
        assert store.state("a") is state


def test_a_start_that_nobody_followed_costs_no_attempt(store: Store) -> None:
    store.add(new_job("a"))
    store.begin_attempt("a", 1, "cpu", 0, "tag")
    store.forgive_attempt("a", 1, "the scheduler ended")
    (job,) = store.waiting(1)
    assert job.attempts == 1
    store.begin_attempt("a", 2, "cpu", 0, "another tag")
    active = active_job(store, "a")
    assert (active.tag, active.max_attempts) == ("another tag", 4)


def test_a_transaction_is_all_or_nothing(store: Store) -> None:
    store.add(new_job("b"))

    def add_and_break_the_table() -> None:
        with store.transaction():
            store.add(new_job("a"))
            store.change("b", JobState.RUNNING)

    with pytest.raises(IllegalTransitionError):
        add_and_break_the_table()
    assert store.state("a") is None


def test_the_largest_peak_of_a_workload_is_remembered(store: Store) -> None:
    store.add(new_job("a"))
    (job,) = store.waiting(1)
    assert store.learned(job.workload) == []
    for in_file, work_bytes in ((False, 5), (False, 9), (True, 6), (False, 7)):
        store.learn_memory(job.workload, Learned(in_file, work_bytes, 784, 10))
    assert store.learned(job.workload) == [Learned(False, 9, 784, 10), Learned(True, 6, 784, 10)]


def test_what_another_connection_commits_is_noticed(store: Store) -> None:
    before = store.data_version()
    store.add(new_job("a"))
    assert store.data_version() == before
    with closing(open_database(store.path)) as other:
        other.execute("UPDATE jobs SET priority = 1")
    assert store.data_version() != before


def test_a_database_that_is_gone_or_replaced_is_noticed(store: Store) -> None:
    assert store.is_in_place()
    store.path.rename(store.path.with_name("elsewhere"))
    assert not store.is_in_place()
    store.path.write_bytes(b"another")
    assert not store.is_in_place()


def test_every_commit_is_on_the_disk_before_it_is_acknowledged(store: Store) -> None:
    with closing(open_database(store.path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2


def test_several_threads_may_create_it_at_once(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "queue.db"
    threads = [threading.Thread(target=create_database, args=[path]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    open_database(path).close()
    assert [file.name for file in path.parent.iterdir()] == ["queue.db"]


def test_the_log_of_a_deleted_database_does_not_haunt_the_next(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    with closing(Store(path)) as store:
        store.add(new_job("old"))
        path.unlink()
        assert path.with_name("queue.db-wal").exists()
        with closing(Store(path)) as fresh:
            assert fresh.state("old") is None


@pytest.mark.parametrize("damage", ["empty", "noise", "half", "foreign"])
def test_a_damaged_database_is_refused_and_kept(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "queue.db"
    with closing(Store(path)) as store, store.transaction():
        for number in range(300):
            store.add(new_job(str(number), document="x" * 500))
    whole = path.read_bytes()
    if damage == "foreign":
        path.unlink()
        with closing(sqlite3.connect(path)) as other:
            other.execute("CREATE TABLE notes (text)")
    else:
        path.write_bytes(
            {"empty": b"", "noise": os.urandom(len(whole)), "half": whole[: len(whole) // 2]}[damage]
        )
    content = path.read_bytes()
    with pytest.raises(StorageError) as caught:
        Store(path)
    assert str(path) in caught.value.line
    assert "datasize-tui doctor --repair" in caught.value.line
    assert not isinstance(caught.value, PassingStorageError)
    assert path.read_bytes() == content


def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    create_database(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    words = f"is of version 99, this program knows version {SCHEMA_VERSION}"
    with pytest.raises(StorageError, match=words):
        open_database(path)


def test_a_missing_database_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"):
        open_database(tmp_path / "queue.db")


def test_a_file_in_the_way_of_the_runs_directory_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(StorageError) as caught:
        create_database(tmp_path / "runs" / "queue.db")
    assert "cannot be written" in caught.value.line


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_runs_directory_is_a_storage_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="cannot be written: Permission denied"):
        create_database(tmp_path / "queue.db")


def test_a_full_disk_may_pass(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    create_database(path)
    with closing(open_database(path)) as connection:
        connection.execute("PRAGMA max_page_count = 20")
        with pytest.raises(PassingStorageError, match="the disk is full"), storage_errors(path):
            connection.execute(
                "INSERT INTO commands (batch, kind, run_id, created_at, document) VALUES ('', '', '', '', ?)",
                ["x" * 10**6],
            )


DAY_S = 86400.0


def answered(store: Store) -> int:
    """A command that was answered just now."""
    with closing(open_database(store.path)) as connection:
        (command_id,) = insert_commands(connection, CommandKind.DRAIN, [("", 1, False, "")])
    with store.transaction():
        store.settle([(command_id, Verdict(True, "done"))])
    return command_id


def kept(store: Store) -> list[int]:
    with closing(open_database(store.path)) as connection:
        return [row[0] for row in connection.execute("SELECT id FROM commands ORDER BY id")]


@pytest.mark.parametrize("date", ["1999-01-01T00:00:00.000+00:00", "2999-01-01T00:00:00.000+00:00"])
def test_fresh_answers_are_kept_whatever_the_date_was_set_to(
    store: Store, monkeypatch: pytest.MonkeyPatch, date: str
) -> None:
    monkeypatch.setattr(store_module, "utc_now", lambda: date)
    command = answered(store)
    store.forget_old_commands()
    store.forget_old_commands()
    assert kept(store) == [command]


def test_answers_go_after_days_of_the_machine_or_with_its_next_start(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = time.clock_gettime(time.CLOCK_BOOTTIME)
    monkeypatch.setattr(store_module.time, "clock_gettime", lambda _clock: clock)
    answered(store)
    store.forget_old_commands()
    clock += 6.9 * DAY_S
    later = answered(store)
    store.forget_old_commands()
    assert len(kept(store)) == 2
    clock += 0.2 * DAY_S
    store.forget_old_commands()
    assert kept(store) == [later]
    monkeypatch.setattr(store_module, "boot_id", lambda: "another")
    last = answered(store)
    store.forget_old_commands()
    assert kept(store) == [last]

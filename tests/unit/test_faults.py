"""Standing faults: kept until the thing works, told everywhere, said once."""

from __future__ import annotations

import errno
import json
import logging
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.disks import SmallDisk
from tests.unit.queue_desk import FIRST, OTHER, Queue
from tui_datasize.cli import doctor, main
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.queue.database import create_database, open_database
from tui_datasize.jobs.queue.faults import LEAST_FREE_BYTES, FaultKind, read_faults
from tui_datasize.jobs.queue.schema import STEPS
from tui_datasize.jobs.queue.store import Store
from tui_datasize.runlog.paths import ProjectPaths

SENTENCE = "the slots directory cannot be used: Permission denied; change its permissions"


def kinds(project: ProjectPaths) -> list[FaultKind]:
    return [fault.kind for fault in QueueClient(project).faults()]


def test_a_fault_is_said_once_counted_and_goes_when_the_thing_works(
    project: ProjectPaths, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("tui_datasize.jobs.queue.faults._COUNT_INTERVAL_S", 0.0)
    with closing(Store(project.queue)) as store:
        for _ in range(100):
            store.faults.report(FaultKind.SLOTS, "", SENTENCE)
        (fault,) = QueueClient(project).faults()
        assert (fault.kind, fault.sentence, fault.count) == (FaultKind.SLOTS, SENTENCE, 100)
        assert fault.since <= fault.last
        assert len(caplog.records) == 1
        store.faults.clear(FaultKind.PROCESSES)
        assert kinds(project) == [FaultKind.SLOTS]
        store.faults.clear(FaultKind.SLOTS)
        assert kinds(project) == []
        store.faults.clear(FaultKind.SLOTS)
        assert len(caplog.records) == 2


def test_faults_outlive_the_scheduler_that_met_them_and_are_told_apart(project: ProjectPaths) -> None:
    with closing(Store(project.queue)) as store:
        for card in ("GPU-a", "GPU-b"):
            store.faults.report(FaultKind.GPU, card, f"{card} fails; replace it")
    with closing(Store(project.queue)) as store:
        assert store.faults.stands(FaultKind.GPU)
        store.faults.clear(FaultKind.GPU, "GPU-a")
        assert [fault.subject for fault in store.faults.list()] == ["GPU-b"]
        assert store.faults.stands(FaultKind.GPU, "GPU-b")
        assert not store.faults.stands(FaultKind.GPU, "GPU-a")


@pytest.mark.parametrize(
    ("command", "exit_status"), [(["status"], 1), (["status", "--json"], 1), (["doctor"], 1)]
)
def test_a_fault_is_told_by_every_command_that_looks(
    project: ProjectPaths,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: list[str],
    exit_status: int,
) -> None:
    # Importing torch takes seconds, whatever it says.
    monkeypatch.setattr(doctor, "_torch", lambda: doctor.Check("torch", "ok", "torch"))
    with closing(Store(project.queue)) as store:
        store.faults.report(FaultKind.SLOTS, "", SENTENCE)
    assert main([*command, "--project", str(project.root)]) == exit_status
    told = capsys.readouterr()
    if "--json" in command:
        assert json.loads(told.out)["faults"][0]["sentence"] == SENTENCE
    else:
        assert SENTENCE in told.out + told.err


def test_a_full_disk_is_told_though_the_database_cannot_be(small_disk: SmallDisk, tmp_path: Path) -> None:
    project = ProjectPaths(tmp_path / "project")
    small_disk.mount(project.runs)
    create_database(project.queue)
    with closing(Store(project.queue)) as store:
        assert kinds(project) == []
        ballast = small_disk.fill(project.runs)
        # Raises nothing, and is caught up on once there is room.
        for number in range(40):
            store.faults.report(FaultKind.SLOTS, f"{number}", SENTENCE * 100)
        assert FaultKind.DISK in kinds(project)
        ballast.unlink()
        assert FaultKind.DISK not in kinds(project)


def without_inodes(path: os.PathLike[str]) -> os.statvfs_result:
    return os.statvfs_result((4096, 4096, 10**6, 10**6, 10**6, 1000, 0, 0, 0, 255))


def without_disk(path: os.PathLike[str]) -> os.statvfs_result:
    raise OSError(5, "Input/output error")


@pytest.mark.parametrize(
    ("statvfs", "words"), [(without_inodes, "no inode free"), (without_disk, "Input/output error")]
)
def test_what_else_a_disk_may_lack(
    project: ProjectPaths,
    monkeypatch: pytest.MonkeyPatch,
    statvfs: Callable[[os.PathLike[str]], os.statvfs_result],
    words: str,
) -> None:
    create_database(project.queue)
    monkeypatch.setattr(os, "statvfs", statvfs)
    (fault,) = QueueClient(project).faults()
    assert fault.kind is FaultKind.DISK
    assert words in fault.sentence


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EDQUOT, "your quota is used up"),
        (errno.EROFS, "has become read-only"),
        (errno.EIO, "input/output error"),
        # Someone who only looks on, a file system that knows no nameless files, `ulimit -f`.
        (errno.EACCES, ""),
        (errno.EOPNOTSUPP, ""),
        (errno.EFBIG, ""),
    ],
)
def test_what_only_a_try_finds_is_looked_for_while_runs_wait(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    monkeypatch.setattr(QueueClient, "scheduler_alive", lambda _: True)
    tries: list[int] = []

    def refuse(file: int, start: int, length: int) -> None:
        tries.append(length)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    assert queue.client.faults() == []
    assert not tries
    queue.enqueue(FIRST)
    assert [words in fault.sentence for fault in queue.client.faults()] == ([True] if words else [])
    assert tries == [LEAST_FREE_BYTES]


def test_a_database_without_the_table_gets_it(project: ProjectPaths) -> None:
    create_database(project.queue)
    with closing(sqlite3.connect(project.queue)) as connection:
        known = connection.execute(
            "SELECT type, name FROM sqlite_schema WHERE type IN ('table', 'view') ORDER BY type DESC"
        ).fetchall()
        for kind, name in known:
            if name != "sqlite_sequence":
                connection.execute(f"DROP {kind} {name}")
        for step in STEPS[:3]:
            connection.executescript(step)
        connection.execute("PRAGMA user_version = 3")
    with closing(open_database(project.queue)) as connection:
        assert read_faults(connection) == []


def test_a_queue_of_which_nothing_may_start_needs_no_scheduler(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(QueueClient, "ensure_scheduler", lambda _: None)
    assert not queue.client.keep_scheduler()
    queue.enqueue(FIRST, OTHER, after={OTHER: [FIRST]})
    assert queue.client.keep_scheduler()
    assert [fault.sentence for fault in queue.client.faults()] == [
        "no scheduler for 2 runs; `datasize-tui scheduler start` starts one"
    ]
    queue.ask(CommandKind.HOLD, FIRST)
    assert (queue.client.keep_scheduler(), queue.client.faults()) == (False, [])
    queue.ask(CommandKind.RELEASE, FIRST)
    queue.client.drain()
    # What was asked is to be done.
    assert queue.client.keep_scheduler()
    queue.apply()
    assert (queue.client.keep_scheduler(), queue.client.faults()) == (False, [])
    queue.begin(FIRST)
    assert queue.client.keep_scheduler()

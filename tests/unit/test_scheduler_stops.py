"""A scheduler that is asked to end, while others still ask something of it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.stand_ins import FakeSpawner
from tui_datasize.experiments.device_settings import DeviceSettings
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.queue.database import PassingStorageError
from tui_datasize.jobs.queue.faults import FaultKind
from tui_datasize.jobs.queue.store import Store
from tui_datasize.jobs.scheduler.launch import LONGEST_LOG_BYTES, open_log
from tui_datasize.jobs.scheduler.lock import SchedulerLock, read_notes
from tui_datasize.jobs.scheduler.main import (
    DatabaseTrouble,
    Scheduler,
    SchedulerSettings,
    SchedulerStop,
    _runs_to_its_end,
    _shorten_log,
    serve,
)
from tui_datasize.jobs.workers.process import ROOT_VARIABLE
from tui_datasize.runlog.paths import ProjectPaths


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProjectPaths:
    monkeypatch.setenv("DATASIZE_SLOTS_DIR", str(tmp_path / "slots"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    project = ProjectPaths(tmp_path)
    Store(project.queue).close()
    return project


@pytest.fixture
def scheduler(project: ProjectPaths) -> Iterator[Scheduler]:
    authority = SchedulerLock(project.scheduler_lock)
    assert authority.take()
    with closing(
        Scheduler(SchedulerSettings(project, devices=DeviceSettings(cpu=True)), authority, FakeSpawner())
    ) as scheduler:
        yield scheduler
    authority.release()


@pytest.fixture
def full(scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database can be read and not written."""

    @contextmanager
    def transaction() -> Iterator[None]:
        raise PassingStorageError("the disk is full", where="queue.db")
        yield

    monkeypatch.setattr(scheduler._store, "transaction", transaction)


def test_it_ends_when_it_is_asked_to(project: ProjectPaths, scheduler: Scheduler) -> None:
    client = QueueClient(project)
    client.send(CommandKind.STOP, [""])
    scheduler._step()
    assert scheduler._try_to_end()
    assert not client.scheduler_alive()
    assert client.settings().stopped


def test_it_goes_on_for_what_was_asked_while_it_was_about_to_end(
    project: ProjectPaths, scheduler: Scheduler
) -> None:
    client = QueueClient(project)
    client.send(CommandKind.STOP, [""])
    scheduler._step()
    # Whoever asks this has seen a scheduler, and starts none.
    asked = client.send(CommandKind.HOLD, ["x"])
    assert not scheduler._try_to_end()
    assert client.scheduler_alive()
    assert read_notes(project.scheduler_lock) is not None
    scheduler._step()
    assert client.wait(asked, 0) is not None
    assert not client.settings().stopped
    assert not scheduler._try_to_end()


def test_it_goes_on_for_what_was_asked_right_behind_the_stop(
    project: ProjectPaths, scheduler: Scheduler
) -> None:
    client = QueueClient(project)
    client.send(CommandKind.STOP, [""])
    client.send(CommandKind.HOLD, ["x"])
    scheduler._step()
    assert not scheduler._try_to_end()
    assert not client.settings().stopped


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> SchedulerStop:
    """None comes, and none is listened to."""
    monkeypatch.setattr("signal.signal", lambda *_: None)
    return SchedulerStop()


@pytest.mark.usefixtures("signals")
def test_a_stop_that_is_asked_as_soon_as_it_is_seen_is_meant_for_it(
    project: ProjectPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, take = QueueClient(project), SchedulerLock.take
    asked = [client.send(CommandKind.STOP, [""])]

    def take_and_ask(lock: SchedulerLock) -> bool:
        assert take(lock)
        assert client.scheduler_alive()
        asked.append(client.send(CommandKind.STOP, [""]))
        return True

    monkeypatch.setattr(SchedulerLock, "take", take_and_ask)
    monkeypatch.setenv(ROOT_VARIABLE, "")
    serve(SchedulerSettings(project, idle_s=0, call="", devices=DeviceSettings(cpu=True)))
    answers = [answer.message for one in asked for answer in client.wait(one, 0) or ()]
    assert answers == ["the scheduler had ended already", "the scheduler ends; workers go on"]
    assert client.settings().stopped


@pytest.mark.usefixtures("full")
def test_it_ends_though_it_cannot_answer(project: ProjectPaths, scheduler: Scheduler) -> None:
    QueueClient(project).send(CommandKind.STOP, [""])
    scheduler._step()
    assert scheduler._try_to_end()
    assert not QueueClient(project).scheduler_alive()


@pytest.mark.usefixtures("full")
def test_what_it_cannot_apply_for_now_is_no_stop(project: ProjectPaths, scheduler: Scheduler) -> None:
    client = QueueClient(project)
    client.send(CommandKind.STOP, [""])
    client.send(CommandKind.HOLD, ["x"])
    with pytest.raises(PassingStorageError):
        scheduler._step()
    assert not scheduler.stop_requested


@pytest.mark.parametrize("failing", ["_capacity.update", "_dispatcher.dispatch", "_supervisor.look", "_wait"])
def test_a_stop_comes_before_all_that_fails(
    project: ProjectPaths,
    scheduler: Scheduler,
    signals: SchedulerStop,
    monkeypatch: pytest.MonkeyPatch,
    failing: str,
) -> None:
    def fail(*_: object) -> None:
        raise PassingStorageError("the disk is full", where="queue.db")

    *parts, name = failing.split(".")
    owner = getattr(scheduler, parts[0]) if parts else scheduler
    monkeypatch.setattr(owner, name, fail)
    QueueClient(project).send(CommandKind.STOP, [""])
    # True: no other is put in its place.
    assert _runs_to_its_end(scheduler, signals, DatabaseTrouble(SchedulerLock(project.scheduler_lock)))


SCARCE = [
    *(OSError(number, os.strerror(number), "x.so") for number in (errno.EMFILE, errno.ENFILE, errno.ENOMEM)),
    ImportError("x.so: cannot open shared object file: Too many open files", path="x.so"),
]


@pytest.mark.parametrize("error", SCARCE)
def test_what_its_process_lacks_is_told_and_waited_for(
    project: ProjectPaths,
    scheduler: Scheduler,
    signals: SchedulerStop,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(scheduler._supervisor, "look", fail)
    QueueClient(project).send(CommandKind.HOLD, ["x"])
    # False: another is put in its place.
    assert not _runs_to_its_end(scheduler, signals, DatabaseTrouble(scheduler._lock))
    (fault,) = QueueClient(project).faults()
    why = os.strerror(getattr(error, "errno", errno.EMFILE))
    assert fault.sentence.startswith(f"x.so: {why}; end other programs")


def test_what_keeps_it_from_the_database_is_said_once_and_told_to_clients(
    project: ProjectPaths, caplog: pytest.LogCaptureFixture
) -> None:
    authority = SchedulerLock(project.scheduler_lock)
    assert authority.take()
    with closing(Scheduler(SchedulerSettings(project), authority, FakeSpawner())):
        trouble = DatabaseTrouble(authority)
        for _ in range(100):
            trouble.meet(PassingStorageError("reading or writing failed", where="queue.db"))
        (fault,) = QueueClient(project).faults()
        assert fault.kind is FaultKind.DATABASE
        assert fault.sentence.startswith("queue.db: reading or writing failed; nothing starts or changes")
        assert len(caplog.records) == 1
        trouble.ends()
        assert QueueClient(project).faults() == []
    authority.release()


def test_a_log_that_has_grown_long_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "scheduler.log"
    output = log.open("ab")
    kept = [os.dup(number) for number in (1, 2)]
    try:
        for number in (1, 2):
            os.dup2(output.fileno(), number)
        for _ in range(3):
            os.write(2, b"x" * (LONGEST_LOG_BYTES + 1))
            _shorten_log(log)
            os.write(2, b"next")
            assert log.read_bytes().endswith(b"next")
            assert log.stat().st_size < 10
    finally:
        for number, descriptor in zip((1, 2), kept, strict=True):
            os.dup2(descriptor, number)
            os.close(descriptor)
        output.close()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["scheduler.log", "scheduler.log.1"]
    with open_log(log) as again:
        assert again.tell() == 4

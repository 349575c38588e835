"""Starts that fail: how long nothing is started then, and what the jobs keep."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.stand_ins import FakeClock
from tests.unit.test_packs_started import request_for
from tests.unit.test_store import new_job
from tui_datasize.jobs.queue.faults import FaultKind
from tui_datasize.jobs.queue.schema import VANISHED
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.jobs.queue.store import Store
from tui_datasize.jobs.scheduler import pause as pauses
from tui_datasize.jobs.scheduler.pause import StartPause
from tui_datasize.jobs.workers.spawn import Worker
from tui_datasize.jobs.workers.warm import _Preloader
from tui_datasize.runlog.identity import ProcessIdentity
from tui_datasize.runlog.paths import ProjectPaths

NO_PROCESSES = OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(ProjectPaths(tmp_path).queue)) as store:
        yield store


def lasts(pause: StartPause) -> bool:
    """Whether nothing is started, by all that is known by now."""
    pause.poll()
    return pause.lasts()


def test_a_pause_is_longer_each_time_and_ends_with_the_first_start(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    monkeypatch.setattr(pauses, "time", clock)
    pause = StartPause(store)
    assert not lasts(pause)
    for length_s in (5, 10, 20, 40, 60, 60):
        pause.watch(Worker.unstarted(NO_PROCESSES))
        assert lasts(pause)
        assert pause.is_probing
        assert store.faults.stands(FaultKind.PROCESSES)
        assert pause.left_s() == length_s
        clock.now_s += length_s - 0.1
        assert lasts(pause)
        clock.now_s += 0.1
        assert not lasts(pause)
        assert pause.left_s() == 0
    probe = Worker()
    pause.watch(probe)
    # The next one is not asked for before this one is known to have been started.
    assert lasts(pause)
    probe.process = ProcessIdentity.current()
    assert not lasts(pause)
    assert not pause.is_probing
    assert store.faults.list() == []


def test_a_start_that_a_preloader_took_with_it_tells_nothing(store: Store) -> None:
    pause = StartPause(store)
    pause.begin(FaultKind.PROCESSES, "no worker")
    pause.watch(Worker(is_gone=True, was_never_begun=True))
    pause.poll()
    assert pause.is_probing


def test_what_an_earlier_scheduler_lacked_is_tried_at_once_and_with_one_run(store: Store) -> None:
    StartPause(store).begin(FaultKind.PROCESSES, "no worker")
    pause = StartPause(store)
    assert not pause.lasts()
    assert pause.is_probing
    pause.end()
    assert not pause.is_probing
    assert store.faults.list() == []


@pytest.mark.parametrize(
    ("number", "passes"),
    [
        *((number, True) for number in (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENOSPC)),
        *((number, False) for number in (errno.ENOENT, errno.EACCES, errno.E2BIG)),
    ],
)
def test_what_the_machine_lacks_passes_and_what_is_wrong_with_the_command_does_not(
    number: int, passes: bool
) -> None:
    worker = Worker.unstarted(OSError(number, os.strerror(number)))
    assert not worker.is_alive()
    assert worker.was_never_begun == passes


def test_a_run_that_brought_its_worker_down_is_known_after_starts_that_came_to_nothing(store: Store) -> None:
    store.add(new_job("a"))
    store.begin_attempt("a", 1, "cpu", 0, "tag")
    store.change("a", JobState.INTERRUPTED)
    store.end_attempt("a", 1, VANISHED, "worker vanished")
    store.begin_attempt("a", 2, "cpu", 0, "tag 2")
    store.forgive_attempt("a", 2, "no worker could be started")
    assert store.waiting(1)[0].has_vanished


def test_a_preloader_that_could_not_be_asked_owes_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def is_full(*_: object) -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(socket, "send_fds", is_full)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        preloader = _Preloader(None, ours, is_ready=True)  # type: ignore[arg-type]
        with pytest.raises(BlockingIOError):
            preloader.fork(request_for("a"), b"packet")
        assert (preloader.workers, preloader.asked_s) == ({}, {})

"""A scheduler that is asked to end, while others still ask something of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.unit.test_scheduler_devices import Spawner
from tui_datasize.jobs.authority import Authority, read_notes
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.commands import CommandKind
from tui_datasize.jobs.scheduler import Scheduler, SchedulerSettings
from tui_datasize.jobs.store import Store
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
    authority = Authority(project.scheduler_lock)
    assert authority.take()
    with closing(Scheduler(SchedulerSettings(project), authority, Spawner())) as scheduler:
        yield scheduler
    authority.release()


def test_it_ends_when_it_is_asked_to(project: ProjectPaths, scheduler: Scheduler) -> None:
    client = QueueClient(project)
    client.send(CommandKind.STOP, [""])
    scheduler._step()
    assert scheduler._is_over()
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
    assert not scheduler._is_over()
    assert client.scheduler_alive()
    assert read_notes(project.scheduler_lock) is not None
    scheduler._step()
    assert client.wait(asked, 0) is not None
    assert not client.settings().stopped
    assert not scheduler._is_over()


def test_it_goes_on_for_what_was_asked_right_behind_the_stop(
    project: ProjectPaths, scheduler: Scheduler
) -> None:
    client = QueueClient(project)
    client.send(CommandKind.STOP, [""])
    client.send(CommandKind.HOLD, ["x"])
    scheduler._step()
    assert not scheduler._is_over()
    assert not client.settings().stopped

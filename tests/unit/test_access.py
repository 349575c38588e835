"""Who may open the files of a queue: whoever can may keep their locks for ever."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.fakes import fake_spec
from tui_datasize.errors import ConfigError, StorageError
from tui_datasize.experiments.load import load_project
from tui_datasize.experiments.project_tables import is_shared
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.queue import database
from tui_datasize.jobs.queue.database import create_database, open_database, protect
from tui_datasize.jobs.scheduler.lock import SchedulerLock
from tui_datasize.runlog.claim import take_lock
from tui_datasize.runlog.locks import open_lock
from tui_datasize.runlog.paths import ProjectPaths

SHARED = "[project]\nshared = true\n"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[ProjectPaths]:
    """A project directory without runs."""
    old = os.umask(0o022)
    yield ProjectPaths(tmp_path / "project")
    os.umask(old)


def used(project: ProjectPaths) -> None:
    """Make every file that is locked."""
    create_database(project.queue)
    with closing(open_database(project.queue)) as connection:
        connection.execute("INSERT INTO settings VALUES ('slots', 1)")
        wal = [project.queue.with_name(f"queue.db{suffix}") for suffix in ("-wal", "-shm")]
        locked = 0o660 if is_shared(project.root) else 0o600
        assert [mode(file) for file in (project.queue, *wal)] == [locked] * 3
    authority = SchedulerLock(project.scheduler_lock)
    assert authority.take()
    authority.release()
    paths = project.run("lab", "run")
    paths.directory.mkdir(parents=True)
    descriptor = take_lock(paths, 0)
    assert descriptor is not None
    os.close(descriptor)
    assert [mode(file) for file in (project.scheduler_lock, paths.lock)] == [locked, locked]


def test_a_queue_is_its_owners_alone(bare: ProjectPaths) -> None:
    bare.root.mkdir()
    used(bare)
    assert mode(bare.runs) == 0o700
    assert mode(bare.root) == 0o755


def test_a_shared_queue_is_its_groups_too(bare: ProjectPaths) -> None:
    bare.root.mkdir()
    bare.experiments.write_text(SHARED)
    used(bare)
    assert mode(bare.runs) == 0o2770


def test_a_queue_of_an_earlier_version_is_closed_and_its_results_are_not(bare: ProjectPaths) -> None:
    bare.root.mkdir()
    bare.runs.mkdir()
    create_database(bare.queue)
    for file in (bare.queue, bare.scheduler_lock):
        file.touch()
        file.chmod(0o644)
    protect(bare.queue)
    os.close(open_lock(bare.scheduler_lock, bare.runs))
    assert [mode(file) for file in (bare.queue, bare.scheduler_lock)] == [0o600, 0o600]
    assert mode(bare.runs) == 0o755
    bare.experiments.write_text(SHARED)
    protect(bare.queue)
    assert (mode(bare.runs), mode(bare.queue)) == (0o2775, 0o660)


def test_queueing_makes_a_private_directory(bare: ProjectPaths) -> None:
    bare.root.mkdir()
    QueueClient(bare).enqueue([fake_spec()])
    assert mode(bare.runs) == 0o700


@pytest.mark.parametrize("text", ["[project]\nshared = 1\n", "[project]\nshard = true\n"])
def test_what_is_wrong_shares_nothing_and_is_told(bare: ProjectPaths, text: str) -> None:
    bare.root.mkdir()
    bare.experiments.write_text(text)
    assert not is_shared(bare.root)
    with pytest.raises(ConfigError, match="project"):
        load_project(bare.experiments)


def test_a_directory_that_somebody_keeps_locked_is_told_in_one_line(
    bare: ProjectPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare.runs.mkdir(parents=True)
    code = (
        "import fcntl, os, sys; f = os.open(sys.argv[1], os.O_RDONLY); fcntl.flock(f, 2); print(1); input()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, bare.runs], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout
    holder.stdout.readline()
    monkeypatch.setattr(database, "_BUSY_TIMEOUT_S", 0.05)
    with pytest.raises(StorageError, match="is locked by another program"):
        create_database(bare.queue)
    holder.communicate("\n")
    create_database(bare.queue)

"""Ends that were seen and may not be on the disk: nothing durable relies on one before it is synced."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from tests.fakes import write_run
from tests.unit.queue_desk import FIRST, Queue
from tui_datasize.jobs.prune import remove, survey
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.jobs.rebuild import repair
from tui_datasize.runlog.atomic import sync_directory
from tui_datasize.runlog.paths import RunPaths


@pytest.fixture
def run(queue: Queue) -> RunPaths:
    """A run that has succeeded, unknown to the queue, with weights that nobody needs."""
    run = write_run(queue.client.project, FIRST, tables=False)
    run.checkpoint.write_bytes(b"weights")
    return run


class Disk:
    """Takes note of the directories that are synced, or refuses one."""

    def __init__(self) -> None:
        self.synced: list[tuple[Path, bool, bool]] = []
        """Directories, whether the queue relied on the end by then, and whether the weights had gone."""
        self.refuses = False

    def watch(self, queue: Queue, run: RunPaths, monkeypatch: pytest.MonkeyPatch) -> None:
        def sync(directory: Path) -> None:
            if self.refuses:
                raise OSError(errno.EIO, "Input/output error", str(directory))
            is_known = queue.store.state(run.run_id) is JobState.SUCCEEDED
            self.synced.append((directory, is_known, not run.checkpoint.exists()))
            sync_directory(directory)

        monkeypatch.setattr("tui_datasize.runlog.claim.sync_directory", sync)


@pytest.fixture
def disk(queue: Queue, run: RunPaths, monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    disk.watch(queue, run, monkeypatch)
    return disk


def test_a_run_that_is_queued_and_has_succeeded_already(queue: Queue, run: RunPaths, disk: Disk) -> None:
    queue.enqueue(FIRST)
    assert disk.synced == [(run.directory, False, False)]
    assert queue.job(FIRST).state is JobState.SUCCEEDED


def test_no_such_end_is_believed_that_the_disk_does_not_take(queue: Queue, run: RunPaths, disk: Disk) -> None:
    disk.refuses = True
    acknowledgement = queue.client.enqueue([FIRST])
    queue.apply()
    answers = queue.client.wait(acknowledgement, 0)
    assert queue.store.state(run.run_id) is None
    assert [answer.ok for answer in answers or ()] == [False]
    assert "Input/output error" in answers[0].message
    assert repair(queue.client.project).unreadable == (run.directory,)
    assert not survey(queue.client.project, []).files


def test_a_rebuilt_queue(queue: Queue, run: RunPaths, disk: Disk) -> None:
    assert repair(queue.client.project).added == {JobState.SUCCEEDED: 1}
    assert disk.synced == [(run.directory, False, False)]


def test_weights_that_are_pruned(queue: Queue, run: RunPaths, disk: Disk) -> None:
    files = survey(queue.client.project, []).to_remove("none")
    assert remove(queue.client.project, list, files, "none").files == len(files) > 0
    assert set(disk.synced) == {(run.directory, False, False)}
    assert not run.checkpoint.exists()

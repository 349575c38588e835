"""A shared disk that fails, has gone, is full, or does not answer: a state, and nothing else waits for it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fakes import fake_spec
from tests.unit.lost_disk import LostDisk
from tests.unit.slurm_desk import Cluster, opened_cluster, specs
from tui_datasize.errors import ConfigError
from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.jobs.scheduler import apply_commands
from tui_datasize.jobs.scheduler.shared_disk import SharedDisk, SharedDiskError

QUEUED, RUNNING, HELD = JobState.QUEUED, JobState.RUNNING, JobState.HELD
SUCCEEDED, CANCELLED = JobState.SUCCEEDED, JobState.CANCELLED
FORMS = ("ENOENT", "empty", "ESTALE", "EIO", "ENOTCONN", "EACCES", "EROFS", "EDQUOT", "hangs")


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    with opened_cluster(tmp_path, monkeypatch) as cluster:
        (tmp_path / "shared").mkdir()
        cluster.say(f"shared = '{tmp_path}/shared'")
        yield cluster


@pytest.fixture
def disk(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LostDisk:
    return LostDisk(tmp_path / "shared", monkeypatch)


@contextmanager
def lost(cluster: Cluster, disk: LostDisk, form: str) -> Iterator[None]:
    if form == "hangs":
        with disk.hangs():
            # It counts as silent at once.
            cluster.executor._silent_s, cluster.queue._desk._disk._ask_s = 0.0, 0.01
            yield
        cluster.executor._silent_s, cluster.queue._desk._disk._ask_s = 60.0, 60.0
    elif form in ("ENOENT", "empty"):
        with disk.is_gone(leaves_directory=form == "empty"):
            yield
    else:
        with disk.fails(getattr(errno, form)):
            yield


@pytest.mark.parametrize("form", FORMS)
def test_a_shared_disk_that_is_lost_is_a_state_of_no_run(cluster: Cluster, disk: LostDisk, form: str) -> None:
    waits, runs, late = specs(3)
    cluster.enqueue(waits, runs)
    cluster.round()
    cluster.slurm.begin(cluster.work, most=1)
    cluster.round()
    before = cluster.states()
    assert before == [RUNNING, QUEUED]
    cluster.enqueue(late)
    with lost(cluster, disk, form):
        # Their jobs end, as they do without their disk.
        for task in cluster.slurm.tasks:
            task.state = "FAILED"
        cluster.round(3)
        assert "runs of the cluster wait until that is fixed" in cluster.fault("disk")
        assert cluster.states() == [*before, QUEUED]
        assert len(cluster.slurm.tasks) == 2
        # What this machine makes itself is asked for and cancelled as ever.
        local = fake_spec("here")
        cluster.queue.enqueue(local)
        assert [job.run_id for job in cluster.store.waiting(9)] == [local.run_id]
        assert cluster.queue.ask(CommandKind.CANCEL, local) == ["cancelled"]
        # Nor is anything written where the disk was mounted.
        assert form != "empty" or os.listdir(disk.directory) == []  # noqa: PTH208
    cluster.end()
    for _ in range(6):
        cluster.round()
        cluster.begin()
        cluster.end()
    cluster.round()
    assert cluster.fault("disk") == ""
    assert cluster.states() == [SUCCEEDED, SUCCEEDED, SUCCEEDED, CANCELLED]
    left = [job.max_attempts - job.attempts for job in cluster.queue.client.jobs()[:3]]
    assert left == [2, 2, 2]


@pytest.mark.parametrize("form", FORMS)
def test_runs_are_queued_and_cancelled_while_the_shared_disk_is_lost(
    cluster: Cluster, disk: LostDisk, form: str
) -> None:
    handed, waits = specs(2)
    cluster.slurm.most_tasks = 1
    cluster.enqueue(handed)
    cluster.round()
    cluster.enqueue(waits)
    (new,) = specs(3)[2:]
    with lost(cluster, disk, form):
        cluster.enqueue(new)
        answers = cluster.queue.ask(CommandKind.CANCEL, handed, waits)
        assert set(answers) <= {"cancelled", "is being cancelled"}
        assert answers[0] == "is being cancelled"
        cluster.round(2)
        # Slurm is told at once, whatever the disk does.
        assert cluster.slurm.tasks[0].state == "CANCELLED"
        assert cluster.queue.ask(CommandKind.CANCEL, handed) == ["is being cancelled"]
        assert cluster.store.cluster.has_work()
    cluster.round(3)
    assert [cluster.job(spec).state for spec in (handed, waits)] == [CANCELLED] * 2
    cluster.queue.ask(CommandKind.RETRY, handed, waits)
    for _ in range(8):
        cluster.round()
        cluster.begin()
        cluster.end()
    cluster.round()
    assert cluster.states() == [SUCCEEDED] * 3


def test_whoever_looks_at_a_disk_that_does_not_answer_goes_on(cluster: Cluster, disk: LostDisk) -> None:
    cluster.enqueue(*specs(2))
    cluster.round()
    cluster.begin()
    cluster.round()
    cluster.executor._silent_s = 1e9
    with disk.hangs():
        cluster.executor._due_s = 0.0
        while not disk.waiting.is_set():
            cluster.executor.step()
        # It waits for it, a moment at a time.
        for _ in range(3):
            cluster.executor.step()
            assert cluster.executor._round is not None
        cluster.executor._silent_s = 0.0
        cluster.round(2)
        cluster.executor._silent_s = 60.0
        assert "the shared disk does not answer" in cluster.fault("disk")
        assert len(cluster.asked("squeue")) >= 4
    cluster.end()
    cluster.round(2)
    assert (cluster.states(), cluster.fault("disk")) == ([SUCCEEDED] * 2, "")


def test_a_worker_that_ends_while_its_disk_is_away_costs_no_attempt(cluster: Cluster, disk: LostDisk) -> None:
    (spec,) = specs(1)
    cluster.enqueue(spec, max_attempts=1)
    for _ in range(2):
        cluster.round(2)
        cluster.slurm.begin(cluster.die)
        cluster.round()
        assert cluster.job(spec).state is RUNNING
        cluster.slurm.tasks[-1].state = "FAILED"
        with disk.fails(errno.ESTALE):
            cluster.round()
        cluster.round()
        assert cluster.job(spec).state is JobState.INTERRUPTED
    # One that vanishes with its disk in place does.
    cluster.round(2)
    cluster.slurm.begin(cluster.die)
    cluster.round()
    cluster.slurm.tasks[-1].state = "FAILED"
    cluster.round()
    assert cluster.states() == [JobState.FAILED]


def test_commands_that_a_slow_disk_answers_are_applied_a_few_at_a_time(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = specs(5)
    cluster.enqueue(*runs)
    cluster.round()
    monkeypatch.setattr(apply_commands, "_TURN_S", -1.0)
    cluster.queue.client.send(CommandKind.CANCEL, [spec.run_id for spec in runs])
    desk = cluster.queue._desk
    assert [desk.apply_pending() for _ in range(6)] == [1, 1, 1, 1, 1, 0]
    assert cluster.states() == [CANCELLED] * 5


def test_one_directory_that_cannot_be_used_is_its_runs_own(cluster: Cluster, disk: LostDisk) -> None:
    broken, well, worse = specs(3)
    cluster.enqueue(broken, well, worse)
    paths = cluster.paths(broken)
    cluster.round()
    cluster.begin()
    cluster.round()
    cluster.claims[:] = [one for one in cluster.claims if one.paths.run_id == well.run_id]
    cluster.end()
    for spec in (broken, worse):
        paths = cluster.paths(spec)
        cluster.task_of(paths).state = "FAILED"
        if spec is broken:
            (paths.directory / "exit.json").mkdir()
        else:
            os.rename(paths.directory, paths.directory.with_name("elsewhere"))  # noqa: PTH104
    cluster.round(4)
    assert cluster.fault("disk") == ""
    assert [cluster.job(spec).state for spec in (broken, well)] == [JobState.FAILED, SUCCEEDED]
    assert "exit.json: is a directory" in cluster.job(broken).reason
    # One that was removed begins anew.
    assert cluster.task_of(cluster.paths(worse)).state == "PENDING"


def test_the_shared_directory_is_never_made_where_it_was_mounted(cluster: Cluster, disk: LostDisk) -> None:
    with disk.is_gone(leaves_directory=False):
        with pytest.raises(ConfigError, match="there is no such directory"):
            cluster.enqueue(*specs(1))
        assert not Path(disk.directory).exists()


def test_a_shared_disk_is_asked_one_thing_at_a_time(disk: LostDisk, tmp_path: Path) -> None:
    shared = SharedDisk()
    place = tmp_path / "shared"
    assert shared.ask(lambda: os.stat(place).st_size) >= 0  # noqa: PTH116
    with disk.hangs():
        shared._ask_s = 0.01
        for _ in range(3):
            with pytest.raises(SharedDiskError, match="does not answer"):
                shared.ask(lambda: os.stat(place))  # noqa: PTH116
        assert shared.busy_s() > 0
    shared._ask_s = 60.0
    assert shared.ask(lambda: os.listdir(place)) == []  # noqa: PTH208
    with disk.fails(errno.ESTALE), pytest.raises(SharedDiskError, match=r"shared: Stale file handle"):
        shared.ask(lambda: os.listdir(place))  # noqa: PTH208
    shared.close()

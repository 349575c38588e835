"""The claim of a worker of a cluster: of one alone, and lost by who cannot renew it."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.slurm_desk import leases_given_back
from tui_datasize.jobs.scheduler.apply_commands import supersede
from tui_datasize.runlog import claim as claims
from tui_datasize.runlog import lease as leases
from tui_datasize.runlog.claim import (
    ClaimRefused,
    RunOutcome,
    acquire,
    conclude,
    next_attempt,
    observe,
    read_exit,
    who_has,
    withheld,
)
from tui_datasize.runlog.lease import Lease
from tui_datasize.runlog.paths import ProjectPaths, RunPaths


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunPaths]:
    monkeypatch.setattr(claims, "_PATIENCE_S", 0.02)
    monkeypatch.setenv(leases.FIRST_VARIABLE, "1")
    (tmp_path / "runs" / "x" / "run").mkdir(parents=True)
    with leases_given_back(monkeypatch):
        yield RunPaths(tmp_path / "runs" / "x" / "run")


def move_elsewhere(paths: RunPaths, attempt: int, age_s: float) -> None:
    """Have a lease and its claim be of another host, and of this age by the file system's clock."""
    for file in (paths.claim, paths.lease(attempt)):
        told = json.loads(file.read_text())
        file.write_text(json.dumps(told | {"boot_id": "another", "host": "elsewhere", "job": "4_1"}))
    then_s = leases.file_system_time(paths.directory) - age_s
    os.utime(paths.lease(attempt), (then_s, then_s))


@pytest.fixture(params=[errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def _no_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that knows no locks: NFS without a lock daemon, FUSE, Lustre without `flock`."""

    def refuse(*_: object) -> bool:
        raise OSError(request.param, os.strerror(request.param))

    for name in ("lock_file", "is_locked"):
        monkeypatch.setattr(claims, name, refuse)


@pytest.fixture
def on_login(paths: RunPaths, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Who looks is no worker; that the run is a cluster's, only its document tells."""
    paths.spec.write_text('{"on": "slurm"}')
    monkeypatch.delenv(leases.FIRST_VARIABLE)
    return monkeypatch


@pytest.mark.usefixtures("_no_locks")
def test_one_of_many_makes_a_lease_where_files_know_no_locks(paths: RunPaths) -> None:
    taken, together = [], threading.Barrier(8)

    def want() -> None:
        together.wait()
        try:
            taken.append(acquire(paths, 1))
        except ClaimRefused:
            return

    threads = [threading.Thread(target=want) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (claim,) = taken
    claim.finish(RunOutcome.SUCCEEDED)
    assert not paths.lease(1).exists()
    with pytest.raises(ClaimRefused, match="attempt 1 ended as succeeded"):
        next_attempt(paths)


@pytest.mark.usefixtures("_no_locks")
def test_the_next_attempt_begins_where_files_know_no_locks(paths: RunPaths) -> None:
    acquire(paths, 1).finish(RunOutcome.INTERRUPTED, "time limit")
    assert acquire(paths, next_attempt(paths)).attempt == 2


@pytest.mark.usefixtures("_no_locks")
def test_the_directory_is_changed_where_files_know_no_locks_unless_a_worker_has_it(
    paths: RunPaths, on_login: pytest.MonkeyPatch
) -> None:
    with on_login.context() as worker:
        worker.setenv(leases.FIRST_VARIABLE, "1")
        claim = acquire(paths, 1)
    move_elsewhere(paths, 1, age_s=leases.STALE_S + 5)
    project = ProjectPaths(paths.directory.parents[2])
    with pytest.raises(BlockingIOError, match="job 4_1 on elsewhere has attempt 1"):
        supersede(paths, project)
    with withheld(paths) as run:
        assert run.who == "job 4_1 on elsewhere has attempt 1 and has not ended it"
    assert observe(paths).is_running
    assert conclude(paths, 1, RunOutcome.CANCELLED, "cancelled", is_gone=True)
    supersede(paths, project)
    (moved,) = project.superseded("x").iterdir()
    assert sorted(file.name for file in moved.iterdir()) == ["claim.json", "exit.json", "lock", "spec.json"]
    with pytest.raises(OSError, match="another attempt may have the run"):
        claim.finish(RunOutcome.SUCCEEDED)


@pytest.mark.usefixtures("_no_locks")
def test_without_a_cluster_a_file_system_without_locks_stays_refused(
    paths: RunPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(leases.FIRST_VARIABLE)
    for look in (lambda: acquire(paths, 1), lambda: observe(paths), lambda: next_attempt(paths)):
        with pytest.raises(OSError, match=r"No locks|not supported|not implemented"):
            look()
    assert not paths.claim.exists()


def test_a_lease_of_another_host_is_freed_by_an_end_and_only_when_it_is_old(
    paths: RunPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "lock_file", lambda *_: True)
    acquire(paths, 1)

    def is_ended() -> bool:
        return conclude(paths, 1, RunOutcome.INTERRUPTED, "vanished", is_gone=True)

    move_elsewhere(paths, 1, age_s=leases.STALE_S - 5)
    assert observe(paths).is_running
    assert not is_ended()
    move_elsewhere(paths, 1, age_s=leases.STALE_S + 5)
    for attempt in (2, next_attempt(paths)):
        with pytest.raises(ClaimRefused, match="job 4_1 on elsewhere has attempt 1"):
            acquire(paths, attempt)
    # However old: as long as the cluster has not answered, nothing is known.
    assert not conclude(paths, 1, RunOutcome.CANCELLED, "cancelled while it waited")
    assert observe(paths).is_running
    assert is_ended()
    assert not observe(paths).is_running
    again = acquire(paths, next_attempt(paths))
    assert again.attempt == 2
    again.finish(RunOutcome.SUCCEEDED)


def test_a_worker_of_this_machine_leaves_a_run_of_another_host_alone(
    paths: RunPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "lock_file", lambda *_: True)
    acquire(paths, 1)
    move_elsewhere(paths, 1, age_s=leases.STALE_S + 5)
    monkeypatch.delenv(leases.FIRST_VARIABLE)
    with pytest.raises(ClaimRefused, match="job 4_1 on elsewhere has attempt 1"):
        acquire(paths, 2)


def test_of_two_that_make_leases_at_once_none_has_the_run_unseen(
    paths: RunPaths, on_login: pytest.MonkeyPatch
) -> None:
    other: list[Lease | None] = []

    def interrupt(_directory: Path) -> None:
        if not other:
            other.append(None)
            other[0] = Lease.take(paths, 3)

    on_login.setattr(leases, "sync_directory", interrupt)
    on_login.setenv(leases.FIRST_VARIABLE, "5")
    with pytest.raises(ClaimRefused, match="has attempt 3"):
        acquire(paths, 5)
    assert [*leases.attempts(paths)] == [3]
    # The same the other way round: a worker slips in while a scheduler changes the directory.
    assert other[0]
    other[0].give_back()
    on_login.delenv(leases.FIRST_VARIABLE)
    other.clear()
    with withheld(paths) as run:
        assert "has attempt 3" in run.who
    assert [*leases.attempts(paths)] == [3]


@pytest.mark.parametrize("change", ["removed", "of another", "torn"])
def test_whoever_lost_its_lease_ends_and_writes_no_end(paths: RunPaths, change: str) -> None:
    claim, file = acquire(paths, 1), paths.lease(1)
    lease, statuses = claim._lease, list[int]()
    assert lease
    lease.give_up = statuses.append
    mine = file.read_text()
    if change == "removed":
        file.unlink()
    elif change == "torn":
        file.write_text(mine[:20])
    else:
        # Begun afresh by a process of the same number, as the same job and attempt.
        file.write_text(json.dumps(json.loads(mine) | {"token": "another"}))
    with pytest.raises(OSError, match="another attempt may have the run"):
        claim.finish(RunOutcome.SUCCEEDED)
    lease.renew()
    assert statuses == [leases.EXIT_LOST]
    assert read_exit(paths) is None
    lease.give_back()
    assert file.exists() is (change != "removed")
    file.write_text(mine)
    claim.finish(RunOutcome.SUCCEEDED)


def test_who_has_a_run_is_told_without_writing(paths: RunPaths, on_login: pytest.MonkeyPatch) -> None:
    with on_login.context() as worker:
        worker.setenv(leases.FIRST_VARIABLE, "1")
        acquire(paths, 1)
    move_elsewhere(paths, 1, age_s=leases.STALE_S + 5)
    os.utime(paths.directory, ns=(1, 1))
    on_login.setattr(leases, "file_system_time", None)
    assert observe(paths).is_running
    assert who_has(paths) == "job 4_1 on elsewhere has attempt 1 and has not ended it"
    assert paths.directory.stat().st_mtime_ns == 1


def test_a_kept_lease_is_renewed(paths: RunPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "RENEW_S", 0.01)
    lease = Lease.take(paths, 1)
    assert lease
    assert Lease.take(paths, 1) is None
    file = paths.lease(1)
    os.utime(file, (1, 1))
    lease.keep()
    renewed = threading.Event()
    while file.stat().st_mtime < 2:
        assert not renewed.wait(0.005)
    assert not leases.is_stale(paths, 1)
    lease.give_back()
    assert leases.newest(paths) == 0

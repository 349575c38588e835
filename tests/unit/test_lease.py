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
)
from tui_datasize.runlog.lease import Lease
from tui_datasize.runlog.paths import RunPaths


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


def no_locks(*_: object) -> bool:
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


def test_one_of_many_makes_a_lease_where_files_know_no_locks(
    paths: RunPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "lock_file", no_locks)
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


def test_the_next_attempt_begins_where_files_know_no_locks(
    paths: RunPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("lock_file", "is_locked"):
        monkeypatch.setattr(claims, name, no_locks)
    acquire(paths, 1).finish(RunOutcome.INTERRUPTED, "time limit")
    assert acquire(paths, next_attempt(paths)).attempt == 2


def test_without_a_cluster_a_file_system_without_locks_stays_refused(
    paths: RunPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(leases.FIRST_VARIABLE)
    monkeypatch.setattr(claims, "lock_file", no_locks)
    with pytest.raises(OSError, match="No locks"):
        acquire(paths, 1)
    assert not paths.claim.exists()


def test_a_lease_of_another_host_is_freed_by_an_end_and_only_when_it_is_old(
    paths: RunPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "lock_file", lambda *_: True)
    acquire(paths, 1)
    move_elsewhere(paths, 1, age_s=leases.STALE_S - 5)
    assert observe(paths).is_running
    assert not conclude(paths, 1, RunOutcome.INTERRUPTED, "vanished")
    with pytest.raises(ClaimRefused, match="job 4_1 on elsewhere has attempt 1"):
        acquire(paths, next_attempt(paths))
    move_elsewhere(paths, 1, age_s=leases.STALE_S + 5)
    assert not observe(paths).is_running
    with pytest.raises(ClaimRefused, match="job 4_1 on elsewhere has attempt 1"):
        acquire(paths, 2)
    assert conclude(paths, 1, RunOutcome.INTERRUPTED, "vanished")
    again = acquire(paths, next_attempt(paths))
    assert again.attempt == 2
    again.finish(RunOutcome.SUCCEEDED)


def test_whoever_lost_its_lease_writes_no_end(paths: RunPaths) -> None:
    claim = acquire(paths, 1)
    paths.lease(2).touch()
    with pytest.raises(OSError, match="another attempt may have the run"):
        claim.finish(RunOutcome.SUCCEEDED)
    assert read_exit(paths) is None
    paths.lease(2).unlink()
    claim.finish(RunOutcome.SUCCEEDED)


@pytest.mark.parametrize("fault", ["gone", "superseded"])
def test_a_worker_that_cannot_renew_its_lease_ends(paths: RunPaths, fault: str) -> None:
    ended: list[int] = []
    over = threading.Event()

    def give_up(status: int) -> None:
        ended.append(status)
        over.set()

    made = Lease.take(paths, 1)
    assert made is not None
    lease = Lease(paths, 1, give_up, renew_s=0.01, give_up_s=0.1)
    lease.keep()
    assert lease.holds()
    if fault == "gone":
        paths.lease(1).unlink()
    else:
        paths.lease(2).touch()
    assert over.wait(30)
    assert ended[0] == leases.EXIT_LOST
    lease.give_back()


def test_a_kept_lease_is_renewed(paths: RunPaths) -> None:
    assert Lease.take(paths, 1) is not None
    assert Lease.take(paths, 1) is None
    file = paths.lease(1)
    os.utime(file, (1, 1))
    lease = Lease(paths, 1, renew_s=0.01)
    lease.keep()
    renewed = threading.Event()
    while file.stat().st_mtime < 2:
        assert not renewed.wait(0.005)
    assert not leases.is_stale(paths, 1)
    lease.give_back()
    assert leases.newest(paths) == 0

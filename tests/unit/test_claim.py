from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tui_datasize.runlog.claim import (
    LEFT_WITH_PACK,
    ClaimRefused,
    ExitRecord,
    RunOutcome,
    acquire,
    conclude,
    observe,
    read_claim,
    read_exit,
    take_lock,
)
from tui_datasize.runlog.identity import ProcessIdentity, boot_id, start_ticks
from tui_datasize.runlog.paths import RunPaths

HOLDER = """
import sys
from pathlib import Path
from tui_datasize.runlog.claim import RunOutcome, acquire
from tui_datasize.runlog.paths import RunPaths
claim = acquire(RunPaths(Path(sys.argv[1])), int(sys.argv[2]))
if len(sys.argv) > 3:
    claim.finish(RunOutcome(sys.argv[3]))
print("claimed", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    paths = RunPaths(tmp_path / "experiment" / "run")
    paths.directory.mkdir(parents=True)
    return paths


class Holder:
    """Another process that has claimed a run."""

    def __init__(self, run: RunPaths, attempt: int, *outcome: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(run.directory), str(attempt), *outcome],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"claimed\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


def end(run: RunPaths, attempt: int, outcome: RunOutcome) -> None:
    """An attempt of another process that has ended in order."""
    Holder(run, attempt, outcome).kill()


def test_a_run_that_has_not_begun_shows_nothing(run: RunPaths) -> None:
    seen = observe(run)
    assert (seen.exit, seen.claim, seen.lock_held, seen.newest_attempt) == (None, None, False, 0)
    assert not seen.is_running


def test_observing_changes_nothing(run: RunPaths) -> None:
    observe(run)
    assert list(run.directory.iterdir()) == []


def test_a_missing_directory_looks_like_a_run_not_begun(tmp_path: Path) -> None:
    assert observe(RunPaths(tmp_path / "no" / "where")).newest_attempt == 0


def test_a_claim_tells_who_executes_which_attempt(run: RunPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATASIZE_TAG", "a tag")
    acquire(run, 3)
    seen = observe(run)
    assert seen.claim is not None
    assert seen.claim.process == ProcessIdentity.current()
    assert (seen.claim.attempt, seen.claim.tag) == (3, "a tag")
    assert seen.is_running
    assert seen.lock_held


def test_a_claimed_run_is_refused_to_others(run: RunPaths) -> None:
    holder = Holder(run, 1)
    with pytest.raises(ClaimRefused, match="another worker executes this run"):
        acquire(run, 2)
    assert observe(run).is_running
    holder.kill()
    assert not observe(run).is_running
    assert observe(run).final_exit is None
    acquire(run, 2)


def test_a_run_that_has_ended_is_free_while_its_process_goes_on(run: RunPaths) -> None:
    claim = acquire(run, 1)
    with pytest.raises(RuntimeError, match="released before its end was written"):
        claim.release()
    assert observe(run).is_running
    claim.finish(RunOutcome.INTERRUPTED, LEFT_WITH_PACK)
    assert observe(run).lock_held
    claim.release()
    claim.release()
    seen = observe(run)
    assert (seen.lock_held, seen.claimant_alive, seen.is_running) == (False, True, False)
    assert Holder(run, 2).kill() is None


def test_a_child_of_the_worker_keeps_a_run_that_is_released(run: RunPaths) -> None:
    claim = acquire(run, 1)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(reading, 1)
        os._exit(0)
    claim.finish(RunOutcome.SUCCEEDED)
    claim.release()
    assert observe(run).lock_held
    os.write(writing, b"x")
    os.waitpid(child, 0)
    assert not observe(run).lock_held
    for descriptor in (reading, writing):
        os.close(descriptor)


def test_a_worker_waits_for_someone_who_only_probes_the_lock(run: RunPaths) -> None:
    lock = take_lock(run, patience_s=0)
    assert lock is not None
    waiting = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(run.directory), "1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    os.close(lock)
    output, _ = waiting.communicate()
    assert output == b"claimed\n"


@pytest.mark.parametrize("outcome", list(RunOutcome))
def test_an_ended_attempt_is_not_claimed_again(run: RunPaths, outcome: RunOutcome) -> None:
    end(run, 2, outcome)
    for attempt in (1, 2):
        with pytest.raises(ClaimRefused):
            acquire(run, attempt)


@pytest.mark.parametrize("outcome", [RunOutcome.FAILED, RunOutcome.CANCELLED, RunOutcome.INTERRUPTED])
def test_a_later_attempt_may_follow_whatever_is_not_success(run: RunPaths, outcome: RunOutcome) -> None:
    end(run, 1, outcome)
    acquire(run, 2)
    seen = observe(run)
    assert seen.final_exit is None
    assert seen.newest_attempt == 2


def test_no_attempt_follows_success(run: RunPaths) -> None:
    end(run, 1, RunOutcome.SUCCEEDED)
    with pytest.raises(ClaimRefused, match="has succeeded already"):
        acquire(run, 2)


def test_an_outdated_attempt_is_refused(run: RunPaths) -> None:
    Holder(run, 2).kill()
    with pytest.raises(ClaimRefused, match="outdated"):
        acquire(run, 1)


def test_the_same_attempt_may_be_claimed_again_after_a_death(run: RunPaths) -> None:
    Holder(run, 1).kill()
    acquire(run, 1)


def test_a_refused_worker_frees_the_lock(run: RunPaths) -> None:
    end(run, 1, RunOutcome.SUCCEEDED)
    with pytest.raises(ClaimRefused):
        acquire(run, 1)
    assert not observe(run).lock_held


def test_the_first_end_decides(run: RunPaths) -> None:
    claim = acquire(run, 1)
    claim.finish(RunOutcome.FAILED, "disk full")
    claim.finish(RunOutcome.INTERRUPTED)
    record = read_exit(run)
    assert record is not None
    assert (record.outcome, record.reason) == (RunOutcome.FAILED, "disk full")
    assert not observe(run).is_running


def test_a_forked_child_keeps_the_lock_of_a_dead_worker(run: RunPaths) -> None:
    script = HOLDER.replace(
        "sys.stdin.read()", "import os, time\nif os.fork(): os._exit(0)\nsys.stdin.read()"
    )
    worker = subprocess.Popen(
        [sys.executable, "-c", script, str(run.directory), "1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    worker.wait()
    seen = observe(run)
    assert seen.lock_held
    assert not seen.claimant_alive
    assert not seen.is_running
    worker.communicate()


def test_a_directory_moved_away_takes_its_lock_along(run: RunPaths, tmp_path: Path) -> None:
    holder = Holder(run, 1)
    run.directory.rename(tmp_path / "superseded")
    run.directory.mkdir()
    acquire(run, 1)
    holder.kill()


@pytest.mark.parametrize("content", ["", "{", "[]", "7", '{"attempt": 1}', '{"attempt": "x"}', "\udcff"])
def test_a_torn_or_foreign_file_counts_as_missing(run: RunPaths, content: str) -> None:
    for path in (run.exit, run.claim):
        path.write_bytes(content.encode(errors="surrogateescape"))
    assert read_exit(run) is None
    assert read_claim(run) is None


def test_a_vanished_attempt_is_concluded_and_cannot_be_claimed(run: RunPaths) -> None:
    Holder(run, 1).kill()
    assert conclude(run, 1, RunOutcome.FAILED, "worker vanished")
    with pytest.raises(ClaimRefused):
        acquire(run, 1)


def test_a_running_attempt_is_not_concluded(run: RunPaths) -> None:
    holder = Holder(run, 1)
    assert not conclude(run, 1, RunOutcome.CANCELLED, "")
    holder.kill()


def test_success_and_later_attempts_are_not_overwritten(run: RunPaths) -> None:
    end(run, 2, RunOutcome.FAILED)
    assert not conclude(run, 1, RunOutcome.CANCELLED, "")
    end(run, 3, RunOutcome.SUCCEEDED)
    assert not conclude(run, 4, RunOutcome.CANCELLED, "")
    record = read_exit(run)
    assert isinstance(record, ExitRecord)
    assert record.outcome is RunOutcome.SUCCEEDED


def test_nothing_is_concluded_where_no_directory_is(tmp_path: Path) -> None:
    assert not conclude(RunPaths(tmp_path / "no" / "where"), 1, RunOutcome.CANCELLED, "")


@pytest.mark.parametrize(
    "change",
    [{"boot_id": "another boot"}, {"start_ticks": 1}, {"pid": 2**22 + 1}],
    ids=lambda c: next(iter(c)),
)
def test_another_process_of_the_same_number_is_not_the_claimant(
    run: RunPaths, change: dict[str, object]
) -> None:
    acquire(run, 1)
    run.claim.write_text(json.dumps(json.loads(run.claim.read_text()) | change))
    assert not observe(run).claimant_alive


def test_a_zombie_is_not_alive() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    identity = ProcessIdentity.of(child.pid)
    assert identity.is_alive()
    assert child.stdin is not None
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert Path(f"/proc/{child.pid}").exists()
    assert not identity.is_alive()
    child.wait()
    with pytest.raises(ProcessLookupError):
        ProcessIdentity.of(child.pid)


def test_a_process_may_have_any_name() -> None:
    code = "from pathlib import Path; Path('/proc/self/comm').write_text('a) R (b'); input()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    while "(b" not in Path(f"/proc/{child.pid}/comm").read_text():
        assert child.poll() is None
    assert (start_ticks(child.pid) or 0) >= (start_ticks(os.getpid()) or 0)
    assert len(boot_id()) == 36
    child.communicate()


def test_claiming_imports_nothing_heavy() -> None:
    code = "import tui_datasize.runlog.claim, sys; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert {"numpy", "polars", "torch", "sqlite3", "asyncio"}.isdisjoint(modules)


def test_an_end_tells_the_fault_of_a_device_and_earlier_ones_tell_none(run: RunPaths) -> None:
    acquire(run, 1).finish(RunOutcome.INTERRUPTED, "the GPU is lost", "the GPU is lost")
    record = read_exit(run)
    assert record is not None
    assert record.device_fault == "the GPU is lost"
    data = json.loads(run.exit.read_text())
    del data["device_fault"]
    run.exit.write_text(json.dumps(data))
    assert read_exit(run) == replace(record, device_fault="")

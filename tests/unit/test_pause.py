"""Early ends of runs: when the machine is at fault, and when a run is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.stand_ins import FakeClock
from tests.unit.test_store import active_job, new_job
from tui_datasize.jobs.queue.faults import FaultKind
from tui_datasize.jobs.queue.records import QueuedJob
from tui_datasize.jobs.queue.store import Store
from tui_datasize.jobs.scheduler import active_run
from tui_datasize.jobs.scheduler import pause as pauses
from tui_datasize.jobs.scheduler.active_run import ActiveRun, early_end, ending_of, look_how_far
from tui_datasize.jobs.scheduler.attempt_end import AttemptState
from tui_datasize.jobs.scheduler.pause import EarlyEnd, StartPause
from tui_datasize.jobs.workers.spawn import Worker
from tui_datasize.runlog.atomic import write_json
from tui_datasize.runlog.claim import ExitRecord, Lack, RunOutcome
from tui_datasize.runlog.identity import ProcessIdentity
from tui_datasize.runlog.paths import ProjectPaths, RunPaths

KILLED = "worker vanished: killed by signal 9 (SIGKILL)"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    clock = FakeClock()
    monkeypatch.setattr(pauses, "time", clock)
    return clock


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(ProjectPaths(tmp_path).queue)) as store:
        yield store


@pytest.fixture
def pause(store: Store, clock: FakeClock) -> StartPause:
    return StartPause(store)


def died(run_id: str, why: str = KILLED, experiment: str = "lab") -> EarlyEnd:
    return EarlyEnd(run_id, experiment, run_id, FaultKind.ALIKE, why, is_told=False, has_failed=False)


def failed(run_id: str, why: str, **changes: str) -> EarlyEnd:
    return replace(died(run_id, why), has_failed=True, **changes)


def lacked(run_id: str, kind: FaultKind = FaultKind.DISK) -> EarlyEnd:
    return replace(died(run_id, "disk full"), is_told=True, kind=kind)


def sentences(store: Store) -> list[str]:
    return [fault.sentence for fault in store.faults.list()]


def queued(run_id: str, experiment: str) -> QueuedJob:
    values = {"run_id": run_id, "experiment": experiment}
    return QueuedJob(**{name: values.get(name, 0) for name in QueuedJob.__slots__})  # type: ignore[arg-type]


def test_an_early_death_is_the_machines_and_is_told(
    pause: StartPause, store: Store, clock: FakeClock
) -> None:
    assert pause.forgive(died("a"))
    assert pause.lasts()
    assert sentences(store) == [f"a ended before its first update: {KILLED}; it is tried again by itself"]
    clock.now_s += 5
    assert not pause.lasts()
    assert pause.is_probing


def test_pauses_grow_by_the_round_and_not_by_the_run(pause: StartPause, clock: FakeClock) -> None:
    for length_s in (5, 10, 20, 40, 60, 60):
        for run_id in "abcd":
            assert pause.forgive(died(f"{run_id}{clock.now_s}"))
        clock.now_s += length_s - 0.1
        assert pause.lasts()
        clock.now_s += 0.1
        assert not pause.lasts()


def test_a_start_is_no_sign_of_recovery_and_an_update_is(
    pause: StartPause, store: Store, clock: FakeClock
) -> None:
    pause.forgive(died("a"))
    clock.now_s += 5
    assert not pause.lasts()
    probe = Worker(ProcessIdentity.current())
    probe.run_ids = ("b",)
    pause.watch(probe)
    clock.now_s += 1000
    assert pause.lasts()
    pause.note_progress("b", has_saved=False)
    assert not pause.lasts()
    assert not pause.is_probing
    assert sentences(store) == []


def test_a_probe_that_ends_without_a_word_is_followed_by_another(pause: StartPause, clock: FakeClock) -> None:
    pause.forgive(died("a"))
    probe = Worker(ProcessIdentity.current())
    probe.run_ids = ("b",)
    pause.watch(probe)
    clock.now_s += 5
    assert pause.lasts()
    pause.note_end("b")
    pause.poll()
    assert not pause.lasts()


def test_what_ends_a_run_after_another_got_further_is_its_own(pause: StartPause) -> None:
    assert pause.forgive(died("a"))
    pause.note_progress("b", has_saved=False)
    assert not pause.forgive(died("a"))
    assert not pause.is_probing
    # One that got further itself has shown nothing against itself.
    assert pause.forgive(died("c"))
    pause.note_progress("c", has_saved=False)
    assert pause.forgive(died("c"))


def test_a_machine_that_is_short_of_something_costs_no_run_an_attempt_however_long(pause: StartPause) -> None:
    for _ in range(10):
        for run_id in "abcdefgh":
            assert pause.forgive(died(run_id))
            assert pause.forgive(lacked(run_id))


def test_three_that_fail_alike_are_no_coincidence(pause: StartPause, store: Store) -> None:
    """A disk that is not mounted must not fail hundreds of runs; what is wrong with one is its own."""
    assert not pause.forgive(failed("run-a", "/data/run-a: no such directory"))
    assert not pause.forgive(failed("run-b", "unknown option 'depth'"))
    assert not pause.forgive(failed("run-c", "/data/run-c: no such directory"))
    assert not pause.forgive(failed("run-d", "/data/run-d: no such directory"))
    assert not pause.is_probing
    assert pause.forgive(failed("run-e", "/data/run-e: no such directory"))
    assert (
        "3 workers in a row ended alike before their first update, the last with run-e" in sentences(store)[0]
    )
    assert pause.is_probing


def test_runs_of_one_worker_are_one(pause: StartPause) -> None:
    ends = [failed(run_id, "no data", tag="worker") for run_id in "abcdef"]
    assert not any(map(pause.forgive, ends))


def test_failures_with_others_in_between_are_their_own(pause: StartPause) -> None:
    for run_id in "abcdefgh":
        assert not pause.forgive(failed(run_id, "no data"))
        pause.note_progress(f"other {run_id}", has_saved=True)


def test_a_full_disk_is_over_when_something_was_saved(pause: StartPause, store: Store) -> None:
    pause.forgive(lacked("a"))
    pause.note_progress("b", has_saved=False)
    assert store.faults.stands(FaultKind.DISK)
    pause.note_progress("b", has_saved=True)
    assert not store.faults.stands(FaultKind.DISK)


def test_others_are_tried_before_those_that_ended_early(pause: StartPause) -> None:
    a, b = queued("a", "lab"), queued("b", "lab")
    other = queued("c", "other")
    assert pause.first_to_try([a, b, other]) == [a, b, other]
    pause.forgive(died("a"))
    assert pause.first_to_try([a, b, other]) == [other]
    assert pause.first_to_try([a, b]) == [b]
    assert pause.first_to_try([a]) == [a]


@pytest.mark.parametrize("kind", [FaultKind.ALIKE, FaultKind.DISK])
def test_the_next_scheduler_tries_with_one(store: Store, pause: StartPause, kind: FaultKind) -> None:
    pause.forgive(replace(lacked("a"), kind=kind))
    after = StartPause(store)
    assert after.is_probing
    assert not after.lasts()
    worker = Worker(ProcessIdentity.current())
    worker.run_ids = ("b",)
    after.watch(worker)
    assert after.lasts()


@pytest.fixture
def run(store: Store, tmp_path: Path) -> ActiveRun:
    """A run that was claimed and has neither rows nor a checkpoint."""
    store.add(new_job("a"))
    store.begin_attempt("a", 1, "cpu", 0, "tag")
    paths = RunPaths(tmp_path / "runs/lab/a")
    paths.directory.mkdir(parents=True)
    write_json(paths.claim, {})
    return ActiveRun(active_job(store, "a"), paths, Worker(), adopted=False)


def row(run: ActiveRun, text: str) -> None:
    with run.paths.metrics.open("a") as file:
        file.write(text + "\n")


def test_how_far_a_run_is_shows_in_its_files(run: ActiveRun) -> None:
    look_how_far(run)
    assert (run.has_updated, run.has_saved) == (False, False)
    row(run, '{"event": "resume", "update": 7}')
    look_how_far(run)
    assert not run.has_updated
    row(run, '{"event": "train", "update": 8}')
    run.paths.checkpoint.touch()
    look_how_far(run)
    assert (run.has_updated, run.has_saved) == (True, True)


def test_what_an_earlier_attempt_has_written_does_not_count(run: ActiveRun) -> None:
    row(run, '{"event": "train", "update": 8}')
    run.paths.checkpoint.touch()
    for file in (run.paths.metrics, run.paths.checkpoint):
        os.utime(file, (1, 1))
    look_how_far(run)
    assert (run.has_updated, run.has_saved) == (False, False)


def test_what_has_run_for_a_minute_has_begun(run: ActiveRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether or not anything else waits for the device meanwhile."""
    clock = FakeClock()
    monkeypatch.setattr(active_run, "time", clock)
    finding = AttemptState.VANISHED
    ending = ending_of(run, None, finding, is_for_another=False)
    run.running_since_s = clock.now_s
    assert early_end(run, ending, finding) is not None
    clock.now_s += 60
    assert early_end(run, ending, finding) is None


@pytest.mark.parametrize(
    ("outcome", "lack", "early", "late"),
    [
        (None, Lack.NOTHING, FaultKind.ALIKE, None),
        (RunOutcome.FAILED, Lack.NOTHING, FaultKind.ALIKE, None),
        (RunOutcome.FAILED, Lack.DEVICE_MEMORY, None, None),
        (RunOutcome.INTERRUPTED, Lack.NOTHING, None, None),
        (RunOutcome.INTERRUPTED, Lack.DISK, FaultKind.DISK, FaultKind.DISK),
        (RunOutcome.INTERRUPTED, Lack.HOST, FaultKind.PROCESSES, None),
        (RunOutcome.INTERRUPTED, Lack.LIBRARIES, FaultKind.PROCESSES, None),
    ],
)
def test_what_speaks_of_the_machine(
    run: ActiveRun, outcome: RunOutcome | None, lack: Lack, early: FaultKind | None, late: FaultKind | None
) -> None:
    record = ExitRecord(1, outcome, "why", "", lack=lack) if outcome else None
    finding = AttemptState.ENDED if outcome else AttemptState.VANISHED

    def kind() -> FaultKind | None:
        ending = ending_of(run, record, finding, is_for_another=False)
        cancelled = replace(ending, cancel_requested=True)
        assert early_end(run, cancelled, finding) is None
        end = early_end(run, ending, finding)
        return end.kind if end else None

    assert kind() is early
    row(run, '{"event": "train", "update": 8}')
    assert kind() is late

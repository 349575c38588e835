"""Everything is killed at random; afterwards the queue has kept its promise. And the checks can fail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import pytest

from tests.faults.chaos.findings import (
    Command,
    Execution,
    History,
    disagreements,
    early_starts,
    lost_commands,
    overlaps,
    read_executions,
    read_notes,
    starts_while_drained,
    tracebacks,
    unasked_states,
)
from tests.faults.chaos.plan import Plan
from tests.faults.chaos.processes import Kind, find_processes
from tests.faults.chaos.turmoil import KILLED, Turmoil
from tests.faults.chaos.worker import EXECUTIONS
from tui_datasize.jobs.commands import CommandKind
from tui_datasize.jobs.state import Job, JobState
from tui_datasize.runlog.claim import Outcome, take_lock
from tui_datasize.runlog.paths import RunPaths

pytestmark = pytest.mark.faults

BROKEN_SEEDS = range(20250614, 20250624)
"""Of rounds of this size 7 in 10 notice that nothing is claimed; that all of ten miss it has odds of 1 to
170,000 (0.3 to the tenth). Mostly the first or the second one does."""


@pytest.mark.usefixtures("_own_machine")
@pytest.mark.parametrize(("seed", "packs"), [(20250614, "off"), (20250615, "always")])
def test_nothing_is_lost_and_nothing_doubled_whatever_is_killed(
    tmp_path: Path, seed: int, packs: Literal["off", "always"]
) -> None:
    report = Turmoil(Plan(seed, jobs=60, limit_s=3, packs=packs), tmp_path).run()
    print(report)
    assert not report.violations, "\n".join([str(report), *report.violations])
    assert sum(report.states.values()) >= 60
    assert all(report.kills[kind] for kind in KILLED), report
    assert (report.packs > 0) == (packs == "always"), report


@pytest.mark.usefixtures("_own_machine")
def test_workers_that_do_not_claim_their_run_are_found_out(tmp_path: Path) -> None:
    found: list[str] = []
    for seed in BROKEN_SEEDS:
        root = tmp_path / str(seed)
        root.mkdir()
        report = Turmoil(Plan(seed, jobs=60, limit_s=5, mutant="claim"), root).run()
        print(report)
        found = [line for line in report.violations if "execut" in line or "its directory" in line]
        if found:
            break
    assert found


FORKING = "import os, sys; os.fork(); print(flush=True); sys.stdin.read()"


@pytest.mark.usefixtures("_own_machine")
def test_a_worker_that_was_just_forked_is_told_from_its_preloader() -> None:
    command = [sys.executable, "-c", FORKING, "tui_datasize.jobs.preloader"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as preloader:
        assert preloader.stdin
        assert preloader.stdout
        assert [preloader.stdout.readline() for _ in range(2)] == ["\n", "\n"]
        kinds = {process.kind: process for process in find_processes().values()}
        preloader.stdin.close()
    assert set(kinds) == {Kind.PRELOADER, Kind.NEWBORN}
    assert kinds[Kind.PRELOADER].pid == preloader.pid == kinds[Kind.NEWBORN].parent


def job(state: JobState, reason: str = "", after: tuple[str, ...] = ()) -> Job:
    return Job("r", "chaos", state, 0, 1, 1, 3, reason, "", "", "", "", after)


def commands(*asked: str, applied: bool = True, ok: bool = True) -> Mapping[int, Command]:
    """Commands for `r`, each as its kind, or as its kind, a colon and the answer."""
    parts = [one.partition(": ") for one in asked]
    return {
        number: Command(
            number, CommandKind(kind), "r", applied, ok, f"r: {answer or 'done'}" if applied else ""
        )
        for number, (kind, _, answer) in enumerate(parts, start=1)
    }


def execution(
    pid: int, begin_ns: int, end_ns: int, *, attempt: int = 1, finished: bool = False, done: bool = False
) -> Execution:
    return Execution("r", attempt, pid, begin_ns, end_ns, done or finished, finished)


@pytest.mark.parametrize(
    ("note", "known", "violation"),
    [
        ({"command_ids": [1], "queued": ["r"]}, commands("enqueue"), ""),
        ({"command_ids": [1, 2], "queued": ["r"]}, commands("enqueue"), "command 2 is not in the queue"),
        ({"command_ids": [1]}, commands("hold", applied=False), "command 1 (hold r) has no answer"),
        ({"command_ids": [], "queued": ["s"]}, commands(), "s: acknowledged, but not in the queue"),
    ],
)
def test_a_lost_command_is_noticed(
    note: dict[str, object], known: dict[int, Command], violation: str
) -> None:
    found = list(lost_commands([note], known, [job(JobState.QUEUED)]))
    assert bool(found) == bool(violation)
    assert all(violation in line for line in found)


@pytest.mark.parametrize(
    ("state", "asked", "is_wrong"),
    [
        (JobState.SUCCEEDED, commands("enqueue"), False),
        (JobState.SUCCEEDED, commands("enqueue", "cancel: is being cancelled"), False),
        (JobState.SUCCEEDED, commands("enqueue", "cancel: cancelled"), True),
        (JobState.SUCCEEDED, commands("enqueue", "cancel: cancelled", "priority"), True),
        (JobState.SUCCEEDED, commands("cancel: cancelled", "cancel: is cancelled already"), True),
        (JobState.SUCCEEDED, commands("cancel: cancelled", "retry: queued again"), False),
        (JobState.SUCCEEDED, commands("cancel: cancelled", "enqueue: queued again"), False),
        (JobState.SUCCEEDED, commands("cancel: cancelled", "retry", "cancel: cancelled"), True),
        (JobState.SUCCEEDED, commands("cancel: cancelled", ok=False), False),
        (JobState.SUCCEEDED, commands("enqueue", "hold: held"), True),
        (JobState.CANCELLED, commands("enqueue", "cancel", "hold: held"), True),
        (JobState.SUCCEEDED, commands("hold: held", "enqueue: is in the queue already"), True),
        (JobState.SUCCEEDED, commands("hold: held", "enqueue: queued afresh"), False),
        (JobState.SUCCEEDED, commands("hold: held", "release"), False),
        (JobState.SUCCEEDED, commands("hold: held", "cancel: cancelled", "retry"), False),
        (JobState.HELD, commands("enqueue", "cancel: cancelled", "hold: held"), False),
        (JobState.CANCELLED, commands("enqueue", "cancel", "hold"), False),
        (JobState.CANCELLED, commands("enqueue", "cancel", "retry"), True),
        (JobState.CANCELLED, commands("enqueue"), True),
        (JobState.HELD, commands("enqueue", "hold"), False),
        (JobState.HELD, commands("enqueue", "hold", "release"), True),
        (JobState.HELD, commands("hold", ok=False), True),
        (JobState.QUEUED, commands("enqueue"), True),
        (JobState.FAILED, commands("enqueue"), True),
        (JobState.INTERRUPTED, commands("enqueue"), True),
    ],
)
def test_a_state_that_nobody_asked_for_is_noticed(
    state: JobState, asked: dict[int, Command], is_wrong: bool
) -> None:
    assert bool(list(unasked_states([job(state)], asked))) == is_wrong


def test_a_held_run_may_come_back_with_what_it_waits_for() -> None:
    asked = dict(commands("enqueue", "hold: held"))
    assert list(unasked_states([job(JobState.SUCCEEDED)], asked))
    assert not list(unasked_states([job(JobState.SUCCEEDED, after=("s",))], asked))


def test_executions_that_overlap_are_noticed() -> None:
    assert not list(overlaps([execution(1, 0, 10), execution(3, 30, 40), execution(2, 11, 20)]))
    (found,) = overlaps(
        [
            execution(1, 0, 30_000_000),
            execution(2, 10_000_000, 20_000_000),
            execution(3, 40_000_000, 50_000_000),
        ]
    )
    assert "executed it together for 10.0 ms" in found


def history(**changes: object) -> History:
    """Source `s` succeeds at 3, its dependant `r` starts at 4; the queue drains from 6 to 8."""
    values: dict[str, object] = {
        "starts": [("s", "2"), ("r", "4")],
        "successes": [("s", "3")],
        "forced": [],
        "queued": {"r": "1", "s": "1"},
        "sources": {"r": ["s"]},
        "drains": [(True, "6"), (False, "8")],
    }
    return History(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "is_early"),
    [
        ({}, False),
        ({"successes": []}, True),
        ({"successes": [("s", "5")]}, True),
        # It was to run afresh, and the dependant did not wait for it.
        ({"forced": [("s", "3.5")]}, True),
        ({"forced": [("s", "2.5")]}, False),
        # It did not wait for it at that time.
        ({"successes": [], "queued": {"r": "5", "s": "1"}}, False),
    ],
)
def test_a_start_before_its_source_is_noticed(changes: dict[str, object], is_early: bool) -> None:
    assert bool(list(early_starts(history(**changes)))) == is_early


@pytest.mark.parametrize(
    ("drains", "starts_at", "is_wrong"),
    [
        ([(True, "6"), (False, "8")], "7", True),
        ([(True, "6"), (False, "8")], "9", False),
        ([(True, "6"), (True, "7"), (False, "8")], "7.5", True),
        ([(True, "6")], "9", True),
        ([], "7", False),
    ],
)
def test_a_start_of_a_drained_queue_is_noticed(
    drains: list[tuple[bool, str]], starts_at: str, is_wrong: bool
) -> None:
    seen = history(drains=drains, starts=[("s", starts_at)])
    assert bool(list(starts_while_drained(seen))) == is_wrong


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    paths = RunPaths(tmp_path / "chaos" / "r")
    paths.directory.mkdir(parents=True)
    return paths


def end(run: RunPaths, outcome: Outcome, attempt: int = 1) -> None:
    record = {"attempt": attempt, "outcome": outcome, "reason": "", "finished_at": ""}
    run.exit.write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("state", "outcome", "executions", "violation"),
    [
        (JobState.SUCCEEDED, Outcome.SUCCEEDED, [execution(1, 0, 1, finished=True)], ""),
        # Killed between its end and the note of it.
        (JobState.SUCCEEDED, Outcome.SUCCEEDED, [execution(1, 0, 1, done=True)], ""),
        (JobState.SUCCEEDED, Outcome.INTERRUPTED, [], "the queue says succeeded"),
        (JobState.HELD, Outcome.SUCCEEDED, [execution(1, 0, 1, finished=True)], "the queue says held"),
        (JobState.CANCELLED, Outcome.FAILED, [], "is cancelled, but"),
        (JobState.CANCELLED, None, [], ""),
        (JobState.SUCCEEDED, Outcome.SUCCEEDED, [], "has succeeded 0 times"),
        (
            JobState.SUCCEEDED,
            Outcome.SUCCEEDED,
            [execution(1, 0, 1, finished=True), execution(2, 2, 3, finished=True)],
            "2 executions finished",
        ),
        (
            JobState.SUCCEEDED,
            Outcome.SUCCEEDED,
            [execution(1, 0, 1, finished=True), execution(2, 2, 3, attempt=2)],
            "executed again after it had succeeded",
        ),
    ],
)
def test_stories_that_do_not_agree_are_noticed(
    run: RunPaths, state: JobState, outcome: Outcome | None, executions: list[Execution], violation: str
) -> None:
    if outcome:
        end(run, outcome)
    found = "\n".join(disagreements(job(state), run, executions))
    assert violation in found
    assert bool(found) == bool(violation)


def test_a_lock_that_somebody_still_has_is_noticed(run: RunPaths) -> None:
    lock = take_lock(run, patience_s=0)
    assert lock is not None
    assert "nobody should have its lock" in "".join(disagreements(job(JobState.CANCELLED), run, []))
    os.close(lock)


def test_what_workers_and_clients_noted_is_read_up_to_a_torn_end(run: RunPaths, tmp_path: Path) -> None:
    rows = [(1, "begin", 10), (1, "beat", 12), (2, "begin", 20), (2, "done", 24), (2, "finished", 25)]
    (run.directory / EXECUTIONS).write_text(
        "".join(
            json.dumps({"pid": pid, "ticks": 5, "attempt": pid, "event": event, "at_ns": at_ns}) + "\n"
            for pid, event, at_ns in rows
        )
    )
    assert read_executions(run) == [
        execution(1, 10, 12),
        execution(2, 20, 25, attempt=2, finished=True),
    ]
    notes = tmp_path / "notes"
    notes.write_text('{"command_ids": [1]}\n{"command_ids": [2')
    assert read_notes(notes) == [{"command_ids": [1]}]


def test_a_traceback_is_noticed(tmp_path: Path) -> None:
    log = tmp_path / "scheduler.log"
    log.write_text("begins\nTraceback (most recent call last):\n  ...\nKeyError: 'x'\nends\n")
    (found,) = tracebacks([log, tmp_path / "missing.log"])
    assert found.endswith("KeyError: 'x'")

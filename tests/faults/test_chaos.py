"""Everything is killed at random; afterwards the queue has kept its promise. And the checks can fail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.faults.chaos import disk
from tests.faults.chaos.client import spec_of
from tests.faults.chaos.disk import LEDGER_VARIABLE
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
    shared_slots,
    starts_while_drained,
    tracebacks,
    unasked_leaves,
    unasked_states,
    wrong_priorities,
    wrong_results,
)
from tests.faults.chaos.mutants import MUTANT_VARIABLE
from tests.faults.chaos.plan import Plan
from tests.faults.chaos.probes import Probes
from tests.faults.chaos.processes import Kind, find_processes
from tests.faults.chaos.turmoil import CALL, SITE, WORKER, Turmoil
from tests.faults.chaos.worker import EXECUTIONS, results_of
from tests.faults.lab import Lab
from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.queue.state import Job, JobState
from tui_datasize.runlog.atomic import make_directory, sync_directory, write_bytes
from tui_datasize.runlog.claim import RunOutcome, take_lock
from tui_datasize.runlog.paths import ProjectPaths, RunPaths

pytestmark = pytest.mark.faults


@pytest.mark.long
@pytest.mark.usefixtures("_own_machine")
@pytest.mark.parametrize(
    ("seed", "packs"), [(20250615, "always"), pytest.param(20250614, "off", marks=pytest.mark.exhaustive)]
)
def test_nothing_is_lost_and_nothing_doubled_whatever_is_killed(
    tmp_path: Path, seed: int, packs: Literal["off", "always"]
) -> None:
    # What comes late, and more of everything, is left to `python -m benchmarks.chaos`.
    plan = Plan(seed, jobs=16, limit_s=1.5, packs=packs, late=0)
    report = Turmoil(plan, tmp_path).run()
    print(report)
    assert not report.violations, "\n".join(report.violations)
    assert sum(report.states.values()) >= plan.jobs
    assert report.kills[Kind.SCHEDULER]
    assert report.kills[Kind.CLIENT]
    assert report.cuts
    assert (report.packs > 0) == (packs == "always")


@pytest.mark.usefixtures("_own_machine")
def test_what_is_answered_and_not_done_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MUTANT_VARIABLE, "order")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(SITE), os.environ["PYTHONPATH"]]))
    lab = Lab(tmp_path, ("--worker", WORKER, "--call", CALL))
    try:
        found = next(Probes(lab, WORKER, seed=1, pace=4.0).find_violations(), "")
    finally:
        lab.close()
    assert "started in the order" in found


def test_all_that_is_broken_on_purpose_is_there_to_be_broken() -> None:
    breakages = "from tests.faults.chaos.mutants import _OF_SCHEDULER as all; [b() for b in all.values()]"
    subprocess.run([sys.executable, "-c", breakages], check=True)


def test_what_nobody_synced_is_gone_after_a_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs, ledger = tmp_path / "runs", tmp_path / "ledger"
    monkeypatch.setenv(LEDGER_VARIABLE, str(ledger))
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", os.fsync)
        disk.watch()
        make_directory(runs / "kept", tmp_path)
        write_bytes(runs / "kept" / "whole", b"whole")
        with (runs / "kept" / "rows").open("wb", buffering=0) as file:
            file.write(b"synced")
            os.fsync(file.fileno())
            sync_directory(runs / "kept")
            file.write(b" and not")
    (runs / "kept" / "name").write_text("of a directory that was not synced since")
    (runs / "lost").mkdir()
    disk.cut(runs, ledger)
    left = {file.relative_to(runs).as_posix(): file for file in runs.rglob("*")}
    assert left.keys() == {"kept", "kept/whole", "kept/rows"}
    assert [left[f"kept/{name}"].read_bytes() for name in ("whole", "rows")] == [b"whole", b"synced"]


FORKING = "import os, sys; os.fork(); print(flush=True); sys.stdin.read()"


@pytest.mark.usefixtures("_own_machine")
def test_a_worker_that_was_just_forked_is_told_from_its_preloader() -> None:
    command = [sys.executable, "-c", FORKING, "tui_datasize.jobs.workers.preloader"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as preloader:
        assert preloader.stdin
        assert preloader.stdout
        assert [preloader.stdout.readline() for _ in range(2)] == ["\n", "\n"]
        kinds = {process.kind: process for process in find_processes().values()}
        preloader.stdin.close()
    assert set(kinds) == {Kind.PRELOADER, Kind.NEWBORN}
    assert kinds[Kind.PRELOADER].pid == preloader.pid == kinds[Kind.NEWBORN].parent


def job(state: JobState, reason: str = "", after: tuple[str, ...] = ()) -> Job:
    return Job("r", "chaos", state, 0, 1, 1, 3, reason, after=after)


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
    pid: int,
    begin_ns: int,
    end_ns: int,
    *,
    attempt: int = 1,
    finished: bool = False,
    done: bool = False,
    **more: Any,
) -> Execution:
    return Execution("r", attempt, pid, begin_ns, end_ns, done or finished, finished, **more)


@pytest.mark.parametrize(
    ("note", "known", "violation"),
    [
        ({"command_ids": [1], "queued": ["r"]}, commands("enqueue"), ""),
        ({"command_ids": [1, 2], "queued": ["r"]}, commands("enqueue"), "command 2 is not in the queue"),
        ({"command_ids": [1], "kind": "hold", "runs": ["r"]}, commands("enqueue"), "command 1 is not in"),
        ({"command_ids": [1], "kind": "enqueue", "runs": ["s"]}, commands("enqueue"), "command 1 is not in"),
        ({"command_ids": [1], "kind": "enqueue", "runs": ["r"]}, commands("enqueue"), ""),
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
        (JobState.SUCCEEDED, commands("hold: held", "enqueue: queued again from the start"), False),
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


def test_workers_that_share_a_slot_are_noticed() -> None:
    lanes = [execution(1, 0, 10), execution(1, 0, 30)]
    assert not list(shared_slots([*lanes, execution(2, 31, 40), execution(3, 5, 9, slots=("cpu.1",))]))
    assert "cpu.0: process 1" in "".join(shared_slots([*lanes, execution(2, 20, 40)]))
    assert "without a slot" in "".join(shared_slots([execution(1, 0, 10, slots=())]))


def test_a_worker_that_leaves_for_nobody_is_noticed() -> None:
    tags = {("r", 1): ("r", "s")}
    asked = [execution(1, 0, 10, was_asked=True)]
    assert not list(unasked_leaves([execution(1, 0, 10)], tags, ()))
    assert not list(unasked_leaves(asked, tags, {"s"}))
    assert "nobody cancelled it" in "".join(unasked_leaves(asked, tags, {"t"}))


@pytest.mark.parametrize(
    ("amounts", "priority", "is_wrong"),
    [
        ([("enqueue", 1, "queued")], 1, False),
        ([("enqueue", 1, "queued"), ("priority", 2, "priority is now 3")], 3, False),
        ([("enqueue", 1, "queued"), ("priority", 2, "priority is now 3")], 1, True),
        ([("enqueue", 1, "queued"), ("enqueue", 5, "is in the queue already")], 1, False),
        ([("priority", 2, "priority is now 2"), ("enqueue", 1, "queued again from the start")], 1, False),
    ],
)
def test_a_priority_that_nobody_gave_is_noticed(
    amounts: list[tuple[str, int, str]], priority: int, is_wrong: bool
) -> None:
    asked = {
        number: Command(number, CommandKind(kind), "r", True, True, f"r: {answer}", amount)
        for number, (kind, amount, answer) in enumerate(amounts, start=1)
    }
    given = job(JobState.QUEUED)._replace(priority=priority)
    assert bool(list(wrong_priorities([given], asked))) == is_wrong


def test_results_that_are_not_whole_are_noticed(tmp_path: Path) -> None:
    spec = spec_of(3)
    project = ProjectPaths(tmp_path)
    paths = project.run(spec.experiment, spec.run_id)
    paths.directory.mkdir(parents=True)
    paths.spec.write_text(json.dumps({"schema_version": 1, "run_id": spec.run_id, "spec": spec.to_dict()}))
    rows = [
        {"event": "evaluation", "update": update, "split": "test", "accuracy": accuracy}
        for update, accuracy in results_of(3)
    ]
    resumed = [*rows[:2], {"event": "resume", "update": 1}, *rows[1:]]
    for written, is_wrong in ((rows, False), (resumed, False), (rows[:-1], True), ([*rows, rows[0]], True)):
        paths.metrics.write_text("".join(json.dumps(row) + "\n" for row in written))
        assert bool(list(wrong_results(project, [spec.run_id]))) == is_wrong


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


def end(run: RunPaths, outcome: RunOutcome, attempt: int = 1) -> None:
    record = {"attempt": attempt, "outcome": outcome, "reason": "", "finished_at": ""}
    run.exit.write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("state", "outcome", "executions", "violation"),
    [
        (JobState.SUCCEEDED, RunOutcome.SUCCEEDED, [execution(1, 0, 1, finished=True)], ""),
        # Killed between its end and the note of it.
        (JobState.SUCCEEDED, RunOutcome.SUCCEEDED, [execution(1, 0, 1, done=True)], ""),
        (JobState.SUCCEEDED, RunOutcome.INTERRUPTED, [], "the queue says succeeded"),
        (JobState.HELD, RunOutcome.SUCCEEDED, [execution(1, 0, 1, finished=True)], "the queue says held"),
        (JobState.CANCELLED, RunOutcome.FAILED, [], "is cancelled, but"),
        (JobState.CANCELLED, None, [], ""),
        (JobState.SUCCEEDED, RunOutcome.SUCCEEDED, [], "has succeeded 0 times"),
        (
            JobState.SUCCEEDED,
            RunOutcome.SUCCEEDED,
            [execution(1, 0, 1, finished=True), execution(2, 2, 3, finished=True)],
            "2 executions finished",
        ),
        (
            JobState.SUCCEEDED,
            RunOutcome.SUCCEEDED,
            [execution(1, 0, 1, finished=True), execution(2, 2, 3, attempt=2)],
            "executed again after it had succeeded",
        ),
    ],
)
def test_stories_that_do_not_agree_are_noticed(
    run: RunPaths, state: JobState, outcome: RunOutcome | None, executions: list[Execution], violation: str
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
    facts = {"ticks": 5, "slots": ["cpu.0"]}
    rows = [(1, "begin", 10), (1, "beat", 12), (2, "begin", 20), (2, "done", 24), (2, "finished", 25)]
    lines = [
        json.dumps(facts | {"pid": pid, "attempt": pid, "event": event, "at_ns": at_ns})
        for pid, event, at_ns in rows
    ]
    lines.insert(2, lines[1][:20])
    (run.directory / EXECUTIONS).write_text("\n".join([*lines, ""]))
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

"""What must hold after any faults, read from the disk alone."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise, takewhile
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests.faults.chaos.worker import EXECUTIONS, results_of
from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.queue.state import Job, JobState
from tui_datasize.runlog.claim import RunOutcome, observe, read_exit
from tui_datasize.runlog.paths import ProjectPaths, RunPaths
from tui_datasize.runlog.reader import RunLog

_SETTLED = MappingProxyType(
    {
        "cancelled": JobState.CANCELLED,
        "is cancelled already": JobState.CANCELLED,
        "held": JobState.HELD,
        "is held already": JobState.HELD,
    }
)
"""States that only another command ends, by the answers that tell of them.

A job that "is being cancelled" is not among them: the worker that has it may be faster.
"""
_NO_DESCRIPTOR = ("[Errno 24]", "cannot open shared object file")
_QUEUED_AGAIN = ("queued again", "queued again from the start")
_NOTHING_NEW = "is in the queue already"
"""The answer to an order to queue what is queued, held or not."""


@dataclass(frozen=True, slots=True)
class Execution:
    """One process that executed a run."""

    run_id: str
    attempt: int
    pid: int
    begin_ns: int
    end_ns: int
    """Its last sign of life, on the same clock."""
    is_done: bool
    """Whether its work came to an end."""
    is_finished: bool
    """Whether it has also written that."""
    slots: tuple[str, ...] = ("cpu.0",)
    """The slots of the machine that its process had."""
    was_asked: bool = False
    """Whether it was asked to leave."""


@dataclass(frozen=True, slots=True)
class Command:
    """A row of the queue's commands."""

    id: int
    kind: CommandKind
    run_id: str
    is_applied: bool
    is_ok: bool
    message: str
    amount: int = 0


def find_violations(
    jobs: Sequence[Job], project: ProjectPaths, notes: Path, logs: Sequence[Path]
) -> Iterator[str]:
    """Everything that is not as the queue promises, one line each.

    Args:
        jobs: The queue's jobs at rest: no scheduler and no worker runs.
        project: Where the run directories and the database are.
        notes: What clients were acknowledged.
        logs: Where schedulers and clients wrote; none may have left with a traceback.
    """
    commands = read_commands(project.queue)
    yield from _damage(project.queue)
    yield from lost_commands(read_notes(notes), commands, jobs)
    yield from unasked_states(jobs, commands)
    yield from wrong_priorities(jobs, commands)
    yield from wrong_results(project, [job.run_id for job in jobs if job.state is JobState.SUCCEEDED])
    history = read_history(project.queue)
    yield from early_starts(history)
    yield from starts_while_drained(history)
    tags = read_tags(project.queue)
    cancelled = {command.run_id for command in commands.values() if command.kind is CommandKind.CANCEL}
    for job in jobs:
        paths = project.run(job.experiment, job.run_id)
        lives = read_lives(project, paths)
        yield from overlaps([execution for life in lives for execution in life])
        yield from disagreements(job, paths, lives[-1])
        yield from unasked_leaves(lives[-1], tags, cancelled)
    yield from tracebacks([*logs, *project.runs.glob("*/*/stderr.log")])


def read_lives(project: ProjectPaths, paths: RunPaths) -> list[list[Execution]]:
    """The executions of a run: those of each directory that it had, the present one last."""
    earlier = project.superseded(paths.experiment).glob(f"{paths.run_id}.*")
    return [read_executions(RunPaths(directory)) for directory in (*earlier, paths.directory)]


def read_notes(notes: Path) -> list[dict[str, Any]]:
    """What clients have noted of their acknowledgements; the last line of a killed one may be torn."""
    try:
        lines = notes.read_text().splitlines()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines if line.endswith("}")]


def read_commands(queue: Path) -> dict[int, Command]:
    """All commands by number."""
    with closing(sqlite3.connect(queue)) as connection:
        rows = connection.execute("SELECT id, kind, run_id, applied_at, ok, message, amount FROM commands")
        found = rows.fetchall()
    return {
        command_id: Command(
            command_id, CommandKind(kind), run_id, applied_at is not None, bool(ok), message or "", amount
        )
        for command_id, kind, run_id, applied_at, ok, message, amount in found
    }


def read_tags(queue: Path) -> Mapping[tuple[str, int], Sequence[str]]:
    """By run id and attempt, the runs that its worker was started for."""
    with closing(sqlite3.connect(queue)) as connection:
        rows = connection.execute("SELECT run_id, attempt, tag FROM attempts").fetchall()
    together: dict[str, list[str]] = defaultdict(list)
    for run_id, _, tag in rows:
        together[tag].append(run_id)
    return {(run_id, attempt): together[tag] for run_id, attempt, tag in rows}


def read_executions(paths: RunPaths) -> list[Execution]:
    """The executions in one run directory, in the order in which they began."""
    try:
        lines = (paths.directory / EXECUTIONS).read_text().splitlines()
    except FileNotFoundError:
        return []
    rows: dict[tuple[int, int], list[dict[str, Any]]] = defaultdict(list)
    # One that a full disk has torn is of a worker that has gone no further.
    for row in map(json.loads, (line for line in lines if line.endswith("}"))):
        rows[row["pid"], row["ticks"]].append(row)
    return [
        Execution(
            run_id=paths.run_id,
            attempt=life[0]["attempt"],
            pid=pid,
            begin_ns=life[0]["at_ns"],
            end_ns=life[-1]["at_ns"],
            is_done=any(row["event"] == "done" for row in life),
            is_finished=any(row["event"] == "finished" for row in life),
            slots=tuple(life[0]["slots"]),
            was_asked=any(row["event"] == "asked" for row in life),
        )
        for (pid, _), life in rows.items()
    ]


@dataclass(frozen=True, slots=True)
class History:
    """What a queue committed, and when: UTC, ISO 8601, to the millisecond."""

    starts: Sequence[tuple[str, str]]
    """(run id, time) of every start."""
    successes: Sequence[tuple[str, str]]
    """(run id, time) of every end with success."""
    forced: Sequence[tuple[str, str]]
    """(run id, time) of every order to run afresh."""
    queued: Mapping[str, str]
    """By run id, when it was last queued: from then on its sources are as they are now."""
    sources: Mapping[str, Sequence[str]]
    """By run id, the runs that it waits for."""
    drains: Sequence[tuple[bool, str]]
    """Whether the queue was drained or let go on, and when, in order."""


def read_history(queue: Path) -> History:
    """The history of a queue."""
    sources: dict[str, list[str]] = defaultdict(list)
    with closing(sqlite3.connect(queue)) as connection:
        read = connection.execute
        for run_id, source in read("SELECT run_id, source FROM dependencies"):
            sources[run_id].append(source)
        enqueued = "FROM commands WHERE kind = 'enqueue' AND ok"
        return History(
            starts=read("SELECT run_id, started_at FROM attempts").fetchall(),
            successes=read("SELECT run_id, finished_at FROM attempts WHERE outcome = 'succeeded'").fetchall(),
            forced=read(f"SELECT run_id, applied_at {enqueued} AND force").fetchall(),
            queued=dict(read(f"SELECT run_id, max(applied_at) {enqueued} GROUP BY run_id").fetchall()),
            sources=sources,
            drains=read(
                "SELECT amount, applied_at FROM commands WHERE kind = 'drain' AND ok ORDER BY id"
            ).fetchall(),
        )


def early_starts(history: History) -> Iterator[str]:
    """Runs that were started while a run that they wait for had not succeeded, or was to run afresh."""
    events: dict[str, list[tuple[str, bool]]] = defaultdict(list)
    for is_success, times in ((True, history.successes), (False, history.forced)):
        for run_id, at in times:
            events[run_id].append((at, is_success))
    for run_id, started_at in history.starts:
        for source in history.sources.get(run_id, ()) if started_at > history.queued[run_id] else ():
            before = max((event for event in events[source] if event[0] <= started_at), default=("", False))
            if not before[1]:
                yield f"{run_id}: was started at {started_at}, before {source} had succeeded"


def starts_while_drained(history: History) -> Iterator[str]:
    """Starts between a drain and its end."""
    for (is_drain, since), (_, until) in pairwise([*history.drains, (False, "9999")]):
        if is_drain:
            for run_id, started_at in history.starts:
                # What happened in the same millisecond may have come before.
                if since < started_at < until:
                    yield f"{run_id}: was started at {started_at}, though the queue drained since {since}"


def lost_commands(
    notes: Iterable[dict[str, Any]], commands: dict[int, Command], jobs: Iterable[Job]
) -> Iterator[str]:
    """Acknowledged commands without an answer, and acknowledged runs without a job."""
    known = {job.run_id for job in jobs}
    for note in notes:
        for command_id in note["command_ids"]:
            command = commands.get(command_id)
            if command is None or not _is_noted(command, note):
                # Once the end of a database is lost, its numbers are given again.
                yield f"acknowledged command {command_id} is not in the queue"
            elif not command.is_applied or not command.message:
                yield f"acknowledged command {command_id} ({command.kind} {command.run_id}) has no answer"
        for run_id in note.get("queued", ()):
            if run_id not in known:
                yield f"{run_id}: acknowledged, but not in the queue"


def _is_noted(command: Command, note: Mapping[str, Any]) -> bool:
    """Whether a command is the one that a client was acknowledged under its number."""
    is_of_kind = command.kind == note.get("kind", command.kind)
    return is_of_kind and command.run_id in note.get("runs", [command.run_id])


def unasked_states(jobs: Iterable[Job], commands: dict[int, Command]) -> Iterator[str]:
    """Jobs at rest in a state that no client asked for last."""
    followed: dict[str, list[Command]] = defaultdict(list)
    for _, command in sorted(commands.items()):
        if command.is_ok:
            followed[command.run_id].append(command)
    for job in jobs:
        kinds = [command.kind for command in followed[job.run_id]]
        settled = settled_state(job, followed[job.run_id])
        wanted = _last(kinds, CommandKind.ENQUEUE, CommandKind.RETRY, CommandKind.CANCEL)
        held = _last(kinds, CommandKind.HOLD, CommandKind.RELEASE, CommandKind.CANCEL)
        asked = {
            JobState.SUCCEEDED: True,
            JobState.CANCELLED: wanted is CommandKind.CANCEL,
            JobState.HELD: held is CommandKind.HOLD and not job.reason,
        }
        if settled and job.state is not settled:
            yield f"{job.run_id}: is {job.state} ({job.reason}), though clients were told {settled}"
        elif not asked.get(job.state, False):
            yield f"{job.run_id}: is {job.state} ({job.reason}), though clients asked for {kinds}"


def settled_state(job: Job, followed: Iterable[Command]) -> JobState | None:
    """The state that a job must still be in by what clients were told last; None where others may follow.

    Args:
        job: The job.
        followed: The commands for it that were followed, in the order in which they were.
    """
    settled = None
    for command in followed:
        answer = command.message.removeprefix(f"{command.run_id}: ")
        if command.kind not in (CommandKind.PRIORITY, CommandKind.MOVE) and answer != _NOTHING_NEW:
            settled = _SETTLED.get(answer)
    # What waits for others fails with them, held or not, and comes back with them.
    return None if settled is JobState.HELD and job.after else settled


def wrong_priorities(jobs: Iterable[Job], commands: Mapping[int, Command]) -> Iterator[str]:
    """Jobs whose priority is not what the commands that were followed make it."""
    priorities: dict[str, int] = {}
    for _, command in sorted(commands.items()):
        answer = command.message.removeprefix(f"{command.run_id}: ")
        if command.kind is CommandKind.ENQUEUE:
            is_new = command.run_id not in priorities or answer in _QUEUED_AGAIN
            priorities |= {command.run_id: command.amount} if is_new and command.is_applied else {}
        elif command.kind is CommandKind.PRIORITY and command.is_ok and command.run_id in priorities:
            priorities[command.run_id] += command.amount
    for job in jobs:
        if job.priority != priorities.get(job.run_id, job.priority):
            yield f"{job.run_id}: has priority {job.priority}, clients made it {priorities[job.run_id]}"


def wrong_results(project: ProjectPaths, succeeded: Sequence[str]) -> Iterator[str]:
    """Runs that succeeded and whose evaluations, as a reader sees them, are not all there and right."""
    rows = RunLog(project, use_cache=False).metrics(succeeded)
    seen: dict[str, list[tuple[int, float]]] = {run_id: [] for run_id in succeeded}
    for row in rows.select("run_id", "update", "accuracy").iter_rows():
        seen[row[0]].append(row[1:])
    for run_id, evaluations in seen.items():
        expected = list(results_of(int(run_id.split("-s")[1].split("-")[0])))
        if evaluations != expected:
            yield f"{run_id}: has succeeded with the evaluations {evaluations}, expected {expected}"


def shared_slots(executions: Iterable[Execution]) -> Iterator[str]:
    """Processes that had one slot of the machine at the same time, or executed a run without any."""
    by_slot: dict[str, list[Execution]] = defaultdict(list)
    for execution in executions:
        if not execution.slots:
            yield f"{execution.run_id}: process {execution.pid} executed it without a slot"
        for slot in execution.slots:
            by_slot[slot].append(execution)
    for slot, users in by_slot.items():
        latest: Execution | None = None
        for user in sorted(users, key=lambda execution: execution.begin_ns):
            if latest and latest.pid != user.pid and user.begin_ns <= latest.end_ns:
                yield (
                    f"{slot}: process {latest.pid} executed {latest.run_id} there while process {user.pid} "
                    f"executed {user.run_id}"
                )
            latest = user if latest is None or user.end_ns > latest.end_ns else latest


def unasked_leaves(
    executions: Iterable[Execution], tags: Mapping[tuple[str, int], Sequence[str]], cancelled: Container[str]
) -> Iterator[str]:
    """Workers that were asked to leave, though nobody has cancelled a run of theirs."""
    for execution in executions:
        runs = tags.get((execution.run_id, execution.attempt), (execution.run_id,))
        if execution.was_asked and not any(run_id in cancelled for run_id in runs):
            yield f"{execution.run_id}: process {execution.pid} was asked to leave, and nobody cancelled it"


def overlaps(executions: Iterable[Execution]) -> Iterator[str]:
    """Executions of one run that were under way at the same time."""
    ordered = sorted(executions, key=lambda execution: execution.begin_ns)
    for i, first in enumerate(ordered):
        for second in ordered[i + 1 :]:
            if second.begin_ns <= first.end_ns:
                together_ms = (min(first.end_ns, second.end_ns) - second.begin_ns) / 1e6
                yield (
                    f"{first.run_id}: processes {first.pid} (attempt {first.attempt}) and {second.pid} "
                    f"(attempt {second.attempt}) executed it together for {together_ms:.1f} ms"
                )


def disagreements(job: Job, paths: RunPaths, executions: Sequence[Execution]) -> Iterator[str]:
    """Where the queue, the directory and the executions tell different stories of one run."""
    end = read_exit(paths)
    outcome = end.outcome if end else None
    if (outcome is RunOutcome.SUCCEEDED) != (job.state is JobState.SUCCEEDED):
        yield f"{job.run_id}: the queue says {job.state}, its directory {outcome}"
    if job.state is JobState.CANCELLED and outcome not in (None, RunOutcome.CANCELLED):
        yield f"{job.run_id}: is cancelled, but its directory says {outcome}"
    if observe(paths).lock_held:
        yield f"{job.run_id}: nobody should have its lock any more"
    if end and outcome is RunOutcome.SUCCEEDED:
        yield from _not_once(job.run_id, end.attempt, executions)


def tracebacks(logs: Iterable[Path]) -> Iterator[str]:
    """Processes that left with a traceback; what cannot be loaded for want of descriptors has no choice."""
    for log in logs:
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        for begin in (place for place, line in enumerate(lines) if line.startswith("Traceback")):
            # What was raised follows the indented lines of the stack.
            stack = list(takewhile(lambda line: line.startswith(" "), lines[begin + 1 :]))
            raised = next(iter(lines[begin + 1 + len(stack) :]), "cut off")
            is_short = any(words in raised for words in _NO_DESCRIPTOR)
            if not (is_short and any("<frozen importlib" in line for line in stack)):
                yield f"{log}: {raised}"


def _not_once(run_id: str, attempt: int, executions: Sequence[Execution]) -> Iterator[str]:
    """Where a run that has succeeded did not do so exactly once, last of all."""
    finished = [execution for execution in executions if execution.is_finished]
    successful = [execution for execution in executions if execution.is_done and execution.attempt == attempt]
    if len(finished) > 1:
        yield f"{run_id}: {len(finished)} executions finished: {finished}"
    if len(successful) != 1:
        yield f"{run_id}: attempt {attempt} has succeeded {len(successful)} times: {executions}"
    elif successful[-1] != executions[-1]:
        yield f"{run_id}: was executed again after it had succeeded: {executions}"


def _damage(queue: Path) -> Iterator[str]:
    with closing(sqlite3.connect(queue)) as connection:
        answers = [row[0] for row in connection.execute("PRAGMA integrity_check")]
        if answers != ["ok"]:
            yield f"{queue}: {answers}"
        yield from (f"{queue}: {row}" for row in connection.execute("PRAGMA foreign_key_check"))


def _last(kinds: Sequence[CommandKind], *wanted: CommandKind) -> CommandKind | None:
    return next((kind for kind in reversed(kinds) if kind in wanted), None)

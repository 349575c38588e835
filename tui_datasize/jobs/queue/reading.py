"""What clients read from an open queue database: jobs, what they wait for, and what they have used."""

from __future__ import annotations

import heapq
import json
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from operator import attrgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.queue.schema import ACTIVE, LOCAL, NEVER_BEGAN, STARTABLE, UNFINISHED
from tui_datasize.jobs.queue.state import CPU, MAX_ATTEMPTS, Job, JobState

if TYPE_CHECKING:
    from tui_datasize.experiments.spec import RunSpec

_JOB_COLUMNS = ", ".join(Job._fields[: Job._fields.index("after")])
_FINAL = frozenset(state for state in JobState if state.is_final)
_ALONE: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], str] = ((), (), (), "")
_STATES: Mapping[str, JobState] = MappingProxyType({state.value: state for state in JobState})
_STATE_AFTER: Mapping[str, JobState] = MappingProxyType(
    {
        CommandKind.ENQUEUE: JobState.QUEUED,
        CommandKind.RETRY: JobState.QUEUED,
        CommandKind.CANCEL: JobState.CANCELLED,
    }
)
"""Where a command that is acknowledged but not yet applied will take a job."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What the attempts of an experiment have had of the devices, whatever came of them.

    Runs that shared a worker have shared its time.
    """

    experiment: str
    cpu_s: float
    """Seconds of one CPU slot."""
    gpu_s: float
    """Seconds of one slot of a GPU."""


class Execution(NamedTuple):
    """The time that a run has taken so far, over all its attempts."""

    run_id: str
    spec: RunSpec
    """Without its seeds, draw and source, which do not change the time that it takes: one object for all
    runs that are alike but for these."""
    state: JobState
    device: str
    """GPU UUID or `cpu`; empty where it never ran; the cluster where one makes it, or is to."""
    used_s: float
    """Seconds of one slot; its part of them where it shared a worker."""
    worker: str = ""
    """Tag of the worker that has it; empty where none has."""


def read_jobs(connection: sqlite3.Connection) -> list[Job]:
    """All jobs in queue order, acknowledged but not yet applied ones at the end, as queued."""
    after, waits_for = _dependencies(connection)
    packs, interrupted = _packs(connection), _interrupted(connection)
    jobs = []
    for waits, shape, run_id, experiment, word, *others in _tuples(
        connection, f"SELECT waits, shape, {_JOB_COLUMNS} FROM jobs ORDER BY position"
    ):
        related = _ALONE
        if waits or run_id in packs or run_id in interrupted:
            open_sources = () if _STATES[word].is_final else waits_for.get(waits, ())
            pack, why = packs.get(run_id, ()), interrupted.get(run_id, "")
            related = (after.get(waits, ()), open_sources, pack, why)
        jobs.append(Job._make((run_id, experiment, _STATES[word], *others, *related, shape)))
    if new := list(_acknowledged_jobs(connection)):
        known = {job.run_id for job in jobs}
        jobs += [job for job in new if job.run_id not in known]
    return jobs


def _tuples(connection: sqlite3.Connection, query: str, values: Iterable[object] = ()) -> sqlite3.Cursor:
    """The rows of a query, of which there may be tens of thousands, as what takes the least time to read."""
    cursor = connection.cursor()
    cursor.row_factory = None
    return cursor.execute(query, tuple(values))


def expected_states(connection: sqlite3.Connection) -> dict[str, JobState]:
    """The state of every job once all acknowledged commands are applied, as far as it can be told."""
    rows = connection.execute(
        f"SELECT run_id, iif(cancel_requested AND {UNFINISHED}, '{JobState.CANCELLED}', state) FROM jobs"
    )
    states = {run_id: JobState(state) for run_id, state in rows}
    pending = connection.execute("SELECT kind, run_id FROM commands WHERE applied_at IS NULL ORDER BY id")
    for kind, run_id in pending:
        if kind in _STATE_AFTER:
            states[run_id] = _STATE_AFTER[kind]
    return states


def has_startable(connection: sqlite3.Connection) -> bool:
    """Whether any job is to start as soon as a device of this machine is free."""
    startable = f"SELECT 1 FROM jobs WHERE {STARTABLE} AND {LOCAL} LIMIT 1"
    return connection.execute(startable).fetchone() is not None


def read_usage(connection: sqlite3.Connection) -> list[Usage]:
    """What each experiment has used, those that never ran left out."""
    rows = connection.execute(
        f"SELECT experiment, attempts.device = ? AS on_cpu, sum({_attempt_s(connection)}) AS used_s "
        f"FROM attempts JOIN jobs USING (run_id) WHERE attempts.device != '' AND {_COUNTS} "
        "GROUP BY experiment, on_cpu",
        (CPU,),
    )
    used: dict[str, dict[bool, float]] = defaultdict(dict)
    for experiment, on_cpu, used_s in rows:
        used[experiment][bool(on_cpu)] = max(0.0, used_s)
    return [Usage(name, by.get(True, 0.0), by.get(False, 0.0)) for name, by in used.items()]


def read_tags(connection: sqlite3.Connection) -> frozenset[str]:
    """The tags of all workers that have, or may have, a job."""
    rows = connection.execute(
        f"SELECT tag FROM jobs JOIN attempts USING (run_id) WHERE {ACTIVE} AND attempt = attempts"
    )
    return frozenset(row[0] for row in rows)


def read_executions(
    connection: sqlite3.Connection, jobs: Iterable[Job], most_finished: int
) -> list[Execution]:
    """Those of jobs that are unfinished, and of the latest that succeeded.

    The jobs were just read; those found are in the order in which they run.
    """
    own = [job for job in jobs if job.shape]
    ended = (job for job in own if job.state is JobState.SUCCEEDED)
    latest = {job.run_id for job in heapq.nlargest(most_finished, ended, attrgetter("finished_at"))}
    found = [job for job in own if job.state not in _FINAL or job.run_id in latest]
    begun = json.dumps([job.run_id for job in found if job.attempts])
    rows = _tuples(
        connection,
        f"SELECT run_id, sum(iif({_COUNTS} AND attempts.attempt > {_LAST_MAKING}, "
        f"{_attempt_s(connection)}, 0)), max(iif({ACTIVE} AND attempt = attempts, tag, '')) "
        "FROM json_each(?) JOIN jobs ON run_id = value JOIN attempts USING (run_id) GROUP BY run_id",
        (begun,),
    )
    used = {run_id: (max(0.0, used_s or 0.0), worker) for run_id, used_s, worker in rows}
    specs = read_shapes(connection)
    found.sort(key=lambda job: -job.priority)
    return [
        Execution._make(
            (job.run_id, spec, job.state, job.place or job.device, *used.get(job.run_id, (0.0, "")))
        )
        for job in found
        if (spec := specs.get(job.shape))
    ]


def runs_of_shapes(connection: sqlite3.Connection, numbers: Collection[int]) -> dict[str, int]:
    """The jobs that are of one of these shapes, by run id, each with the number of its shape."""
    places = ", ".join("?" * len(numbers))
    rows = connection.execute(f"SELECT run_id, shape FROM jobs WHERE shape IN ({places})", tuple(numbers))
    return dict(rows.fetchall())


def read_shapes(connection: sqlite3.Connection) -> dict[int, RunSpec]:
    """The specifications by number; without those of another version, whose time cannot be told."""
    from tui_datasize.experiments.spec import RunSpec

    specs = {}
    for number, text in connection.execute("SELECT id, spec FROM shapes"):
        with suppress(KeyError, TypeError, ValueError):
            specs[number] = RunSpec.from_dict(json.loads(text))
    return specs


def read_pending(connection: sqlite3.Connection) -> list[RunSpec]:
    """The runs that were acknowledged and are no jobs yet."""
    from tui_datasize.experiments.spec import RunSpec

    specs = []
    for (text,) in connection.execute("SELECT document FROM commands WHERE applied_at IS NULL"):
        with suppress(KeyError, TypeError, ValueError):
            specs.append(RunSpec.from_dict(json.loads(text)["spec"]))
    return specs


_BEGAN = "julianday(attempts.started_at)"
_ENDED = "julianday(iif(attempts.finished_at = '', 'now', attempts.finished_at))"
_COUNTS = f"(attempts.finished_at != '' OR (jobs.{ACTIVE} AND attempts.attempt = jobs.attempts))"
"""An attempt without an end goes on, or nobody ever followed it."""


def _attempt_s(connection: sqlite3.Connection) -> str:
    """SQL for the seconds of a slot that an attempt has had.

    Attempts of one worker share the time from the start of the first to the end of the last in proportion
    to their own.
    """
    rows = connection.execute(
        f"SELECT tag, (max({_ENDED}) - min({_BEGAN})) / sum({_ENDED} - {_BEGAN}) "
        "FROM attempts JOIN jobs USING (run_id) "
        "WHERE tag IN (SELECT tag FROM attempts WHERE tag != '' GROUP BY tag HAVING count(*) > 1) "
        f"AND outcome != ? AND {_COUNTS} GROUP BY tag",
        (NEVER_BEGAN,),
    )
    shares: dict[str, float] = {tag: share for tag, share in rows if share}
    own_s = f"({_ENDED} - {_BEGAN}) * 86400"
    if not shares:
        return own_s
    connection.create_function("share", 1, lambda tag: shares.get(tag, 1.0))
    return f"{own_s} * share(attempts.tag)"


_LAST_MAKING = (
    "coalesce((SELECT max(earlier.attempt) FROM attempts AS earlier WHERE earlier.run_id = jobs.run_id "
    "AND earlier.attempt < jobs.attempts AND earlier.outcome = 'succeeded'), 0)"
)
"""A run that succeeded and runs anew begins from nothing after that attempt."""


def _packs(connection: sqlite3.Connection) -> Mapping[str, tuple[str, ...]]:
    """By run id, the runs that one worker has together, in the order in which it was given them."""
    rows = connection.execute(
        f"SELECT tag, run_id FROM jobs JOIN attempts USING (run_id) WHERE {ACTIVE} AND attempt = attempts "
        "AND tag != '' ORDER BY attempts.rowid"
    )
    packs: dict[str, list[str]] = defaultdict(list)
    for tag, run_id in rows:
        packs[tag].append(run_id)
    return {run_id: tuple(pack) for pack in packs.values() if len(pack) > 1 for run_id in pack}


def _interrupted(connection: sqlite3.Connection) -> dict[str, str]:
    """By run id, what ended the attempt before the one that goes on."""
    rows = connection.execute(
        f"SELECT jobs.run_id, attempts.reason FROM jobs JOIN attempts USING (run_id) WHERE {ACTIVE} "
        "AND attempts.attempt < jobs.attempts AND outcome != ? ORDER BY attempt",
        (NEVER_BEGAN,),
    )
    return dict(rows.fetchall())


def _dependencies(connection: sqlite3.Connection) -> list[dict[int, tuple[str, ...]]]:
    """The members of every set of sources, and those of them that have not succeeded."""
    after: dict[int, list[str]] = defaultdict(list)
    waits_for: dict[int, list[str]] = defaultdict(list)
    rows = connection.execute(
        "SELECT sources.waits, source, state FROM sources LEFT JOIN jobs ON run_id = source "
        "ORDER BY sources.waits, source"
    )
    for waits, source, state in rows:
        after[waits].append(source)
        if state != JobState.SUCCEEDED:
            waits_for[waits].append(source)
    return [{waits: tuple(named) for waits, named in each.items()} for each in (after, waits_for)]


def _acknowledged_jobs(connection: sqlite3.Connection) -> Iterator[Job]:
    last_position = connection.execute("SELECT coalesce(max(position), 0) FROM jobs").fetchone()[0]
    rows = connection.execute(
        "SELECT run_id, json_extract(document, '$.spec.experiment') AS experiment, max(amount) AS priority, "
        "min(created_at) AS queued_at, json_extract(document, '$.after') AS after, "
        "json_extract(document, '$.max_attempts') AS max_attempts, json_extract(document, '$.on') AS place "
        "FROM commands WHERE applied_at IS NULL AND kind = ? GROUP BY run_id ORDER BY min(id)",
        (CommandKind.ENQUEUE,),
    )
    for position, row in enumerate(rows, start=last_position + 1):
        run_id, experiment, priority, queued_at, after, max_attempts, place = row
        sources = tuple(json.loads(after or "[]"))
        yield Job(
            *(run_id, experiment, JobState.QUEUED, priority, position),
            max_attempts=max_attempts or MAX_ATTEMPTS,
            queued_at=queued_at,
            place=place or "",
            after=sources,
            waits_for=sources,
        )

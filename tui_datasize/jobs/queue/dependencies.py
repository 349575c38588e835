"""Which runs wait for which: kept beside the jobs, and never circular."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from tui_datasize.errors import UnknownRunError
from tui_datasize.jobs.queue.schema import ACTIVE, COUNT_SOURCES, UNFINISHED
from tui_datasize.jobs.queue.state import JobState


@dataclass(frozen=True, slots=True)
class Dependencies:
    """The sets of sources of one open database; their changes belong to the caller's transaction."""

    _connection: sqlite3.Connection
    _changed: set[int] = field(default_factory=set, init=False)
    """Sets of which a member has come or changed since they were counted."""

    def replace(self, run_id: str, sources: Sequence[str]) -> None:
        """Let a job wait for these runs, and for no others."""
        self.count()
        self._connection.execute(
            "UPDATE jobs SET (waits, blocked) = (SELECT id, blocked FROM source_sets WHERE id = ? "
            "UNION ALL SELECT 0, 0 LIMIT 1) WHERE run_id = ?",
            (self._set_of(sources), run_id),
        )

    def sources(self, run_id: str) -> list[str]:
        """The runs that a job waits for, or has waited for."""
        return self._runs("SELECT source FROM dependencies WHERE run_id = ? ORDER BY source", run_id)

    def follow(self, source: str) -> None:
        """Note that a job has come or its state has changed: what waits for it is counted again.

        Within a transaction that is done once for all, when it is asked for or at the end.
        """
        rows = self._connection.execute("SELECT waits FROM sources WHERE source = ?", (source,))
        self._changed.update(waits for (waits,) in rows)
        if not self._connection.in_transaction:
            self.count()

    def count(self) -> None:
        """Count what the dependants of changed jobs wait for."""
        while self._changed:
            self._count_again(self._changed.pop())

    def stranded(self, source: str) -> list[str]:
        """The unfinished dependants of a job that no worker has."""
        return self._runs(
            "SELECT run_id FROM dependencies JOIN jobs USING (run_id) "
            f"WHERE source = ? AND {UNFINISHED} AND NOT {ACTIVE} ORDER BY position",
            source,
        )

    def failed_for(self, source: str) -> list[str]:
        """The dependants of a job that have failed for the end of a source alone, and may succeed now."""
        self.count()
        rows = self._connection.execute(
            "SELECT run_id, reason FROM source_sets JOIN sources ON source_sets.id = sources.waits "
            "JOIN jobs USING (waits) WHERE source = ? AND hopeless = 0 AND state = ? ORDER BY position",
            (source, JobState.FAILED),
        ).fetchall()
        return [run_id for run_id, reason in rows if end_of_source(reason)]

    def has_failed_for(self, run_id: str) -> JobState | None:
        """How a run ended for whose end alone a job has failed; None of any other job."""
        row = self._connection.execute(
            "SELECT reason FROM jobs WHERE run_id = ? AND state = ?", (run_id, JobState.FAILED)
        ).fetchone()
        return end_of_source(row[0]) if row else None

    def have_failed_for_others(self) -> set[str]:
        """The jobs that have failed for the end of another run alone."""
        failed = "SELECT run_id, reason FROM jobs WHERE state = ?"
        rows = self._connection.execute(failed, (JobState.FAILED,))
        return {run_id for run_id, reason in rows if end_of_source(reason)}

    def problem(self, run_id: str, sources: Sequence[str]) -> str:
        """Why a job cannot be made to wait for these runs, in words; empty where it can."""
        if hopeless := self.hopeless(sources):
            return hopeless
        if circle := self.circle(run_id, sources):
            return f"its source {circle} waits for it"
        return ""

    def hopeless(self, sources: Sequence[str]) -> str:
        """Which of these runs will not succeed, and why; empty where all may."""
        if not sources:
            return ""
        self.count()
        run = self._connection.execute
        # Hundreds of runs ask this of one set.
        known = run("SELECT hopeless FROM source_sets WHERE named = ?", (" ".join(sorted(set(sources))),))
        if (row := known.fetchone()) and row[0] == 0:
            return ""
        found = run(
            "SELECT value, state FROM json_each(?) LEFT JOIN jobs ON run_id = value "
            "WHERE state IS NULL OR state IN (?, ?) ORDER BY key LIMIT 1",
            (json.dumps(list(sources)), JobState.FAILED, JobState.CANCELLED),
        ).fetchone()
        if found is None:
            return ""
        source, state = found
        return stranded_by(source, JobState(state)) if state else f"its source {source} is not in the queue"

    def circle(self, run_id: str, sources: Collection[str]) -> str:
        """The first of the sources that is, or waits for, the job itself; empty where none does."""
        if run_id in sources:
            return run_id
        waited_for = "SELECT 1 FROM sources WHERE source = ? LIMIT 1"
        if not sources or not self._connection.execute(waited_for, (run_id,)).fetchone():
            return ""
        for source in sources:
            reached = self._connection.execute(
                "WITH RECURSIVE chain (run) AS (SELECT ? UNION "
                "SELECT source FROM dependencies JOIN chain ON run_id = run) "
                "SELECT 1 FROM chain WHERE run = ?",
                (source, run_id),
            )
            if reached.fetchone():
                return source
        return ""

    def _runs(self, query: str, run_id: str) -> list[str]:
        return [row[0] for row in self._connection.execute(query, (run_id,))]

    def _set_of(self, sources: Sequence[str]) -> int:
        """The set of these runs, which many jobs may share; 0 where there are none."""
        if not sources:
            return 0
        members, run = sorted(set(sources)), self._connection.execute
        named = " ".join(members)
        if found := run("SELECT id FROM source_sets WHERE named = ?", (named,)).fetchone():
            return int(found[0])
        waits = run("INSERT INTO source_sets (named) VALUES (?)", (named,)).lastrowid or 0
        self._connection.executemany(
            "INSERT INTO sources VALUES (?, ?)", [(waits, source) for source in members]
        )
        self._count_again(waits)
        return waits

    def _count_again(self, waits: int) -> None:
        # Counted and not stepped up and down, so that no path of a state can make it wrong for good.
        run = self._connection.execute
        run(f"{COUNT_SOURCES} WHERE id = ?", (waits,))
        (blocked,) = run("SELECT blocked FROM source_sets WHERE id = ?", (waits,)).fetchone()
        run(
            "UPDATE jobs SET blocked = ? WHERE waits = ? AND waits != 0 AND blocked != ?",
            (blocked, waits, blocked),
        )


def stranded_by(source: str, state: JobState, reason: str = "") -> str:
    """The reason of a job whose source ended without success.

    >>> stranded_by("letters-n750", JobState.FAILED, "out of memory")
    'its source letters-n750 failed: out of memory'
    >>> stranded_by("letters-n750", JobState.CANCELLED, "cancelled")
    'its source letters-n750 was cancelled'
    """
    if state is JobState.CANCELLED:
        return f"its source {source} was cancelled"
    return f"its source {source} failed" + (f": {reason}" if reason else "")


def end_of_source(reason: str) -> JobState | None:
    """How the source ended that a job failed for, by the job's reason; None for a failure of its own.

    >>> end_of_source(stranded_by("letters-n750", JobState.CANCELLED))
    <JobState.CANCELLED: 'cancelled'>
    >>> end_of_source("out of memory")
    """
    told = re.match(r"its source \S+ (was cancelled|failed)(?=:|$)", reason)
    if told is None:
        return None
    return JobState.FAILED if told[1] == "failed" else JobState.CANCELLED


def none_of_each_other(
    after: Mapping[str, Sequence[str]], queued: Collection[str]
) -> dict[str, Sequence[str]]:
    """What runs wait for once those that are queued together wait neither for themselves nor for each other.

    That is what a person means who queues the cancelled runs of an experiment behind that experiment.
    A run that is named by another, and does not name it, is still waited for. `after` is by run id.

    >>> none_of_each_other({"a": ["a", "b", "c"], "b": ["a", "b", "c"]}, ["a", "b"])
    {'a': ['c'], 'b': ['c']}
    >>> none_of_each_other({"b": ["a"]}, ["a", "b"])
    {'b': ['a']}
    """
    together = frozenset(queued)
    # Thousands of runs share one list: it is looked through once.
    named = {id(sources): frozenset(sources) for sources in after.values()}
    own = {run_id: named[id(sources)] for run_id, sources in after.items() if run_id in together}
    return {
        run_id: [source for source in sources if run_id not in own.get(source, ())]
        if run_id in own and not together.isdisjoint(named[id(sources)])
        else sources
        for run_id, sources in after.items()
    }


def check_sources(
    connection: sqlite3.Connection,
    states: Mapping[str, JobState],
    run_ids: Sequence[str],
    after: Mapping[str, Collection[str]],
) -> None:
    """Refuse runs, about to be queued in this order, that would wait for what never comes.

    `states` are those of every job once all acknowledged commands are applied; `after` is by run id.

    Raises UnknownRunError: a source is not in the queue, has ended without success, or waits for the run.
    """
    dependencies = Dependencies(connection)
    queued: set[str] = set()
    for run_id in run_ids:
        for source in after.get(run_id, ()):
            state = states.get(source)
            if source not in queued and state is None:
                raise UnknownRunError(f"{source} is not in the queue", where=run_id, fix="queue it before")
            if source not in queued and state in (JobState.FAILED, JobState.CANCELLED):
                fix = "retry that first, or queue this without waiting for it"
                raise UnknownRunError(stranded_by(source, state), where=run_id, fix=fix)
        if circle := dependencies.circle(run_id, after.get(run_id, ())):
            raise UnknownRunError(f"its source {circle} waits for it", where=run_id)
        queued.add(run_id)

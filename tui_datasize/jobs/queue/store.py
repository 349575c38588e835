"""The scheduler's view of the queue's database: jobs, attempts and pending commands.

Every change of a job's state goes through the transition table, but for an undo, and nothing is kept in
memory that a restarted scheduler could not read back.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tui_datasize.experiments.spec import RunSpec
from tui_datasize.jobs.queue.checkpoints import without_checkpoints
from tui_datasize.jobs.queue.cluster import Handed
from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.queue.database import (
    check_integrity,
    create_database,
    not_mounted,
    open_database,
    status_of,
    storage_errors,
    transaction,
)
from tui_datasize.jobs.queue.dependencies import Dependencies, stranded_by
from tui_datasize.jobs.queue.faults import Faults
from tui_datasize.jobs.queue.file_systems import check_file_system
from tui_datasize.jobs.queue.gpu_memory import Learned
from tui_datasize.jobs.queue.known_gpus import KnownGpus
from tui_datasize.jobs.queue.notices import Notices
from tui_datasize.jobs.queue.records import ActiveJob, NewJob, PastAttempt, PendingCommand, QueuedJob, Verdict
from tui_datasize.jobs.queue.schema import (
    ACTIVE,
    ACTIVE_JOB,
    LOCAL,
    NEVER_BEGAN,
    QUEUED_JOB,
    STARTABLE,
    UNRENEWED,
    WAITING,
    shape_of,
)
from tui_datasize.jobs.queue.searches import Searches
from tui_datasize.jobs.queue.settings import NOT_DRAINING, Settings
from tui_datasize.jobs.queue.state import IllegalTransitionError, JobState, sources
from tui_datasize.jobs.queue.undo import Changes
from tui_datasize.runlog.claim import utc_now
from tui_datasize.runlog.identity import boot_id
from tui_datasize.runlog.paths import ProjectPaths

_ANSWERS_KEPT_S = 7 * 86400.0


class Store:
    """The open database of one scheduler, which is made unless it has been there.

    Raises StorageError: the database cannot be made, opened or trusted.
    """

    def __init__(self, path: Path, *, make: bool = True) -> None:
        if make:
            create_database(path)
        with storage_errors(path):
            check_file_system(path.parent)
        self.path = path
        self._connection = open_database(path)
        try:
            check_integrity(self._connection, path)
            self._read_parts()
        except BaseException:
            # Else it is open for as long as the trace of the error is kept.
            self._connection.close()
            raise

    def _read_parts(self) -> None:
        self.known_gpus = KnownGpus(self._connection)
        self.dependencies = Dependencies(self._connection)
        self.cluster = Handed(self._connection, self.dependencies)
        self.searches = Searches(self._connection, self.path.parent)
        self.notices = Notices(self._connection)
        self.settings = Settings(self._connection)
        self.changes = Changes(self._connection)
        self._put_back: set[str] = set()
        self.faults = Faults(self._connection, self.path)
        with storage_errors(self.path):
            self._status = self.path.stat()

    def close(self) -> None:
        self._connection.close()

    def is_in_place(self) -> bool:
        """Whether the path still names the open file; someone may have moved or deleted it.

        Raises PassingStorageError: its disk is mounted no more, or another in its place.
        """
        with storage_errors(self.path):
            found = status_of(self.path)
            if found and os.path.samestat(found, self._status):
                return True
            there = next(filter(None, map(status_of, self.path.parents)))
            if there.st_dev != self._status.st_dev:
                raise not_mounted(self.path)
        return False

    def data_version(self) -> int:
        """A number that changes whenever another process commits, or a search gives commands."""
        return int(self._one("PRAGMA data_version")[0]) + self.searches.asked

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; committed to disk at the end of the block."""
        with storage_errors(self.path), transaction(self._connection):
            yield
            self.searches.advance()
            self.dependencies.count()

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """All or nothing, within a transaction that goes on either way."""
        self._connection.execute("SAVEPOINT one")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK TO one")
            raise
        finally:
            self._connection.execute("RELEASE one")

    # Commands

    def pending_commands(self, limit: int, kind: CommandKind | None = None) -> list[PendingCommand]:
        """The oldest acknowledged commands that are not applied, of one kind or of all; -1 for no limit."""
        rows = self._all(
            "SELECT id, batch, kind, run_id, amount, force, document FROM commands "
            "WHERE applied_at IS NULL AND kind = coalesce(?, kind) ORDER BY id LIMIT ?",
            *(kind, limit),
        )
        return [
            PendingCommand(**(dict(row) | {"kind": CommandKind(row["kind"]), "force": bool(row["force"])}))
            for row in rows
        ]

    def newest_command(self) -> int:
        """The number of the command that was acknowledged last; 0 where there is none."""
        return int(self._all("SELECT coalesce(max(id), 0) AS newest FROM commands")[0]["newest"])

    def settle(self, answers: Iterable[tuple[int, Verdict]]) -> None:
        """Note the answers to applied commands, by their ids; their documents are no longer needed."""
        now = utc_now()
        self._connection.executemany(
            "UPDATE commands SET applied_at = ?, ok = ?, message = ?, document = '' WHERE id = ?",
            [(now, one.ok, one.text, command_id) for command_id, one in answers],
        )

    def forget_old_commands(self) -> None:
        """Remove commands that were found answered days ago, or before the machine last started.

        Their age goes by the time since that start: the date may be set meanwhile.
        """
        now = {"boot": boot_id(), "now_s": time.clock_gettime(time.CLOCK_BOOTTIME), "kept_s": _ANSWERS_KEPT_S}
        with self.transaction():
            self._connection.execute(
                "DELETE FROM commands WHERE found_boot != '' AND (found_boot != :boot "
                "OR found_s < :now_s - :kept_s)",
                now,
            )
            self._connection.execute("DELETE FROM changes WHERE batch NOT IN (SELECT batch FROM commands)")
            self._connection.execute(
                "UPDATE commands SET found_boot = :boot, found_s = :now_s "
                "WHERE found_boot = '' AND applied_at IS NOT NULL",
                now,
            )

    def has_notices(self) -> bool:
        return self._one("SELECT 1 FROM notices LIMIT 1") is not None

    # Jobs

    def state(self, run_id: str) -> JobState | None:
        row = self._one("SELECT state FROM jobs WHERE run_id = ?", run_id)
        return JobState(row["state"]) if row else None

    def value(self, run_id: str, column: str) -> Any:
        """One thing that is known of a job."""
        return self._one(f"SELECT {column} FROM jobs WHERE run_id = ?", run_id)[0]

    def update(self, run_id: str, **values: object) -> None:
        """Write what is known of a job, except for its state."""
        columns = ", ".join(f"{name} = ?" for name in values)
        self._run(f"UPDATE jobs SET {columns} WHERE run_id = ?", *values.values(), run_id)

    def increase(self, run_id: str, column: str, by: int = 1) -> int:
        """Add to a number of a job, such as the attempts that it may make, and return what it is then."""
        self._run(f"UPDATE jobs SET {column} = {column} + ? WHERE run_id = ?", by, run_id)
        return int(self.value(run_id, column))

    def add(self, job: NewJob) -> None:
        self._run(
            "INSERT INTO jobs (run_id, experiment, workload, state, priority, position, attempts, "
            "max_attempts, reason, queued_at, started_at, finished_at, document, attempts_allowed, place, "
            "shape) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(job.run_id, job.experiment, job.workload, job.state, job.priority, self._next_position()),
            *(job.attempts, job.max_attempts, job.reason, job.queued_at or utc_now()),
            *(job.started_at, job.finished_at, job.document, job.attempts_allowed, job.place),
            self._shape(job.document),
        )
        self.dependencies.follow(job.run_id)
        self.searches.follow(job.run_id)

    def queue_again(self, run_id: str) -> None:
        """Put a finished job back to the end of the queue with a fresh allowance of attempts."""
        self.change(run_id, JobState.QUEUED)
        self.renew_attempts(run_id)
        fresh = {"alone": 0, "cancel_requested": 0, "queued_at": utc_now(), "started_at": ""}
        self.update(run_id, position=self._next_position(), **fresh)

    def renew(self, run_id: str) -> None:
        """Queue a finished run again, whose result stays until a worker begins it."""
        self._run("UPDATE jobs SET document = json_set(document, '$.anew', 1) WHERE run_id = ?", run_id)
        self.queue_again(run_id)

    def end_renewal(self, run_id: str) -> None:
        self._run("UPDATE jobs SET document = json_remove(document, '$.anew') WHERE run_id = ?", run_id)

    def not_renewed(self) -> list[tuple[str, str]]:
        """Run and experiment of finished jobs that were to be trained anew and have not ended well."""
        return [
            (row["run_id"], row["experiment"])
            for row in self._all(f"SELECT run_id, experiment FROM jobs WHERE anew AND {UNRENEWED}")
        ]

    def without_checkpoints(self, project: ProjectPaths, spec: RunSpec) -> Collection[str]:
        """The finished runs that one takes over from, directly or not, whose checkpoints are gone."""
        return without_checkpoints(self._connection, project, [spec])

    def renew_attempts(self, run_id: str) -> None:
        """Allow a job as many further attempts as it was allowed at first."""
        self._run("UPDATE jobs SET max_attempts = attempts + attempts_allowed WHERE run_id = ?", run_id)

    def replace_document(
        self, run_id: str, document: str, priority: int, attempts_allowed: int, place: str
    ) -> None:
        """Give a job that is queued again its new specification, priority, attempts allowed and place."""
        shape = self._shape(document)
        allowed = {"priority": priority, "attempts_allowed": attempts_allowed, "place": place}
        self.update(run_id, document=document, shape=shape, cancel_requested=0, **allowed)
        self.renew_attempts(run_id)

    def remove(self, run_id: str) -> bool:
        """Forget a job of this machine that never began and that none waits for; whether it was one."""
        nobody = "NOT EXISTS (SELECT 1 FROM dependencies WHERE source = ?1)"
        never_begun = f"run_id = ?1 AND attempts = 0 AND state IN (?2, ?3) AND {LOCAL} AND {nobody}"
        states = (JobState.QUEUED, JobState.HELD)
        gone = self._run(f"DELETE FROM jobs WHERE {never_begun}", run_id, *states) == 1
        if gone:
            self._run("DELETE FROM rungs WHERE run_id = ? AND number = 0", run_id)
        return gone

    def put_back(self, run_id: str, values: Mapping[str, Any]) -> None:
        """Give a job what a command took from it, its state included; `follow_back` is to come next."""
        self.update(run_id, **values)
        if "waits" in values:
            self.dependencies.replace(run_id, self.dependencies.sources(run_id))
        if "state" in values:
            self.dependencies.follow(run_id)
            self.searches.follow(run_id)
            self._put_back.add(run_id)

    def follow_back(self, run_id: str) -> str:
        """Once all is put back: let what waits for a job follow it; why the job itself fails now."""
        if run_id not in self._put_back:
            return ""
        self._put_back.remove(run_id)
        state, hopeless = self.state(run_id), ""
        if state and state.is_final:
            self._follow(run_id, state, self.value(run_id, "reason"))
        elif hopeless := self.dependencies.hopeless(self.dependencies.sources(run_id)):
            self.change(run_id, JobState.FAILED, hopeless)
        return hopeless

    def change(self, run_id: str, state: JobState, reason: str = "") -> None:
        """Take a job to another state, and with it whatever waits for it.

        Raises IllegalTransitionError: the transition table does not allow it.
        """
        self._set_state(run_id, state, reason)
        if state is JobState.FAILED:
            self.notices.job_failed(self.value(run_id, "experiment"), run_id, reason)
        self._follow(run_id, state, reason)

    def _follow(self, run_id: str, state: JobState, reason: str) -> None:
        """Let dependants start, wait or fail, and notice the end of an experiment.

        All that fails with a run carries its name: that is the one to retry first.
        """
        why = stranded_by(run_id, state, reason)
        changed = [(run_id, state)]
        for one, its_state in changed:
            self.dependencies.follow(one)
            if its_state in (JobState.FAILED, JobState.CANCELLED):
                for dependant in self.dependencies.stranded(one):
                    # Told of once: by the failure of the first.
                    self._set_state(dependant, JobState.FAILED, why)
                    changed.append((dependant, JobState.FAILED))
            if its_state.is_final:
                self.notices.job_ended(self.value(one, "experiment"))

    def _set_state(self, run_id: str, state: JobState, reason: str) -> None:
        allowed = sources(state)
        marks = ", ".join("?" * len(allowed))
        changed = self._run(
            "UPDATE jobs SET state = ?, reason = ?, finished_at = iif(?, ?, ''), "
            f"device = iif(?, '', device) WHERE run_id = ? AND state IN ({marks})",
            *(state, reason, state.is_final, utc_now(), state.is_waiting, run_id, *allowed),
        )
        if changed != 1:
            raise IllegalTransitionError(f"job {run_id} cannot become {state}: it is in none of {allowed}")
        if state.is_final:
            self.searches.follow(run_id)

    def has_cancelled_beside(self, run_id: str, tag: str) -> bool:
        """Whether another run of the worker with this tag was cancelled, or is to be."""
        cancelled = self._one(
            "SELECT 1 FROM attempts JOIN jobs USING (run_id) WHERE tag = ? AND tag != '' AND run_id != ? "
            "AND (outcome = ? OR (attempt = attempts AND cancel_requested)) LIMIT 1",
            *(tag, run_id, JobState.CANCELLED),
        )
        return cancelled is not None

    def line(self, run_id: str) -> list[str]:
        """The unfinished, inactive jobs of this job's priority, first in line first."""
        rows = self._all(
            f"SELECT run_id FROM jobs WHERE ({WAITING} OR state = ?) "
            "AND priority = (SELECT priority FROM jobs WHERE run_id = ?) ORDER BY position",
            *(JobState.HELD, run_id),
        )
        return [row["run_id"] for row in rows]

    def in_line(self, run_ids: Sequence[str]) -> list[str]:
        """Runs by their places in the queue; those that are not in it first."""
        places = {one: self._one("SELECT position FROM jobs WHERE run_id = ?", one) for one in run_ids}
        return sorted(places, key=lambda one: places[one][0] if places[one] else 0)

    def reorder(self, run_ids: Sequence[str]) -> None:
        """Give jobs the places that they have among them, in another order."""
        before = {one: self.value(one, "position") for one in run_ids}
        for run_id, position in zip(run_ids, sorted(before.values()), strict=True):
            if position != before[run_id]:
                self.update(run_id, position=position)

    def waiting(self, limit: int) -> list[QueuedJob]:
        self.dependencies.count()
        rows = self._all(
            f"SELECT {QUEUED_JOB} FROM jobs WHERE {STARTABLE} AND {LOCAL} "
            "ORDER BY priority DESC, position LIMIT ?",
            limit,
        )
        return [QueuedJob.of(row) for row in rows]

    def shape(self, number: int) -> str:
        """What the jobs of a shape are to do, as JSON; empty where their documents do not tell."""
        row = self._one("SELECT spec FROM shapes WHERE id = ?", number)
        return str(row["spec"]) if row else ""

    def has_waiting(self) -> bool:
        """Whether any job is to start as soon as a device of this machine is free."""
        self.dependencies.count()
        waiting = f"SELECT 1 FROM jobs WHERE {STARTABLE} AND {LOCAL} AND {NOT_DRAINING} LIMIT 1"
        return self._one(waiting) is not None

    def active(self) -> list[ActiveJob]:
        """The jobs that workers of this machine have or may have."""
        newest = f"jobs JOIN attempts USING (run_id) WHERE {ACTIVE} AND attempt = attempts"
        rows = self._all(f"SELECT {ACTIVE_JOB} FROM {newest} AND {LOCAL}")
        return [ActiveJob.of(row) for row in rows]

    # Attempts

    def lanes(self, tag: str) -> tuple[str, ...]:
        """The jobs that a worker was started for, in the order in which it was given them."""
        rows = self._all("SELECT run_id FROM attempts WHERE tag = ? ORDER BY rowid", tag)
        return tuple(row[0] for row in rows)

    def begin_attempt(self, run_id: str, attempt: int, device: str, reserved_bytes: int, tag: str) -> None:
        """Commit-to-be of a start: state, attempt number and reservation, before anything is spawned."""
        self.change(run_id, JobState.STARTING)
        now = utc_now()
        self.update(run_id, attempts=attempt, device=device, started_at=now)
        self._run(
            "INSERT INTO attempts (run_id, attempt, device, reserved_bytes, tag, started_at) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            *(run_id, attempt, device, reserved_bytes, tag, now),
        )
        self.known_gpus.note_use(device)

    def record_attempt(self, run_id: str, attempt: PastAttempt) -> None:
        """Note an attempt that another queue has seen begin, and maybe end."""
        self._run(
            "INSERT INTO attempts (run_id, attempt, device, reserved_bytes, tag, started_at, finished_at, "
            "outcome, reason) VALUES (?, ?, ?, 0, ?, ?, ?, ?, ?)",
            *(run_id, attempt.attempt, attempt.device, attempt.tag, attempt.started_at),
            *(attempt.finished_at, attempt.outcome, attempt.reason),
        )
        self.known_gpus.note_use(attempt.device)

    def forgive_attempt(self, run_id: str, attempt: int, reason: str) -> None:
        """Let a job start once more for a start that no worker followed."""
        self.change(run_id, JobState.INTERRUPTED, reason)
        started_at = self._one(
            "SELECT started_at FROM attempts WHERE run_id = ? AND attempt = ?", run_id, attempt
        )[0]
        self.end_attempt(run_id, attempt, NEVER_BEGAN, reason, finished_at=started_at)
        self.increase(run_id, "max_attempts")

    def end_attempt(
        self, run_id: str, attempt: int, outcome: str, reason: str, *, finished_at: str = ""
    ) -> None:
        """Note how an attempt ended, and when: now, unless something else is known."""
        self._run(
            "UPDATE attempts SET outcome = ?, reason = ?, finished_at = ? WHERE run_id = ? AND attempt = ?",
            *(outcome, reason, finished_at or utc_now(), run_id, attempt),
        )

    def learned(self, workload: str) -> list[Learned]:
        """What has been seen of a workload's GPU memory, by where its images lay."""
        rows = self._all(
            "SELECT in_file, work_bytes, image_bytes, test_bytes FROM memory WHERE workload = ?", workload
        )
        return [Learned(bool(row[0]), *row[1:]) for row in rows]

    def learn_memory(self, workload: str, learned: Learned) -> None:
        """Remember the most GPU memory that a workload has been seen to take."""
        self._run(
            "INSERT INTO memory (workload, in_file, work_bytes, image_bytes, test_bytes) "
            "VALUES (?, ?, ?, ?, ?) ON CONFLICT (workload, in_file) DO UPDATE SET "
            "work_bytes = max(work_bytes, excluded.work_bytes), image_bytes = excluded.image_bytes, "
            "test_bytes = max(test_bytes, excluded.test_bytes)",
            *(workload, learned.in_file, learned.work_bytes, learned.image_bytes, learned.test_bytes),
        )

    def _shape(self, document: str) -> int:
        """The number of what decides the time of the run that a document describes."""
        spec = self._one(f"SELECT {shape_of('?1')}", document)[0]
        self._run("INSERT OR IGNORE INTO shapes (spec) VALUES (?)", spec)
        return int(self._one("SELECT id FROM shapes WHERE spec = ?", spec)[0])

    def _next_position(self) -> int:
        return int(self._one("SELECT coalesce(max(position), 0) + 1 FROM jobs")[0])

    def _run(self, statement: str, *values: object) -> int:
        with storage_errors(self.path):
            return self._connection.execute(statement, values).rowcount

    def _one(self, statement: str, *values: object) -> sqlite3.Row:
        with storage_errors(self.path):
            return self._connection.execute(statement, values).fetchone()  # type: ignore[no-any-return]

    def _all(self, statement: str, *values: object) -> list[sqlite3.Row]:
        with storage_errors(self.path):
            return self._connection.execute(statement, values).fetchall()

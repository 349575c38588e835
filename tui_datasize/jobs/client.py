"""The queue as the app and the commands see it: ask, look, and see that a scheduler runs."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tui_datasize
from tui_datasize.errors import UnknownRunError
from tui_datasize.experiments.spec import SCHEMA_VERSION, RunSpec
from tui_datasize.jobs import launch
from tui_datasize.jobs.commands import Acknowledgement, CommandKind, CommandResult
from tui_datasize.jobs.database import create_database, open_database, storage_errors, transaction
from tui_datasize.jobs.state import MAX_ATTEMPTS, Job, JobState
from tui_datasize.runlog.claim import utc_now
from tui_datasize.runlog.paths import ProjectPaths

__all__ = ["Acknowledgement", "CommandKind", "CommandResult", "QueueClient"]

_POLL_INTERVAL_S = 0.02
_GIT_TIMEOUT_S = 5.0
_CANDIDATES_SHOWN = 5

_JOB_COLUMNS = ", ".join(Job.__dataclass_fields__)
_STATE_AFTER: Mapping[str, JobState] = {
    CommandKind.ENQUEUE: JobState.QUEUED,
    CommandKind.RETRY: JobState.QUEUED,
    CommandKind.CANCEL: JobState.CANCELLED,
}
"""Where a command that is acknowledged but not yet applied will take a job."""


class QueueClient:
    """A client of one project's queue; cheap to make, used from any thread, may come and go.

    Args:
        project: The project directory.
        scheduler_options: Command-line options for a scheduler that this client starts.
    """

    def __init__(self, project: ProjectPaths, *, scheduler_options: Sequence[str] = ()) -> None:
        self.project = project
        self._scheduler_options = tuple(scheduler_options)

    def enqueue(
        self,
        specs: Sequence[RunSpec],
        *,
        force: bool = False,
        priority: int = 0,
        data_dir: Path | None = None,
    ) -> Acknowledgement:
        """Queue the runs that are missing, in the given order.

        Runs that succeeded, failed or wait or run are left alone; cancelled ones are queued again.

        Args:
            specs: The runs of a sweep.
            force: Run all of them afresh; old run directories move to `.superseded/`.
            priority: Higher runs first.
            data_dir: Where the workers find data sets.

        Raises:
            StorageError: The runs directory cannot be written or holds a damaged queue.
        """
        documents = self._documents(specs, data_dir)
        create_database(self.project.queue)
        with self._database() as connection, transaction(connection):
            states = _expected_states(connection)
            missing = [
                run_id
                for run_id in documents
                if force or states.get(run_id, JobState.CANCELLED) is JobState.CANCELLED
            ]
            rows = [(run_id, priority, force, documents[run_id]) for run_id in missing]
            command_ids = _insert(connection, CommandKind.ENQUEUE, rows)
        present = documents.keys() - set(missing)
        failed = sum(states[run_id] is JobState.FAILED for run_id in present)
        return Acknowledgement(command_ids, new=len(missing), present=len(present), failed=failed)

    def send(self, kind: CommandKind, run_ids: Sequence[str], amount: int = 0) -> Acknowledgement:
        """Ask for a change of jobs; it is applied as soon as a scheduler runs.

        Args:
            kind: Any kind but ENQUEUE.
            run_ids: Full ids, see `resolve`.
            amount: Relative change of the priority, or -1 and +1 for a move up and down.

        Raises:
            StorageError: The queue cannot be written.
        """
        create_database(self.project.queue)
        with self._database() as connection, transaction(connection):
            return Acknowledgement(
                _insert(connection, kind, [(run_id, amount, False, "") for run_id in run_ids])
            )

    def wait(self, acknowledgement: Acknowledgement, timeout_s: float) -> list[CommandResult] | None:
        """The answers to acknowledged commands, in order; None where they take longer than `timeout_s`."""
        if not acknowledgement.command_ids:
            return []
        deadline = time.monotonic() + timeout_s
        first, last = acknowledgement.command_ids[0], acknowledgement.command_ids[-1]
        with self._database() as connection:
            while True:
                rows = connection.execute(
                    "SELECT run_id, ok, message FROM commands "
                    "WHERE id BETWEEN ? AND ? AND applied_at IS NOT NULL ORDER BY id",
                    (first, last),
                ).fetchall()
                if len(rows) == len(acknowledgement.command_ids):
                    return [CommandResult(run_id, bool(ok), message) for run_id, ok, message in rows]
                if time.monotonic() >= deadline:
                    return None
                time.sleep(_POLL_INTERVAL_S)

    def jobs(self) -> list[Job]:
        """All jobs in queue order, acknowledged but not yet applied ones included as queued."""
        if not self.project.queue.exists():
            return []
        with self._database() as connection:
            # One snapshot for both looks: a command that is applied in between would be in neither.
            connection.execute("BEGIN")
            rows = connection.execute(f"SELECT {_JOB_COLUMNS} FROM jobs ORDER BY position").fetchall()
            jobs = [_job(row) for row in rows]
            known = {job.run_id for job in jobs}
            return jobs + [job for job in _acknowledged_jobs(connection) if job.run_id not in known]

    def counts(self) -> Mapping[JobState, int]:
        """Number of jobs in each state, states without a job included."""
        counted = Counter(job.state for job in self.jobs())
        return {state: counted[state] for state in JobState}

    def resolve(self, prefix: str) -> str:
        """The one run whose id is or begins with `prefix`, queued or only on disk.

        Raises:
            UnknownRunError: There is none, or more than one.
        """
        run_ids = {job.run_id for job in self.jobs()}
        if not any(run_id.startswith(prefix) for run_id in run_ids):
            run_ids = {paths.run_id for paths in self.project.all_runs()}
        if prefix in run_ids:
            return prefix
        found = sorted(run_id for run_id in run_ids if run_id.startswith(prefix))
        if len(found) == 1:
            return found[0]
        if not found:
            raise UnknownRunError(
                f"no run begins with {prefix!r}", where=str(self.project.runs), fix="see datasize-tui status"
            )
        shown = ", ".join(found[:_CANDIDATES_SHOWN]) + (", ..." if len(found) > _CANDIDATES_SHOWN else "")
        raise UnknownRunError(f"{prefix!r} fits {len(found)} runs", fix=f"be longer: {shown}")

    def ensure_scheduler(self) -> None:
        """Start a detached scheduler unless one runs.

        Raises:
            StorageError: It could not start; the message carries the last line of its log.
        """
        launch.ensure_scheduler(self.project, self._scheduler_options)

    def scheduler_alive(self) -> bool:
        """Whether a scheduler has the queue."""
        return launch.scheduler_alive(self.project)

    def stop_scheduler(self, timeout_s: float = 10.0) -> bool:
        """Ask the scheduler to end; workers go on and are found again by the next one.

        Returns:
            Whether no scheduler runs any more.
        """
        if self.scheduler_alive():
            self.send(CommandKind.STOP, [""])
        return launch.wait_until(lambda: not self.scheduler_alive(), timeout_s)

    def _documents(self, specs: Sequence[RunSpec], data_dir: Path | None) -> dict[str, str]:
        """The content of `spec.json` by run id, in the order of `specs`."""
        commit, dirty = _git_state(self.project.root)
        facts: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "package_version": tui_datasize.__version__,
            "git_commit": commit,
            "git_dirty": dirty,
            "queued_at": utc_now(),
            "data_dir": str(data_dir.absolute()) if data_dir else None,
        }
        documents = {}
        for spec in specs:
            run_id = spec.run_id
            documents[run_id] = json.dumps(facts | {"run_id": run_id, "spec": spec.to_dict()})
        return documents

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        connection = open_database(self.project.queue)
        try:
            with storage_errors(self.project.queue):
                yield connection
        finally:
            connection.close()


def _insert(
    connection: sqlite3.Connection, kind: CommandKind, rows: Sequence[tuple[str, int, bool, str]]
) -> tuple[int, ...]:
    """Add one command per (run id, amount, force, document) and return their ids."""
    if not rows:
        return ()
    batch, now = uuid.uuid4().hex, utc_now()
    connection.executemany(
        "INSERT INTO commands (batch, kind, run_id, amount, force, document, created_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(batch, kind, *row, now) for row in rows],
    )
    last = connection.execute("SELECT max(id) FROM commands").fetchone()[0]
    # The transaction keeps others from inserting in between: the ids are consecutive.
    return tuple(range(last - len(rows) + 1, last + 1))


def _expected_states(connection: sqlite3.Connection) -> dict[str, JobState]:
    """The state of every job once all acknowledged commands are applied, as far as it can be told."""
    states = {
        run_id: JobState(state) for run_id, state in connection.execute("SELECT run_id, state FROM jobs")
    }
    pending = connection.execute("SELECT kind, run_id FROM commands WHERE applied_at IS NULL ORDER BY id")
    for kind, run_id in pending:
        if kind in _STATE_AFTER:
            states[run_id] = _STATE_AFTER[kind]
    return states


def _acknowledged_jobs(connection: sqlite3.Connection) -> Iterator[Job]:
    """Jobs of enqueue commands that no scheduler has applied yet."""
    last_position = connection.execute("SELECT coalesce(max(position), 0) FROM jobs").fetchone()[0]
    rows = connection.execute(
        "SELECT run_id, json_extract(document, '$.spec.experiment') AS experiment, max(amount) AS priority, "
        "min(created_at) AS queued_at FROM commands WHERE applied_at IS NULL AND kind = ? "
        "GROUP BY run_id ORDER BY min(id)",
        (CommandKind.ENQUEUE,),
    )
    for offset, row in enumerate(rows, start=1):
        yield Job(
            run_id=row["run_id"],
            experiment=row["experiment"],
            state=JobState.QUEUED,
            priority=row["priority"],
            position=last_position + offset,
            attempts=0,
            max_attempts=MAX_ATTEMPTS,
            reason="",
            device="",
            queued_at=row["queued_at"],
            started_at="",
            finished_at="",
        )


def _job(row: sqlite3.Row) -> Job:
    return Job(**(dict(row) | {"state": JobState(row["state"])}))


def _git_state(root: Path) -> tuple[str | None, bool | None]:
    """Commit of the project directory and whether tracked files differ from it; None without git."""
    commit = _git(root, "rev-parse", "HEAD")
    changes = _git(root, "status", "--porcelain", "--untracked-files=no") if commit else None
    return commit, None if changes is None else bool(changes)


def _git(root: Path, *arguments: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, timeout=_GIT_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None

"""Rebuilding the queue from the run directories, when its database is damaged or gone."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tui_datasize.errors import StorageError
from tui_datasize.experiments.project_tables import is_shared
from tui_datasize.files import read_bounded, read_object
from tui_datasize.jobs.queue.database import DamagedQueueError, directory_lock, open_database, storage_errors
from tui_datasize.jobs.queue.records import PastAttempt
from tui_datasize.jobs.queue.schema import VANISHED
from tui_datasize.jobs.queue.spec_file import QueuedSpec
from tui_datasize.jobs.queue.state import CPU, JobState
from tui_datasize.jobs.queue.store import Store
from tui_datasize.jobs.scheduler.attempt_end import starts_again
from tui_datasize.jobs.scheduler.lock import SchedulerLock
from tui_datasize.runlog.atomic import rename
from tui_datasize.runlog.claim import Observation, make_end_durable, observe, utc_now
from tui_datasize.runlog.locks import make_runs
from tui_datasize.runlog.paths import ProjectPaths, RunPaths

_WORKER_VANISHED = "worker vanished"
_BESIDE = ("-wal", "-shm")
"""What SQLite keeps beside a database; a log of another one would be replayed into the new one."""


@dataclass(frozen=True, slots=True)
class Repair:
    """What a repair has done."""

    added: Mapping[JobState, int]
    """Jobs that were made from run directories, by state."""
    unreadable: tuple[Path, ...]
    """Files that cannot be read, or say nothing about a run."""
    problem: str
    """What was wrong with the database; empty where it is sound, or there was none."""
    aside: Path | None
    """Where the damaged database is kept."""


@dataclass(frozen=True, slots=True)
class _Found:
    """A run directory and what it tells."""

    paths: RunPaths
    document: QueuedSpec
    seen: Observation


def repair(project: ProjectPaths) -> Repair:
    """Give a project a sound queue that knows every run directory; nothing is deleted.

    A damaged database is moved aside and rebuilt. To a sound one, run directories that it does not know
    are added. What the directories do not tell is lost with the database: whether it drained,
    runs that never began, priorities, and which jobs were held.

    Raises StorageError: a scheduler has the queue, the runs directory cannot be written, or the database is
        of a newer version.
    """
    lock = SchedulerLock(project.scheduler_lock)
    with storage_errors(project.runs):
        make_runs(project.runs, shared=is_shared(project.root))
    if not lock.take():
        fix = "stop it with `datasize-tui scheduler stop`, then repair"
        raise StorageError("a scheduler has the queue", where=str(project.runs), fix=fix)
    try:
        problem = damage(project.queue)
        if problem or not project.queue.exists():
            return _rebuild(project, problem)
        with closing(Store(project.queue)) as store:
            added, unreadable = _add_unknown(store, project)
        return Repair(added, unreadable, problem="", aside=None)
    finally:
        lock.release()


def damage(queue: Path) -> str:
    """What is wrong with the database, in words; empty where it is sound or missing.

    Raises StorageError: it is of a newer version, or cannot be read now.
    """
    if not queue.exists():
        return ""
    try:
        with closing(open_database(queue)) as connection, storage_errors(queue):
            answer = str(connection.execute("PRAGMA integrity_check(1)").fetchone()[0])
            for table in ("jobs", "attempts", "commands"):
                connection.execute(f"SELECT count(*) FROM {table}")
    except DamagedQueueError as error:
        return error.what
    return "" if answer == "ok" else answer


def state_of(seen: Observation) -> tuple[JobState, str]:
    """State and reason of a run that no queue knows, as its directory tells."""
    if seen.final_exit:
        return JobState(seen.final_exit.outcome), seen.final_exit.reason
    if seen.is_running:
        return JobState.RUNNING, ""
    return (JobState.INTERRUPTED, starts_again(_WORKER_VANISHED)) if seen.claim else (JobState.QUEUED, "")


def _rebuild(project: ProjectPaths, problem: str) -> Repair:
    temporary = project.runs / f".queue.db.{threading.get_native_id()}.rebuilt"
    _remove(temporary)
    try:
        with closing(Store(temporary)) as store:
            added, unreadable = _add_unknown(store, project)
        with storage_errors(project.queue), directory_lock(project.runs):
            aside = _move_aside(project.queue) if project.queue.exists() else None
            rename(temporary, project.queue)
    finally:
        _remove(temporary)
    return Repair(added, unreadable, problem, aside)


def _add_unknown(store: Store, project: ProjectPaths) -> tuple[Mapping[JobState, int], tuple[Path, ...]]:
    """Add a job for every run directory that the queue does not know, in the order of their queueing."""
    found, unreadable = _find(project)
    unknown = [run for run in found if store.state(run.paths.run_id) is None]
    with store.transaction():
        for run in unknown:
            _add(store, run)
        # Only now is every source there that can be.
        for run in unknown:
            run_id, after = run.paths.run_id, run.document.after
            store.dependencies.replace(run_id, after)
            state = store.state(run_id)
            if state and state.is_waiting and (problem := store.dependencies.problem(run_id, after)):
                store.change(run_id, JobState.FAILED, problem)
        states = Counter(store.state(run.paths.run_id) for run in unknown)
    return {state: count for state, count in states.items() if state}, unreadable


def _find(project: ProjectPaths) -> tuple[list[_Found], tuple[Path, ...]]:
    found, unreadable = [], []
    for paths in project.all_runs():
        try:
            document = QueuedSpec.read(read_bounded(paths.spec).decode())
            if (document.spec.experiment, document.spec.run_id) != (paths.experiment, paths.run_id):
                raise ValueError("is of another run")
            seen = observe(paths)
            make_end_durable(paths, seen)
        except (KeyError, TypeError, ValueError):
            unreadable.append(paths.spec)
        except OSError as error:
            unreadable.append(Path(error.filename or paths.directory))
        else:
            # What was imported has never been queued, and never may be.
            if not document.spec.imported:
                found.append(_Found(paths, document, seen))
    return sorted(found, key=lambda run: run.document.queued_at), tuple(unreadable)


def _add(store: Store, run: _Found) -> None:
    seen, run_id = run.seen, run.paths.run_id
    state, reason = state_of(seen)
    store.add(run.document.job(run_id, seen, state, reason))
    store.searches.join(run_id, run.document.rung)
    if state is JobState.RUNNING and seen.claim:
        store.record_attempt(run_id, PastAttempt(seen.claim.attempt, seen.claim.tag, utc_now()))
    elif past := _past_attempt(run.paths, seen):
        store.record_attempt(run_id, past)


def _past_attempt(paths: RunPaths, seen: Observation) -> PastAttempt | None:
    """The newest attempt that a worker has begun."""
    claim = seen.claim
    if claim is None:
        return None
    end = seen.exit if seen.exit and seen.exit.attempt == claim.attempt else None
    return PastAttempt(
        attempt=claim.attempt,
        device=_device(paths),
        tag=claim.tag,
        started_at=claim.started_at,
        finished_at=end.finished_at if end else "",
        outcome=end.outcome if end else VANISHED,
        reason=end.reason if end else _WORKER_VANISHED,
    )


def _device(paths: RunPaths) -> str:
    """GPU UUID or `cpu`, as the worker noted it; empty where it did not."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        noted = read_object(paths.provenance)
        return str(noted["device_uuid"] or (CPU if noted["device"] == CPU else ""))
    return ""


def _move_aside(queue: Path) -> Path:
    """Keep the database, and what lies beside it, under names that tell what they are."""
    aside = queue.with_name(f"{queue.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}")
    # A second name, not a move: at no moment is there no queue, which a client would take for a new one.
    os.link(queue, aside)
    for suffix in _BESIDE:
        with suppress(FileNotFoundError):
            queue.with_name(queue.name + suffix).rename(aside.with_name(aside.name + suffix))
    return aside


def _remove(database: Path) -> None:
    for suffix in ("", *_BESIDE):
        database.with_name(database.name + suffix).unlink(missing_ok=True)

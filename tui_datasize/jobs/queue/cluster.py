"""What the queue knows of runs that a cluster makes: as which task of which array it was given each."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tui_datasize.errors import ConfigError
from tui_datasize.experiments.project_tables import cluster_settings
from tui_datasize.jobs.queue.dependencies import Dependencies
from tui_datasize.jobs.queue.records import QueuedJob
from tui_datasize.jobs.queue.schema import ACTIVE, QUEUED_JOB, STARTABLE, UNFINISHED, WAITING
from tui_datasize.jobs.queue.settings import NOT_DRAINING
from tui_datasize.jobs.queue.state import SLURM, JobState
from tui_datasize.runlog.atomic import make_directory, sync_directory
from tui_datasize.runlog.paths import ProjectPaths

_LEAVING = f"(cancel_requested AND {UNFINISHED})"
"""Condition on `jobs`: those that are being cancelled."""

_TO_HAND = (
    f"WHERE {STARTABLE} AND place = ? AND cancel_requested = 0 AND run_id NOT IN (SELECT run_id FROM handed)"
)


class HandedRun(NamedTuple):
    """A run that a cluster was given, or whose worker is one of a cluster; there may be tens of thousands."""

    run_id: str
    experiment: str
    state: JobState
    attempts: int
    max_attempts: int
    cancel_requested: bool
    reason: str
    device: str
    array: str
    """Empty of a run that another queue has handed over."""
    task: int
    first: int
    """The attempt that the first worker since then makes."""
    is_held: bool
    """Whether the cluster was told to hold it."""
    job_id: str
    """The cluster's number of the array; empty while it is not known to have it."""

    @property
    def is_outdated(self) -> bool:
        """Whether nothing is to come of its task: the job has ended, maybe to be queued again since."""
        return self.state.is_final or (self.state is JobState.QUEUED and self.attempts >= self.first)

    @property
    def standing(self) -> Sequence[object]:
        """What decides what is to become of it."""
        return (self.state, self.attempts, self.max_attempts, self.cancel_requested, self.array, self.task)


_STATES = {state.value: state for state in JobState}


@dataclass(frozen=True, slots=True)
class Handed:
    """The tables of one open database; their changes belong to the caller's transaction."""

    _connection: sqlite3.Connection
    _dependencies: Dependencies

    def has_work(self) -> bool:
        """Whether a run of a cluster waits or goes on, or the cluster still has a task."""
        self._dependencies.count()
        row = self._connection.execute(
            f"SELECT 1 WHERE EXISTS (SELECT 1 FROM jobs WHERE place != '' AND ({WAITING} AND blocked = 0 "
            f"AND {NOT_DRAINING} OR {ACTIVE} OR {_LEAVING})) OR EXISTS (SELECT 1 FROM handed)"
        )
        return row.fetchone() is not None

    def waiting(self, most: int) -> list[QueuedJob]:
        """The runs that are to be handed over, first in line first."""
        self._dependencies.count()
        told = f"SELECT {QUEUED_JOB} FROM jobs {_TO_HAND} ORDER BY priority DESC, position LIMIT ?"
        return [QueuedJob.of(row) for row in self._connection.execute(told, (SLURM, most))]

    def waiting_ids(self) -> set[str]:
        """The ids of all of them."""
        self._dependencies.count()
        rows = self._connection.execute(f"SELECT run_id FROM jobs {_TO_HAND}", (SLURM,))
        return {run_id for (run_id,) in rows}

    def runs(self) -> list[HandedRun]:
        """All that the cluster was given, by array and task; others of its workers first."""
        rows = self._connection.execute(
            "SELECT run_id, experiment, state, attempts, max_attempts, cancel_requested, reason, device, "
            "coalesce(array, '') AS array, coalesce(task, 0) AS task, coalesce(first, 1) AS first, "
            "coalesce(is_held, 0) AS is_held, coalesce(job_id, '') AS job_id FROM jobs "
            "LEFT JOIN handed USING (run_id) LEFT JOIN arrays ON name = array "
            f"WHERE place = ? AND ({ACTIVE} OR {_LEAVING} OR array IS NOT NULL) ORDER BY array, task",
            (SLURM,),
        )
        made = (
            (*row[:2], _STATES[row[2]], *row[3:5], bool(row[5]), *row[6:11], bool(row[11]), row[12])
            for row in map(tuple, rows)
        )
        return [HandedRun._make(values) for values in made]

    def standing(self, run_id: str) -> Sequence[object]:
        """What is to be compared with that of a `HandedRun`: whether it is still as it was; () of none."""
        row = self._connection.execute(
            "SELECT state, attempts, max_attempts, cancel_requested, coalesce(array, ''), coalesce(task, 0) "
            "FROM jobs LEFT JOIN handed USING (run_id) WHERE run_id = ?",
            (run_id,),
        ).fetchone()
        return tuple(row or ())

    def arrays(self) -> Mapping[str, str]:
        """The cluster's number of each array, by name, in their order; empty where it is not known."""
        return dict(self._connection.execute("SELECT name, job_id FROM arrays ORDER BY rowid").fetchall())

    def hand(self, array: str, runs: Sequence[tuple[str, int]]) -> None:
        """Note that an array is to be handed over, with its runs and their first attempts in order."""
        self._connection.execute("INSERT INTO arrays (name) VALUES (?)", (array,))
        rows = [(run_id, array, task, first) for task, (run_id, first) in enumerate(runs)]
        self._connection.executemany(
            "INSERT INTO handed (run_id, array, task, first) VALUES (?, ?, ?, ?)", rows
        )

    def acknowledge(self, array: str, job_id: str) -> None:
        """Note that the cluster has an array."""
        self._connection.execute("UPDATE arrays SET job_id = ? WHERE name = ?", (job_id, array))

    def hold(self, run_ids: Iterable[str], *, is_held: bool) -> None:
        self._connection.executemany(
            "UPDATE handed SET is_held = ? WHERE run_id = ?", [(is_held, run_id) for run_id in run_ids]
        )

    def take_back(self, run_ids: Iterable[str]) -> None:
        """Note that the cluster does not have these runs any more."""
        self._connection.executemany("DELETE FROM handed WHERE run_id = ?", [(one,) for one in run_ids])
        self._connection.execute("DELETE FROM arrays WHERE name NOT IN (SELECT array FROM handed)")


def check_cluster(project: ProjectPaths, experiments: Iterable[str]) -> None:
    """Refuse to queue for a cluster that this machine cannot hand runs to.

    Raises ConfigError: the file describes none, its commands are missing, or no node sees the runs.
    """
    # Whoever queues runs of this machine need not load it.
    settings = cluster_settings(project.root)
    if settings is None:
        fix = 'add a table [cluster] with kind = "slurm"'
        raise ConfigError("there is no cluster", where=str(project.experiments), fix=fix)
    if shutil.which("sbatch") is None:
        fix = "use a host from which jobs are submitted to Slurm"
        raise ConfigError("sbatch is not installed here", fix=fix)
    for name in sorted(experiments):
        if settings.shared and not (project.runs / name).is_symlink() and not Path(settings.shared).is_dir():
            fix = "mount it, or make it on a disk that the nodes see"
            raise ConfigError("there is no such directory", where=settings.shared, fix=fix)
        if problem := link_problem(project, name, settings.shared):
            raise ConfigError(problem, where=name)


def link_problem(project: ProjectPaths, experiment: str, shared: str | None) -> str:
    """Why runs of an experiment cannot lie in the directory that nodes see; empty where they can."""
    place = project.runs / experiment
    if shared is None or place.is_symlink() or not place.exists():
        return ""
    return f"{place} is not in {shared}, where the nodes look; move it there and leave a link"


def local_problem(project: ProjectPaths, experiment: str) -> str:
    """Why this machine cannot make runs of an experiment; empty where it can."""
    place = project.runs / experiment
    if not place.is_symlink():
        return ""
    try:
        settings = cluster_settings(project.root)
    except ConfigError as error:
        return error.line
    # Not where the link ends, which a disk that has gone does not tell.
    if not (settings and settings.shared and place.readlink().is_relative_to(settings.shared)):
        return ""
    return (
        f"{place} leads to {settings.shared}, which the nodes of the cluster share: only the cluster makes "
        "runs there; queue it `--on slurm`"
    )


def make_place(project: ProjectPaths, experiment: str, shared: str | None) -> None:
    """Have the runs of an experiment lie in the directory that nodes see.

    Raises OSError: it cannot be made, is not there any more, or they lie elsewhere already.
    """
    place = project.runs / experiment
    if problem := link_problem(project, experiment, shared):
        raise FileExistsError(problem)
    if place.is_symlink():
        # Not made anew where it is missing: what was mounted there may be.
        place.resolve(strict=True)
    if shared is None or place.is_symlink():
        return
    Path(shared).stat()
    target = Path(shared) / experiment
    make_directory(target, Path(shared))
    place.symlink_to(target)
    sync_directory(project.runs)

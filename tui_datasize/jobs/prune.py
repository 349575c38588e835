"""Freeing the disk of checkpoints that nothing needs any more; logs and tables are never touched."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tui_datasize.experiments.load import Project, load_project
from tui_datasize.experiments.sweep import plan_runs
from tui_datasize.jobs.state import Job, JobState
from tui_datasize.runlog.claim import Outcome, observe, take_lock
from tui_datasize.runlog.paths import ProjectPaths, RunPaths


@dataclass(frozen=True, slots=True)
class Prunable:
    """One file that may go."""

    path: Path
    size_bytes: int
    run: RunPaths | None
    """The run that owns it, which is locked while it is removed; None for a superseded one."""


def find_prunable(
    project: ProjectPaths,
    jobs: Sequence[Job],
    *,
    experiment: str | None,
    keep_last: bool,
    wanted: Collection[str] = (),
) -> list[Prunable]:
    """Checkpoints that no attempt will continue from, in name order.

    Those are the checkpoints of runs that succeeded, unless they are kept or wanted, or a job that has
    not succeeded takes weights from the run; all of superseded runs; and what broken writes have left
    of a checkpoint. A run that failed or was cancelled keeps its checkpoint, and its source: a retry
    continues from it.

    Args:
        project: Where to look.
        jobs: All jobs of its queue.
        experiment: Only runs of this one.
        keep_last: Whether runs that succeeded keep their checkpoint.
        wanted: Ids of runs that keep it in any case, see `planned_sources`.
    """
    states = {job.run_id: job.state for job in jobs}
    unfinished = (job for job in jobs if job.state is not JobState.SUCCEEDED)
    sources = {source for job in unfinished for source in job.after} | set(wanted)
    found = []
    for run in project.all_runs():
        if experiment not in (None, run.experiment):
            continue
        if _has_succeeded(run, states.get(run.run_id)) and run.run_id not in sources:
            found += _files(run, () if keep_last else (run.checkpoint,))
    return found + list(_superseded(project, experiment))


def survey(
    project: ProjectPaths, jobs: Sequence[Job], *, experiment: str | None = None, keep_last: bool = False
) -> list[Prunable]:
    """What `find_prunable` finds, with the sources that the project's experiments still need kept.

    Raises:
        DatasizeError: The project's file is wrong, or an experiment of it cannot be planned.
    """
    wanted = planned_sources(load_project(project.experiments), jobs) if project.experiments.is_file() else ()
    return find_prunable(project, jobs, experiment=experiment, keep_last=keep_last, wanted=wanted)


def planned_sources(project: Project, jobs: Sequence[Job]) -> frozenset[str]:
    """Ids of runs whose weights the experiments of the file take over in runs that have not succeeded.

    Raises:
        DatasizeError: An experiment that takes over weights cannot be planned: its data set is missing.
    """
    done = {job.run_id for job in jobs if job.state is JobState.SUCCEEDED}
    transferring = (e for e in project.experiments.values() if any(r.transfer for r in e.recipes))
    planned = (spec for experiment in transferring for spec in plan_runs(experiment, project))
    return frozenset(source for spec in planned if spec.run_id not in done for source in spec.sources)


def remove(files: Iterable[Prunable]) -> int:
    """Remove files and return how many bytes that freed; those of a run that begins anew stay.

    Raises:
        OSError: A file cannot be removed.
    """
    freed_bytes = 0
    for file in files:
        lock = take_lock(file.run, patience_s=0.1) if file.run else None
        try:
            if file.run is None or (lock is not None and _has_ended_well(file.run)):
                file.path.unlink(missing_ok=True)
                freed_bytes += file.size_bytes
        finally:
            if lock is not None:
                os.close(lock)
    return freed_bytes


def _has_succeeded(run: RunPaths, state: JobState | None) -> bool:
    """Whether the queue, if it knows the run, and its directory both say so."""
    return state in (None, JobState.SUCCEEDED) and _has_ended_well(run)


def _has_ended_well(run: RunPaths) -> bool:
    end = observe(run).final_exit
    return end is not None and end.outcome is Outcome.SUCCEEDED


def _files(run: RunPaths, checkpoints: Iterable[Path]) -> list[Prunable]:
    torn = sorted(run.directory.glob(f".{run.checkpoint.name}.*.tmp"))
    return [Prunable(path, path.stat().st_size, run) for path in (*checkpoints, *torn) if path.exists()]


def _superseded(project: ProjectPaths, experiment: str | None) -> Iterator[Prunable]:
    for path in sorted(project.runs.glob(f"{experiment or '[!.]*'}/.superseded/*/*checkpoint.pt*")):
        yield Prunable(path, path.stat().st_size, None)

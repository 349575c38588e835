"""Freeing the disk of checkpoints that nothing needs any more; logs and tables are never touched."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

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
    project: ProjectPaths, jobs: Sequence[Job], *, experiment: str | None, keep_last: bool
) -> list[Prunable]:
    """Checkpoints that no attempt will continue from, in name order.

    Those are the checkpoints of runs that succeeded, unless they are kept or an unfinished job waits
    for the run; all of superseded runs; and what broken writes have left of a checkpoint. A run that
    failed or was cancelled keeps its checkpoint: a retry continues from it.

    Args:
        project: Where to look.
        jobs: All jobs of its queue.
        experiment: Only runs of this one.
        keep_last: Whether runs that succeeded keep their checkpoint.
    """
    states = {job.run_id: job.state for job in jobs}
    sources = {source for job in jobs if not job.state.is_final for source in job.after}
    found = []
    for run in project.all_runs():
        if experiment not in (None, run.experiment):
            continue
        if _has_succeeded(run, states.get(run.run_id)) and run.run_id not in sources:
            found += _files(run, () if keep_last else (run.checkpoint,))
    return found + list(_superseded(project, experiment))


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

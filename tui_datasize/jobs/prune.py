"""Freeing the disk of checkpoints that nothing needs any more; logs and tables are never touched."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from tui_datasize.experiments.load import Project, load_project
from tui_datasize.experiments.project_tables import Keep
from tui_datasize.experiments.sources import needed
from tui_datasize.experiments.sweep import plan_runs
from tui_datasize.jobs.queue.state import Job, JobState
from tui_datasize.runlog.claim import RunOutcome, make_end_durable, observe, withheld
from tui_datasize.runlog.paths import ProjectPaths, RunPaths

Holding: TypeAlias = Literal["last", "best", "leftover"]
"""What a file holds: weights and all else of a run's end, weights of its best evaluation, or what
superseded runs and broken writes have left."""


@dataclass(frozen=True, slots=True)
class Prunable:
    """One file that may go, unless it is kept."""

    path: Path
    size_bytes: int
    holds: Holding
    run: RunPaths | None
    """The run that owns it, which is locked while it is removed; None for a superseded one."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What may be removed of a project."""

    files: tuple[Prunable, ...]
    """In name order."""
    keep: Keep
    """What the project's file says is kept."""

    def to_remove(self, keep: Keep) -> list[Prunable]:
        """The files that are not kept.

        To keep the best of a run whose best weights have no file of their own, such as one of an earlier
        version, keeps its last ones.
        """
        with_best = {file.run for file in self.files if file.holds == "best"}
        kept: dict[Holding, bool] = {"last": keep in ("last", "both"), "best": keep in ("best", "both")}
        return [
            file
            for file in self.files
            if not kept.get(file.holds)
            and not (file.holds == "last" and keep == "best" and file.run not in with_best)
        ]


@dataclass(frozen=True, slots=True)
class Removal:
    """What came of removing files: how many went, and of what size."""

    files: int
    size_bytes: int
    needed: int
    """Files left, because something has come to need them since they were chosen."""


def find_prunable(
    project: ProjectPaths, jobs: Sequence[Job], *, experiment: str | None, wanted: Collection[str] = ()
) -> list[Prunable]:
    """Files with weights that no attempt will continue from, in name order.

    Those are the files of runs that succeeded, unless they are wanted, or a job that has not succeeded
    takes weights from the run; all of superseded runs; and what broken writes have left. A run that
    failed or was cancelled keeps its checkpoint, and its source: a retry continues from it. Of runs whose
    ids are `wanted`, see `planned_sources`, files are left in any case.
    """
    states = {job.run_id: job.state for job in jobs}
    unfinished = (job for job in jobs if job.state is not JobState.SUCCEEDED)
    sources = {source for job in unfinished for source in job.after} | set(wanted)
    found: list[Prunable] = []
    for run in project.all_runs():
        if experiment not in (None, run.experiment):
            continue
        if (
            states.get(run.run_id) in (None, JobState.SUCCEEDED)
            and _has_ended_well(run)
            and run.run_id not in sources
        ):
            found += _files(run)
    for path in sorted(project.runs.glob(f"{experiment or '[!.]*'}/.superseded/*/*.pt*")):
        if path.is_file():
            found.append(Prunable(path, path.stat().st_size, "leftover", None))
    return found


def survey(project: ProjectPaths, jobs: Sequence[Job], *, experiment: str | None = None) -> Survey:
    """What `find_prunable` finds, but for the sources that the project's experiments still need.

    Raises DatasizeError: the project's file is wrong, or an experiment of it cannot be planned.
    """
    if not project.experiments.is_file():
        return Survey(tuple(find_prunable(project, jobs, experiment=experiment)), "none")
    loaded = load_project(project.experiments)
    wanted = planned_sources(loaded, jobs)
    files = find_prunable(project, jobs, experiment=experiment, wanted=wanted)
    return Survey(tuple(files), loaded.keep)


def planned_sources(project: Project, jobs: Sequence[Job]) -> frozenset[str]:
    """Ids of runs whose weights the experiments of the file take over in runs that have not succeeded.

    Raises DatasizeError: an experiment that takes over weights cannot be planned: its data set is missing.
    """
    done = {job.run_id for job in jobs if job.state is JobState.SUCCEEDED}
    reading = (
        experiment
        for experiment in project.experiments.values()
        if any(recipe.spec.transfer or recipe.spec.subset.path for recipe in experiment.recipes)
    )
    planned = [spec for one in reading for spec in plan_runs(one, project) if spec.run_id not in done]
    links = [run for run in needed(planned, {}) if run.run_id not in done]
    return frozenset(source for spec in (*planned, *links) for source in spec.sources)


def remove(
    project: ProjectPaths, read_jobs: Callable[[], Sequence[Job]], chosen: Sequence[Prunable], keep: Keep
) -> Removal:
    """Remove those of the chosen files that may still go.

    A person may have read what would go for hours: the queue, the directories and the project's file are
    looked at again, and what is needed by now stays, as do files of a run that begins anew.

    Raises DatasizeError: as for `survey`; nothing was removed.
    Raises OSError: a file cannot be removed.
    """
    now = {file.path: file for file in survey(project, read_jobs()).to_remove(keep)}
    still = [now[file.path] for file in chosen if file.path in now]
    freed_bytes = [file.size_bytes for file in still if _unlink(file)]
    return Removal(len(freed_bytes), sum(freed_bytes), sum(file.path.exists() for file in chosen))


def _unlink(file: Prunable) -> bool:
    """Remove a file and tell whether it was there; that of a run that begins anew stays."""
    # Somebody else may free the disk at the same time.
    with suppress(FileNotFoundError), withheld(file.run) if file.run else nullcontext() as run:
        if file.run is None or (run and not run.who and _has_ended_well(file.run)):
            file.path.unlink()
            return True
    return False


def _has_ended_well(run: RunPaths) -> bool:
    try:
        seen = observe(run)
        make_end_durable(run, seen)
    except OSError:
        return False
    end = seen.final_exit
    return end is not None and end.outcome is RunOutcome.SUCCEEDED


def _files(run: RunPaths) -> Iterator[Prunable]:
    weights: dict[Path, Holding] = {run.checkpoint: "last", run.best: "best", run.generator: "last"}
    for path, holds in weights.items():
        if path.is_file():
            yield Prunable(path, path.stat().st_size, holds, run)
        for torn in sorted(run.directory.glob(f".{path.name}.*.tmp")):
            if torn.is_file():
                yield Prunable(torn, torn.stat().st_size, "leftover", run)

"""Which runs make the next array, and the directories that their workers need."""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from pathlib import Path

from tui_datasize.experiments.cluster_settings import ClusterSettings
from tui_datasize.jobs.queue.cluster import HandedRun, link_problem, make_place
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.jobs.queue.store import Store
from tui_datasize.jobs.scheduler.prepare_run import prepare_directory
from tui_datasize.jobs.scheduler.slurm.arrays import HandedDirectory, name_of
from tui_datasize.runlog import lease as leases
from tui_datasize.runlog.atomic import make_directory
from tui_datasize.runlog.paths import ProjectPaths


def log_of(project: ProjectPaths, settings: ClusterSettings, array: str) -> Path:
    """Where the tasks of an array say what their runs' logs do not have."""
    place = Path(settings.shared) / ".cluster" if settings.shared else project.cluster
    return place.resolve() / f"{array}.log"


def plan_array(
    store: Store, project: ProjectPaths, settings: ClusterSettings, most: int
) -> Generator[bool, None, str]:
    """Commit the next array of waiting runs, yielding after each directory; its name, if any run waits.

    Raises OSError: no run can have a directory now; nothing was committed.
    """
    ready: list[tuple[str, HandedDirectory]] = []
    for job in store.cluster.waiting(most):
        if problem := link_problem(project, job.experiment, settings.shared):
            with store.transaction():
                store.change(job.run_id, JobState.HELD, f"{problem}; then release the run")
            continue
        make_place(project, job.experiment, settings.shared)
        first = prepare_directory(store, project, job)
        if first is not None:
            paths = project.run(job.experiment, job.run_id)
            first = max(first, leases.newest(paths) + 1)
            ready.append((job.run_id, HandedDirectory(paths.directory.resolve(), first, job.data_dir)))
        yield True
    if not ready:
        return ""
    log = log_of(project, settings, "")
    make_directory(log.parent, log.parent.parent)
    name = name_of([run for _, run in ready])
    with store.transaction():
        # A command may have been applied meanwhile.
        still = {job.run_id for job in store.cluster.waiting(-1)}
        if any(run_id not in still for run_id, _ in ready):
            return ""
        store.cluster.hand(name, [(run_id, run.first) for run_id, run in ready])
    return name


def directories(store: Store, project: ProjectPaths, runs: Sequence[HandedRun]) -> list[HandedDirectory]:
    """The runs of an array as its script names them, in the order of its tasks."""
    found = []
    for run in runs:
        directory = project.run(run.experiment, run.run_id).directory.resolve()
        document = json.loads(store.value(run.run_id, "document"))
        found.append(HandedDirectory(directory, run.first, document.get("data_dir") or ""))
    return found

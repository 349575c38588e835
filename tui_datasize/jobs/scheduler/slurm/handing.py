"""Which runs make the next array, and the directories that their workers need."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import partial
from pathlib import Path

from tui_datasize.experiments.cluster_settings import ClusterSettings
from tui_datasize.jobs.queue.cluster import HandedRun, link_problem, make_place
from tui_datasize.jobs.queue.records import QueuedJob
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.jobs.queue.store import Store
from tui_datasize.jobs.scheduler.prepare_run import prepare_directory
from tui_datasize.jobs.scheduler.slurm.arrays import HandedDirectory, name_of
from tui_datasize.jobs.scheduler.slurm.attempts import Reach
from tui_datasize.runlog import lease as leases
from tui_datasize.runlog.atomic import make_directory
from tui_datasize.runlog.paths import ProjectPaths


def log_of(project: ProjectPaths, settings: ClusterSettings, array: str, task: int | str = "%a") -> Path:
    """Where a task of an array says what its run's log does not have; each, as Slurm takes the name."""
    place = Path(settings.shared) / ".cluster" if settings.shared else project.cluster.resolve()
    return place / f"{array}-{task}.log"


def plan_array(
    store: Store, project: ProjectPaths, settings: ClusterSettings, jobs: Sequence[QueuedJob], reach: Reach
) -> Generator[bool, None, str]:
    """Commit the next array, of waiting jobs, yielding after each directory; its name, if any run is ready.

    Raises OSError: no run can have a directory now; nothing was committed.
    """
    ready: list[tuple[str, HandedDirectory]] = []
    for job in jobs:
        made = yield from reach(partial(_prepare, project, settings, job))
        if isinstance(made, HandedDirectory):
            ready.append((job.run_id, made))
        elif (state := store.state(job.run_id)) and state.is_waiting:
            with store.transaction():
                store.change(job.run_id, JobState.HELD, made)
        yield True
    if not ready:
        return ""
    log = log_of(project, settings, "")
    yield from reach(partial(make_directory, log.parent, log.parent.parent))
    name = name_of([run for _, run in ready])
    with store.transaction():
        # A command may have been applied meanwhile.
        if not store.cluster.waiting_ids().issuperset(run_id for run_id, _ in ready):
            return ""
        store.cluster.hand(name, [(run_id, run.first) for run_id, run in ready])
    return name


def _prepare(project: ProjectPaths, settings: ClusterSettings, job: QueuedJob) -> HandedDirectory | str:
    """The directory of a run, as the nodes see it, or why it cannot have one.

    Raises OSError: no run can have one now.
    """
    if problem := link_problem(project, job.experiment, settings.shared):
        return f"{problem}; then release the run"
    make_place(project, job.experiment, settings.shared)
    paths = project.run(job.experiment, job.run_id)
    is_linked = paths.directory.parent.is_symlink()
    first = prepare_directory(project, job, paths.directory.parent if is_linked else project.runs)
    if isinstance(first, str):
        return first
    first = max(first, leases.newest(paths) + 1)
    return HandedDirectory(paths.directory.parent.resolve() / job.run_id, first, job.data_dir)


def directories(
    store: Store, project: ProjectPaths, runs: Sequence[HandedRun], reach: Reach
) -> Generator[bool, None, list[HandedDirectory]]:
    """The runs of an array as its script names them, in the order of its tasks."""
    found, places = [], dict[str, Path]()
    for run in runs:
        place = project.run(run.experiment, run.run_id).directory
        if run.experiment not in places:
            places[run.experiment] = yield from reach(place.parent.resolve)
        data_dir = store.value(run.run_id, "json_extract(document, '$.data_dir')") or ""
        found.append(HandedDirectory(places[run.experiment] / place.name, run.first, data_dir))
    return found

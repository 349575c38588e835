"""Run directories that make room for another attempt from the start, and those that come back."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from tui_datasize.files import fault_of
from tui_datasize.jobs.queue.database import concerns_all, storage_errors
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.jobs.queue.store import Store
from tui_datasize.jobs.scheduler.shared_disk import SharedDiskError
from tui_datasize.runlog.atomic import make_directory, rename
from tui_datasize.runlog.claim import RunOutcome, read_exit, remove_leases, withheld
from tui_datasize.runlog.paths import ProjectPaths, RunPaths

_LOG = logging.getLogger(__name__)


def supersede(paths: RunPaths, project: ProjectPaths) -> bool:
    """Move a run directory to `.superseded/`, so that the run may begin afresh; whether there was one.

    Raises BlockingIOError: a worker has the run, on this host or another.
    Raises OSError: the directory cannot be moved.
    """
    if not paths.directory.exists():
        return False
    with withheld(paths) as run:
        if run.who:
            raise BlockingIOError(run.who)
        target = project.superseded(paths.experiment)
        make_directory(target, project.runs)
        moved = target / f"{paths.run_id}.{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
        rename(paths.directory, moved)
        remove_leases(RunPaths(moved))
    return True


def has_succeeded(paths: RunPaths) -> bool:
    """Whether a directory holds the result of a run; raises OSError: it cannot be read."""
    end = read_exit(paths)
    return end is not None and end.outcome is RunOutcome.SUCCEEDED


def put_back(store: Store, project: ProjectPaths, at: Callable[[RunPaths, Callable[[], bool]], bool]) -> None:
    """Give finished runs that were to be trained anew for others, and were not, their results back.

    What is done to a directory is done `at` it: a shared disk may not answer.

    Raises StorageError: no directory can be moved now.
    """
    for run_id, experiment in store.not_renewed():
        try:
            paths = project.run(experiment, run_id)
            is_back = at(paths, partial(_restore, paths, project))
        except (BlockingIOError, SharedDiskError):
            # Its worker is just leaving, or its disk is away.
            continue
        except OSError as error:
            if concerns_all(error, project.runs):
                with storage_errors(project.runs):
                    raise
            _LOG.error("%s: its result cannot be put back: %s", run_id, fault_of(error))
            is_back = False
        with store.transaction():
            store.end_renewal(run_id)
            for state in (JobState.QUEUED, JobState.SUCCEEDED) if is_back else ():
                store.change(run_id, state)


def _restore(paths: RunPaths, project: ProjectPaths) -> bool:
    """Have a run's directory hold its newest result; False where there is none."""
    if has_succeeded(paths):
        return True
    earlier = sorted(project.superseded(paths.experiment).glob(f"{paths.run_id}.*"), reverse=True)
    kept = next((one for one in earlier if has_succeeded(RunPaths(one))), None)
    if kept is None:
        return False
    supersede(paths, project)
    rename(kept, paths.directory)
    return True

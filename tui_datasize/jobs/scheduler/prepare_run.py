"""Making the directory of a run that is to begin."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from tui_datasize.files import fault_of, is_regular
from tui_datasize.jobs.queue.database import concerns_all
from tui_datasize.jobs.queue.records import QueuedJob
from tui_datasize.jobs.scheduler.superseded import has_succeeded, supersede
from tui_datasize.runlog.atomic import make_directory, write_json
from tui_datasize.runlog.claim import observe
from tui_datasize.runlog.paths import ProjectPaths

_LOG = logging.getLogger(__name__)


def prepare_directory(project: ProjectPaths, job: QueuedJob, place: Path) -> int | str:
    """Write the directory of a run: the number of its next attempt, or why this job cannot have one.

    Directories of runs lie in `place`, which tells a fault of one from a fault of all.

    Raises OSError: no run can have one now.
    """
    paths = project.run(job.experiment, job.run_id)
    try:
        document = json.loads(job.document)
        if document.get("anew") and has_succeeded(paths):
            supersede(paths, project)
        make_directory(paths.directory, place)
        write_json(paths.spec, document)
        # Something that is no regular file may have the name of one.
        for file in paths.files:
            is_regular(file)
        # A queue that was restored or rebuilt may know fewer attempts than the directory.
        return max(job.attempts, observe(paths).newest_attempt) + 1
    except OSError as error:
        if concerns_all(error, place):
            raise
        return f"{fault_of(error)}; fix or remove it, then release the run"
    except Exception as error:
        _LOG.exception("%s cannot be started", job.run_id)
        return f"unexpected error: {type(error).__name__}: {error}; see scheduler.log"

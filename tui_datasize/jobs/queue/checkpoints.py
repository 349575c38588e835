"""Finished runs whose checkpoints are gone: to take over from them they must be trained anew."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import suppress

from tui_datasize.experiments.spec import RunSpec
from tui_datasize.jobs.queue.spec_file import QueuedSpec
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.runlog.paths import ProjectPaths


def without_checkpoints(
    connection: sqlite3.Connection, project: ProjectPaths, specs: Iterable[RunSpec]
) -> dict[str, RunSpec]:
    """By id the finished runs that others take over from, directly or not, and whose checkpoints are gone.

    Or, of runs before others on a path, what they wrote down of their images. Each stands behind its own
    sources.
    """
    found: dict[str, RunSpec] = {}
    needed: dict[str, bool] = {}
    for spec in specs:
        for source in spec.sources:
            needed[source] = needed.get(source, False) or len(spec.subset.path) > 1
    for source, has_images in needed.items():
        row = connection.execute(
            "SELECT experiment, document FROM jobs WHERE run_id = ? AND state = ?",
            (source, JobState.SUCCEEDED),
        ).fetchone()
        if row is None:
            continue
        paths = project.run(row[0], source)
        if paths.checkpoint.exists() and (paths.subset.exists() or not has_images):
            continue
        with suppress(KeyError, TypeError, ValueError):
            spec = QueuedSpec.read(row[1]).spec
            found |= without_checkpoints(connection, project, [spec]) | {source: spec}
    return found

"""`P`: what removing checkpoints would free, and the removal after a question."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from textual.app import App

from tui_datasize.jobs.prune import Prunable, remove, survey
from tui_datasize.jobs.state import Job
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.tui.widgets.dialogs import ConfirmDialog
from tui_datasize.tui.widgets.text import plural


async def offer_prune(app: App[None], project: ProjectPaths, read_jobs: Callable[[], list[Job]]) -> str:
    """Look for checkpoints that nothing needs any more, ask, remove them, and say what came of it.

    Raises:
        DatasizeError: The queue or the project's file cannot be read.
    """
    files = await asyncio.to_thread(lambda: survey(project, read_jobs()))
    if not files:
        return "no checkpoint is there that nothing needs any more"
    if not await app.push_screen_wait(_question(files)):
        return "no checkpoint was removed"
    freed_bytes = await asyncio.to_thread(remove, files)
    return f"removed {plural(len(files), 'checkpoint')}: {_megabytes(freed_bytes)} freed"


def _question(files: Sequence[Prunable]) -> ConfirmDialog:
    superseded = sum(file.run is None for file in files)
    facts = [
        ("of finished runs", plural(len(files) - superseded, "checkpoint")),
        ("superseded", plural(superseded, "checkpoint")),
        ("frees", _megabytes(sum(file.size_bytes for file in files))),
        ("", ""),
        ("", "Logs, metrics and tables stay. A run without its checkpoint cannot hand on its weights."),
    ]
    return ConfirmDialog("Remove checkpoints?", facts, "remove them")


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 10**6:,.1f} MB"

"""`F`: what removing checkpoints would free, and the removal after two questions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from textual.app import App

from tui_datasize.experiments.project_tables import KEEPS, Keep
from tui_datasize.jobs.prune import Prunable, Survey, remove, survey
from tui_datasize.jobs.queue.state import Job
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.text import plural
from tui_datasize.tui.widgets.dialogs import ChooseDialog, ConfirmDialog

_KEPT: Mapping[Keep, str] = MappingProxyType(
    {"none": "no weights", "last": "the last: checkpoint.pt", "best": "the best: best.pt", "both": "both"}
)


async def offer_prune(app: App[None], project: ProjectPaths, read_jobs: Callable[[], list[Job]]) -> str:
    """Look for checkpoints that nothing needs any more, ask, remove them, and say what came of it.

    Raises DatasizeError: the queue or the project's file cannot be read.
    """
    found = await asyncio.to_thread(lambda: survey(project, read_jobs()))
    if not found.to_remove("none"):
        return "No checkpoints to delete"
    chosen = await app.push_screen_wait(_choice(found))
    keep = next((keep for keep in KEEPS if keep == chosen), None)
    files = found.to_remove(keep) if keep else []
    if not keep or not files or not await app.push_screen_wait(_question(files)):
        return "no checkpoint was removed"
    removed = await asyncio.to_thread(remove, project, read_jobs, files, keep)
    left = f", left {removed.needed:,} needed by now" if removed.needed else ""
    return f"removed {plural(removed.files, 'checkpoint')}: {_megabytes(removed.size_bytes)} freed{left}"


def _choice(found: Survey) -> ChooseDialog:
    choices = []
    for keep in KEEPS:
        files = found.to_remove(keep)
        frees = f"frees {_megabytes(_size_bytes(files)):>11}, {plural(len(files), 'file')}"
        choices.append((keep, f"{_KEPT[keep]:<23}  {frees}"))
    return ChooseDialog("Of runs that succeeded, keep", choices, found.keep)


def _question(files: Sequence[Prunable]) -> ConfirmDialog:
    counts = {
        "of the end of runs": sum(file.holds == "last" for file in files),
        "of their best": sum(file.holds == "best" for file in files),
        "superseded or broken": sum(file.holds == "leftover" for file in files),
    }
    facts = [
        *((where, plural(count, "checkpoint")) for where, count in counts.items() if count),
        ("frees", _megabytes(_size_bytes(files))),
        ("", ""),
        ("", "Logs, metrics and tables stay. A run without its checkpoint cannot hand on its weights."),
    ]
    return ConfirmDialog("Remove checkpoints?", facts, "remove them")


def _size_bytes(files: Sequence[Prunable]) -> int:
    return sum(file.size_bytes for file in files)


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 10**6:,.1f} MB"

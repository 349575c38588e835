"""Remarks on an experiment, asked for on any screen."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from textual.app import App
from textual.widgets import Input

from tui_datasize.errors import ConfigError
from tui_datasize.runlog.notes import add_note, read_remarks
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.tui.queue.builder import refuse_read_only
from tui_datasize.tui.widgets.dialogs import FieldsDialog

_SHOWN = 6


async def ask_for_remark(app: App[None], paths: ProjectPaths, experiment: str) -> str:
    """Ask for a remark on an experiment and keep it; what is to be told.

    Raises DatasizeError: it cannot be written.
    """
    if not experiment:
        raise ConfigError("no experiment to remark on")
    refuse_read_only(paths)
    there = await asyncio.to_thread(read_remarks, paths, experiment)
    shown = "\n".join(there[-_SHOWN:]) or "No notes yet."
    entry = Input(placeholder="what you want to remember", compact=True)
    answered = await app.push_screen_wait(
        FieldsDialog(f"Notes on {experiment}", shown, [("note", entry)], "keep it")
    )
    if answered is None or not answered[0].strip():
        return ""
    await asyncio.to_thread(add_note, paths, experiment, answered[0], datetime.now(UTC))
    return f"noted in {paths.note(experiment).relative_to(paths.root)}"

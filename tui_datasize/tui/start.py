"""Opens the app on a project, or prints one of its screens."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

from textual.pilot import Pilot

from tui_datasize.errors import EXIT_OK, EXIT_RUN_FAILED
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.scheduler.devices import DeviceMonitor
from tui_datasize.render.console import PlainConsole
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.tui.app import DatasizeApp
from tui_datasize.tui.preferences import Preferences, load_preferences

if TYPE_CHECKING:
    from tui_datasize.tui.polling.record import ProjectRecord

_LOOKS_AGAIN_S = 0.05
_REST_S = 0.3
"""A screen that has not changed for so long, with nothing left to compute, is whole."""
_LONGEST_S = 120.0


def run_app(project: ProjectPaths, *, slow: bool = False, read_only: bool = False) -> NoReturn:
    """Open the app on a project, and end the process with its exit status.

    The `TEXTUAL_...` variables of Textual hold for slow links, too.
    """
    preferences, mistakes = load_preferences()
    preferences = replace(
        preferences, slow=slow or preferences.slow, read_only=read_only or preferences.read_only
    )
    app = _app(project, preferences)
    if mistakes:
        app.call_later(app.say, f"{mistakes[0].line} (`datasize-tui config validate`)", error=True)
    app.run(mouse=preferences.mouse)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    # Nobody waits for what threads still read, import or compute; what they write has been waited for.
    os._exit(app.return_code or EXIT_OK)


def _app(project: ProjectPaths, preferences: Preferences) -> DatasizeApp:
    def open_record() -> ProjectRecord:
        from tui_datasize.tui.polling.record import ProjectRecord

        return ProjectRecord(project)

    # It is looked for while nobody types.
    gc.disable()
    queue = QueueClient(project)
    read_devices = DeviceMonitor(used=queue.used_gpus).read
    app = DatasizeApp(project, queue, open_record, read_devices, preferences=preferences)
    if "TEXTUAL_ANIMATIONS" not in os.environ:
        app.animation_level = "none"
    return app


def print_screen(project: ProjectPaths, tab: str, size: tuple[int, int]) -> int:
    """Print a tab as it looks now, in colours on a terminal; status 1 where the machine is at fault."""
    preferences, _ = load_preferences()
    app = _app(project, replace(preferences, read_only=True))
    # While the app runs Textual takes the place of both.
    console, is_terminal = PlainConsole(), sys.stdout.isatty()
    lines: list[str] = []

    async def wait_and_take(pilot: Pilot[Any]) -> None:
        await _until_whole(app, tab, pilot)
        for strip in app.screen._compositor.render_strips():
            plain = "".join(segment.text for segment in strip).rstrip()
            lines.append(strip.render(console).rstrip() if is_terminal else plain)
        app.exit()

    app.run(headless=True, size=size, auto_pilot=wait_and_take)
    print("\n".join(lines))
    return EXIT_RUN_FAILED if app.snapshot.faults else EXIT_OK


async def _until_whole(app: DatasizeApp, tab: str, pilot: Pilot[Any]) -> None:
    deadline_s = time.monotonic() + _LONGEST_S
    while not app.snapshot.is_ready and time.monotonic() < deadline_s:
        await asyncio.sleep(_LOOKS_AGAIN_S)
    await app.action_open_tab(tab)
    seen, since_s = object(), 0.0
    while time.monotonic() < deadline_s:
        await pilot.pause()
        shown = [strip.text for strip in app.screen._compositor.render_strips()]
        if shown != seen or not app.pane.is_settled:
            seen, since_s = shown, time.monotonic()
        elif time.monotonic() - since_s > _REST_S:
            return
        await asyncio.sleep(_LOOKS_AGAIN_S)

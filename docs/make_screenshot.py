"""Make the picture of the app in the README: `python docs/make_screenshot.py PROJECT docs/screen.svg`.

The app runs without a terminal on a project that exists, is given some keys, and saves what it shows.
It looks on only: nothing is queued and no scheduler is started.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from tui_datasize.errors import EXIT_BAD_INPUT, EXIT_OK
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.scheduler.devices import DeviceMonitor
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.tui.app import DatasizeApp
from tui_datasize.tui.polling.record import ProjectRecord

PATIENCE_S = 60.0
_STEP_S = 0.1


class Onlooker(QueueClient):
    """A client that leaves the queue as it is."""

    def ensure_scheduler(self) -> None:
        """Start nothing."""


async def photograph(project: ProjectPaths, size: tuple[int, int], keys: Sequence[str], wait_s: float) -> str:
    """The screen as an SVG document.

    Args:
        project: What to show.
        size: Columns and rows.
        keys: Pressed once the project has been read.
        wait_s: Seconds that charts and analyses get after the last key.

    Raises:
        TimeoutError: The project was not read in time.
    """
    app = DatasizeApp(
        project, Onlooker(project), lambda: ProjectRecord(project), DeviceMonitor().read, interval_s=_STEP_S
    )
    async with app.run_test(size=size) as pilot:
        async with asyncio.timeout(PATIENCE_S):
            while not app.snapshot.is_ready:
                await pilot.pause(_STEP_S)
        await pilot.press(*keys)
        await pilot.pause(wait_s)
        return app.export_screenshot(title=f"datasize-tui · {project.root.name}")


def main(argv: Sequence[str] | None = None) -> int:
    """Read the options, save the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("project", type=Path, help="project directory, e.g. datasize-demo")
    parser.add_argument("picture", type=Path, help="SVG file to write")
    parser.add_argument("--columns", type=int, default=120)
    parser.add_argument("--rows", type=int, default=36)
    parser.add_argument("--keys", nargs="*", default=["3"], help="keys to press first (default: 3, Analysis)")
    parser.add_argument("--wait-s", type=float, default=5.0, help="time for charts after the last key")
    arguments = parser.parse_args(argv)
    project = ProjectPaths(arguments.project.absolute())
    if not project.experiments.is_file():
        print(f"{project.experiments}: no such file", file=sys.stderr)
        return EXIT_BAD_INPUT
    size = (arguments.columns, arguments.rows)
    picture = asyncio.run(photograph(project, size, arguments.keys, arguments.wait_s))
    arguments.picture.write_text(picture, encoding="utf-8")
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())

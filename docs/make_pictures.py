"""Make the pictures of the README from a demonstration of its own: `python docs/make_pictures.py`.

The app runs without a terminal, is given some keys, and saves what it shows, in `docs/pictures/`: Queue and
Live in the middle of the demonstration, Analysis and the report at its end. The picture of the report needs a
browser (chromium or google-chrome); without one it is left as it is, and a line says so.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from textual import constants

from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.scheduler.devices import DeviceMonitor
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.tui.app import DatasizeApp
from tui_datasize.tui.polling.record import ProjectRecord
from tui_datasize.tui.polling.snapshot import Snapshot

PICTURES = Path(__file__).parent / "pictures"
SIZE = (132, 38)
PATIENCE_S = 900.0
_DRAWN_S = 3.0
"""What charts and analyses get after a key."""
_PAGE_PX = (1000, 1250)
_PROGRAM = (sys.executable, "-m", "tui_datasize")


def main() -> None:
    """Run the demonstration and save four pictures."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="pictures.") as directory:
        project = ProjectPaths(Path(directory) / "datasize-demo")
        with subprocess.Popen(
            [*_PROGRAM, "demo", "--headless", "--project", str(project.root)], stdout=subprocess.DEVNULL
        ):
            while not project.runs.is_dir():
                time.sleep(0.1)
            asyncio.run(_photograph(project))
        _photograph_report(project)
        QueueClient(project).stop_scheduler()


async def _photograph(project: ProjectPaths) -> None:
    client = QueueClient(project)
    # Whatever terminal this is called from.
    constants.COLOR_SYSTEM = "truecolor"
    app = DatasizeApp(project, client, lambda: ProjectRecord(project), DeviceMonitor().read)

    def has_done(share: float) -> Callable[[Snapshot], bool]:
        return lambda snapshot: bool(snapshot.jobs) and _done(snapshot) >= share * len(snapshot.jobs)

    async with app.run_test(size=SIZE) as pilot:
        for name, condition, keys in (
            ("queue", has_done(0.4), ("1",)),
            ("live", has_done(0.5), ("2", "t", "c")),
            ("analysis", has_done(1.0), ("3",)),
        ):
            async with asyncio.timeout(PATIENCE_S):
                while not condition(app.snapshot):
                    await pilot.pause(0.1)
            await pilot.press(*keys)
            await pilot.pause(_DRAWN_S)
            picture = app.export_screenshot(title=f"datasize-tui · {project.root.name}")
            # A picture asks no other computer for its letters.
            picture = re.sub(r"@font-face \{.*?\}\n", "", picture, flags=re.DOTALL)
            (PICTURES / f"{name}.svg").write_text(picture, encoding="utf-8")


def _done(snapshot: Snapshot) -> int:
    return sum(row.state.is_final for row in snapshot.jobs)


def _photograph_report(project: ProjectPaths) -> None:
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        print("report: no chromium or google-chrome here, the picture stays as it was", file=sys.stderr)
        return
    page = project.root / "report.html"
    subprocess.run(
        [*_PROGRAM, "report", "digits", "-o", str(page), "--project", str(project.root)], check=True
    )
    size, file = ",".join(map(str, _PAGE_PX)), PICTURES / "report.png"
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={size}")
    profile = f"--user-data-dir={project.root / 'profile'}"
    subprocess.run([browser, *options, profile, f"--screenshot={file}", page.as_uri()], check=True)


if __name__ == "__main__":
    main()

"""Opening the Analysis tab: from the press of its key until the curve is drawn, and whether the screen waits.

`python -m benchmarks.analysis_tab [RUNS ...] [--project DIR]` opens the app on fake runs (or on a project
that exists), lets it read and compact them, and presses 3. "Curve" and "all" are seconds from the key until
the learning curve, and until the overlap, is on the screen, "cpu" what of processor time the former takes in
all threads (for a machine that is busy otherwise); "page" is the mean over all further pages, each from its
key until it is computed (up to 1,000 runs); "gap" is the longest pause between two ticks of the event loop,
in milliseconds, from the first look until the end. Each row is an app in a process of its own, as a person
starts it.

"At once" presses the key as soon as the project has been read, "later" a while after: what the app imports in
the background is then there.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from textual.pilot import Pilot

from tests.fakes import fake_spec, write_run
from tests.tui.fake_queue import CPU_ONLY, FakeQueue
from tui_datasize.jobs.client import QueueClient
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.runlog.reader import RunLog
from tui_datasize.tui.analysis.analyst import PAGES
from tui_datasize.tui.analysis.tab import AnalysisPane
from tui_datasize.tui.app import DatasizeApp
from tui_datasize.tui.polling.record import ProjectRecord

RUNS = (110, 10_000)
SCREEN = (120, 36)
PATIENCE_S = 120.0
LATER_S = 5.0
_TICK_S = 0.005
_LOOK_S = 0.03
"""Between two looks at the screen, which cost some milliseconds each."""
_AXIS = "train size, images"
"""On the screen once the curve is drawn."""
_PAGES_UP_TO = 1_000
_EVALUATIONS = 12
_DRAWS = 10
_TABLES_AT_MOST = 500
"""With their tables, more runs than these take minutes to write."""
_HEAD = f"{'runs':>6} {'key':>8} {'curve':>8} {'cpu':>8} {'all':>8} {'page':>8}   s {'gap':>6}   ms"


def main(argv: Sequence[str]) -> None:
    """Measure each number of runs, at once and later."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="*", type=int)
    parser.add_argument("--project", type=Path, help="a project that exists, in the place of fake runs")
    parser.add_argument("--once", choices=("at-once", "later"), help="measure in this process")
    arguments = parser.parse_args(argv)
    if arguments.once:
        print(asyncio.run(_measure(ProjectPaths(arguments.project), arguments.once)), flush=True)
        return
    print(_HEAD)
    if arguments.project:
        _in_processes(arguments.project)
    for runs in () if arguments.project else arguments.runs or RUNS:
        with tempfile.TemporaryDirectory() as directory:
            project = ProjectPaths(Path(directory))
            _write_runs(project, runs)
            _in_processes(project.root)


def _in_processes(project: Path) -> None:
    RunLog(ProjectPaths(project)).runs()
    for when in ("at-once", "later"):
        command = [sys.executable, "-m", "benchmarks.analysis_tab", "--project", str(project), "--once", when]
        subprocess.run(command, check=True)


def _write_runs(project: ProjectPaths, runs: int) -> None:
    """Eleven sizes, ten draws and as many seeds as it takes, all in one experiment."""
    project.experiments.write_text(
        '[experiments.sweep]\ndataset = "digits"\nmodel = { name = "mlp" }\nsizes = [100]\n'
        "budget = { samples = 6400 }\nbatch_size = 32\n"
    )
    for i in range(runs):
        size, repeat = 100 + 100 * (i % 11), i // 11
        spec = fake_spec(
            "sweep",
            train_size=size,
            seed=repeat,
            subset_seed=repeat % _DRAWS,
            evaluations=_EVALUATIONS,
        )
        write_run(project, spec, tables=i < _TABLES_AT_MOST)


async def _measure(paths: ProjectPaths, when: str) -> str:
    queue = cast("QueueClient", FakeQueue())
    app = DatasizeApp(paths, queue, lambda: ProjectRecord(paths), lambda: CPU_ONLY)
    async with app.run_test(size=SCREEN) as pilot:
        await _until(lambda: app.snapshot.is_ready)
        watch = _LoopWatch()
        ticking = asyncio.create_task(watch.run())
        if when == "later":
            await asyncio.sleep(LATER_S)
        pane = app.query_one(AnalysisPane)
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        pressed = asyncio.create_task(pilot.press("3"))
        await _until(lambda: _AXIS in _screen_text(app), _LOOK_S)
        curve_s, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
        await _until(lambda: pane.is_settled)
        all_s = time.perf_counter() - began_s
        await pressed
        runs = 0 if app.snapshot.runs is None else app.snapshot.runs.height
        page_s = await _turn_pages(app, pilot) if runs <= _PAGES_UP_TO else float("nan")
        ticking.cancel()
    seconds = "".join(f" {value:8.2f}" for value in (curve_s, cpu_s, all_s, page_s))
    return f"{runs:6} {when:>8}{seconds} {watch.longest_s * 1000:10.0f}"


async def _turn_pages(app: DatasizeApp, pilot: Pilot[None]) -> float:
    """Mean seconds that a page takes."""
    pane = app.query_one(AnalysisPane)
    began_s = time.perf_counter()
    for _ in PAGES:
        await pilot.press("p")
        await _until(lambda: pane.is_settled)
    return (time.perf_counter() - began_s) / len(PAGES)


def _screen_text(app: DatasizeApp) -> str:
    strips = app.screen._compositor.render_strips()
    return "\n".join(strip.text for strip in strips)


class _LoopWatch:
    """Measures how long the event loop, and with it the screen, was kept from its work."""

    def __init__(self) -> None:
        self.longest_s = 0.0

    async def run(self) -> None:
        """Tick until cancelled."""
        last_s = time.perf_counter()
        while True:
            await asyncio.sleep(_TICK_S)
            now_s = time.perf_counter()
            self.longest_s = max(self.longest_s, now_s - last_s - _TICK_S)
            last_s = now_s


async def _until(condition: Callable[[], bool], every_s: float = _TICK_S) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(every_s)


if __name__ == "__main__":
    main(sys.argv[1:])

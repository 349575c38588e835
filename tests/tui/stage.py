"""Sets the app on a stage: a project with fake runs, a fake queue, and a terminal of any size."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from unittest.mock import AsyncMock, patch

from rich.cells import cell_len
from rich.segment import Segment
from textual._compositor import Compositor
from textual._context import active_app, visible_screen_stack
from textual.color import Color
from textual.css.model import RuleSet
from textual.filter import ANSIToTruecolor
from textual.message_pump import MessagePump
from textual.pilot import Pilot
from textual.screen import Screen

from tests.fakes import write_run
from tests.tui.fake_queue import CPU_ONLY, FakeQueue, job
from tui_datasize.experiments.load import load_project
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.experiments.sweep import plan_runs
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.jobs.scheduler.devices import DeviceReport
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.runlog.scan import Stamp, read_stamp
from tui_datasize.tui.app import DatasizeApp
from tui_datasize.tui.polling.collect import Collector
from tui_datasize.tui.polling.record import ProjectRecord
from tui_datasize.tui.polling.snapshot import Interest, Snapshot
from tui_datasize.tui.preferences import AS_USUAL, Preferences

DEADLINE_S = 60.0
_PATIENCE_S = 1.0
"""How long the app may compute after a key before a test goes on."""
_LOOKS_A_LOOK = 5
"""How often a test looks at the screen while the app looks once at the project."""
NARROW = (80, 24)
WIDE = (160, 48)

TOML = """
[experiments.digits]
title   = "Digits with a small network"
dataset = "digits"
model   = { name = "mlp" }
sizes   = [40, 80, 160, 320]
seeds   = [0, 101]
subset  = { seeds = [0, 1] }
budget  = { samples = 6400 }
batch_size = 32
evaluate = { times = 4 }
order   = "by-size"

[experiments.depth]
title   = "More layers"
dataset = "mnist"
model   = { name = "mlp" }
sizes   = [100, 200]
seeds   = [0]
budget  = { updates = 100 }
batch_size = 64
[experiments.depth.sweep]
"model.layers" = [1, 2]

[experiments.folder]
title   = "A folder that is not there"
dataset = "imagefolder:/nowhere/at/all"
model   = { name = "cnn3" }
sizes   = [100]
budget  = { updates = 100 }
batch_size = 64
"""


_PAINTED = "painted"
"""How often the screen would have been painted: an attribute of its compositor."""


def _note_alone(
    self: Compositor, full: bool = False, screen_stack: list[Screen] | None = None, simplify: bool = False
) -> None:
    """In place of `Compositor.render_update`: the screen is painted when the test looks at it."""
    visible_screen_stack.set([] if screen_stack is None else screen_stack)
    self._dirty_regions.clear()
    vars(self)[_PAINTED] = vars(self).get(_PAINTED, 0) + 1


def _with_colours_of_the_theme(
    self: ANSIToTruecolor, segments: list[Segment], background: Color
) -> list[Segment]:
    """In place of `ANSIToTruecolor.apply`, which takes long: tests look at none of the 16 colours."""
    return segments


async def _wait_until_handled(self: Pilot[object], timeout: float = DEADLINE_S) -> bool:
    """In place of `Pilot._wait_for_screen`, which waits for two messages more of every widget."""
    deadline = time.monotonic() + timeout
    app = self.app
    while app._screen_stack and not app._exception_event.is_set():
        pumps = (app, *app.screen.walk_children(with_self=True))
        if all(map(_waits_for_messages, pumps)):
            return True
        assert time.monotonic() < deadline, "messages are not handled"
        await asyncio.sleep(0)
    return False


async def _wait_until_drawn(*_: float) -> None:
    """In place of `wait_for_idle`, which sleeps for 20 ms until hardly anything was computed meanwhile."""
    app, loop = active_app.get(), asyncio.get_running_loop()
    deadline = time.monotonic() + _PATIENCE_S
    # What is drawn may ask for more, and a second pass sees what threads have handed over meanwhile.
    for _ in range(2):
        await asyncio.sleep(0)
        while loop._ready and time.monotonic() < deadline:  # type: ignore[attr-defined]
            await asyncio.sleep(0)
        if app._screen_stack:
            # Which screens are drawn behind it is known to the app alone.
            copy_context().run(app.screen._on_timer_update)


def _waits_for_messages(pump: MessagePump) -> bool:
    return bool(pump._message_queue.ready_event._waiters) or pump._closing or pump._closed


@cache
def _parsed(_variables: frozenset[tuple[str, str]]) -> dict[object, list[RuleSet]]:
    """Style sheets that an app of this process has parsed with these variables."""
    return {}


@contextmanager
def watched() -> Iterator[None]:
    """An app that a test looks at, and nobody else."""
    with (
        # A line that fades would be gone before a loaded machine looks at it.
        patch("tui_datasize.tui.widgets.status_line.SHOWN_S", 10 * DEADLINE_S),
        # A file that changes twice within a tick of the clock is none of a test's.
        patch("tui_datasize.runlog.scan._TICK_NS", 0),
        # A tab is there once a test has opened it, and not when there happens to be time.
        patch.object(DatasizeApp, "_load_ahead", AsyncMock()),
        patch.object(Compositor, "render_update", _note_alone),
        patch.object(ANSIToTruecolor, "apply", _with_colours_of_the_theme),
        patch.object(Pilot, "_wait_for_screen", _wait_until_handled),
        patch("textual.app.wait_for_idle", _wait_until_drawn),
        patch("textual.pilot.wait_for_idle", _wait_until_drawn),
    ):
        yield


class SteadyRecord(ProjectRecord):
    """Reads again what has changed alone: the test itself claims its runs, so that none dies unseen."""

    def _read_stamp(self) -> Stamp | None:
        if self._runs is None:
            return None
        names = self._runs.select("experiment", "run_id").iter_rows()
        return read_stamp(self._project, [self._project.run(*one) for one in names])


@dataclass
class Stage:
    """A project and its queue."""

    project: ProjectPaths
    queue: FakeQueue
    devices: DeviceReport = CPU_ONLY
    preferences: Preferences = AS_USUAL

    def specs(self, experiment: str = "digits") -> Sequence[RunSpec]:
        """The runs of an experiment, in queue order."""
        loaded = load_project(self.project.experiments)
        return plan_runs(loaded.experiments[experiment], loaded)

    def app(self) -> DatasizeApp:
        """The app on this project, looking when a test waits for something."""
        return DatasizeApp(
            self.project,
            self.queue,
            lambda: SteadyRecord(self.project),
            lambda: self.devices,
            interval_s=DEADLINE_S,
            preferences=self.preferences,
        )

    @asynccontextmanager
    async def open(self, size: tuple[int, int] = NARROW) -> AsyncIterator[Show]:
        """The app in a terminal, after its first look at the project."""
        app = self.app()
        # A copy: it is cleared where the theme changes.
        sheet = vars(app.stylesheet)
        shared = _parsed(frozenset(app.get_css_variables().items()))
        sheet["_parse_cache"] = parsed = dict(shared)
        with watched():
            async with app.run_test(size=size) as pilot:
                shared.update(parsed)
                show = Show(app, pilot)
                await show.until(lambda: app.snapshot.is_ready)
                await show.settle()
                yield show


def look(stage: Stage) -> Snapshot:
    """One look at the project, without the app."""
    collector = Collector(
        stage.project, stage.queue, lambda: ProjectRecord(stage.project), lambda: stage.devices
    )
    return collector.collect(Interest())


def _cells(text: str) -> list[str]:
    """What stands in each column; nothing in the second of a wide character."""
    if text.isascii() or cell_len(text) == len(text):
        return list(text)
    cells: list[str] = []
    for character in text:
        width = cell_len(character)
        if width:
            cells += [character, ""][:width]
        elif cells:
            cells[-1] += character
    return cells


@dataclass
class Show:
    """The app while it runs."""

    app: DatasizeApp
    pilot: Pilot[None]

    async def press(self, *keys: str) -> None:
        """Press keys and wait for what follows at once."""
        await self.pilot.press(*keys)

    async def sizes(self) -> AsyncIterator[tuple[int, int]]:
        """A narrow terminal, then a wide one."""
        for size in (NARROW, WIDE):
            await self.pilot.resize_terminal(*size)
            await self.settle()
            yield size

    async def settle(self) -> None:
        """Wait until all messages are handled and drawn."""
        await self.pilot.pause()

    async def until(self, condition: Callable[[], object], otherwise: str = "") -> None:
        """Wait for a condition."""
        deadline = time.monotonic() + DEADLINE_S
        looks = 0
        while not condition():
            assert time.monotonic() < deadline, f"{otherwise}\n{self.text}"
            if looks % _LOOKS_A_LOOK == 0:
                self.app._poller.look_now()
            looks += 1
            await asyncio.sleep(0.02)
        if looks:
            await self.settle()

    @property
    def painted(self) -> object:
        """Another value once the screen would have been painted again."""
        return self.app.screen, vars(self.app.screen._compositor).get(_PAINTED, 0)

    async def shows(self, *texts: str) -> None:
        """Wait until the screen shows all texts."""

        # Reading the screen takes as long as drawing it: where nothing was painted it is read seldom.
        painted, are_shown = None, False
        looks = 0

        def are_all_shown() -> bool:
            nonlocal painted, are_shown, looks
            looks += 1
            now = self.painted
            if now != painted or looks % 20 == 0:
                shown = self.text
                painted, are_shown = now, all(text in shown for text in texts)
            return are_shown

        await self.until(are_all_shown)

    @property
    def lines(self) -> list[str]:
        """What the screen shows, line by line."""
        compositor = self.app.screen._compositor
        width, height = compositor.size
        rows = [[" "] * width for _ in range(height)]
        # From the back to the front, as text alone: its styles would take longer than all else.
        for region, clip, strips in reversed([*compositor._get_renders()]):
            left, top, right, bottom = region.intersection(clip).corners
            for row, strip in zip(rows[top:bottom], strips, strict=False):
                row[left:right] = _cells(strip.text)[: right - left]
        return ["".join(row) for row in rows]

    @property
    def text(self) -> str:
        """What the screen shows."""
        return "\n".join(self.lines)


def empty_stage(root: Path) -> Stage:
    """A project with experiments and no runs."""
    project = ProjectPaths(root)
    project.runs.mkdir(parents=True)
    project.experiments.write_text(TOML)
    return Stage(project, FakeQueue())


def busy_stage(root: Path) -> Stage:
    """A project in the middle of a sweep of 16: 6 done, 1 failed, 2 running, 4 waiting, 1 held, 2 missing."""
    stage = empty_stage(root)
    states = [
        *[JobState.SUCCEEDED] * 6,
        JobState.FAILED,
        *[JobState.RUNNING] * 2,
        *[JobState.QUEUED] * 4,
        JobState.HELD,
    ]
    for position, (spec, state) in enumerate(zip(stage.specs(), states, strict=False)):
        reason = "out of memory: 11.2 GB asked" if state is JobState.FAILED else ""
        stage.queue.specs[spec.run_id] = spec
        stage.queue.entries.append(job(spec, state, position, reason=reason))
        if state is JobState.SUCCEEDED or state is JobState.FAILED or state is JobState.RUNNING:
            paths = write_run(stage.project, spec, state=state.value, reason=reason)
            paths.stdout.write_text("first line\nlast line\n")
    return stage

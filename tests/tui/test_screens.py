"""Screens as they were looked at last: `cat tests/tui/screens/colours-80x24.ans` shows them.

`DATASIZE_WRITE_SCREENS=1 python -m pytest -n 0 tests/tui/test_screens.py` writes them anew, to be looked at;
names such as `devices,live` in place of 1 write these alone.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.color import ColorSystem
from rich.style import Style
from textual.widgets import Input

from tests.fakes import write_run
from tests.tui.fake_queue import FakeQueue, job
from tests.tui.stage import NARROW, WIDE, Show, Stage, empty_stage
from tests.tui.test_devices_screen import MACHINE
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.tui.analysis.analyst import PAGES
from tui_datasize.tui.analysis.tab import AnalysisPane
from tui_datasize.tui.polling.machine import MachineWatch

SCREENS = Path(__file__).parent / "screens"
WRITES = os.environ.get("DATASIZE_WRITE_SCREENS", "")
PATIENCE_S = 30.0
REST_S = 1.0
OPENED: tuple[tuple[str, tuple[str, ...], str, tuple[str, ...]], ...] = (
    # name, keys that open it, what it shows, keys that close it
    ("queue", (), "Jobs", ()),
    ("queue an experiment", ("a",), "Queue digits?", ("escape",)),
    ("build a sweep", ("B",), "16 runs = ", ()),
    ("lines to be written", ("enter",), "+[experiments", ("escape",)),
    ("build a sweep once more", (), "16 runs = ", ("escape",)),
    ("notes", ("ctrl+n",), "No notes yet", ("escape",)),
    ("keys", ("question_mark",), "Queue what is missing", ("escape",)),
    ("scheduler", ("s",), "scheduler", ("escape",)),
    ("devices", ("M",), "load", ("escape",)),
    ("details of a job", ("tab", "tab", "enter"), "attempts", ("escape",)),
    ("log of a job", ("l",), "last line", ("escape",)),
    ("live", ("2",), "one at a time", ()),
    ("live, a grid of charts", ("c",), "Accuracy", ("c",)),
    ("live, columns", ("C",), "Columns", ("escape",)),
    ("analysis", ("3",), "forecast", ()),
    ("analysis, a target", ("t",), "Set a target", ("escape",)),
    ("analysis, a filter", ("slash", *"size>=80", "enter"), "only size>=80", ("escape",)),
)
PARTS: tuple[tuple[str, tuple[str, ...], str, tuple[str, ...]], ...] = (
    ("queue", (), "Experiments", ()),
    ("queue, cells", ("tab",), "Cells", ()),
    ("queue, jobs", ("tab",), "Jobs", ()),
    ("queue, log", ("tab",), "Log", ()),
    ("queue an experiment", ("a",), "Queue digits?", ("escape",)),
    ("a target", ("3", "t"), "Set a target", ("escape",)),
    ("analysis", (), "Answer", ()),
    ("analysis, curve", ("tab",), "Learning curve", ()),
    ("live", ("2",), "Runs", ()),
    ("live, chart", ("tab",), "Accuracy", ()),
)
"""Of a tiny terminal, which shows one part at a time."""
BEGINNING: tuple[tuple[str, tuple[str, ...], str, tuple[str, ...]], ...] = (
    ("how to begin", (), "How to begin", ()),
    ("import", ("i",), "Import results", ("escape",)),
    ("left alone", (), "yet: b, then", ()),
    ("build a sweep", ("b", "b"), "Build a sweep", ("escape",)),
)
"""Of a directory without experiments."""
TABLE = (*OPENED, *((f"analysis, {page.name}", ("p",), page.title, ()) for page in PAGES))


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A sweep of 16 runs near its end; one is not queued."""
    # Where it is stands in the details of a run.
    monkeypatch.chdir(tmp_path)
    stage = empty_stage(Path("project"))
    monkeypatch.setattr(MachineWatch, "look", lambda *_: MACHINE)
    states = [JobState.SUCCEEDED] * 12 + [JobState.FAILED, JobState.RUNNING, JobState.QUEUED]
    for position, (spec, state) in enumerate(zip(stage.specs(), states, strict=False)):
        reason = "out of memory: 11.2 GB asked" if state is JobState.FAILED else ""
        stage.queue.specs[spec.run_id] = spec
        stage.queue.entries.append(job(spec, state, position, reason=reason))
        if state in (JobState.SUCCEEDED, JobState.FAILED, JobState.RUNNING):
            paths = write_run(stage.project, spec, state=state.value, reason=reason)
            paths.stdout.write_text("first line\nlast line\n")
    return stage


MODES = {"colours": ColorSystem.TRUECOLOR, "16-colours": ColorSystem.STANDARD, "no-colour": None}
TINY = (40, 10)
SELDOM = [
    *(("colours", NARROW), ("no-colour", WIDE), ("16-colours", WIDE)),
    *(("no-colour", TINY), ("16-colours", TINY)),
]


TERMINALS = pytest.mark.parametrize(
    ("mode", "size"),
    [
        *(("colours", WIDE), ("no-colour", NARROW), ("16-colours", NARROW), ("colours", TINY)),
        *(pytest.param(*one, marks=pytest.mark.exhaustive) for one in SELDOM),
    ],
)


@TERMINALS
async def test_screens_are_as_they_were(
    mode: str, size: tuple[int, int], stage: Stage, monkeypatch: pytest.MonkeyPatch
):
    await _compare(mode, size, stage, PARTS if size == TINY else TABLE, "", monkeypatch)


@TERMINALS
async def test_an_empty_directory_begins_as_it_did(
    mode: str, size: tuple[int, int], stage: Stage, monkeypatch: pytest.MonkeyPatch
):
    empty = Stage(ProjectPaths(Path("empty")), FakeQueue(alive=False))
    empty.project.root.mkdir()
    await _compare(mode, size, empty, BEGINNING, "empty-", monkeypatch)


async def _compare(
    mode: str,
    size: tuple[int, int],
    stage: Stage,
    table: Sequence[tuple[str, tuple[str, ...], str, tuple[str, ...]]],
    prefix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    system = MODES[mode]
    if system is None:
        monkeypatch.setenv("NO_COLOR", "1")
    else:
        monkeypatch.setattr("textual.constants.COLOR_SYSTEM", system.name.lower())
    monkeypatch.setattr(Input, "cursor_blink", False)
    file = SCREENS / f"{prefix}{mode}-{size[0]}x{size[1]}.ans"
    kept, differing = {} if WRITES == "1" else _read(file), []
    async with stage.open(size) as show:
        for name, opening, shows, closing in table:
            if (page := name.removeprefix("analysis, ")) in _PAGES and not _is_offered(show, page):
                continue
            await show.press(*opening)
            if WRITES:
                await show.shows(shows)
                if WRITES == "1" or name in WRITES.split(","):
                    kept[name] = await _at_rest(show, system)
            elif not await _becomes(show, system, kept.get(name, ""), PATIENCE_S / (1 + len(differing))):
                differing.append(f"{name}:\n{_painted(show, system)}")
            await show.press(*closing)
    if WRITES:
        SCREENS.mkdir(exist_ok=True)
        file.write_text("".join(f"== {name}\n{text}\n" for name, text in kept.items()))
    assert not differing, f"{len(differing)} screens differ\n" + "\n".join(differing)


_PAGES = [page.name for page in PAGES]


def _is_offered(show: Show, page: str) -> bool:
    return not show.app.query_one(AnalysisPane)._questions.missing[1 + _PAGES.index(page)]


def _read(file: Path) -> dict[str, str]:
    parts = re.split(r"^== (.*)\n", file.read_text(), flags=re.MULTILINE)[1:]
    return {name: text.removesuffix("\n") for name, text in zip(parts[::2], parts[1::2], strict=True)}


async def _becomes(show: Show, system: ColorSystem | None, text: str, patience_s: float) -> bool:
    # Painting takes longer than all else here: where nothing has changed it is done seldom.
    deadline, seen, looks = time.monotonic() + patience_s, None, 0
    while time.monotonic() < deadline:
        if (now := show.painted) != seen or looks % 20 == 0:
            seen = now
            if _painted(show, system) == text:
                return True
        looks += 1
        await asyncio.sleep(0.05)
        await show.settle()
    return False


async def _at_rest(show: Show, system: ColorSystem | None) -> str:
    """The screen when nothing is computed and it has not changed for a while."""
    before, since = "", time.monotonic()
    while time.monotonic() - since < REST_S:
        await asyncio.sleep(0.1)
        await show.settle()
        if (now := _painted(show, system)) != before or "Computing" in now:
            before, since = now, time.monotonic()
    return before


def _painted(show: Show, system: ColorSystem | None) -> str:
    """The screen in the colours that a terminal of this kind has, line by line."""
    lines = []
    for strip in show.app.screen._compositor.render_strips():
        pieces = []
        for text, style, _ in strip:
            look = style or Style()
            colours = {
                part: colour.downgrade(system)
                for part, colour in (("color", look.color), ("bgcolor", look.bgcolor))
                if colour is not None and system is not None
            }
            plain = Style(
                bold=look.bold, dim=look.dim, underline=look.underline, reverse=look.reverse, **colours
            )
            pieces.append(plain.render(text, color_system=system or ColorSystem.STANDARD))
        lines.append("".join(pieces).rstrip())
    return "\n".join(lines)

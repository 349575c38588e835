"""Every key of the first table in docs/keys.md has its effect."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import pytest
from textual.screen import Screen

from tests.fakes import write_run
from tests.tui.fake_queue import job
from tests.tui.stage import WIDE, Show, Stage, empty_stage
from tests.tui.test_commands import go_to_jobs, run_ids
from tests.tui.test_keys import PARTS, TABS, keys_of
from tests.tui.test_live_tab import until_drawn
from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.tui.analysis.tab import AnalysisPane
from tui_datasize.tui.chart_pane import SMOOTHINGS
from tui_datasize.tui.live.tab import LivePane
from tui_datasize.tui.live.table import LiveTable
from tui_datasize.tui.queue.job_table import JobTable
from tui_datasize.tui.widgets.chart_view import ChartView

_SPELLED = {"/": "slash", "*": "asterisk", "+": "plus", "=": "equals_sign", "-": "minus", ".": "full_stop"}
_SPELLED |= {"[": "left_square_bracket", "]": "right_square_bracket", "esc": "escape", "?": "question_mark"}
_SPELLED |= {"↑": "up", "↓": "down", "←": "left", "→": "right", "PgUp": "pageup", "PgDn": "pagedown"}
_SPELLED |= {f"^{letter}": f"ctrl+{letter}" for letter in "elntz"} | {
    "F1": "f1",
    "Home": "home",
    "End": "end",
}


class Keyboard:
    """Presses keys and waits for what each of them does."""

    def __init__(self, show: Show) -> None:
        self._show = show
        self.pressed: set[str] = set()

    async def does(self, key: str, effect: Callable[[], object]) -> None:
        """Wait until the effect, which is not there yet, of a key as the table writes it."""
        assert not effect(), f"{key} has nothing to do"
        self.pressed.add(key)
        await self._show.press(_SPELLED.get(key, key))
        await self._show.until(effect, f"{key} does nothing")

    async def opens(self, key: str, *words: str) -> None:
        """Wait for a dialog that shows some words, and close it."""
        await self.does(key, lambda: len(self._show.app.screen_stack) > 1)
        await self._show.shows(*words)
        await self._show.press("escape")
        await self._show.until(lambda: len(self._show.app.screen_stack) == 1)


@contextmanager
def every_key(show: Show, part: str) -> Iterator[Keyboard]:
    """A keyboard on which all keys of a tab or of what is in use are pressed, and no others."""
    keyboard = Keyboard(show)
    yield keyboard
    assert keyboard.pressed == {key for key, _ in keys_of(*(TABS | PARTS)[part])}


async def test_every_key_of_the_queue_tab_acts(busy: Stage):
    queue, running = busy.queue, run_ids(busy, JobState.RUNNING)[0]
    async with busy.open(WIDE) as show:
        table = show.app.query_one(JobTable)
        with every_key(show, "Queue") as keyboard:
            await keyboard.opens("a", "Queue digits?", "to queue")
            await keyboard.opens("b", "Build a sweep", "name one, or the folder")
            await keyboard.opens("B", "Build a sweep", "digits-2")
            await keyboard.opens("s", "scheduler")
            await keyboard.opens("d", "─ Doctor ")
            await go_to_jobs(show, running)
            for key in ("enter", "i"):
                await keyboard.opens(key, "Run", running, "attempts")
            for key in ("l", "L"):
                await keyboard.opens(key, "last line")
            await keyboard.does("space", lambda: list(table.marked) == [running])
            await keyboard.does("esc", lambda: not table.marked)
            await keyboard.does("*", lambda: len(table.marked) == 14)
            table.mark(())
            await keyboard.does("D", lambda: queue.drains == [True])
            await keyboard.does("z", lambda: queue.undone == 1)
            await go_to_jobs(show, running)
            await keyboard.opens("c", "Cancel")
            for key, kind, amount, state in (
                ("h", CommandKind.HOLD, 0, JobState.QUEUED),
                ("H", CommandKind.HOLD, 0, JobState.QUEUED),
                ("u", CommandKind.RELEASE, 0, JobState.HELD),
                ("r", CommandKind.RETRY, 0, JobState.FAILED),
                ("+", CommandKind.PRIORITY, 1, JobState.QUEUED),
                ("=", CommandKind.PRIORITY, 1, JobState.QUEUED),
                ("-", CommandKind.PRIORITY, -1, JobState.QUEUED),
                ("[", CommandKind.MOVE, -1, JobState.QUEUED),
                ("K", CommandKind.MOVE, -1, JobState.QUEUED),
                ("]", CommandKind.MOVE, 1, JobState.QUEUED),
                ("J", CommandKind.MOVE, 1, JobState.QUEUED),
            ):
                (run_id, *_) = run_ids(busy, state)
                await go_to_jobs(show, run_id)
                queue.sent.clear()
                await keyboard.does(key, lambda: queue.sent)
                assert queue.sent == [(kind, (run_id,), amount)], key
            await keyboard.does("/", lambda: "size>=1000" in show.text)
            await show.press("escape")


async def test_every_key_of_the_live_tab_acts(busy: Stage):
    async with busy.open(WIDE) as show:
        await show.press("2")
        await show.shows("Accuracy")
        pane, table = show.app.query_one(LivePane), show.app.query_one(LiveTable)
        with every_key(show, "Live") as keyboard:
            await keyboard.opens("S", "Save or copy the chart")
            await keyboard.does("t", lambda: "2 running runs" in show.text)
            await show.press("t")
            await keyboard.does("m", lambda: "Macro F1" in show.text)
            await keyboard.does("x", lambda: pane._view.axis == "epoch")
            await keyboard.does("y", lambda: "loss (log)" in show.text)
            await keyboard.does("c", lambda: "Learning rate" in show.text)
            await show.press("c")
            await keyboard.opens("C", "Columns", "test accuracy")
            for key, step in (("+", 1), ("=", 2)):
                await keyboard.does(key, lambda at=step: smoothing(show) == SMOOTHINGS[at])
            await keyboard.does("-", lambda: smoothing(show) == SMOOTHINGS[1])
            await keyboard.does(".", lambda: isinstance(show.app.focused, ChartView))
            await show.press("escape")
            await keyboard.does("o", lambda: "size▲" in show.text)
            await keyboard.does("O", lambda: "size▼" in show.text)
            await keyboard.does("space", lambda: len(table.marked) == 1)
            await show.press("space", "space", "space")
            await keyboard.opens("d", "What differs between 4 runs")
            await keyboard.does("b", lambda: "mean and range by" in show.text)
            await keyboard.does("esc", lambda: not table.marked)
            await keyboard.does("/", lambda: "size>=1000" in show.text)


def smoothing(show: Show) -> float:
    charts = (chart for chart in show.app.query(ChartView) if chart.view_size and chart.can_be_smoothed)
    return next(charts).window.smoothing


@pytest.fixture
def finished(tmp_path: Path) -> Stage:
    """A sweep of two variants and one of draws, all done but for two runs."""
    stage = empty_stage(tmp_path / "project")
    for experiment in ("digits", "depth"):
        for position, spec in enumerate(stage.specs(experiment)[: 14 if experiment == "digits" else None]):
            write_run(stage.project, spec)
            stage.queue.entries.append(job(spec, JobState.SUCCEEDED, position))
    return stage


async def test_every_key_of_the_analysis_tab_acts(finished: Stage):
    async with finished.open() as show:
        await show.press("3")
        await show.shows("images: ")
        pane = show.app.query_one(AnalysisPane)
        with every_key(show, "Analysis") as keyboard:
            await keyboard.opens("S", "Save or copy the chart")
            await keyboard.does("f", lambda: "Beyond the largest size" in show.text)
            await keyboard.does("o", lambda: "Overlap  320 images" in show.text)
            await keyboard.does("n", lambda: "Overlap  40 images" in show.text)
            await keyboard.does("N", lambda: "Overlap  320 images" in show.text)
            await keyboard.does("s", lambda: "Jaccard index" in show.text)
            await show.press("o")
            await keyboard.opens("m", "Metric", "Test loss")
            await keyboard.opens("t", "Set a target")
            await keyboard.opens("w", "Show", "Spread between runs")
            await keyboard.opens("i", "scroll")
            await keyboard.does("/", lambda: "size>=1000" in show.text)
            await show.press(*"size>=80", "enter")
            await show.shows("digits · only size>=80")
            await keyboard.does("esc", lambda: "only" not in show.text)
            await keyboard.does(".", lambda: isinstance(show.app.focused, ChartView))
            await show.press("escape")
            await keyboard.does("p", lambda: "Which runs to queue next" in show.text)
            await show.until(lambda: pane.is_settled and "Computing" not in show.text)
            await keyboard.opens("a", "Queue what is proposed?")
            await keyboard.does("P", lambda: "─ Learning curve" in show.text)
            await show.press("w", *["j"] * 5, "enter")
            await show.shows("Training curves")
            await show.until(lambda: pane.is_settled and "Computing" not in show.text)
            for key, step in (("+", 1), ("=", 2)):
                await keyboard.does(key, lambda at=step: smoothing(show) == SMOOTHINGS[at])
            await keyboard.does("-", lambda: smoothing(show) == SMOOTHINGS[1])
            await show.press("w", "g", "enter")
            await keyboard.opens("e", "Experiment", "depth")
            await show.press("e", "j", "enter")
            await show.until(lambda: pane.experiment == "depth" and pane.is_settled)
            await keyboard.does("v", lambda: pane._choice.variant == 1)


async def test_every_key_of_the_app_acts(busy: Stage):
    async with busy.open() as show:
        app = show.app
        with every_key(show, "everywhere") as keyboard:
            for key, words in (("2", "Runs"), ("3", "Learning curve"), ("1", "Experiments")):
                await keyboard.does(
                    key, lambda words=words: f" {words}" in show.text.split("scheduler on")[1]
                )
            for key in ("?", "F1"):
                await keyboard.opens(key, "─ Keys ")
            await keyboard.opens("M", "─ Devices ")
            await keyboard.does("^e", lambda: [*busy.project.root.glob("*.csv")])
            with patch.object(Screen, "refresh") as refresh:
                await keyboard.does("^l", lambda: refresh.called)
            with patch.object(type(app._driver), "can_suspend", True), patch("os.kill") as kill:
                await keyboard.does("^z", lambda: kill.called)
            await keyboard.opens("^n", "Notes on digits", "No notes yet")
            await keyboard.does("F", lambda: "No checkpoints to delete" in show.text)
            await keyboard.does("q", lambda: not app.is_running)


async def test_every_key_of_an_examined_chart_acts(busy: Stage):
    async with busy.open(WIDE) as show:
        await show.press("2")
        await until_drawn(show)
        await show.press(".")
        await show.until(lambda: isinstance(show.app.focused, ChartView))
        chart = show.app.focused
        await show.until(lambda: len(chart.extent.stops) > 1)
        stops = chart.extent.stops
        with every_key(show, "examined chart") as keyboard:
            await keyboard.does("←", lambda: chart.window.cursor == stops[-2])
            await keyboard.does("→", lambda: chart.window.cursor == stops[-1])
            await keyboard.does("<", lambda: chart.window.cursor == stops[max(0, len(stops) - 11)])
            await keyboard.does(">", lambda: chart.window.cursor == stops[-1])
            for axis, closer, wider, back, on in (("x", "z", "Z", "H", "L"), ("y", "u", "U", "J", "K")):
                await keyboard.does(closer, lambda at=axis: getattr(chart.window, at))
                low = getattr(chart.window, axis)[0]
                await keyboard.does(back, lambda at=axis, low=low: getattr(chart.window, at)[0] < low)
                low = getattr(chart.window, axis)[0]
                await keyboard.does(on, lambda at=axis, low=low: getattr(chart.window, at)[0] > low)
                near = getattr(chart.window, axis)
                await keyboard.does(wider, lambda at=axis, near=near: getattr(chart.window, at) != near)
            for key in ("X", "Y"):
                was = getattr(chart.window, f"is_log_{key.lower()}")
                name = f"is_log_{key.lower()}"
                await keyboard.does(key, lambda name=name, was=was: getattr(chart.window, name) != was)
            await show.press("z")
            await show.until(lambda: chart.window.x)
            await keyboard.does("0", lambda: (chart.window.x, chart.window.y) == (None, None))
            await keyboard.does("enter", lambda: show.app.screen.maximized is not None)
            # Of the full screen, which is Textual's; then of the chart.
            await show.press("escape")
            await show.until(lambda: show.app.screen.maximized is None)
            assert show.app.focused is chart
            await keyboard.does("esc", lambda: show.app.focused is not chart)

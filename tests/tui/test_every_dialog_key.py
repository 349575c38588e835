"""Every key of the second table in docs/keys.md has its effect: those of dialogs and of parts of a tab."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from unittest.mock import patch

import pytest
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Input, OptionList

from tests.tui.stage import NARROW, WIDE, Show, Stage
from tests.tui.test_commands import go_to_jobs, run_ids
from tests.tui.test_devices_screen import MACHINE
from tests.tui.test_every_key import Keyboard, every_key
from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.tui.analysis.dialogs import AskDialog
from tui_datasize.tui.devices_screen import DevicesView
from tui_datasize.tui.live.column_dialog import ColumnDialog, ColumnList
from tui_datasize.tui.live.table import LiveTable
from tui_datasize.tui.polling.machine import MachineWatch
from tui_datasize.tui.queue.cell_map import CellMap
from tui_datasize.tui.queue.experiment_list import ExperimentList
from tui_datasize.tui.queue.job_table import JobTable
from tui_datasize.tui.queue_dialog import QueueDialog
from tui_datasize.tui.scheduler_dialog import SchedulerDialog
from tui_datasize.tui.widgets.dialogs import (
    ChooseDialog,
    ConfirmDialog,
    CycleField,
    FollowingDialog,
    TextDialog,
)
from tui_datasize.tui.widgets.filter_box import FilterBox
from tui_datasize.tui.widgets.log_screen import LogScreen, LogText

_COPY = "tui_datasize.tui.exports.copy_text"


async def opened(show: Show, key: str, dialog: type[Screen[object]]) -> None:
    await show.press(key)
    await show.until(lambda: isinstance(show.app.screen, dialog) and show.app.screen.is_mounted)
    await show.settle()


async def closes(
    show: Show, keyboard: Keyboard, keys: str, opener: str, dialog: type[Screen[object]]
) -> None:
    """Each of some keys closes a dialog, which another opens."""
    for key in keys.split():
        if not isinstance(show.app.screen, dialog):
            await opened(show, opener, dialog)
        await keyboard.does(key, lambda: not isinstance(show.app.screen, dialog))


async def moves(keyboard: Keyboard, keys: str, place: Callable[[], object]) -> None:
    """Each of some keys changes what a place is."""
    for key in keys.split():
        before = place()
        await keyboard.does(key, lambda before=before: place() != before)


async def test_every_key_of_a_list_and_of_the_map(busy: Stage):
    async with busy.open(WIDE) as show:
        table, cells = show.app.query_one(JobTable), show.app.query_one(CellMap)
        await go_to_jobs(show, run_ids(busy, JobState.RUNNING)[0])
        with every_key(show, "lists") as keyboard:
            table.move_to(1)
            await moves(keyboard, "↓ j ↑ k End g G Home PgDn PgUp", lambda: table.cursor)
        experiments = show.app.query_one(ExperimentList)
        experiments.focus()
        with every_key(show, "experiments") as keyboard:
            await keyboard.does("enter", lambda: cells.has_focus)
        with every_key(show, "map of cells") as keyboard:
            keys = "↓ j ↑ k → l ← h G Home End g"
            await moves(keyboard, keys, lambda: cells.current and cells.current.run_id)
            await closes_queue(show, keyboard)
            await keyboard.does("space", lambda: cells.marked)


async def closes_queue(show: Show, keyboard: Keyboard) -> None:
    await keyboard.does("enter", lambda: isinstance(show.app.screen, QueueDialog))
    await show.press("escape")


async def test_every_key_of_the_dialogs_of_the_queue(busy: Stage):
    queue, running = busy.queue, run_ids(busy, JobState.RUNNING)[0]
    queue.entries[-1] = queue.entries[-1]._replace(state=JobState.CANCELLED)
    async with busy.open(NARROW) as show:
        with every_key(show, "queueing") as keyboard:
            await opened(show, "a", QueueDialog)
            await keyboard.does("x", lambda: "x leaves them out" in show.text)
            order = show.app.screen.query_one(CycleField)
            order.focus()
            await moves(keyboard, "space → l ← h", lambda: order.value)
            await closes(show, keyboard, "esc", "a", QueueDialog)
            await opened(show, "a", QueueDialog)
            await keyboard.does("enter", lambda: queue.enqueued)
        with every_key(show, "scheduler") as keyboard:
            await opened(show, "s", SchedulerDialog)
            await moves(keyboard, "↓ ↑", lambda: show.app.screen.focused)
            await closes(show, keyboard, "esc", "s", SchedulerDialog)
            await opened(show, "s", SchedulerDialog)
            await keyboard.does("^t", lambda: queue.stopped)
            await opened(show, "s", SchedulerDialog)
            await keyboard.does("enter", lambda: queue.restarts)
        await go_to_jobs(show, running)
        with every_key(show, "questions") as keyboard:
            await closes(show, keyboard, "esc n q", "c", ConfirmDialog)
            for key in ("y", "enter"):
                queue.sent.clear()
                await opened(show, "c", ConfirmDialog)
                await keyboard.does(key, lambda: [kind for kind, *_ in queue.sent] == [CommandKind.CANCEL])
                await go_to_jobs(show, run_ids(busy, JobState.RUNNING)[0])


async def test_every_key_of_what_is_read(busy: Stage, monkeypatch: pytest.MonkeyPatch):
    running = run_ids(busy, JobState.RUNNING)[0]
    paths = busy.project.run("digits", running)
    paths.stdout.write_text("".join(f"line {number}\n" for number in range(200)))
    paths.stderr.write_text("an error\n")
    many = replace(MACHINE, processes=MACHINE.processes * 20)
    monkeypatch.setattr(MachineWatch, "look", lambda *_: many)
    async with busy.open(NARROW) as show:
        with every_key(show, "texts") as keyboard:
            await opened(show, "?", TextDialog)
            text = show.app.screen.query_one(VerticalScroll)
            await moves(keyboard, "j k", lambda: text.scroll_offset.y)
            await closes(show, keyboard, "esc q enter ? F1", "?", TextDialog)
        with every_key(show, "devices") as keyboard:
            await opened(show, "M", Screen)
            await show.until(lambda: "more lines" in show.text)
            view = show.app.screen.query_one(DevicesView)
            await moves(keyboard, "j ↓ k ↑", lambda: view._first)
            await closes(show, keyboard, "esc q M", "M", type(show.app.screen))
        await go_to_jobs(show, running)
        with every_key(show, "details of a run") as keyboard, patch(_COPY, return_value="copied") as copy:
            await opened(show, "enter", FollowingDialog)
            await keyboard.does("y", lambda: copy.called)
        assert copy.call_args[0][0] == str(paths.directory)
        await show.press("escape")
        with every_key(show, "log") as keyboard:
            await opened(show, "l", LogScreen)
            await show.shows("line 199")
            log = show.app.screen.query_one(LogText)
            await moves(keyboard, "k j g G", lambda: log.scroll_offset.y)
            await show.press("g")
            await keyboard.does("/", lambda: isinstance(show.app.focused, Input))
            with every_key(show, "search in a log") as typing:
                await typing.does("esc", lambda: log.has_focus)
                await show.press("slash", *"LINE 1")
                await typing.does("enter", lambda: "LINE 1: 1 of 111" in show.text)
            for key, at in (("n", "2 of 111"), ("N", "1 of 111")):
                await keyboard.does(key, lambda at=at: f"LINE 1: {at}" in show.text)
            with patch(_COPY, return_value="copied") as copy:
                await keyboard.does("y", lambda: copy.called)
            assert copy.call_args[0][0] == str(paths.stdout)
            await keyboard.does("e", lambda: "an error" in show.text)
            await closes(show, keyboard, "esc q l", "l", LogScreen)


async def test_every_key_of_the_filter_the_columns_a_choice_and_a_target(busy: Stage):
    async with busy.open(NARROW) as show:
        await show.press("2")
        await show.shows("Accuracy")
        table, box = show.app.query_one(LiveTable), show.app.query_one("LivePane FilterBox", FilterBox)
        with every_key(show, "filter") as keyboard:
            await show.press("slash", *"state:fa")
            await keyboard.does("tab", lambda: box.value == "state:failed")
            await keyboard.does("enter", lambda: table.has_focus)
            await show.press("slash")
            await keyboard.does("esc", lambda: not box.value)
        with every_key(show, "columns") as keyboard:
            await opened(show, "C", ColumnDialog)
            columns = show.app.screen.query_one(ColumnList)
            await moves(keyboard, "space p + = - 0", lambda: columns.choice)
            await closes(show, keyboard, "esc q", "C", ColumnDialog)
            await opened(show, "C", ColumnDialog)
            await show.press("space")
            await keyboard.does("enter", lambda: table.choice.shown)
        await show.press("3")
        await show.shows("Learning curve")
        with every_key(show, "choices") as keyboard:
            await opened(show, "m", ChooseDialog)
            options = show.app.screen.query_one(OptionList)
            await moves(keyboard, "j k G g ↓ ↑ End Home PgDn PgUp", lambda: options.highlighted)
            await closes(show, keyboard, "esc q enter", "m", ChooseDialog)
        with every_key(show, "target") as keyboard:
            await closes(show, keyboard, "esc", "t", AskDialog)
            await opened(show, "t", AskDialog)
            show.app.screen.query(Input).first().value = "90"
            await keyboard.does("enter", lambda: not isinstance(show.app.screen, AskDialog))

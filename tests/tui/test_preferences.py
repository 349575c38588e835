"""What a person chooses of the app: keys, characters, colours, only looking, a slow link, one screen."""

from __future__ import annotations

import gc
from pathlib import Path
from unittest.mock import AsyncMock, patch

import pytest
from rich.color import ColorSystem
from textual.screen import Screen
from textual.widget import Widget

from tests.tui.fake_queue import FakeQueue
from tests.tui.stage import NARROW, WIDE, Show, Stage
from tests.tui.test_commands import go_to_jobs, run_ids
from tui_datasize.cli.dispatch import main
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.tui import doctor_dialog
from tui_datasize.tui.analysis.dialogs import AskDialog
from tui_datasize.tui.devices_screen import DevicesScreen
from tui_datasize.tui.keys import CHANGES
from tui_datasize.tui.live.column_dialog import ColumnDialog
from tui_datasize.tui.live.table import LiveTable
from tui_datasize.tui.preferences import Preferences, load_preferences
from tui_datasize.tui.queue.cell_map import CellMap
from tui_datasize.tui.queue.experiment_list import ExperimentList
from tui_datasize.tui.queue.job_table import JobTable
from tui_datasize.tui.start import print_screen
from tui_datasize.tui.widgets.dialogs import ChooseDialog, TextDialog
from tui_datasize.tui.widgets.log_screen import LogScreen


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("DATASIZE_BELL", raising=False)
    file = tmp_path / "datasize-tui" / "config.toml"
    file.parent.mkdir()
    return file


def test_every_mistake_is_a_line_and_what_is_right_holds(file: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["config", "validate"]) == 0
    file.write_text(
        'theme = "ansi-dark"\nmouze = true\nbell = 1\n[keys]\nQ = "q"\n"^x" = "PgUp"\nw = "nokey"\n'
    )
    assert main(["config", "validate"]) == 2
    lines = capsys.readouterr().err.splitlines()[1:]
    mistakes = "bell: expected true or false", "keys.w: expected a key", "'mouze'; did you mean 'mouse'?"
    assert len(lines) == len(mistakes)
    assert all(mistake in line for mistake, line in zip(mistakes, lines, strict=True))
    found, _ = load_preferences()
    assert (found.theme, found.keys) == ("ansi-dark", {"Q": "q", "ctrl+x": "pageup"})
    # What is shown says the same.
    assert main(["config", "show"]) == 2
    file.write_text(capsys.readouterr().out)
    assert load_preferences() == (found, [])
    file.write_text("x = [")
    assert load_preferences()[0] == Preferences()


async def test_keys_have_the_names_that_someone_gave_them(busy: Stage):
    busy.preferences = Preferences(keys={"Q": "q", "s": "j"})
    async with busy.open() as show:
        await show.press("tab", "tab")
        await show.shows("Q leave")
        table = show.app.focused
        await show.press("s")
        assert table.cursor == 1
        # Where something is written a letter is itself.
        await show.press("slash", "s")
        await show.shows("subset_strategy")
        await show.press("escape", "Q")
        await show.until(lambda: not show.app.is_running)


REFUSED = "read-only: nothing is changed from here"
READ = (TextDialog, LogScreen, DevicesScreen, ChooseDialog, AskDialog, ColumnDialog)
"""Dialogs that change nothing."""
_ELSEWHERE = ("1", "2", "3", "q", "ctrl+q", "ctrl+z", "ctrl+p")
"""They leave the tab."""


def keys_in_use(show: Show) -> dict[str, str]:
    """What may be pressed now, and the action of each key; those of lists are tried elsewhere."""
    found = show.app.screen.active_bindings.items()
    return {key: one.binding.action for key, one in found if not isinstance(one.node, Screen)}


def state_of(stage: Stage) -> object:
    """The files of the project, and what was asked of its queue."""
    queue = stage.queue
    asked = *queue.sent, *queue.enqueued, *queue.drains, queue.undone, queue.alive, queue.restarts
    files = (file for file in stage.project.root.rglob("*") if file.is_file())
    return asked, {file: file.read_bytes() for file in files if stage.project.cache not in file.parents}


async def try_every_key(show: Show, taker: Widget) -> set[str]:
    """Press every key that a part of a tab takes, and enter in what opens; the actions that are refused."""
    refused = set()
    show.app.screen.set_focus(taker)
    for key, action in keys_in_use(show).items():
        if key in _ELSEWHERE:
            continue
        show.app.say("")
        show.app.screen.set_focus(taker)
        await show.press(key)
        if REFUSED in show.text:
            refused.add(action.partition("(")[0].rpartition(".")[2])
        while len(show.app.screen_stack) > 1:
            assert isinstance(show.app.screen, READ), (key, show.app.screen)
            opened = show.app.screen
            await show.press("enter")
            if show.app.screen is opened:
                await show.press("escape")
    return refused


async def test_no_key_changes_anything_where_one_only_looks_on(
    busy: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    monkeypatch.setattr(doctor_dialog, "examine", AsyncMock(return_value=[]))
    busy.preferences = Preferences(read_only=True)
    busy.queue.alive = False
    before = state_of(busy)
    async with busy.open(WIDE) as show:
        refused = set()
        await go_to_jobs(show, run_ids(busy, JobState.QUEUED)[0])
        for kind in (JobTable, CellMap, ExperimentList):
            refused |= await try_every_key(show, show.app.query_one(kind))
        await show.press("2")
        refused |= await try_every_key(show, show.app.query_one(LiveTable))
        await show.press("3", "p")
        await show.until(lambda: show.app.pane.is_settled)
        await show.shows("Which runs to queue next")
        refused |= await try_every_key(show, show.app.pane.first_focus)
        assert refused == CHANGES
        await show.press("question_mark")
        await show.shows("Drop the filter")
        assert "Queue the runs" not in show.text
        await show.press("escape", "q")
    assert state_of(busy) == before
    assert not (busy.project.cache / "app.json").exists()


async def test_an_empty_project_offers_nothing_to_whom_may_only_look(tmp_path: Path):
    stage = Stage(ProjectPaths(tmp_path), FakeQueue(), preferences=Preferences(read_only=True))
    async with stage.open() as show:
        for key in ("escape", "b", "B", "enter"):
            await show.shows("No experiments yet.", "Read-only: none is begun.", "read-only")
            assert len(show.app.screen_stack) == 1
            assert "b build" not in show.text
            await show.press(key)
        await show.shows("the project is empty, and read-only: nothing is written from here")
        for tab, says in (("2", "No run has begun."), ("3", "No experiments yet.")):
            await show.press(tab)
            await show.shows(says)
            assert "Queue tab" not in show.text


async def test_a_terminal_of_ascii_gets_nothing_else(busy: Stage):
    busy.preferences = Preferences(characters="ascii")
    async with busy.open() as show:
        for key, words in (
            ("1", "> running"),
            ("2", "@ test"),
            ("3", "train size"),
            ("question_mark", "+- Keys"),
        ):
            await show.press(key)
            await show.shows(words)
            assert show.text.isascii()


async def test_the_terminals_own_colours_are_asked_for_by_name(busy: Stage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("textual.constants.COLOR_SYSTEM", "truecolor")
    busy.preferences = Preferences(theme="ansi-light")
    async with busy.open() as show:
        assert show.app.console._color_system is ColorSystem.STANDARD
        show.app.theme = "datasize"
        await show.until(lambda: show.app.console._color_system is ColorSystem.TRUECOLOR)


def test_one_screen_is_printed_and_nothing_is_started(
    busy: Stage, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    file.write_text('characters = "ascii"')
    monkeypatch.setattr(gc, "disable", lambda: None)
    monkeypatch.setattr(FakeQueue, "used_gpus", lambda _: [], raising=False)
    with patch("tui_datasize.tui.start.QueueClient", return_value=busy.queue):
        assert print_screen(busy.project, "analysis", NARROW) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == NARROW[1]
    assert "3 Analysis" in lines[0]
    assert any("train size, images" in line for line in lines)
    assert "\x1b" not in "".join(lines)
    assert "".join(lines).isascii()

"""What a person chooses of the app: keys, characters, colours, only looking, a slow link, one screen."""

from __future__ import annotations

import gc
from pathlib import Path
from unittest.mock import patch

import pytest
from rich.color import ColorSystem

from tests.tui.fake_queue import FakeQueue
from tests.tui.stage import NARROW, Stage
from tests.tui.test_commands import go_to_jobs, run_ids
from tui_datasize.cli.dispatch import main
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.tui.preferences import Preferences, load_preferences
from tui_datasize.tui.start import print_screen


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


async def test_who_only_looks_on_changes_nothing(busy: Stage):
    busy.preferences = Preferences(read_only=True)
    busy.queue.alive = False
    async with busy.open() as show:
        await go_to_jobs(show, run_ids(busy, JobState.QUEUED)[0])
        for key in (*"ahucrDzs+-[]bBF", "ctrl+n"):
            show.app.say("")
            await show.press(key)
            await show.shows("read-only: nothing is changed from here")
            assert len(show.app.screen_stack) == 1, key
        await show.press("q")
    done = busy.queue.sent, busy.queue.enqueued, busy.queue.drains, busy.queue.undone, busy.queue.alive
    assert not any(done)
    assert not (busy.project.cache / "app.json").exists()


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

"""What a key costs the thread of the screen: views are drawn once, and what takes long is done elsewhere."""

from __future__ import annotations

import gc
import threading
from pathlib import Path
from time import monotonic
from typing import Any
from unittest.mock import Mock

import pytest
from textual import events
from textual._compositor import Compositor
from textual.geometry import Region

from tests.fakes import write_run
from tests.tui import stage as stages
from tests.tui.fake_queue import job
from tests.tui.stage import NARROW, WIDE, Stage, empty_stage, look
from tui_datasize.answers.catalogue import Entry
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.tui import key_order
from tui_datasize.tui.app import DatasizeApp
from tui_datasize.tui.polling.snapshot import Snapshot
from tui_datasize.tui.queue.job_table import JobTable
from tui_datasize.tui.terminal import _Keys


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A sweep that is done."""
    stage = empty_stage(tmp_path / "project")
    for position, spec in enumerate(stage.specs()):
        write_run(stage.project, spec)
        stage.queue.entries.append(job(spec, JobState.SUCCEEDED, position))
    return stage


@pytest.fixture
def frames(monkeypatch: pytest.MonkeyPatch) -> list[tuple[set[Region], str]]:
    """What was painted anew of each frame, and all that it shows."""
    seen: list[tuple[set[Region], str]] = []
    note_alone = stages._note_alone

    def note(self: Compositor, *arguments: Any, **options: Any) -> None:
        shown = (strip.text for *_, strips in self._get_renders() for strip in strips)
        seen.append((set(self._dirty_regions), "\n".join(shown)))
        note_alone(self, *arguments, **options)

    monkeypatch.setattr(stages, "_note_alone", note)
    return seen


async def test_a_view_is_drawn_once_before_a_frame(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    async with stage.open(WIDE) as show:
        drawn = Mock(side_effect=JobTable.draw_header, autospec=True)
        monkeypatch.setattr(JobTable, "draw_header", lambda table: drawn(table))
        table = show.app.query_one(JobTable)
        for _ in range(5):
            table.redraw()
        await show.settle()
        assert drawn.call_count == 1


async def test_no_frame_shows_half_a_tab(stage: Stage, frames: list[tuple[set[Region], str]]):
    async with stage.open(WIDE) as show:
        await show.press("2")
        await show.shows("one at a time")
        frames.clear()
        for key, words in (("1", " Jobs "), ("2", " Runs "), ("1", " Jobs ")):
            await show.press(key)
            await show.shows(words)
        assert frames
        assert all(" Jobs " in text or " Runs " in text for _, text in frames)


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_a_key_is_answered_by_one_layout_and_one_frame(
    stage: Stage,
    frames: list[tuple[set[Region], str]],
    monkeypatch: pytest.MonkeyPatch,
    size: tuple[int, int],
):
    layouts = []
    reflow = Compositor.reflow
    monkeypatch.setattr(Compositor, "reflow", lambda *a: layouts.append(a) or reflow(*a))
    async with stage.open(size) as show:
        for key, words in (("2", "one at a time"), ("3", "16 runs used"), ("1", " Jobs ")):
            await show.press(key)
            await show.shows(words)
        await show.until(lambda: show.app._analysis.is_settled)
        # What became known while it was hidden is laid out once more.
        for key in ("3", "1"):
            await show.press(key)
            await show.settle()
        # What is read anew because of a key comes in frames of its own.
        monkeypatch.setattr(show.app._poller, "look_at", Mock())
        for key, most in (
            *(("2", 1), ("1", 1), ("3", 1), ("2", 1), ("3", 1), ("1", 1)),
            *(("tab", 0), ("tab", 0), ("down", 0), ("pagedown", 0), ("space", 0), ("/", 2), ("m", 0)),
        ):
            await show.settle()
            frames.clear()
            layouts.clear()
            await show.press(key)
            await show.until(lambda: any(regions for regions, _ in frames))
            await show.settle()
            assert (key, len([parts for parts, _ in frames if parts]), len(layouts)) == (key, 1, most), frames


async def test_where_the_focus_goes_nothing_else_is_painted(
    stage: Stage, frames: list[tuple[set[Region], str]]
):
    async with stage.open(WIDE) as show:
        await show.until(lambda: frames)
        frames.clear()
        await show.press("tab", "tab", "tab")
        await show.until(lambda: frames)
        assert not any(Region(0, 0, *WIDE) in parts for parts, _ in frames)


async def test_what_runs_lack_is_looked_for_beside_the_screen(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    threads = set()
    missing = Entry.missing

    def note(self: Entry, runs: Any) -> str:
        threads.add(threading.current_thread())
        return missing(self, runs)

    monkeypatch.setattr(Entry, "missing", note)
    async with stage.open(WIDE) as show:
        await show.press("3")
        await show.shows("Variants compared · needs")
        assert threads
        assert threading.main_thread() not in threads


def test_cells_are_counted_once_a_look(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    snapshot = look(stage)
    monkeypatch.setattr(Snapshot, "state_of", Mock(side_effect=AssertionError("counted again")))
    plan = snapshot.experiments[0]
    assert snapshot.cell_counts(plan) == {JobState.SUCCEEDED: len(plan.cells)}


async def test_other_tabs_are_there_before_they_are_opened(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(key_order, "_MOMENT_S", 0.0)
    load = DatasizeApp._load_ahead
    async with stage.open(WIDE) as show:
        await load(show.app)
        await show.settle()
        assert [pane.display for pane in show.app._switcher.children] == [True, False, False]
        await show.press("2")
        await show.shows("one at a time")


async def test_nothing_is_loaded_while_somebody_types(stage: Stage):
    async with stage.open(WIDE) as show:
        before = monotonic()
        await show.press("j")
        await show.app.until_nobody_types()
        assert monotonic() - before >= key_order._MOMENT_S


async def test_garbage_is_looked_for_while_nobody_types(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    async with stage.open() as show:
        collect = Mock()
        monkeypatch.setattr(gc, "collect", collect)
        await show.press("j")
        show.app.collect_garbage()
        assert not collect.called
        for patience in ("_COLLECTED_AFTER_S", "_STILL_S"):
            collect.reset_mock()
            with monkeypatch.context() as patched:
                patched.setattr(key_order, patience, -1.0)
                show.app.collect_garbage()
            assert collect.called


def test_an_escape_key_waits_for_no_more_than_a_sequence_takes():
    answered = Mock()
    keys = _Keys(debug=False, answered=answered)
    assert not [*keys.feed("\x1b")]
    assert keys._awaiting.timeout == pytest.approx(0.025)
    assert [key.key for key in keys.feed("[A")] == ["up"]
    # What the terminal answers is nobody's key, in whatever pieces it comes.
    assert [key.key for text in ("n\x1b", "[0n", "q") for key in keys.feed(text)] == ["n", "q"]
    answered.assert_called_once()


@pytest.mark.parametrize("size", [1000, 7, 11, 5, 4])
def test_what_is_pasted_is_text_whatever_it_holds(size: int):
    typed = "a\x1b[200~b \x1b[31mred\x1b[0m\x1bc 0123456789 0123456789 0123456789\x1b[201~d"
    keys = _Keys(debug=False, answered=Mock())
    found = [one for at in range(0, len(typed), size) for one in keys.feed(typed[at : at + size])]
    assert [one.key for one in found if isinstance(one, events.Key)] == ["a", "d"]
    (pasted,) = (one.text for one in found if isinstance(one, events.Paste))
    assert pasted == "b redc 0123456789 0123456789 0123456789"


def test_a_paste_whose_end_never_comes_ends_all_the_same_and_keys_are_keys_again():
    keys = _Keys(debug=False, answered=Mock())
    found = [*keys.feed("\x1b[200~abc\x03")]
    while not found:
        found += keys.release()
    assert [one.text for one in found if isinstance(one, events.Paste)] == ["abc\x03"]
    assert [one.key for one in keys.feed("\x03q")] == ["ctrl+c", "q"]
    # What looked like the beginning of a paste was none.
    assert not [*keys.feed("\x1b[2")]
    assert not [*keys.release()]
    assert [one.key for one in keys.feed("4~")] == ["f12"]

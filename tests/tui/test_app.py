"""The app as a whole: sizes, colours, help, palette, leaving, and what goes wrong around it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from textual.events import Resize
from textual.geometry import Region, Size

from tests.tui.fake_queue import EIGHT_GPUS, TWO_GPUS
from tests.tui.stage import NARROW, WIDE, Stage
from tests.tui.test_commands import rows_of
from tui_datasize.errors import StorageError
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.tui.live.columns import ColumnChoice, columns_of
from tui_datasize.tui.news import farewell
from tui_datasize.tui.polling.snapshot import EMPTY
from tui_datasize.tui.view_state import ViewState, load_view_state, save_view_state
from tui_datasize.tui.widgets.dialogs import TextDialog
from tui_datasize.tui.widgets.line_view import LineView


async def test_at_80_by_24_nothing_that_one_needs_is_cut_off(busy: Stage):
    async with busy.open(NARROW) as show:
        await show.shows("last line")
        lines = [line.rstrip() for line in show.lines]
        assert len(lines) == 24
        assert max(map(len, lines)) <= 80
        assert lines[0].startswith(" 1 Queue  2 Live  3 Analysis")
        assert all(part in lines[0] for part in ("◐ 2", "○ 4", "‖ 1", "● 6", "✗ 1"))
        assert "no GPU · 2 CPU slots" in lines[1]
        assert lines[1].endswith("● scheduler on")
        assert "▸ digits     6/16" in lines[3]
        for size in (40, 80, 160, 320):
            assert any(f" {size}   " in line for line in lines[3:12])
        assert "·missing ○queued ‖held ◐running ●done ✗failed" in lines[3]
        assert lines[13].split()[:4] == ["state", "size", "draw", "seed"]
        assert lines[14] in rows_of(show, busy.queue.entries[7].run_id)
        assert lines[21] == " last line"
        assert lines[23].strip().startswith("enter open  a queue all")
        assert lines[23].endswith("? keys  q leave")


async def test_at_160_by_48_there_is_more_of_everything(busy: Stage):
    async with busy.open(WIDE) as show:
        await show.shows("last line")
        lines = [line.rstrip() for line in show.lines]
        assert len(lines) == 48
        text = show.text
        assert "Digits with a small network" in text
        assert "progress" in text
        assert "try" in text
        assert "◐ 2 running  ○ 4 queued  ‖ 1 held  ● 6 done  ✗ 1 failed" in lines[0]
        assert all(rows_of(show, run.run_id) for run in busy.queue.entries)
        assert "] down" in lines[-1]


async def test_gpus_in_the_detail_that_fits(busy: Stage):
    busy.devices = TWO_GPUS
    async with busy.open(NARROW) as show:
        await show.shows("0 H100 87% 41/80 GB 63°C  1 H100 12% 3/80 GB 41°C")
        busy.devices = EIGHT_GPUS
        await show.shows("0 0%  1 12%", "7 84%", "scheduler on")


async def test_without_colour_shapes_tell_everything(busy: Stage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NO_COLOR", "1")
    async with busy.open(NARROW) as show:
        assert show.app.no_color
        await show.press("tab", "space", "tab", "space")
        await show.shows("▸", "◆", "━ Jobs", "─ Cells", "◐ running", "✗failed", "● done")
        await show.press("2")
        await show.shows("●", "○")
        await show.press("3")
        await show.shows("Learning curve")
        styles = [s.style for strip in show.app.screen._compositor.render_strips() for s in strip if s.style]
        colours = {colour for style in styles for colour in (style.color, style.bgcolor) if colour}
        assert all(colour.is_default for colour in colours)


async def test_a_project_without_experiments_says_what_to_do(tmp_path: Path, busy: Stage):
    busy.project.experiments.write_text("")
    busy.queue.entries.clear()
    busy.project = ProjectPaths(tmp_path / "bare")
    busy.project.root.mkdir()
    async with busy.open() as show:
        await show.shows("has no experiments yet")
        await show.press("escape")
        await show.shows("No experiments yet: b, then", "d runs a demo", "The queue is empty.")
        for key in ("a", "h", "c", "l", "i", "2", "3", "e", "m", "escape"):
            await show.press(key)
        await show.shows("No experiments yet. Build one on the Queue tab: b.")
        assert show.app.is_running


async def test_a_look_that_fails_is_a_line_and_not_an_end(busy: Stage):
    async with busy.open() as show:
        busy.queue.broken = OSError("disk I/O error")
        await show.shows("! queue: OSError: disk I/O error")
        await show.shows("14")
        busy.queue.broken = None
        await show.until(lambda: "disk I/O error" not in show.text)
        show.app.post_message(show.app.PollingFailed("looking at the project failed: boom"))
        await show.shows("looking at the project failed: boom")


async def test_waiting_work_wakes_a_scheduler_when_the_app_opens_and_when_one_dies(busy: Stage):
    busy.queue.alive = False
    async with busy.open() as show:
        await show.until(lambda: busy.queue.started == 1)
        await show.shows("scheduler on")
        assert "restarting" not in show.text
        busy.queue.alive = False
        await show.shows("Scheduler exited; restarting. Runs unaffected.")
        await show.until(lambda: busy.queue.started == 2)


async def test_nothing_to_do_wakes_nobody(empty: Stage):
    empty.queue.alive = False
    async with empty.open() as show:
        await show.shows("scheduler off")
        assert empty.queue.started == 0


async def test_a_scheduler_that_was_stopped_is_not_started_by_looking(busy: Stage):
    async with busy.open() as show:
        await show.shows("scheduler on")
        busy.queue.stopped, busy.queue.alive = True, False
        busy.queue.waiting = "waiting for `datasize-tui scheduler start`: it was stopped"
        await show.shows("scheduler stopped", "waiting for `datasize-tui scheduler start`")
        assert busy.queue.started == 0
        await show.press("D")
        await show.until(lambda: busy.queue.started)


async def test_a_scheduler_that_does_not_start_is_a_line(busy: Stage, monkeypatch: pytest.MonkeyPatch):
    def fail() -> None:
        raise StorageError("the scheduler did not start: no space", where="scheduler.log")

    busy.queue.alive = False
    monkeypatch.setattr(busy.queue, "ensure_scheduler", fail)
    async with busy.open() as show:
        await show.shows("scheduler.log: the scheduler did not start: no space")


async def test_ctrl_c_names_the_key_that_leaves(busy: Stage):
    async with busy.open() as show:
        await show.press("ctrl+c")
        await show.shows("press q to leave; jobs run on")


async def test_help_lists_the_keys_of_the_tab(busy: Stage):
    async with busy.open(WIDE) as show:
        await show.press("question_mark")
        assert isinstance(show.app.screen, TextDialog)
        await show.shows(
            "Queue what is missing",
            "Hold waiting jobs",
            "Release held jobs",
            "Raise the priority",
            "Move up in the queue",
            "On the map of cells",
            "Write the table in view as CSV",
        )
        await show.press("escape", "2", "f1")
        await show.shows("Update, epoch, samples seen or wall time")


async def test_help_scrolls_at_80_by_24(busy: Stage):
    async with busy.open(NARROW) as show:
        await show.press("question_mark")
        assert "Leave; queued and running jobs go on" not in show.text
        await show.press(*["j"] * 40)
        await show.shows("Leave; queued and running jobs go on", "one layer back")


async def test_every_action_of_the_tab_is_in_the_palette(busy: Stage):
    async with busy.open(WIDE) as show:
        titles = {command.title.lower() for command in show.app.get_system_commands(show.app.screen)}
        for name in ("queue all (a)", "hold (h h)", "cancel (c)", "raise (+ =)", "up ([ k)"):
            assert name in titles, titles
        await show.press("ctrl+p")
        await show.press(*"queue all", "enter")
        await show.shows("Queue digits?")


async def test_the_jobs_in_view_are_exported(busy: Stage, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> str:
        raise StorageError("cannot be written: No space left on device", where="x.csv")

    async with busy.open() as show:
        await show.press("slash", *"n40", "enter", "ctrl+e")
        await show.shows("wrote 4 rows to")
        monkeypatch.setattr("tui_datasize.tui.exports.export_csv", fail)
        await show.press("ctrl+e")
        await show.shows("x.csv: cannot be written: No space left on device")
    (file,) = busy.project.root.glob("runs-*.csv")
    rows = file.read_text().splitlines()
    assert len(rows) == 5
    assert rows[0].startswith("run_id,experiment")
    assert all("-n40-" in row for row in rows[1:])


async def test_q_leaves_without_a_question_and_says_what_goes_on(busy: Stage):
    async with busy.open() as show:
        await show.press("q")
        await show.until(lambda: not show.app.is_running)
        snapshot = show.app.snapshot
    text = farewell(snapshot)
    assert text is not None
    assert text.startswith("2 runs at work and 5 waiting: they go on.")
    assert farewell(EMPTY) is None


async def test_q_right_after_an_order_loses_nothing(busy: Stage):
    async with busy.open() as show:
        await show.pilot.press("a")
        await show.shows("Queue digits?")
        await show.pilot.press("enter", "q")
        await show.until(lambda: not show.app.is_running)
    assert len(busy.queue.enqueued) == 1


async def test_tab_and_experiment_are_restored(busy: Stage):
    async with busy.open() as show:
        await show.press("down", "3", "q")
        await show.until(lambda: not show.app.is_running)
    saved = load_view_state(busy.project)
    assert (saved.tab, saved.experiment) == ("analysis", "depth")
    async with busy.open() as show:
        await show.shows("Learning curve")
        await show.press("1")
        await show.shows("▸ depth", "layers=1")


def test_a_spoilt_view_state_is_forgotten(busy: Stage):
    save_view_state(busy.project, ViewState("live", "digits"))
    file = busy.project.cache / "app.json"
    assert json.loads(file.read_text())["tab"] == "live"
    for text in ("", "[]", '{"tab": 3, "experiment": "x"}', '{"tab": "live"}'):
        file.write_text(text)
        assert load_view_state(busy.project).experiment in ("", "x")
    file.write_text(
        '{"tab": "live", "experiment": "x", "columns": {"shown": {"seed": false}, "pinned": [[], "lr"],'
        ' "wider": {"lr": "a", "seed": 2}}}'
    )
    assert columns_of(load_view_state(busy.project).columns) == ColumnChoice(
        {"seed": False}, ("lr",), {"seed": 2}
    )


async def test_a_click_on_a_tab_opens_it(busy: Stage):
    async with busy.open() as show:
        await show.pilot.click("HeaderStrip", offset=(11, 0))
        await show.shows("Accuracy")


async def test_only_the_lines_that_changed_are_repainted(busy: Stage, monkeypatch: pytest.MonkeyPatch):
    async with busy.open() as show:
        await show.shows("last line")
        repainted: list[tuple[str, int]] = []
        set_dirty = LineView._set_dirty

        def note(view: LineView, *regions: Region) -> None:
            repainted.extend((type(view).__name__, region.y) for region in regions if region)
            set_dirty(view, *regions)

        monkeypatch.setattr(LineView, "_set_dirty", note)
        show.app.post_message(show.app.SnapshotArrived(show.app.snapshot))
        await show.settle()
        assert repainted == []
        busy.devices = TWO_GPUS
        await show.shows("0 H100 87%")
        assert repainted == [("HeaderStrip", 1)]


def test_the_first_screen_loads_neither_torch_nor_polars():
    script = (
        "import sys, tui_datasize.tui.app\n"
        "heavy = {'torch', 'sklearn', 'torchvision', 'polars', 'scipy', 'plotext'}\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & heavy))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_using_every_tab_works_where_torch_cannot_be_imported(
    busy: Stage, monkeypatch: pytest.MonkeyPatch
):
    for name in ("torch", "torchvision", "torchmetrics", "sklearn"):
        # Other tests of this process may have imported it; None makes every import of it fail.
        monkeypatch.setitem(sys.modules, name, None)
    async with busy.open() as show:
        await show.press("2", "3")
        await show.shows("Learning curve  digits · 6 runs")
        assert JobState.SUCCEEDED in show.app.snapshot.states.values()
        assert not show.app.snapshot.problems


async def test_all_is_drawn_again_when_the_app_comes_back_from_the_background(
    busy: Stage, monkeypatch: pytest.MonkeyPatch
):
    async with busy.open() as show:
        await show.shows("Experiments")
        drawn: list[bool] = []
        monkeypatch.setattr(type(show.app), "action_redraw", lambda _: drawn.append(True))
        assert show.app.active_bindings["ctrl+z"].binding.action == "suspend_process"
        show.app.app_resume_signal.publish(show.app)
        await show.until(lambda: drawn)


async def test_a_size_that_the_terminal_has_no_longer_is_not_laid_out(
    busy: Stage, monkeypatch: pytest.MonkeyPatch
):
    async with busy.open(NARROW) as show:
        await show.shows("Experiments")
        laid_out: list[Size] = []
        monkeypatch.setattr(show.app.screen, "_screen_resized", laid_out.append)
        gone = Size(NARROW[0] + 1, NARROW[1] + 1)
        show.app.screen.post_message(Resize(gone, gone))
        await show.until(lambda: laid_out)
        assert laid_out == [show.app.size]

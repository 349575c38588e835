"""Every key of the Queue tab: what is asked of the queue, and what the screen shows."""

from __future__ import annotations

import itertools
import re
from unittest.mock import patch

import pytest

from tests.tui.stage import NARROW, WIDE, Show, Stage
from tests.tui.test_commands import go_to_jobs, rows_of
from tests.unit.image_desk import BOTH, image_folder
from tui_datasize.errors import StorageError
from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.tui.queue.job_table import _NAMED, JobTable, _columns, _end_of, _headers, _swept
from tui_datasize.tui.queue_dialog import QueueDialog
from tui_datasize.tui.widgets.dialogs import TextDialog
from tui_datasize.tui.widgets.log_screen import LogScreen


def run_id(stage: Stage, index: int) -> str:
    return stage.specs()[index].run_id


async def go_to_map(show: Show) -> None:
    await show.press("tab")


async def go_to_job(show: Show, state: JobState) -> str:
    """Put the cursor of the table on the first job in a state and return its run id."""
    table = show.app.query_one(JobTable)
    wanted = next(row.run_id for row in show.app.snapshot.jobs if row.state is state)
    table.focus()
    table.select(wanted)
    await show.settle()
    assert table.highlighted == wanted
    return wanted


async def test_a_asks_with_the_cost_and_enter_queues_what_is_missing(busy: Stage):
    async with busy.open() as show:
        await show.press("a")
        await show.shows("Queue digits?")
        await show.press("n", "escape")
        await show.until(lambda: not isinstance(show.app.screen, QueueDialog))
        assert busy.queue.enqueued == []
        await show.press("a")
        assert isinstance(show.app.screen, QueueDialog)
        await show.shows("Queue digits?", "16 runs", "2 runs", "6 done", "400 updates", "queue 2 runs")
        await show.press("enter")
        await show.until(lambda: busy.queue.enqueued)
        assert busy.queue.enqueued == [tuple(busy.specs()[14:])]
        assert busy.queue.data_dirs[0] is not None
        assert busy.queue.started == 1
        await show.shows("2 runs queued", "6/16")


async def test_a_tells_what_is_passed_over_of_an_image_folder(empty: Stage):
    folder = image_folder(empty.project.root, *BOTH, "train/cat/notes.txt", "val/cat/1.png")
    text = 'dataset = "imagefolder:odd"\nimage_px = 4\nmodel = "mlp"\nsizes = [2]\nbudget = { updates = 2 }\n'
    empty.project.experiments.write_text(f'[paths]\ndata = "."\n[experiments.e]\n{text}')
    async with empty.open(WIDE) as show:
        await show.press("a")
        await show.shows("Queue e?", "imagefolder:odd: passed over: 1 in val/ (validation), 1", ".txt ")
        await show.press("escape")
        (folder / "test/cat/1.png").write_bytes(b"none")
        await show.press("a")
        await show.shows("Queue e?", "on_bad_image")


async def test_what_a_search_waits_for_stands_with_its_experiment(busy: Stage):
    busy.queue.told_searches = {"digits": "40 images: rung 1 of 3, 2 of 8 runs done"}
    for size in (WIDE, (80, 24)):
        async with busy.open(size) as show:
            await show.shows("40 images: rung 1 of 3")


async def test_a_queues_what_lost_its_evaluations_too(busy: Stage):
    done = {entry.run_id for entry in busy.queue.jobs() if entry.state is JobState.SUCCEEDED}
    lost = next(spec for spec in busy.specs() if spec.run_id in done)
    metrics = busy.project.run(lost.experiment, lost.run_id).metrics
    metrics.write_text("".join(metrics.read_text().splitlines(keepends=True)[:-1]))
    async with busy.open() as show:
        await show.until(lambda: show.app.snapshot.facts)
        # Nowhere is it counted as done.
        await show.shows("5/16", "● 5 ! 1", "seed 0 ! incomplete")
        await show.press("a")
        await show.shows("queue 3 runs", "(1 incomplete: evaluations lost)")
        await show.press("enter")
        await show.until(lambda: busy.queue.enqueued)
        assert lost in busy.queue.enqueued[0]
        await show.shows("3 runs queued (1 incomplete: evaluations lost)")


async def test_a_says_what_keeps_runs_from_being_queued(busy: Stage):
    async with busy.open() as show:
        await show.press("end", "a")
        await show.shows("/nowhere/at/all", "?")
        assert busy.queue.enqueued == []
        await show.press("escape", "home", "a", "enter")
        await show.until(lambda: len(show.app.snapshot.states) == 16)
        await show.press("a")
        await show.shows("all 16 runs of digits are queued or done already")


async def test_enter_on_the_map_queues_the_marked_cells(busy: Stage):
    async with busy.open() as show:
        await go_to_map(show)
        await show.press("end", "down", "down", "down", "space", "left", "left", "space", "enter")
        await show.until(lambda: busy.queue.enqueued)
        queued = {spec.run_id for spec in busy.queue.enqueued[0]}
        assert queued == {run_id(busy, 14), run_id(busy, 15)}
        await show.shows("2 runs queued")


async def test_enter_on_the_map_without_marks_asks_for_the_gap(busy: Stage):
    async with busy.open() as show:
        await go_to_map(show)
        await show.press("enter")
        assert isinstance(show.app.screen, QueueDialog)
        await show.press("enter")
        await show.until(lambda: busy.queue.enqueued)
        assert len(busy.queue.enqueued[0]) == 2


async def test_the_cursor_of_the_map_moves_and_cells_that_are_there_are_not_queued_again(busy: Stage):
    async with busy.open() as show:
        # Enter on an experiment leads to its map.
        await show.press("enter", "space", "enter")
        await show.shows("nothing to queue: 1 run queued or done already")
        assert busy.queue.enqueued == []
        await show.press("space")
        for keys, place in (
            (("right", "down"), "n 80 · draw 0 · seed 101"),
            (("g", "l", "j", "k"), "n 80 · draw 0 · seed 101"),
            (("end", "up", "h"), "n 40 · draw 1 · seed 0"),
            (("G", "left", "k"), "n 40 · draw 1 · seed 0"),
            (("home", "up", "left"), "n 40 · draw 0 · seed 0"),
        ):
            await show.press(*keys)
            assert place in show.text, keys
        await show.press("end", "down", "down", "down", "L")
        await show.shows("no log yet: the run was never queued")


async def test_the_cursor_walks_through_all_variants(busy: Stage):
    async with busy.open(WIDE) as show:
        await show.press("down", "tab")
        await show.shows("layers=1", "layers=2", "n 100 ·")
        await show.press("down", "down", "down", "space", "enter")
        await show.until(lambda: busy.queue.enqueued)
        (spec,) = busy.queue.enqueued[0]
        assert (spec.train_size, spec.model.options["layers"]) == (200, 2)
        # The job is named by what sets it apart, and found by it.
        await show.until(lambda: re.search(r"\b200 +\d+ +\d+ +depth +2\b", show.text))
        await show.press("slash", *"layers=2", "enter")
        await show.shows("1 of ")


@pytest.mark.parametrize("width", [80, 104, 160])
def test_a_job_shows_all_that_was_swept(width: int):
    swept = itertools.product(("0.0", "0.5"), (16, 32), (0.001, 0.0004))
    kinds = [
        ("rates", f"synthetic=cvae synthetic.ratio={one} batch_size={two} lr={three}")
        for one, two, three in swept
    ]
    widths, values = _swept([*kinds, ("models", "torchvision:mobilenet_v3_small")])
    columns = _columns(width, list(widths.values()))
    assert _NAMED + sum(columns.swept) + columns.rest <= width
    cells = [[values[kind].get(name, "") for name in widths] for kind in kinds]
    # Whole, behind a space.
    assert all(len(cell) < room for row in cells for cell, room in zip(row, columns.swept, strict=True))
    assert len({*_headers([*widths], columns.swept)}) == len(widths)
    assert _end_of("torchvision:mobilenet_v3_small", 12) == " …t_v3_small"
    # In a tiny terminal what names a run is all, where nothing was swept.
    assert (_columns(_NAMED + 1, []).rest, _columns(_NAMED + 1, []).swept) == (0, ())


async def test_row_details_and_log_of_a_run_that_was_killed_say_why_and_where_it_went_on(busy: Stage):
    killed = "worker vanished: killed by signal 9 (SIGKILL)"
    busy.queue.entries = [
        entry._replace(attempts=2, interrupted_by=killed) if entry.state is JobState.RUNNING else entry
        for entry in busy.queue.entries
    ]
    first, second = (entry for entry in busy.queue.entries if entry.state is JobState.RUNNING)
    with busy.project.run(first.experiment, first.run_id).metrics.open("a") as file:
        file.write('{"event": "resume", "update": 85}\n')
    why = "worker killed by signal 9, resumed at update 85"
    async with busy.open() as show:
        await show.press("tab", "tab")
        await show.shows("running, try 2")
        (row,) = rows_of(show, first.run_id)
        # What it has reached stays beside it.
        assert re.search(r"running, try 2 .* 25 .* 1\.004   36\.6  signal 9$", row.rstrip())
        await go_to_jobs(show, first.run_id)
        await show.shows(f" {why}")
        await show.press("l")
        await show.shows("stdout.log", f"{why} ", "last line")
        await show.press("escape", "i")
        await show.shows("interrupted by", why, "50 of 200")
        # What is read stays as new as all else.
        entries = [e._replace(state=JobState.SUCCEEDED) if e == first else e for e in busy.queue.entries]
        busy.queue.entries = entries
        await show.shows("state", "done")
        with patch("tui_datasize.tui.exports.copy_text", return_value="copied") as copy:
            await show.press("y")
            await show.until(lambda: copy.called)
        assert copy.call_args[0][0] == str(busy.project.run(first.experiment, first.run_id).directory)
        await show.press("escape")
        await go_to_jobs(show, second.run_id)
        await show.shows(" worker killed by signal 9 ")


CHANGES = [
    ("h", JobState.QUEUED, CommandKind.HOLD, 0, ": held"),
    ("H", JobState.QUEUED, CommandKind.HOLD, 0, ": held"),
    ("u", JobState.HELD, CommandKind.RELEASE, 0, ": released"),
    ("r", JobState.FAILED, CommandKind.RETRY, 0, ": queued again"),
    ("plus", JobState.QUEUED, CommandKind.PRIORITY, 1, ": priority is now 1"),
    ("equals_sign", JobState.HELD, CommandKind.PRIORITY, 1, ": priority is now 1"),
    ("minus", JobState.QUEUED, CommandKind.PRIORITY, -1, ": priority is now 1"),
    ("left_square_bracket", JobState.QUEUED, CommandKind.MOVE, -1, ": moved"),
    ("K", JobState.QUEUED, CommandKind.MOVE, -1, ": moved"),
    ("right_square_bracket", JobState.QUEUED, CommandKind.MOVE, 1, ": moved"),
    ("J", JobState.HELD, CommandKind.MOVE, 1, ": moved"),
]


async def test_a_key_changes_the_job_under_the_cursor(busy: Stage):
    async with busy.open() as show:
        for key, state, kind, amount, said in CHANGES:
            wanted = await go_to_job(show, state)
            busy.queue.sent.clear()
            await show.press(key)
            await show.until(lambda: busy.queue.sent)
            assert busy.queue.sent == [(kind, (wanted,), amount)], key
            await show.shows(said)


async def test_a_key_that_means_nothing_says_why(busy: Stage):
    async with busy.open() as show:
        for key, state, said in (
            ("h", JobState.RUNNING, "nothing to hold: 1 running; that is for interrupted or queued jobs"),
            ("u", JobState.QUEUED, "nothing to release: 1 queued; that is for held jobs"),
            ("c", JobState.SUCCEEDED, "nothing to cancel: 1 done; that is for"),
            (
                "r",
                JobState.SUCCEEDED,
                "nothing to retry: 1 done; that is for cancelled, failed",
            ),
            ("plus", JobState.SUCCEEDED, "nothing to change the priority of: 1 done; that is for"),
            ("J", JobState.RUNNING, "nothing to move: 1 running; that is for"),
        ):
            await go_to_job(show, state)
            await show.press(key)
            await show.shows(said)
        assert busy.queue.sent == []


async def test_marks_make_one_command_for_all_that_it_suits(busy: Stage):
    async with busy.open() as show:
        await go_to_job(show, JobState.QUEUED)
        await show.press("space", "space", "home", "space")
        await show.shows("3 marked", "◆")
        await show.press("h")
        await show.until(lambda: busy.queue.sent)
        assert busy.queue.sent == [(CommandKind.HOLD, (run_id(busy, 9), run_id(busy, 10)), 0)]
        # What can be taken back keeps its marks.
        await show.shows("2 runs: held; left alone: 1 running", "3 marked", "◆")


async def test_c_asks_before_it_cancels(busy: Stage):
    async with busy.open() as show:
        wanted = await go_to_job(show, JobState.RUNNING)
        await show.press("c")
        await show.shows("Cancel 1 run?", wanted, "checkpoint")
        assert busy.queue.sent == []
        await show.press("escape", "c", "enter")
        await show.until(lambda: busy.queue.sent)
        assert busy.queue.sent == [(CommandKind.CANCEL, (wanted,), 0)]
        await show.shows(": is being cancelled")


async def test_a_key_on_an_experiment_is_for_all_its_jobs(busy: Stage):
    async with busy.open() as show:
        await show.press("h")
        await show.until(lambda: busy.queue.sent)
        assert busy.queue.sent == [(CommandKind.HOLD, tuple(run_id(busy, i) for i in range(9, 13)), 0)]


async def test_a_key_on_the_map_is_for_the_cell(busy: Stage):
    async with busy.open() as show:
        await go_to_map(show)
        await show.press("down", "down", "right", "H")
        await show.until(lambda: busy.queue.sent)
        kind, (changed,), _ = busy.queue.sent[0]
        spec = next(spec for spec in busy.specs() if spec.run_id == changed)
        assert kind is CommandKind.HOLD
        assert (spec.train_size, spec.seed, spec.subset.seed) == (160, 101, 0)


async def test_orders_reach_the_queue_in_the_order_of_the_keys(busy: Stage):
    async with busy.open() as show:
        await go_to_job(show, JobState.QUEUED)
        await show.pilot.press("plus", "plus", "minus", "K", "J", "h")
        await show.until(lambda: len(busy.queue.sent) == 6)
        kinds = [kind for kind, _, _ in busy.queue.sent]
        assert kinds == [*[CommandKind.PRIORITY] * 3, *[CommandKind.MOVE] * 2, CommandKind.HOLD]


async def test_runs_that_are_queued_are_seen_wherever_the_list_was_left(busy: Stage):
    async with busy.open(NARROW) as show:
        await show.press("tab", "tab", "end")
        table = show.app.query_one(JobTable)
        await show.until(lambda: table.cursor == len(table.keys) - 1)
        await show.press("shift+tab", "shift+tab", "a")
        await show.shows("Queue digits?")
        await show.press("enter")
        await show.until(lambda: bool(busy.queue.enqueued))
        await show.until(lambda: table.cursor == 0 and 0 in table.in_view)


async def test_the_filter_narrows_the_table_and_escape_drops_it(busy: Stage):
    async with busy.open() as show:
        await show.press("slash", *"n80", "space", *"!done", "enter")
        await show.shows("2 of 14", "out of memory")
        table = show.app.query_one(JobTable)
        assert table.has_focus
        assert all("-n80-" in key for key in table.keys)
        await show.press("escape")
        await show.until(lambda: len(table.keys) == 14)
        # Letters in the filter are text, and no keys of the tab.
        await show.press("slash", *"qachr12")
        assert busy.queue.sent == []
        assert show.app.is_running
        await show.shows("qachr12", "drop filter", "No job matches the filter")
        await show.press("escape")
        await show.shows("14")


async def test_the_log_of_the_job_under_the_cursor_is_shown(busy: Stage):
    async with busy.open() as show:
        wanted = await go_to_job(show, JobState.RUNNING)
        await show.shows(f"Log  {wanted}", "last line")
        await go_to_job(show, JobState.FAILED)
        await show.shows("out of memory: 11.2 GB asked")


async def test_l_opens_the_log_on_the_whole_screen_and_follows_it(busy: Stage):
    async with busy.open() as show:
        wanted = await go_to_job(show, JobState.RUNNING)
        await show.press("l")
        assert isinstance(show.app.screen, LogScreen)
        await show.shows(wanted, "stdout.log", "first line", "last line")
        paths = busy.project.run("digits", wanted)
        with paths.stdout.open("a") as file:
            file.write("one more line\n")
        paths.stderr.write_text("a warning\n")
        await show.shows("one more line")
        await show.press("e")
        await show.shows("stderr.log", "a warning")
        await show.press("escape")
        assert not isinstance(show.app.screen, LogScreen)


async def test_enter_on_a_job_shows_everything_about_it(busy: Stage):
    async with busy.open() as show:
        wanted = await go_to_job(show, JobState.SUCCEEDED)
        await show.press("enter")
        assert isinstance(show.app.screen, TextDialog)
        await show.shows(wanted, "test accuracy", "learning rate 0.001", "200 of 200")
        await show.press("escape")
        assert not isinstance(show.app.screen, TextDialog)


async def test_a_refusal_and_an_error_of_the_queue_are_one_line(busy: Stage):
    busy.queue.refusal = "digits-n80: is running; cancel it to stop it"
    async with busy.open() as show:
        await go_to_job(show, JobState.QUEUED)
        await show.press("h")
        await show.shows("is running; cancel it to stop it")
        busy.queue.error = StorageError("is read-only", where="/data/runs", fix="make it writable")
        await show.press("shift+tab", "shift+tab", "a", "enter")
        await show.shows("/data/runs: is read-only; make it writable")
        assert show.app.is_running


def finish(stage: Stage, index: int) -> None:
    """The job at an index of the queue succeeds."""
    before = stage.queue.entries[index]
    stage.queue.entries[index] = before._replace(
        state=JobState.SUCCEEDED, finished_at="2026-01-02T04:00:00+00:00"
    )


async def test_the_cursor_stays_with_its_job_while_the_table_is_in_use(busy: Stage):
    async with busy.open() as show:
        wanted = await go_to_job(show, JobState.RUNNING)
        finish(busy, 7)
        await show.until(lambda: show.app.snapshot.states[wanted] is JobState.SUCCEEDED)
        await show.settle()
        assert show.app.query_one(JobTable).highlighted == wanted


async def test_a_table_that_is_not_in_use_shows_what_comes_first(busy: Stage):
    async with busy.open() as show:
        table = show.app.query_one(JobTable)
        assert table.highlighted == run_id(busy, 7)
        finish(busy, 7)
        await show.until(lambda: table.highlighted == run_id(busy, 8))


async def test_an_experiment_that_becomes_wrong_is_told_at_once(busy: Stage):
    async with busy.open() as show:
        assert "nowhere" not in show.text
        text = busy.project.experiments.read_text()
        busy.project.experiments.write_text(text.replace("[100, 200]", "[100, 70_000]"))
        await show.shows("✗ experiments.toml: experiments.depth.sizes: 70000 images, but mnist has")
        assert "nowhere" not in show.text


async def test_nothing_is_queued_from_a_file_that_is_wrong_now(busy: Stage):
    async with busy.open() as show:
        busy.project.experiments.write_text('[experiments.digits]\nmodel = "mpl"\n')
        await show.shows("! experiments.toml: ")
        await show.press("a")
        await show.shows("Fix before queueing: ")
        assert not busy.queue.enqueued


async def test_what_does_not_fit_into_a_line_takes_more_of_them(busy: Stage):
    busy.queue.refusal = "a refusal of many words, " * 6 + "and what to do about it at its very end"
    async with busy.open() as show:
        await show.press("tab", "tab", "c", "enter")
        await show.shows(": a refusal of many words", "at its very end")


async def test_cancelled_runs_are_told_apart_and_queued_again_by_x_alone(busy: Stage):
    for place, entry in enumerate(busy.queue.entries[8:11], 8):
        busy.queue.entries[place] = entry._replace(state=JobState.CANCELLED)
    async with busy.open() as show:
        await show.press("a")
        await show.shows("2 new; 3 cancelled: x to include; 1 failed:", "queue 2 runs")
        await show.press("x")
        await show.shows("2 new; 3 cancelled: x leaves them out", "queue 5 runs")
        await show.press("x", "enter")
        await show.until(lambda: busy.queue.enqueued)
        assert busy.queue.enqueued == [tuple(busy.specs()[14:])]
        await show.until(lambda: len(show.app.snapshot.jobs) == 16)
        await show.press("a")
        await show.shows("0 new; 3 cancelled: x to include")
        await show.press("enter")
        await show.shows("0 new runs: x includes those that were cancelled")
        await show.press("x", "enter")
        await show.until(lambda: len(busy.queue.enqueued) == 2)
        assert busy.queue.enqueued[1] == tuple(busy.specs()[8:11])

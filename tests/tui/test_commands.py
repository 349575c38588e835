"""Commands in the app: drain, the whole queue, sources, time left and used, and news of endings."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from textual.widgets import Static

from tests.tui.fake_queue import job
from tests.tui.stage import NARROW, WIDE, Show, Stage, look
from tui_datasize.errors import StorageError
from tui_datasize.experiments.load import Order, load_project
from tui_datasize.experiments.sweep import plan_runs
from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.queue.faults import Fault, FaultKind
from tui_datasize.jobs.queue.reading import Usage
from tui_datasize.jobs.queue.requests import QueueTerms
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.runlog.claim import RunOutcome, read_exit, utc_now
from tui_datasize.runlog.paths import RunPaths
from tui_datasize.tui.news import NewsReader, terminal_signal
from tui_datasize.tui.polling.snapshot import Snapshot
from tui_datasize.tui.preferences import load_preferences
from tui_datasize.tui.queue.job_table import JobTable
from tui_datasize.tui.queue_dialog import enqueue_command
from tui_datasize.tui.widgets.dialogs import TextDialog
from tui_datasize.tui.widgets.header_strip import HeaderStrip


def run_ids(stage: Stage, *states: JobState) -> tuple[str, ...]:
    """Those of the jobs in some states, in queue order."""
    return tuple(entry.run_id for entry in stage.queue.entries if entry.state in states)


def rows_of(show: Show, run_id: str) -> list[str]:
    """The lines of the table of jobs that may be those of a run, by its size, draw and seed."""
    _, size, draw, seed, _ = re.fullmatch(r"(.*)-n(\d+)-d(\d+)-s(\d+)-(.*)", run_id).groups()
    cell = re.compile(rf" {int(size):,} +{draw} +{seed}( |$)")
    return [line for line in map(str.rstrip, show.lines) if cell.search(line)]


async def go_to_jobs(show: Show, run_id: str) -> None:
    table = show.app.query_one(JobTable)
    table.focus()
    table.select(run_id)
    await show.settle()


async def test_an_experiment_is_queued_on_terms(busy: Stage):
    source = busy.queue.entries[0].run_id
    async with busy.open() as show:
        await show.press("down", "a", "tab", *"no", "enter")
        async for _ in show.sizes():
            await show.shows("after: no run in the queue begins with 'no'", "tab terms")
        assert not busy.queue.terms
        await show.press(*["backspace"] * len("no"), *source, "tab", "backspace", *"0", "enter")
        await show.shows("attempts: a whole number from 1 to 1,000", "tab terms")
        await show.press("backspace", *"5", "enter")
        await show.until(lambda: busy.queue.terms)
        attempts, after = busy.queue.terms[0]
        assert attempts == 5
        assert {tuple(sources) for sources in after.values()} == {(source,)}


ORDER_FIELDS = {
    "by-size": "order     ‹   by-size   ›  all of a size, then the next",
    "by-seed": "order     ‹   by-seed   ›  all of a seed, then the next",
    "curve-first": "order     ‹ curve-first ›  every size once, then again",
}
"""How each order looks in the dialog; the experiment's own comes first."""


CHOICES: tuple[tuple[tuple[str, ...], Order], ...] = (
    ((), "by-size"),
    (("tab", "tab", "tab"), "by-size"),
    (("tab", "tab", "tab", "space"), "by-seed"),
    (("tab", "tab", "tab", "right", "right"), "curve-first"),
    (("tab", "tab", "tab", "left"), "curve-first"),
    (("tab", "tab", "tab", "right", "left"), "by-size"),
)


async def test_a_sweep_is_queued_in_the_order_that_is_chosen(empty: Stage):
    loaded = load_project(empty.project.experiments)
    async with empty.open() as show:
        for keys, order in CHOICES:
            empty.queue.entries.clear()
            empty.queue.enqueued.clear()
            await show.until(lambda: not show.app.snapshot.states)
            await show.press("a")
            asks = ("Queue digits?", ORDER_FIELDS["by-size"], "queue 16 runs", "tab terms", "esc back")
            await show.shows(*asks)
            if not keys:
                async for _ in show.sizes():
                    await show.shows(*asks)
                    assert "change the order" not in show.text
                # Without a cluster there is one place alone.
                assert "on this machine" not in show.text
            await show.press(*keys)
            await show.shows(ORDER_FIELDS[order], *(["space ← → change the order"] if keys else []))
            await show.press("enter")
            await show.until(lambda: empty.queue.enqueued)
            wanted = plan_runs(replace(loaded.experiment("digits"), order=order), loaded)
            assert empty.queue.enqueued == [wanted], keys
            await show.until(lambda: "16 runs queued" in show.text and "keep their terms" not in show.text)
            await show.until(lambda: show.app.snapshot.states)


async def test_the_keys_of_the_order_are_told_only_where_they_change_it(empty: Stage):
    async with empty.open() as show:
        await show.press("a", "tab", "tab", "tab")
        await show.shows("space ← → change the order")
        await show.press("tab")
        await show.until(lambda: "change the order" not in show.text)
        # A space is written into a field, and the order stays.
        await show.press("space")
        assert ORDER_FIELDS["by-size"] in show.text


async def test_runs_are_made_where_the_experiment_or_the_dialog_says(empty: Stage):
    empty.queue.slots = 0
    file = empty.project.experiments
    text = file.read_text()
    here, there = "on        ‹ local ›  on this machine", "on        ‹ slurm ›  on the cluster"
    for told, usual, other in (("", here, there), ("on = 'slurm'\n", there, here)):
        key = text.replace("[experiments.digits]\n", f"[experiments.digits]\n{told}")
        file.write_text(f"[cluster]\nkind = 'slurm'\n{key}")
        async with empty.open() as show:
            await show.press("a")
            await show.shows(usual)
            await show.press("tab", "tab", "tab", "tab", "space")
            await show.shows(other, "change the place", "not known yet" if other == there else "there are 0")
            await show.press("space", "enter")
            await show.until(lambda: empty.queue.enqueued)
        empty.queue.enqueued.clear()
        empty.queue.entries.clear()
    assert empty.queue.places == ["local", "slurm"]


async def test_where_the_keys_go_is_seen_without_colour(empty: Stage, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    async with empty.open() as show:

        def is_reversed() -> bool:
            strips = show.app.screen._compositor.render_strips()
            cells = [segment for strip in strips for segment in strip if "‹   by-size   ›" in segment.text]
            return any(cell.style is not None and cell.style.reverse for cell in cells)

        await show.press("a")
        await show.shows(ORDER_FIELDS["by-size"])
        assert not is_reversed()
        await show.press("tab", "tab", "tab")
        await show.until(is_reversed)


async def test_a_part_of_a_sweep_is_queued_in_the_order_of_the_whole(empty: Stage):
    sweep = empty.specs()
    there = {spec.run_id for spec in sweep if spec.seed == 0 and spec.train_size == 40}
    empty.queue.entries = [job(spec, JobState.SUCCEEDED) for spec in sweep if spec.run_id in there]
    async with empty.open() as show:
        await show.press("a", "tab", "tab", "tab", "space", "enter")
        await show.until(lambda: empty.queue.enqueued)
    (queued,) = empty.queue.enqueued
    places = [(spec.seed, spec.train_size, spec.subset.seed) for spec in queued]
    assert places == sorted(places)
    assert len(places) == len(sweep) - len(there)


def test_runs_that_the_file_lists_no_more_are_queued_behind_the_others(empty: Stage):
    """The file may change while the question stands there."""
    snapshot = look(empty)
    cells = snapshot.experiments[0].cells
    text = empty.project.experiments.read_text()
    empty.project.experiments.write_text(text.replace("seeds   = [0, 101]", "seeds   = [101]"))
    command = enqueue_command(look(empty), cells, QueueTerms(order="by-seed"))
    assert [spec.seed for spec in command.specs] == [101] * 8 + [0] * 8


async def test_shift_d_drains_the_queue_and_again_ends_that(busy: Stage):
    async with busy.open() as show:
        assert "draining" not in show.text
        await show.press("D")
        async for _ in show.sizes():
            await show.shows("‖ draining", "draining: running jobs finish, no new ones start")
            assert "draining" in show.lines[1]
        assert busy.queue.drains == [True]
        await show.press("D")
        await show.shows("scheduler on", "the queue starts jobs again")
        assert busy.queue.drains == [True, False]


async def test_a_drain_without_a_scheduler_shows_both(empty: Stage):
    empty.queue.alive = False
    empty.queue.drains.append(True)
    async with empty.open() as show:
        await show.shows("‖ draining ○ scheduler off")


async def test_every_command_is_in_the_help_with_its_key(busy: Stage):
    keys_of_commands = {
        "h H": "Hold waiting jobs",
        "u": "Release held jobs",
        "c": "Cancel jobs, running ones too, after a question",
        "r": "Queue failed, cancelled or interrupted jobs again",
        "D": "Finish running jobs and start no others, or start again",
        "+ =": "Raise the priority",
        "-": "Lower the priority",
        "[ K": "Move up in the queue",
        "] J": "Move down in the queue",
        "s": "The scheduler: restart with other options, or stop it",
        "d": "Check everything that a run needs; takes some seconds",
        "F": "Free disk: remove checkpoints that nothing needs",
        "a": "Queue what is missing; asks for terms: what to wait for (after), how many attempts, the order",
    }
    async with busy.open() as show:
        async for _ in show.sizes():
            await show.press("question_mark")
            await show.until(lambda: isinstance(show.app.screen, TextDialog))
            page = str(show.app.screen.query_one(Static).render()).replace(f"\n{'':16}", " ")
            explained = {line[2:16].strip(): line[16:] for line in page.splitlines() if line.startswith("  ")}
            assert {keys: explained.get(keys) for keys in keys_of_commands} == keys_of_commands
            await show.press("escape")


async def test_asterisk_marks_the_whole_queue_for_any_action(busy: Stage):
    async with busy.open() as show:
        await go_to_jobs(show, busy.queue.entries[0].run_id)
        await show.press("asterisk")
        for key, kind, states in (
            ("h", CommandKind.HOLD, [JobState.QUEUED]),
            ("u", CommandKind.RELEASE, [JobState.HELD]),
            ("r", CommandKind.RETRY, [JobState.FAILED]),
        ):
            busy.queue.sent.clear()
            await show.shows("14 marked")
            await show.press(key)
            await show.until(lambda: busy.queue.sent)
            assert busy.queue.sent == [(kind, run_ids(busy, *states), 0)]
        await show.until(lambda: "marked" not in show.text)


async def test_asterisk_marks_what_the_filter_shows_and_then_nothing(busy: Stage):
    async with busy.open() as show:
        await show.press("slash", *"queued", "enter", "asterisk")
        await show.shows("4 marked")
        assert set(show.app.query_one(JobTable).marked) == set(run_ids(busy, JobState.QUEUED))
        await show.press("asterisk")
        await show.until(lambda: "marked" not in show.text)


async def test_r_on_an_experiment_retries_all_that_failed_or_was_cancelled(busy: Stage):
    entries = busy.queue.entries
    entries[12] = entries[12]._replace(state=JobState.CANCELLED)
    entries[11] = entries[11]._replace(state=JobState.INTERRUPTED)
    async with busy.open() as show:
        await show.press("r")
        await show.until(lambda: busy.queue.sent)
        kind, retried, _ = busy.queue.sent[0]
        wanted = run_ids(busy, JobState.FAILED, JobState.CANCELLED, JobState.INTERRUPTED)
        assert (kind, set(retried)) == (CommandKind.RETRY, set(wanted))
        await show.shows("3 runs: queued again")


async def test_a_job_shows_what_it_waits_for(busy: Stage):
    entries = busy.queue.entries
    source, waiting = entries[9].run_id, entries[10].run_id
    entries[10] = entries[10]._replace(after=(source,), waits_for=(source,))
    async with busy.open() as show:
        async for _ in show.sizes():
            assert any(f"waits for {source[:12]}" in line for line in rows_of(show, waiting))
        await go_to_jobs(show, waiting)
        await show.press("enter")
        async for _ in show.sizes():
            await show.shows("waits for", source)
        await show.press("escape", "slash", *"waits", "enter")
        await show.shows("1 of 14")


async def test_runs_of_a_pack_name_each_other(busy: Stage):
    first, second = pack = tuple(run_ids(busy, JobState.RUNNING)[:2])
    busy.queue.entries[:] = [
        entry._replace(pack=pack) if entry.run_id in pack else entry for entry in busy.queue.entries
    ]
    async with busy.open() as show:
        async for _ in show.sizes():
            assert any("running ×2" in line for line in rows_of(show, first))
        await go_to_jobs(show, first)
        await show.press("enter")
        async for _ in show.sizes():
            await show.shows("shares its worker with", second)


async def test_the_time_left_is_shown_for_the_queue_and_the_experiment(busy: Stage):
    async with busy.open() as show:
        async for size in show.sizes():
            # Two slots: half a run of 4 s each, then two whole ones each.
            assert "10 s left" in show.lines[1]
            assert any("10 s left" in line for line in show.lines[2:5])
            await show.press("down")
            await show.until(lambda size=size: size == WIDE or " left" not in show.lines[2])
            await show.press("up")
        # The details of a job tell its time, and how it is known.
        await go_to_jobs(show, busy.queue.entries[9].run_id)
        await show.press("enter")
        await show.shows("about 4 s, from 6 finished runs of mlp on cpu", "done in", "about 6 s")


async def test_before_any_run_has_finished_the_time_is_not_known(busy: Stage):
    busy.queue.entries = [
        entry._replace(state=JobState.QUEUED, device="") for entry in busy.queue.entries[9:]
    ]
    async with busy.open() as show:
        assert " left" not in show.lines[1]
        await go_to_jobs(show, busy.queue.entries[0].run_id)
        await show.press("enter")
        await show.shows("not known before a run has finished")


async def test_i_on_an_experiment_shows_what_it_has_used_and_needs(busy: Stage):
    busy.queue.used = [Usage("digits", 9000.0, 54_000.0), Usage("depth", 1.0, 1.0)]
    async with busy.open() as show:
        await show.press("i")
        await show.until(lambda: isinstance(show.app.screen, TextDialog))
        await show.shows("CPU-hours", "2.5", "GPU-hours", "15.0", "6 done", "2 missing")
        await show.shows("about 10 s on 2 slots", "6 finished runs of mlp on cpu (6 runs)")
        await show.press("escape", "down", "i")
        await show.shows("More layers", "4 missing")
        assert "time left" not in show.text


async def test_what_the_queue_cannot_do_or_tell_is_said(busy: Stage):
    busy.queue.error = StorageError("is damaged", where="/data/runs/queue.db", fix="repair it")
    async with busy.open() as show:
        await show.press("i")
        await show.shows("/data/runs/queue.db: is damaged; repair it")
        busy.queue.error = StorageError("is read-only", where="/data/runs", fix="make it writable")
        await show.press("D")
        await show.shows("/data/runs: is read-only; make it writable")
        assert "draining" not in show.text


def end(stage: Stage, index: int, state: JobState, reason: str = "") -> None:
    """The job at an index of the queue ends now."""
    before = stage.queue.entries[index]
    stage.queue.entries[index] = before._replace(state=state, reason=reason, finished_at=utc_now())


async def test_the_terminal_rings_once_when_a_job_fails_and_once_at_the_end(busy: Stage, monkeypatch):
    busy.queue.entries = busy.queue.entries[:9]
    async with busy.open() as show:
        written: list[str] = []
        monkeypatch.setattr(show.app._driver, "write", written.append)
        await go_to_jobs(show, busy.queue.entries[7].run_id)
        assert written == []
        end(busy, 7, JobState.FAILED, "out of \x1b[31mmemory\x07")
        failed = busy.queue.entries[7].run_id
        await show.until(lambda: written)
        assert written == [f"\a\x1b]9;datasize: {failed} failed: out of [31mmemory\a"]
        await show.shows(f"{failed} failed: out of")
        end(busy, 8, JobState.SUCCEEDED)
        await show.until(lambda: len(written) == 2)
        assert written[1] == "\a\x1b]9;datasize: digits ended: 7 done, 2 failed\a"
        await show.shows("digits ended: 7 done, 2 failed")
        # Something else that changes is no news.
        busy.queue.drains.append(True)
        await show.shows("‖ draining")
        assert len(written) == 2


async def test_a_silent_app_tells_news_on_its_status_line_alone(busy: Stage, monkeypatch):
    monkeypatch.setenv("DATASIZE_BELL", "0")
    busy.preferences, _ = load_preferences()
    async with busy.open() as show:
        written: list[str] = []
        monkeypatch.setattr(show.app._driver, "write", written.append)
        end(busy, 7, JobState.FAILED, "out of memory")
        await show.shows(f"{busy.queue.entries[7].run_id} failed: out of")
        assert written == []


def ended_well(stage: Stage) -> list[RunPaths]:
    """The runs whose directories say that they have succeeded."""
    runs = stage.project.all_runs()
    return [run for run in runs if (end := read_exit(run)) and end.outcome is RunOutcome.SUCCEEDED]


async def test_checkpoints_are_pruned_after_two_questions(busy: Stage):
    ended = ended_well(busy)
    for run in ended:
        run.checkpoint.write_bytes(b"x" * 500_000)
        run.best.write_bytes(b"x" * 100_000)
    async with busy.open() as show:
        await show.press("F")
        await show.shows("no weights", f"{len(ended) * 0.6:.1f} MB", "the best: best.pt")
        await show.press("enter")
        await show.shows("Remove checkpoints?", f"{len(ended) * 0.6:.1f} MB")
        await show.press("escape")
        await show.shows("no checkpoint was removed")
        assert all(run.checkpoint.exists() for run in ended)
        await show.press("F")
        await show.shows("the best: best.pt")
        await show.press("j", "j", "enter")
        await show.shows("Remove checkpoints?", f"{len(ended) / 2:.1f} MB")
        await show.press("enter")
        await show.shows(f"{len(ended) / 2:.1f} MB freed")
        assert all(run.best.exists() and not run.checkpoint.exists() for run in ended)
        await show.press("F")
        await show.shows("the best: best.pt")
        await show.press("enter", "enter")
        # Beside the figure of the removal before.
        await show.shows(f"{len(ended) / 10:.1f} MB freed")
        await show.press("F")
        await show.shows("No checkpoints to delete")


async def test_weights_that_are_needed_since_the_questions_stay(busy: Stage):
    first, *others = ended_well(busy)
    for run in (first, *others):
        run.checkpoint.write_bytes(b"x" * 500_000)
    async with busy.open() as show:
        await show.press("F")
        await show.shows("no weights")
        await show.press("enter")
        await show.shows("Remove checkpoints?", "of the end of runs")
        assert "of their best" not in show.text
        waiting = busy.queue.entries[-1]
        busy.queue.entries[-1] = waiting._replace(after=(first.run_id,))
        await show.press("enter")
        await show.shows(f"removed {len(others)} checkpoints: {len(others) / 2:.1f} MB freed")
        await show.shows("left 1 needed by now")
    assert first.checkpoint.exists()
    assert not any(run.checkpoint.exists() for run in others)


async def test_the_question_begins_at_what_the_file_keeps(busy: Stage):
    with busy.project.experiments.open("a") as file:
        file.write('\n[checkpoints]\nkeep = "both"\n')
    for run in busy.project.all_runs():
        run.checkpoint.write_bytes(b"x" * 500_000)
    async with busy.open() as show:
        await show.press("F")
        await show.shows("both")
        await show.press("enter")
        await show.shows("no checkpoint was removed")


async def test_the_disk_is_freed_from_every_tab(busy: Stage):
    async with busy.open() as show:
        for tab in "123":
            await show.press(tab, "P")
            await show.settle()
            assert "checkpoint" not in show.text
            titles = {command.title for command in show.app.get_system_commands(show.app.screen)}
            assert "Free disk (F)" in titles
            show.app._status.say("")
            await show.press("F")
            await show.shows("No checkpoints to delete")
            show.app._status.say("")


@pytest.mark.parametrize("size", [NARROW, (40, 10)])
async def test_the_header_turns_red_with_all_that_is_wrong_and_no_time_is_left(
    busy: Stage, size: tuple[int, int]
):
    sentence = "/home/me/.cache/slots cannot be used: Permission denied; change its permissions"
    async with busy.open(size) as show:
        header = show.app.query_one(HeaderStrip)
        await show.shows(" s left ")
        busy.queue.standing.append(Fault(FaultKind.SLOTS, "", sentence, "", 1, ""))
        await show.until(lambda: sentence in " ".join(show.text.split()))
        rows = [line.style for line in header.draw(header.view_size)[1:]]
        assert set(rows) == {f"bold reverse {header.palette.error}"}
        assert len(rows) == header.view_size.height - 1
        assert show.text.count("Permission denied") == 1
        assert " s left " not in show.text
        busy.queue.standing.clear()
        await show.shows(" s left ")
        assert header.view_size.height == 2


async def test_the_header_tells_which_project_has_the_slots(busy: Stage):
    async with busy.open() as show:
        busy.queue.waiting = "waiting: all 2 CPU slots are used by /home/me/letters (2)"
        await show.until(lambda: "waits for /home/me/letters (2)" in show.lines[1])
        await show.pilot.resize_terminal(120, 24)
        await show.until(lambda: busy.queue.waiting in show.lines[1])
        busy.queue.waiting = ""
        await show.until(lambda: "letters" not in show.lines[1])


def news(reader: NewsReader, stage: Stage) -> list[str]:
    """What a reader finds in the queue as it stands."""
    return [one.text for one in reader.read(look(stage))]


def test_what_had_ended_before_is_no_news(busy: Stage):
    busy.queue.entries = busy.queue.entries[:7]
    reader = NewsReader(since=utc_now())
    assert news(reader, busy) == []
    assert reader.read(Snapshot()) == []


def test_a_retry_that_fails_again_is_news_again(empty: Stage):
    reader = NewsReader(since="2026-01-01T00:00:00.000+00:00")
    spec = empty.specs()[7]
    texts = []
    for minute in (1, 2):
        ended = f"2026-01-02T00:0{minute}:00.000+00:00"
        empty.queue.entries = [job(spec, JobState.FAILED, reason="lost", finished_at=ended)]
        texts.append(news(reader, empty))
        assert news(reader, empty) == []
    assert texts == [[f"{spec.run_id} failed: lost", "digits ended: 1 failed"]] * 2


def test_many_failures_are_one_line(empty: Stage):
    reader = NewsReader(since="2026-01-01T00:00:00.000+00:00")
    empty.queue.entries = [
        *(job(spec, JobState.FAILED, reason="lost") for spec in empty.specs()[:3]),
        job(empty.specs()[3], JobState.HELD),
    ]
    (text,) = news(reader, empty)
    assert text.startswith("3 runs failed, the last: ")


def test_no_text_leaves_its_sequence():
    assert terminal_signal("a\x1b\\\x07\x9cb\u202e;4;1") == "\a\x1b]9;datasize: a\\b;4;1\a"
    assert len(terminal_signal("x" * 10_000)) < 300

"""Snapshots: what is read, what is left of a failure, and what the polling thread hands on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

import polars as pl
import pytest

from tests.fakes import State, metric_rows, write_lines, write_run
from tests.tui.fake_queue import CPU_ONLY, TWO_GPUS
from tests.tui.stage import DEADLINE_S, Stage
from tests.unit.queue_desk import Queue
from tui_datasize.experiments.load import load_project
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.experiments.sweep import plan_runs
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.queue.faults import Fault, FaultKind
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.jobs.queue.store import Store
from tui_datasize.jobs.scheduler.devices import DeviceReport
from tui_datasize.runlog.schema import RUNS
from tui_datasize.tui.polling import patient, poller, project_file, record
from tui_datasize.tui.polling.collect import Collector, read_facts
from tui_datasize.tui.polling.log_tail import read_tail, run_log_tail
from tui_datasize.tui.polling.patient import PatientLook
from tui_datasize.tui.polling.poller import Poller, open_look
from tui_datasize.tui.polling.record import ProjectRecord
from tui_datasize.tui.polling.snapshot import EMPTY, Interest, Snapshot
from tui_datasize.tui.queue.cell_map import lay_out
from tui_datasize.tui.run_filter import filter_of
from tui_datasize.tui.widgets.header_strip import HeaderStrip, count_text
from tui_datasize.tui.widgets.palette import GREY


def collector(stage: Stage, read_devices: Callable[[], DeviceReport] = lambda: CPU_ONLY) -> Collector:
    return Collector(stage.project, stage.queue, lambda: ProjectRecord(stage.project), read_devices)


def test_of_a_large_project_the_cells_that_are_shown_alone_are_listed(busy: Stage, monkeypatch):
    monkeypatch.setattr("tui_datasize.tui.polling.project_file._MOST_LISTED", 3)
    listed: list[str] = []
    plan_runs = project_file.plan_runs
    monkeypatch.setattr(
        project_file, "plan_runs", lambda one, project: listed.append(one.name) or plan_runs(one, project)
    )
    look = collector(busy)
    snapshot = look.collect(Interest())
    digits, depth, folder = snapshot.experiments
    assert (digits.cells, digits.n_runs, digits.is_listed, depth.n_runs) == ((), 16, False, 4)
    counts = snapshot.cell_counts(digits)
    assert (counts[JobState.SUCCEEDED], counts[None], counts.total()) == (6, 2, 16)
    assert "/nowhere/at/all" in folder.problem
    assert listed == []
    shown = look.collect(Interest(experiment="digits")).experiments
    assert (len(shown[0].cells), shown[0].is_listed, shown[1].is_listed) == (16, True, False)
    assert look.collect(Interest(experiment="depth")).experiments[0] is shown[0]
    assert listed == ["digits", "depth"]


def test_cells_of_many_runs_are_listed_after_the_first_look(busy: Stage, monkeypatch):
    monkeypatch.setattr("tui_datasize.tui.polling.project_file._MOST_AT_FIRST", 3)
    look = collector(busy)
    first, second = (look.collect(Interest()).experiments[0] for _ in range(2))
    assert (first.cells, first.n_runs, len(second.cells)) == ((), 16, 16)


async def test_an_experiment_under_the_cursor_is_listed(busy: Stage, monkeypatch):
    monkeypatch.setattr("tui_datasize.tui.polling.project_file._MOST_LISTED", 3)
    async with busy.open() as show:
        await show.shows("digits     6/16", "draw 1", "depth       0/4")
        await show.press("down")
        await show.shows("layers=1")
        await show.press("a")
        await show.shows("queue 4 runs")


def test_what_the_queue_knows_comes_before_the_record_is_read(busy: Stage):
    looker = collector(busy)
    first, whole = looker.look(Interest()), looker.look(Interest())
    assert (first.is_ready, first.unread, first.table, first.facts) == (False, len(first.jobs), None, {})
    assert (whole.is_ready, whole.unread) == (True, 0)
    assert [row.run_id for row in first.jobs] == [row.run_id for row in whole.jobs]
    assert first.counts() == whole.counts()
    assert first.liveliest_experiment() == whole.liveliest_experiment() == "digits"
    assert first.experiments is whole.experiments


def test_runs_that_no_queue_knows_are_read_at_once(busy: Stage):
    busy.queue.entries.clear()
    assert collector(busy).look(Interest()).is_ready


async def test_the_header_tells_how_many_runs_are_read(busy: Stage, monkeypatch):
    monkeypatch.setattr(record, "_FIRST_STEP", 2)
    monkeypatch.setattr(poller, "_DRAWN_WITHIN_S", DEADLINE_S)
    told: list[str] = []
    show = HeaderStrip.show

    def note(header: HeaderStrip, snapshot: Snapshot) -> None:
        show(header, snapshot)
        told.append(header._state(header.palette).plain.strip())

    monkeypatch.setattr(HeaderStrip, "show", note)
    async with busy.open() as opened:
        await opened.shows("● scheduler on")
    found = sum(1 for _ in busy.project.all_runs())
    assert told[:2] == ["reading …", f"reading runs: 2 of {found}"]


def test_a_look_at_a_busy_project(busy: Stage):
    snapshot = collector(busy).collect(Interest())
    assert [plan.name for plan in snapshot.experiments] == ["digits", "depth", "folder"]
    digits = snapshot.experiment("digits")
    assert digits is not None
    counts = snapshot.cell_counts(digits)
    assert counts[JobState.SUCCEEDED] == 6
    assert counts[None] == len(snapshot.missing(digits)) == 2
    assert [row.state for row in snapshot.jobs[:7]] == [
        *[JobState.RUNNING] * 2,
        *[JobState.QUEUED] * 4,
        JobState.HELD,
    ]
    assert snapshot.jobs[0].fraction == pytest.approx(0.5)
    assert snapshot.jobs[0].accuracy is not None
    assert "/nowhere/at/all" in snapshot.experiments[2].problem
    assert snapshot.problems == ()
    assert snapshot.time_left.ends_in_s is not None
    assert snapshot.time_left.slots == 2


def test_two_looks_at_the_same_are_equal_and_share_what_they_can(busy: Stage):
    look = collector(busy)
    interest = Interest(curves=(busy.specs()[0].run_id,), log=busy.specs()[0].run_id)
    first, second = look.collect(interest), look.collect(interest)
    assert first == second
    assert second.facts is first.facts
    assert second.curves is first.curves
    assert second.experiments[0] is first.experiments[0]
    assert second.runs_version == first.runs_version


def test_the_curve_and_the_log_of_what_is_looked_at(busy: Stage):
    run_id = busy.specs()[0].run_id
    snapshot = collector(busy).collect(Interest(curves=(run_id, "unknown"), log=run_id))
    curve = snapshot.curves[run_id]
    assert list(snapshot.curves) == [run_id]
    assert curve.column("test", "update").to_list() == [50.0, 100.0, 150.0, 200.0]
    assert curve.last("train", "accuracy") == pytest.approx(snapshot.facts[run_id].train_accuracy)
    assert snapshot.log is not None
    assert snapshot.log.lines == ("first line", "last line")


def test_only_the_curve_that_grew_is_another(busy: Stage):
    still, growing = (busy.specs()[place] for place in (0, 7))
    look, interest = collector(busy), Interest(curves=(still.run_id, growing.run_id))
    before = look.collect(interest).curves
    write_lines(busy.project.run("digits", growing.run_id).metrics, metric_rows(growing, [150], 0.7))
    after = look.collect(interest).curves
    assert after[still.run_id] is before[still.run_id]
    assert after[growing.run_id].last("test", "update") == 150


def test_a_failed_run_shows_its_errors_first(busy: Stage):
    failed = busy.specs()[6]
    busy.project.run("digits", failed.run_id).stderr.write_text("CUDA out of memory\n")
    snapshot = collector(busy).collect(Interest(log=failed.run_id))
    assert snapshot.log is not None
    assert (snapshot.log.name, snapshot.log.lines) == ("stderr.log", ("CUDA out of memory",))


def test_runs_that_the_queue_does_not_know_are_shown_too(busy: Stage):
    busy.queue.entries.clear()
    snapshot = collector(busy).collect(Interest())
    assert snapshot.states[busy.specs()[0].run_id] is JobState.SUCCEEDED
    assert len(snapshot.jobs) == 9


@pytest.mark.parametrize("state", ["queued", "interrupted"])
def test_an_unfinished_run_that_the_queue_does_not_know_is_missing(empty: Stage, state: State):
    write_run(empty.project, empty.specs()[0], state=state)
    snapshot = collector(empty).collect(Interest())
    digits = snapshot.experiment("digits")
    assert digits is not None
    assert len(snapshot.missing(digits)) == 16
    assert snapshot.jobs == ()


def test_a_part_that_fails_is_named_and_keeps_its_last_value(busy: Stage):
    look = collector(busy)
    before = look.collect(Interest())
    busy.queue.broken = OSError("disk I/O error")
    busy.project.experiments.write_text("[experiments.digits\n")
    after = look.collect(Interest())
    assert after.jobs == before.jobs
    assert after.experiments == before.experiments
    assert len(after.problems) == 2
    assert any("not valid TOML" in problem for problem in after.problems)
    assert "queue: OSError: disk I/O error" in after.problems
    busy.queue.broken = None
    assert len(look.collect(Interest()).problems) == 1


def test_devices_that_raise_are_no_end(busy: Stage):
    def fail() -> DeviceReport:
        raise RuntimeError("driver gone")

    snapshot = collector(busy, fail).collect(Interest())
    assert snapshot.devices is None
    assert "devices: RuntimeError: driver gone" in snapshot.problems


def test_gpus_are_slots(busy: Stage):
    snapshot = collector(busy, lambda: TWO_GPUS).collect(Interest())
    assert snapshot.time_left.slots == 2


def test_a_changed_file_is_read_again(busy: Stage):
    look = collector(busy)
    look.collect(Interest())
    text = busy.project.experiments.read_text()
    busy.project.experiments.write_text(text.replace("[40, 80, 160, 320]", "[40, 80, 160, 320, 640]"))
    digits = look.collect(Interest()).experiment("digits")
    assert digits is not None
    assert len(digits.cells) == 20


LEVERS = """
[experiments.levers]
dataset = "digits"
model = { name = "cnn3", width = 8 }
sizes = [40]
budget = { updates = 10 }
validation = 0.2
refit = true
[experiments.levers.levers]
augmentation = [{ crop_padding_px = 1, rotation_deg = 15 }]
"model.width" = [16]
label_noise = [0.2]
"""


def test_levers_are_told_apart_where_their_whole_names_are_too_long(empty: Stage):
    file = empty.project.experiments
    file.write_text(LEVERS, encoding="utf-8")
    project = load_project(file)
    for spec in plan_runs(project.experiment("levers"), project):
        write_run(empty.project, spec, tables=False)
    seen = collector(empty).collect(Interest())
    pulled = ["", "crop_padding_px=1 rotation_deg=15.0", "label_noise=0.2", "width=16"]
    assert sorted(row.short_variant for row in seen.jobs) == pulled
    assert sorted(seen.table["name"]) == [f"levers-n40-d0-s0 {one}".strip() for one in pulled]
    assert {len(one.split()) for one in seen.table["variant"]} == {4, 2, 1}
    # A filter by a key finds them all.
    assert sorted(seen.table["width"]) == [8, 8, 8, 16]
    blocks = lay_out(seen.experiment("levers").cells).blocks
    assert [one.variant for one in blocks[1:]] == [pulled[1], "label_noise=0.2", "width=16"]


def test_a_run_that_trains_anew_has_come_so_far_of_both_trainings():
    frame = pl.DataFrame(
        {"total_updates": [100] * 3, "refit": [True, True, False], "refit_update": [None, 150, None]}
    )
    rest = {name: pl.lit(None, kind) for name, kind in RUNS.items() if name not in frame.columns}
    frame = frame.with_columns(**rest).with_columns(
        run_id=pl.Series(["a", "b", "c"]), state=pl.lit("running")
    )
    assert [fact.total_updates for fact in read_facts(frame).values()] == [200, 150, 100]


def test_a_project_without_a_file_says_so(busy: Stage):
    busy.project.experiments.unlink()
    snapshot = collector(busy).collect(Interest())
    assert snapshot.experiments == ()
    assert any("no such file" in problem for problem in snapshot.problems)
    assert len(snapshot.jobs) == 14


def test_a_log_is_shown_as_a_terminal_would(tmp_path):
    file = tmp_path / "stdout.log"
    file.write_bytes(b"\x1b[31mred\x1b[0m\n10%\r50%\r100%\r\n\n\xff\x07bell\ttab\nunfinished")
    assert read_tail(file, 4096) == ("red", "100%", "\ufffdbell   tab", "unfinished")
    assert read_tail(file, 12) == ("unfinished",)
    assert read_tail(tmp_path / "none", 4096) == ()


class Watcher:
    """Collects what a poller hands on."""

    def __init__(self) -> None:
        self.snapshots: list[Snapshot] = []
        self.failures: list[str] = []
        self.looks = 0
        self.enough = threading.Event()


def test_the_poller_hands_on_only_what_changed():
    watcher = Watcher()
    seen = [
        Snapshot(runs_version=1),
        Snapshot(runs_version=1),
        Snapshot(runs_version=2),
        Snapshot(runs_version=2),
    ]

    def collect(_interest: Interest) -> Snapshot:
        watcher.looks += 1
        if watcher.looks >= 4:
            watcher.enough.set()
        return seen[min(watcher.looks, 4) - 1]

    looking = Poller(lambda: collect, watcher.snapshots.append, watcher.failures.append, interval_s=0.001)
    looking.start()
    assert watcher.enough.wait(DEADLINE_S)
    looking.stop()
    assert [snapshot.runs_version for snapshot in watcher.snapshots] == [1, 2]
    assert watcher.failures == []


def test_the_poller_survives_a_failure_and_then_hands_on_again():
    watcher = Watcher()

    def collect(_interest: Interest) -> Snapshot:
        watcher.looks += 1
        if watcher.looks == 2:
            raise RuntimeError("boom")
        if watcher.looks >= 4:
            watcher.enough.set()
        return Snapshot(runs_version=1)

    looking = Poller(lambda: collect, watcher.snapshots.append, watcher.failures.append, interval_s=0.001)
    looking.start()
    assert watcher.enough.wait(DEADLINE_S)
    looking.stop()
    assert len(watcher.failures) == 1
    assert "boom" in watcher.failures[0]
    # Handed on again after the failure, so that its message goes away.
    assert len(watcher.snapshots) == 2


def test_a_new_interest_is_looked_at_at_once():
    asked: list[Interest] = []
    looked = threading.Event()

    def collect(interest: Interest) -> Snapshot:
        asked.append(interest)
        if interest.log:
            looked.set()
        return Snapshot()

    looking = Poller(lambda: collect, lambda _: None, lambda _: None, interval_s=3600)
    looking.start()
    looking.look_at(Interest(log="a"))
    assert looked.wait(DEADLINE_S)
    looking.stop()
    assert asked[-1] == Interest(log="a")


def test_the_poller_reads_on_once_the_screen_shows_what_was_read(monkeypatch):
    monkeypatch.setattr(poller, "_DRAWN_WITHIN_S", DEADLINE_S)
    looks = iter([Snapshot(unread=2), Snapshot(unread=1), Snapshot(is_ready=True)])
    handed_on: queue.Queue[Snapshot] = queue.Queue()
    looking = Poller(lambda: lambda _: next(looks), handed_on.put, handed_on.put, interval_s=3600)
    looking.start()
    for unread in (2, 1, 0):
        assert handed_on.get(timeout=DEADLINE_S).unread == unread
        assert handed_on.empty()
        looking.read_on()
    looking.stop()


def test_a_disk_that_does_not_answer_is_told_until_it_does(monkeypatch):
    for name, value in {"INTERVAL_S": 0.001, "_PATIENCE_S": 0.0, "waits_for_disk": lambda _: True}.items():
        monkeypatch.setattr(poller, name, value)
    handed_on: queue.Queue[Snapshot] = queue.Queue()
    answers = threading.Event()
    seen = Snapshot(runs_version=1)

    def collect(_interest: Interest) -> Snapshot:
        answers.wait(DEADLINE_S)
        return seen

    looking = Poller(lambda: collect, handed_on.put, handed_on.put, interval_s=3600)
    looking.start()
    (fault,) = handed_on.get(timeout=DEADLINE_S).faults
    assert (fault.kind, "its disk has not answered for 0 s" in fault.sentence) == (FaultKind.DISK, True)
    answers.set()
    while handed_on.get(timeout=DEADLINE_S) != seen:
        pass
    looking.stop()


def test_a_thread_that_sleeps_does_not_wait_for_a_disk():
    assert not poller.waits_for_disk(threading.get_native_id())


def test_a_log_names_only_other_runs(busy: Stage):
    paths = busy.project.run("digits", busy.specs()[7].run_id)
    paths.stdout.write_text(f"{paths.run_id}: update 38 of 188\nanother-run: update 1\n")
    assert run_log_tail(paths, prefer_errors=False).lines == ("update 38 of 188", "another-run: update 1")


def test_a_disk_of_runs_that_does_not_answer_keeps_nothing_of_the_queue_back(busy: Stage, monkeypatch):
    """Of a project whose runs a cluster makes."""
    text = busy.project.experiments.read_text()
    busy.project.experiments.write_text(f"[cluster]\nkind = 'slurm'\n{text}")
    monkeypatch.setattr(patient, "_PATIENCE_S", DEADLINE_S)
    look = open_look(busy.project, busy.queue, lambda: ProjectRecord(busy.project), lambda: CPU_ONLY)
    assert isinstance(look, PatientLook)
    while not (before := look(Interest())).is_ready:
        pass
    answers, waits = threading.Event(), Collector._runs

    def hang(self: Collector, in_steps: bool) -> pl.DataFrame:
        answers.wait()
        return waits(self, in_steps)

    monkeypatch.setattr(Collector, "_runs", hang)
    monkeypatch.setattr(patient, "_PATIENCE_S", 0.01)
    try:
        busy.queue.entries[10] = busy.queue.entries[10]._replace(state=JobState.HELD)
        busy.queue.standing = [Fault(FaultKind.CLUSTER, "disk", "the shared disk does not answer", "", 1, "")]
        seen = look(Interest())
    finally:
        answers.set()
    held = busy.queue.entries[10].run_id
    assert (before.states[held], seen.states[held]) == (JobState.QUEUED, JobState.HELD)
    counts = [snapshot.cell_counts(snapshot.experiments[0]) for snapshot in (before, seen)]
    assert counts[1][JobState.HELD] == counts[0][JobState.HELD] + 1
    assert [fault.sentence for fault in seen.faults] == ["the shared disk does not answer"]
    assert "the disk of the runs has not answered" in seen.problems[0]
    assert seen.facts == before.facts
    assert seen.time_left.ends_in_s is None
    monkeypatch.setattr(patient, "_PATIENCE_S", DEADLINE_S)
    assert look(Interest()).problems == ()


def test_a_project_without_a_cluster_is_looked_at_by_the_thread_that_asks(busy: Stage):
    look = open_look(busy.project, busy.queue, lambda: ProjectRecord(busy.project), lambda: CPU_ONLY)
    assert look.__func__ is Collector.look  # type: ignore[attr-defined]


SWEPT = """
[experiments.ahead]
dataset = "digits"
model = { name = "cnn3", width = 8 }
sizes = [40, 80, 120]
seeds = [0, 101]
subset = { seeds = [0, 7] }
budget = { updates = 10 }
[experiments.ahead.sweep]
"model.width" = [8, 16]
"optimizer.lr" = [0.1, 0.01]
"""


def test_a_filter_finds_runs_that_have_not_begun_by_what_they_will_do(empty: Stage):
    file = empty.project.experiments
    file.write_text(SWEPT, encoding="utf-8")
    project = load_project(file)
    runs = plan_runs(project.experiment("ahead"), project)
    with closing(Store(empty.project.queue)) as store:
        Queue(empty.project, store).enqueue(*runs)
    write_run(empty.project, runs[0], tables=False)
    look = Collector(
        empty.project, QueueClient(empty.project), lambda: ProjectRecord(empty.project), lambda: CPU_ONLY
    )
    seen = look.collect(Interest()).table

    def found(text: str) -> set[str]:
        return set(seen.filter(filter_of(text, seen.schema))["run_id"])

    def wanted(holds: Callable[[RunSpec], bool]) -> set[str]:
        return {run.run_id for run in runs if holds(run)}

    assert seen.height == len(runs) == 48
    assert found("seed=101") == wanted(lambda run: run.seed == 101)
    assert found("draw=7 size>=80") == wanted(lambda run: run.subset.seed == 7 and run.train_size >= 80)
    assert found("lr=0.1 width=16") == wanted(
        lambda run: run.optimizer.lr == 0.1 and run.model.options["width"] == 16
    )
    assert found("model:cnn3 dataset=digits") == {run.run_id for run in runs}


def test_a_header_that_is_too_narrow_leaves_out_zeros_before_words():
    words = ["running"] * 2 + ["queued"] + ["done"] * 24 + ["cancelled"]
    seen = replace(EMPTY, table=pl.DataFrame({"state": words}))
    shown = [count_text(seen, GREY, width).plain for width in (70, 52, 48, 30)]
    assert shown == [
        "◐ 2 running  ○ 1 queued  ● 24 done  ✗ 0 failed  − 1 cancelled ",
        "◐ 2 running  ○ 1 queued  ● 24 done  − 1 cancelled ",
        "◐ 2 running ○ 1 queued ● 24 done − 1 cancelled ",
        "◐ 2 ○ 1 ● 24 ✗ 0 − 1 ",
    ]

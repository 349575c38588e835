"""The Live tab: what is drawn, and what each key changes."""

from __future__ import annotations

import errno
from datetime import UTC, datetime

import polars as pl
import pytest

from tests.fakes import metric_rows, write_lines
from tests.tui.fake_queue import job
from tests.tui.stage import NARROW, WIDE, Show, Stage
from tests.tui.test_charts import PALETTE
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.runlog import schema
from tui_datasize.tui.charts.window import WHOLE
from tui_datasize.tui.live.charts import (
    LOSS,
    METRICS,
    DrawnRun,
    LiveView,
    assign_slots,
    draw_live,
    group_series,
    many_run_series,
    metrics_offered,
    one_run_series,
    slots_of_groups,
    trouble_series,
)
from tui_datasize.tui.live.tab import LivePane, LiveTable, _batch_values
from tui_datasize.tui.polling.snapshot import TrainingCurve
from tui_datasize.tui.polling.trouble import stall_now
from tui_datasize.tui.widgets.chart_view import ChartView

_COLUMNS = ("event", "split", "update", "epoch", "loss", "accuracy", "lr", "f1_macro")
CURVE = TrainingCurve(
    "run",
    pl.DataFrame(
        [
            ("train", None, 5, 0.5, 2.0, None, 0.1, None),
            ("evaluation", "train", 10, 1.0, 0.9, 0.6, None, None),
            ("evaluation", "test", 10, 1.0, 1.0, 0.5, None, None),
            ("train", None, 10, 1.0, 1.0, None, 0.1, None),
            ("evaluation", "train", 20, 2.0, 0.4, 0.9, None, None),
            ("evaluation", "test", 20, 2.0, 0.5, 0.8, None, None),
        ],
        schema=_COLUMNS,
        orient="row",
    ),
)
LEARNING_RATE = next(metric for metric in METRICS if metric.column == "lr")


def test_one_run_shows_batches_train_and_test():
    series = one_run_series(CURVE, LOSS, LiveView(), PALETTE)
    assert [one.label for one in series] == ["batches", "train", "test"]
    assert list(series[2].y) == [1.0, 0.5]
    assert len({one.mark for one in series}) == 3


def test_a_run_without_labels_is_drawn_by_its_images_held_out():
    rows = CURVE.rows.filter(pl.col("split") != "train", pl.col("event") == "evaluation")
    start = TrainingCurve("start", rows.with_columns(split=pl.lit("validation")))
    (line,) = many_run_series([DrawnRun(start, 0, "start")], LOSS, LiveView(), PALETTE)
    assert list(line.y) == [1.0, 0.5]
    held_out = pl.concat([CURVE.rows, start.rows.with_columns(loss=9.0)])
    (line,) = many_run_series([DrawnRun(TrainingCurve("r", held_out), 0, "r")], LOSS, LiveView(), PALETTE)
    assert list(line.y) == [1.0, 0.5]


def test_a_generator_is_drawn_by_its_own_epochs_and_a_stall_of_it_is_marked_there():
    """It is trained before update 1: nothing of the run itself is on record yet."""
    row = {"event": "generator", "update": 0, "divergence": 3.5}
    rows = [
        row
        | {"epoch": float(n), "elbo": -200.0 / n, "wall_s": float(n), "time": f"2026-01-01T00:00:0{n}+00:00"}
        for n in range(1, 9)
    ]
    curve = TrainingCurve("run", pl.DataFrame(rows, schema=dict(schema.METRICS)))
    bound = next(metric for metric in METRICS if metric.column == "elbo")
    assert bound in metrics_offered([curve])
    assert bound not in metrics_offered([TrainingCurve("old", curve.rows.with_columns(elbo=None))])
    (series,) = one_run_series(curve, bound, LiveView(), PALETTE)
    assert (series.label, [*series.x], series.y[-1]) == ("generator", [*range(1, 9)], -25.0)
    assert _batch_values(curve) == ["generator epoch 8", "bound -25.0 nats"]
    stall = stall_now(curve, 1.0, datetime(2026, 1, 1, 0, 1, tzinfo=UTC))
    run = DrawnRun(curve, 0, "run", troubles=[stall])
    marks = trouble_series([run], [series], LiveView(), PALETTE)
    assert [one.label for one in marks] == ["stall"]
    drawn = draw_live([series, *marks], [], bound, LiveView(), 60, 12, PALETTE, WHOLE, empty="", end=40.0)
    assert "epoch of the generator" in str(drawn.text)


def test_shares_are_drawn_in_percent_against_the_chosen_axis():
    series = one_run_series(CURVE, METRICS[0], LiveView(axis="epoch"), PALETTE)
    assert [one.label for one in series] == ["train", "test"]
    assert list(series[1].x) == [1.0, 2.0]
    assert list(series[1].y) == pytest.approx([50.0, 80.0])


def test_every_training_curve_may_be_smoothed():
    assert all(one.is_training for one in one_run_series(CURVE, LOSS, LiveView(), PALETTE))


def test_several_runs_are_told_apart_by_name_colour_and_mark():
    runs = [DrawnRun(CURVE, 0, "40"), DrawnRun(CURVE, 2, "160")]
    lines = many_run_series(runs, LOSS, LiveView(), PALETTE)
    assert [one.label for one in lines] == ["40", "160"]
    assert len({one.colour for one in lines}) == len({one.mark for one in lines}) == 2


def test_what_only_batches_hold_is_drawn_from_them():
    (series,) = one_run_series(CURVE, LEARNING_RATE, LiveView(), PALETTE)
    assert list(series.y) == [0.1, 0.1]
    (series,) = many_run_series([DrawnRun(CURVE, 0, "run")], LEARNING_RATE, LiveView(), PALETTE)
    assert list(series.x) == [5.0, 10.0]


def test_runs_have_the_mark_of_the_group_that_is_drawn():
    curves = [TrainingCurve(name, CURVE.rows) for name in "abc"]
    runs = [
        DrawnRun(curve, slot, curve.run_id, group)
        for slot, (curve, group) in enumerate(zip(curves, ("40", "160", "40"), strict=True))
    ]
    assert slots_of_groups(runs) == {"a": 0, "b": 1, "c": 0}
    series, _ = group_series(runs, LOSS, LiveView(), PALETTE)
    assert [(one.label, one.mark) for one in series] == [("40 (2 runs)", "●"), ("160 (1 run)", "◆")]


def test_a_run_keeps_its_colour_while_others_come_and_go():
    slots = assign_slots(["a", "b", "c"], {})
    assert slots == {"a": 0, "b": 1, "c": 2}
    slots = assign_slots(["b", "c", "d"], slots)
    assert slots == {"b": 1, "c": 2, "d": 0}


async def test_the_running_run_is_drawn_and_grows(busy: Stage):
    spec = busy.specs()[7]
    async with busy.open() as show:
        await show.press("2")
        await show.shows(f"Accuracy  {spec.run_id}", "accuracy, %", "update 100/200", "●", "○")
        rows = metric_rows(spec, [150], 0.7)
        write_lines(busy.project.run("digits", spec.run_id).metrics, rows)
        await show.shows("update 150/200", "75")


async def test_keys_choose_metric_axis_and_scale(busy: Stage):
    async with busy.open() as show:
        await show.press("2")
        await show.shows("accuracy, %", "update")
        await show.press("m")
        await show.shows("Loss  ", "loss")
        await show.press("y")
        await show.shows("loss (log)")
        await show.press("x")
        await show.shows("epoch")
        await show.press("x", "x")
        await show.shows("wall time, s")
        await show.press("+", "+")
        await show.shows("smoothing 0.7")
        await show.press("-", "-")
        await show.shows("not smoothed")
        await show.press("m")
        await show.shows("macro F1, %")


async def test_all_running_runs_are_drawn_together(busy: Stage):
    async with busy.open(WIDE) as show:
        await show.press("2", "t")
        await show.shows("2 running runs, test split", " ● ◐ ", " ◆ ◐ ")
        await show.until(lambda: len(show.app.snapshot.curves) == 2)
        assert "Loss" in show.text
        assert "Accuracy" in show.text
        await show.press("t")
        await show.shows("one at a time")


async def test_marked_runs_are_drawn_together_finished_and_running_alike(busy: Stage):
    async with busy.open(WIDE) as show:
        await show.press("2")
        table = show.app.query_one(LiveTable)
        await show.press("space", "G", "space")
        await show.shows("2 runs, test split", "2 marked", "✓● ◐", "✓◆ ●")
        await show.until(lambda: set(table.marked) <= set(show.app.snapshot.curves))
        await show.press("d")
        await show.shows("What differs between 2 runs", "accuracy", "running at update 100 of 200")
        await show.press("escape", "b")
        await show.shows("no average to draw")
        await show.press("slash", *"size>=80 !state:done", "enter")
        await show.until(lambda: len(table.keys) < len(table.marked) + 4)
        await show.press("slash", *" size>x")
        await show.shows("size needs a number, not 'x'")
        await show.press("escape", "o")
        await show.shows("size▲")
        sizes = [show.app.snapshot.runs.filter(run_id=key)["train_size"][0] for key in table.keys]
        assert sizes == sorted(sizes)
        await show.press("O")
        await show.shows("size▼")
        await show.press("escape")
        await show.shows("one at a time")
        await show.until(lambda: not table.marked)


async def test_columns_are_chosen_by_key_and_remembered(busy: Stage):
    async with busy.open(NARROW) as show:
        await show.press("2")
        await show.shows("size", "draw", "seed", "train")
        await show.press("C")
        await show.shows("Columns", "✓ test loss", "p pin")
        await show.press("j", "j", "j", "space", "p", "plus", "p", "p", "enter")
        await show.until(lambda: "draw" not in show.text)
        assert any(line.split()[:1] == ["seed"] for line in show.lines), show.text
        await show.press("C", "0", "escape")
        await show.press("q")
    async with busy.open(NARROW) as show:
        await show.press("2")
        await show.shows("seed", "size")
        assert "draw" not in show.text
        await show.press("C", "0", "enter")
        await show.shows("draw")


async def test_a_failed_run_says_why(busy: Stage):
    failed = next(entry.run_id for entry in busy.queue.entries if entry.state is JobState.FAILED)
    async with busy.open(NARROW) as show:
        await show.press("2", "slash", *"state:fa", "tab", "enter")
        table = show.app.query_one(LiveTable)
        await show.until(lambda: list(table.keys) == [failed])
        # Where there is no room for a column of notes, and below the table.
        await show.until(lambda: sum("out of memory: 11.2 GB asked" in line for line in show.lines) == 2)
        await show.press("slash", *" size:", "enter")
        await show.shows("size needs a number, not ''")
        assert list(table.keys) == [failed]


async def test_the_filter_offers_keys_signs_and_values(busy: Stage):
    async with busy.open(WIDE) as show:
        await show.press("2", "slash", *"siz")
        await show.shows("size")
        assert len(show.app.query_one(LiveTable).keys) == 9
        await show.press("tab")
        await show.shows("size>=", "size!=")
        await show.press("=")
        await show.shows("size=40", "size=80", "size=160")
        await show.press("tab", "space", *"mod", "right", *"=resnet", "enter")
        await show.shows("no run has model 'resnet'; there is mlp")
        await show.press(*["backspace"] * 6, "m", "right", "enter")
        await show.until(lambda: len(show.app.query_one(LiveTable).keys) == 4)
        await show.shows("size=40 model=mlp")


@pytest.mark.parametrize(("size", "count"), [(NARROW, 2), (WIDE, 5)])
async def test_a_grid_of_charts_fills_the_window_and_is_remembered(
    busy: Stage, size: tuple[int, int], count: int
):
    async with busy.open(size) as show:
        await show.press("2")
        await show.until(lambda: show.app.snapshot.curves)
        await show.press("c")
        await show.until(
            lambda: sum(chart.view_size.height > 5 for chart in show.app.query(ChartView)) >= count
        )
        await show.shows("Loss", "Accuracy", *(["Learning rate", "Gradient norm"] if count > 2 else []))
        await show.press("q")
    async with busy.open(size) as show:
        await show.until(lambda: show.app.query_one(LivePane).is_grid)


async def until_drawn(show: Show) -> None:
    """Wait until there is a chart to examine."""
    await show.until(lambda: any(chart.can_be_examined for chart in show.app.query(ChartView)))


async def test_a_chart_is_examined_by_key(busy: Stage):
    async with busy.open(NARROW) as show:
        await show.press("2")
        await until_drawn(show)
        await show.press(".")
        await show.shows("update 100  ● test", "○ train", "← cursor")
        await show.press("left")
        await show.shows("update 50  ● test")
        await show.press("less_than_sign", "z")
        chart = show.app.focused
        await show.until(lambda: chart.window.x is not None)
        await show.press("0", "enter")
        await show.until(lambda: show.app.screen.maximized is not None)
        await show.press("escape", "escape")
        await show.until(lambda: show.app.focused is show.app.query_one(LiveTable))
        await show.until(lambda: chart.window.cursor is None)


async def test_what_is_looked_at_belongs_to_its_axes_and_charts_share_the_updates(busy: Stage):
    async with busy.open(NARROW) as show:
        await show.press("2")
        await until_drawn(show)
        await show.press("+", ".", "z", "u")
        first, second = tuple(show.app.query_one(LivePane).query(ChartView))[:2]
        await show.until(lambda: first.window.x and first.window.y)
        zoomed = first.window.x
        await show.press("escape", "c")
        await show.until(lambda: second.view_size.height > 5 and first.extent.y_scale.label == "loss")
        assert (first.window.y, first.window.x, second.window.x) == (None, zoomed, zoomed)
        assert first.window.smoothing == second.window.smoothing == 0.5
        await show.press("x")
        await show.until(lambda: first.extent.x_scale.label == second.extent.x_scale.label == "epoch")
        assert (first.window.x, second.window.x) == (None, None)
        await show.press(".", "X")
        await show.until(lambda: first.extent.x_scale.log and second.extent.x_scale.log)


async def test_the_cursor_chooses_the_run(busy: Stage):
    async with busy.open() as show:
        await show.press("2")
        table = show.app.query_one(LiveTable)
        assert table.has_focus
        first = table.highlighted
        await show.press("down", "down")
        await show.until(lambda: table.highlighted != first)
        await show.shows(f"Accuracy  {table.highlighted}")
        await show.until(lambda: table.highlighted in show.app.snapshot.curves)


async def test_the_job_chosen_on_the_queue_tab_is_watched(busy: Stage):
    async with busy.open() as show:
        await show.press("2", "1")
        jobs = show.app.query_one("#job-table")
        wanted = next(row.run_id for row in show.app.snapshot.jobs if row.state is JobState.SUCCEEDED)
        jobs.select(wanted)
        await show.press("2")
        await show.shows(f"Accuracy  {wanted}")


async def test_without_runs_it_says_what_to_do(empty: Stage):
    async with empty.open() as show:
        await show.press("2")
        async for _ in show.sizes():
            await show.shows(
                "No run has begun. Queue an experiment with a on the Queue tab (1).", "Nothing to draw"
            )
        await show.press("t")
        async for _ in show.sizes():
            await show.shows("No run is at work. Press t")
        await show.press("ctrl+e")
        await show.shows("nothing to export yet")


async def test_runs_that_only_start_are_spoken_of(empty: Stage):
    empty.queue.entries += [job(spec, JobState.STARTING, i) for i, spec in enumerate(empty.specs()[:2])]
    async with empty.open(NARROW) as show:
        await show.press("2")
        await show.shows("2 runs starting: what they log is shown here.")
        await show.press("t")
        await show.shows("Curves begin with the first evaluation.")
        assert "No run" not in show.text


async def test_watching_all_running_runs_brings_them_into_view(busy: Stage):
    async with busy.open(NARROW) as show:
        await show.press("2", "G")
        table = show.app.query_one(LiveTable)
        running = [entry.run_id for entry in busy.queue.entries if entry.state is JobState.RUNNING]
        assert table.highlighted not in running
        await show.press("t")
        await show.until(lambda: table.highlighted == running[0])


async def test_a_spike_and_a_stall_are_marked_on_the_chart_and_in_the_table(busy: Stage):
    spec = busy.specs()[7]
    template = next(row for row in metric_rows(spec, [50], 0.7) if row["event"] == "train")
    losses = [2.0 - 0.01 * place for place in range(40)]
    losses[30] = 9.0
    rows = [
        template | {"update": place, "loss": loss, "wall_s": place / 10}
        for place, loss in enumerate(losses, 1)
    ]
    busy.project.run("digits", spec.run_id).metrics.write_text("")
    write_lines(busy.project.run("digits", spec.run_id).metrics, rows)
    async with busy.open() as show:
        await show.press("2", "m")
        await show.shows(" …◐", "stalled", "stall: no row since", "spike: loss 9 at update 31")
        await show.shows("… stall", "! spike", "!")
        before = [metric.column for metric in METRICS].index("grad_norm") - METRICS.index(LOSS)
        await show.press(*["m"] * before)
        await show.shows("gradient norm", "… stall", "! spike")


async def test_targets_of_images_without_labels_are_drawn_where_there_are_any(busy: Stage):
    spec = busy.specs()[7]
    template = next(row for row in metric_rows(spec, [50], 0.7) if row["event"] == "train")
    told = {"pseudo_accepted": 0.5, "pseudo_accuracy": 0.91}
    file = busy.project.run("digits", spec.run_id).metrics
    file.write_text("")
    write_lines(file, [template | told | {"update": place} for place in (1, 2)])
    assert not told.keys() & {metric.column for metric in metrics_offered([])}
    async with busy.open() as show:
        await show.press("2")
        await show.shows("50% accepted", "91% right")
        columns = [metric.column for metric in METRICS]
        await show.press(*["m"] * columns.index("pseudo_accepted"))
        await show.shows("images without labels accepted")
        await show.press("m")
        await show.shows("accepted ones that are right")


async def test_what_went_wrong_in_runs_that_ended_is_in_the_table_without_drawing_them(busy: Stage):
    ended = busy.specs()[0]
    file = busy.project.run("digits", ended.run_id).metrics
    whole, first = file.read_text(), file.read_text().splitlines()[0]
    assert '"event": "train"' in first
    broken = first.replace('"loss": ', '"loss": null, "": ')
    file.write_text("\n".join([first, first, first, broken, whole]))
    async with busy.open() as show:
        await show.press("2")
        await show.until(lambda: any(line.startswith("   ?") for line in show.lines))
        assert ended.run_id not in show.app.snapshot.curves
        (trouble,) = show.app.snapshot.troubles[ended.run_id]
        assert trouble.kind == "NaN"


async def test_why_a_run_failed_stands_below_the_table(busy: Stage):
    async with busy.open() as show:
        await show.press("2", "j", "j")
        await show.shows("out of memory: 11.2 GB asked")


async def test_a_chart_is_drawn_again_only_for_what_it_shows(busy: Stage, monkeypatch: pytest.MonkeyPatch):
    drawn = 0

    def counted(*arguments: object, **options: object) -> object:
        nonlocal drawn
        drawn += 1
        return draw_live(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("tui_datasize.tui.live.tab.draw_live", counted)
    shown, other = busy.specs()[7], busy.specs()[8]
    async with busy.open() as show:
        await show.press("2")
        await show.shows(shown.run_id)
        await show.until(lambda: show.app.snapshot.curves.keys() >= {shown.run_id, other.run_id})
        before, curve = drawn, show.app.snapshot.curves[other.run_id]
        write_lines(busy.project.run("digits", other.run_id).metrics, metric_rows(other, [150], 0.7))
        await show.until(lambda: show.app.snapshot.curves[other.run_id] is not curve)
        await show.settle()
        assert drawn == before
        write_lines(busy.project.run("digits", shown.run_id).metrics, metric_rows(shown, [150], 0.7))
        await show.shows("update 150/200")
        assert drawn == before + 1


async def test_what_cannot_be_written_is_remembered_until_the_app_is_left(
    busy: Stage, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("tui_datasize.tui.view_state.write_json", refuse)
    async with busy.open(NARROW) as show:
        await show.press("2")
        await show.shows("draw")
        await show.press("C", "j", "j", "j", "space", "enter")
        await show.until(lambda: "draw" not in show.text)
        await show.press("1", "2")
        await show.shows("train")
        assert "draw" not in show.text
        await show.press("q")
        await show.until(lambda: not show.app.is_running)
    assert show.app.return_code == 0

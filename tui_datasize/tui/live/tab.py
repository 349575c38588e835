"""The Live tab: training curves of one run, or of all running ones, as they grow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import isfinite
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widget import Widget

from tui_datasize.jobs.queue.state import JobState
from tui_datasize.text import duration, fit, number, percent, plural, time_left
from tui_datasize.tui.charts.figures import mark_of
from tui_datasize.tui.charts.lines import Drawing
from tui_datasize.tui.charts.window import Window
from tui_datasize.tui.keys import KeyGroup, keys_of
from tui_datasize.tui.live.charts import (
    AXES,
    LOSS,
    METRICS,
    DrawnRun,
    LiveMetric,
    LiveView,
    assign_slots,
    draw_live,
    last_position,
    many_run_series,
    one_run_series,
    short_names,
)
from tui_datasize.tui.pane import CHART_KEYS, ChartPane, TableInView
from tui_datasize.tui.polling.snapshot import EMPTY, Interest, JobRow, RunFacts, Snapshot, TrainingCurve
from tui_datasize.tui.queue.lines import TitleLine
from tui_datasize.tui.widgets.chart_view import ChartView
from tui_datasize.tui.widgets.line_view import RowList
from tui_datasize.tui.widgets.palette import STATE_LOOKS, Palette, palette_of, state_style
from tui_datasize.tui.widgets.panel import Panel

if TYPE_CHECKING:
    import polars as pl

_VALUES_WIDTH = 4 + 8 + 4 * 8
_LONGEST_RUN_ID = 48


class LiveTable(RowList):
    """Runs that have begun: those at work first."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._rows: Sequence[tuple[JobRow, RunFacts]] = ()
        self._slots: Mapping[str, int] = MappingProxyType({})
        self._is_ready = False
        self._starting = self._queued = 0

    @property
    def header_lines(self) -> int:
        """Two lines of column names."""
        return 2

    def show(self, snapshot: Snapshot) -> None:
        """Replace the runs."""
        self._is_ready = snapshot is not EMPTY
        self._starting = len(snapshot.running())
        self._queued = sum(row.state is JobState.QUEUED for row in snapshot.jobs)
        begun = ((row, snapshot.facts.get(row.run_id)) for row in snapshot.jobs)
        self._rows = [(row, fact) for row, fact in begun if fact is not None and fact.updates > 0]
        self.set_keys([row.run_id for row, _ in self._rows])

    def show_slots(self, slots: Mapping[str, int]) -> None:
        """Show which runs are drawn, in which colour; none where one run is drawn alone."""
        self._slots = slots
        self.redraw()

    def _run_width(self) -> int:
        return max(10, min(_LONGEST_RUN_ID, self.view_size.width - 6 - _VALUES_WIDTH))

    def draw_header(self) -> Sequence[Text]:
        """Column names, the split below the metric."""
        width = self._run_width()
        groups = " " * (6 + width + 4 + 8) + "loss".rjust(8) + "accuracy, %".rjust(19)
        names = "      " + "run".ljust(width) + "%".rjust(4) + "left".rjust(8)
        names += "".join(split.rjust(8) for split in ("test", "train", "test", "train"))
        return [Text(groups, style=self.palette.muted), Text(names, style=self.palette.muted)]

    def draw_empty(self) -> Sequence[Text]:
        """What to do without runs."""
        text = " No run has begun. Queue an experiment with a on the Queue tab (1)."
        if self._queued:
            text = f" No run has begun; {plural(self._queued, 'run')} queued. The first one is shown here."
        if self._starting:
            text = f" {plural(self._starting, 'run')} starting: what they log is shown here."
        return [Text(text if self._is_ready else "", style=self.palette.muted)]

    def draw_row(self, index: int, width: int) -> Text:
        """One run."""
        (row, fact), palette = self._rows[index], self.palette
        slot = self._slots.get(row.run_id)
        colour = palette.muted if slot is None else palette.series[slot % len(palette.series)]
        tag = " " if slot is None else mark_of(slot)
        remaining = time_left(row.remaining_s) if row.state.is_active else ""
        values = (
            percent(row.fraction).rjust(4)
            + remaining.rjust(8)
            + number(fact.test_loss, ".4f").rjust(8)
            + number(fact.train_loss, ".4f").rjust(8)
            + number(fact.test_accuracy, ".2f", 100).rjust(8)
            + number(fact.train_accuracy, ".2f", 100).rjust(8)
        )
        line = Text.assemble(
            (self.pointer(index), palette.primary),
            (f" {tag} ", f"bold {colour}"),
            (f"{STATE_LOOKS[row.state].glyph} ", state_style(row.state, palette)),
            (fit(row.run_id, self._run_width()), palette.foreground),
            (values, palette.foreground),
        )
        line.pad_right(max(0, width - line.cell_len))
        line.stylize_before(self.row_style(index))
        return line


MOST_RUNS = 16
"""Runs drawn at once; beyond that nobody tells them apart."""


class LivePane(ChartPane):
    """Two charts side by side where there is room, otherwise one, and the runs below."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("t", "toggle_all", "one/all", tooltip="One run, or all that are running"),
        Binding("m", "metric", "metric", tooltip="The next metric"),
        Binding("x", "axis", "x axis", tooltip="Update, epoch, samples seen or wall time"),
        Binding("y", "log", "log y", tooltip="Loss on a linear or a logarithmic axis"),
        *CHART_KEYS,
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._snapshot: Snapshot = EMPTY
        self._table = LiveTable(id="live-table")
        self._loss_chart = ChartView()
        self._metric_chart = ChartView()
        self._values = TitleLine()
        self._metric = METRICS[0]
        self._view = LiveView()
        self._all_running = False
        self._slots: Mapping[str, int] = MappingProxyType({})
        self._panels = (
            Panel("Loss", self._loss_chart, id="loss"),
            Panel("Metric", self._metric_chart, id="metric"),
            Panel("Runs", self._table, self._values, id="live-runs"),
        )

    def compose(self) -> ComposeResult:
        """Charts above the runs."""
        yield from self._panels

    @property
    def first_focus(self) -> Widget:
        """The runs."""
        return self._table

    def choose(self, run_id: str) -> None:
        """Watch a run."""
        self._table.select(run_id)

    def interest(self) -> Interest:
        """The curves that are drawn."""
        return Interest(curves=self._drawn_run_ids())

    def table_in_view(self) -> TableInView | None:
        """The metric rows of the runs that are drawn."""
        drawn = [self._snapshot.facts[run_id].directory for run_id in self._drawn_run_ids()]
        return TableInView("metrics", partial(_read_metrics, drawn)) if drawn else None

    def key_groups(self) -> Sequence[KeyGroup]:
        """Keys of the tab."""
        return (keys_of("Live", self), self.chart_keys())

    def show(self, snapshot: Snapshot) -> None:
        """Show another moment."""
        self._snapshot = snapshot
        self._table.show(snapshot)
        self._draw()

    def _drawn_run_ids(self) -> tuple[str, ...]:
        if self._all_running:
            running = [row.run_id for row in self._snapshot.running() if row.run_id in self._snapshot.facts]
            return tuple(running[:MOST_RUNS])
        return (self._table.highlighted,) if self._table.highlighted else ()

    @property
    def _has_two_charts(self) -> bool:
        return bool(self._loss_chart.view_size)

    def _draw(self) -> None:
        run_ids = self._drawn_run_ids()
        self._slots = assign_slots(run_ids, self._slots) if self._all_running else {}
        self._table.show_slots(self._slots)
        curves = [self._snapshot.curves[r] for r in run_ids if r in self._snapshot.curves]
        metric = self._metric
        if self._has_two_charts and metric == LOSS:
            metric = METRICS[0]
        runs = self._drawn(curves)
        for chart, shown in ((self._loss_chart, LOSS), (self._metric_chart, metric)):
            names = [(run.slot, run.name) for run in runs]
            version = (curves, shown, self._view, self._all_running, names, bool(run_ids))
            chart.show(version, partial(self._draw_chart, runs, shown))
        self._show_notes(run_ids, metric)

    def _drawn(self, curves: Sequence[TrainingCurve]) -> list[DrawnRun]:
        ids = [curve.run_id for curve in curves]
        frame = self._snapshot.runs
        found = (
            {}
            if frame is None
            else {
                row["run_id"]: row
                for row in frame.filter(frame["run_id"].is_in(ids))
                .select("run_id", "experiment", "train_size", "subset_seed", "seed")
                .iter_rows(named=True)
            }
        )
        variants = {row.run_id: row.variant for row in self._snapshot.jobs if row.run_id in ids}
        names = short_names([{**found.get(i, {}), "variant": variants.get(i, "")} for i in ids])
        return [
            DrawnRun(curve, self._slots.get(curve.run_id, 0), name or curve.run_id)
            for curve, name in zip(curves, names, strict=True)
        ]

    def _draw_chart(
        self,
        runs: Sequence[DrawnRun],
        metric: LiveMetric,
        width: int,
        height: int,
        palette: Palette,
        window: Window,
    ) -> Drawing:
        if self._all_running:
            series = many_run_series(runs, metric, self._view, palette)
        else:
            series = one_run_series(runs[0].curve, metric, self._view, palette) if runs else []
        return draw_live(
            series,
            metric,
            self._view,
            width=width,
            height=height,
            palette=palette,
            empty=self._empty(),
            window=window,
            end=last_position([run.curve for run in runs], self._view.axis),
        )

    def _empty(self) -> str:
        if self._all_running and self._snapshot.running():
            return "Curves begin with the first evaluation."
        if self._all_running:
            return "No run is at work. Press t to look at one that has ended."
        if not self._table.highlighted:
            return "Nothing to draw yet."
        return "No evaluation of this run yet."

    def _show_notes(self, run_ids: Sequence[str], metric: LiveMetric) -> None:
        of_many = f"{plural(len(run_ids), 'running run')}, test split"
        what = of_many if self._all_running else "".join(run_ids)
        palette = palette_of(self.app)
        note = Text(what, style=palette.muted)
        loss, measured, runs = self._panels
        loss.show_note(note)
        measured.show_title(metric.title.partition(",")[0].capitalize())
        measured.show_note(note)
        mode = "all running" if self._all_running else "one at a time"
        runs.show_note(Text(mode, style=palette.muted))
        self._values.show(self._last_values())

    def _last_values(self) -> str:
        """What the table has no column for, of the run under the cursor."""
        run_id = self._table.highlighted or ""
        fact, curve = self._snapshot.facts.get(run_id), self._snapshot.curves.get(run_id)
        if fact is None:
            return ""
        parts = [f"update {fact.updates:,}/{fact.total_updates:,}"]
        if fact.wall_s:
            parts.append(duration(fact.wall_s))
        return " · ".join(parts + (_batch_values(curve) if curve else []))

    @on(LiveTable.Highlighted, "#live-table")
    def _run_highlighted(self) -> None:
        self.post_message(self.InterestChanged())
        self._draw()

    def on_resize(self) -> None:
        """One chart or two."""
        self._draw()

    def action_toggle_all(self) -> None:
        """One run, or all that are running."""
        self._all_running = not self._all_running
        if self._all_running and (running := self._snapshot.running()):
            self._table.select(running[0].run_id)
        self.post_message(self.InterestChanged())
        self._draw()

    def action_metric(self) -> None:
        """The next metric."""
        choices = [metric for metric in METRICS if metric != LOSS or not self._has_two_charts]
        at = choices.index(self._metric) if self._metric in choices else -1
        self._metric = choices[(at + 1) % len(choices)]
        self._draw()

    def action_axis(self) -> None:
        """The next horizontal axis."""
        axes = list(AXES)
        self._view = replace(self._view, axis=axes[(axes.index(self._view.axis) + 1) % len(axes)])
        self._draw()

    def action_log(self) -> None:
        """A linear or a logarithmic axis for the loss."""
        self._view = replace(self._view, is_log=not self._view.is_log)
        self._draw()


def _batch_values(curve: TrainingCurve) -> list[str]:
    shown = (
        ("epoch", "epoch {:.1f}"),
        ("lr", "lr {:.2g}"),
        ("grad_norm", "gradient {:.2g}"),
        ("images_per_s", "{:,.0f} images/s"),
    )
    last = ((template, curve.last("batches", column)) for column, template in shown)
    return [template.format(value) for template, value in last if isfinite(value)]


def _read_metrics(directories: Sequence[str]) -> pl.DataFrame:
    from pathlib import Path

    from tui_datasize.runlog.collect import read_metrics
    from tui_datasize.runlog.paths import RunPaths

    rows, _ = read_metrics([RunPaths(Path(directory)) for directory in directories])
    return rows

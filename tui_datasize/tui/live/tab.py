"""The Live tab: training curves of one run, or of all running ones, as they grow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import isfinite
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from rich.console import Group
from rich.table import Table
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Grid
from textual.widget import Widget

from tui_datasize.text import duration, plural
from tui_datasize.tui.chart_pane import CHART_KEYS, ChartPane
from tui_datasize.tui.charts.lines import Drawing, Series, ShadedBand
from tui_datasize.tui.charts.window import ChartWindow
from tui_datasize.tui.exports import TableInView
from tui_datasize.tui.keys import KeyGroup, keys_of
from tui_datasize.tui.live.charts import (
    AXES,
    LOSS,
    METRICS,
    MOST_CHARTS,
    DrawnRun,
    LiveMetric,
    LiveView,
    assign_slots,
    chart_layout,
    draw_live,
    group_series,
    last_position,
    many_run_series,
    metrics_offered,
    metrics_shown,
    one_run_series,
    slots_of_groups,
    trouble_series,
)
from tui_datasize.tui.live.column_dialog import ColumnDialog
from tui_datasize.tui.live.columns import ColumnChoice, title_of
from tui_datasize.tui.live.runs import (
    differences,
    group_choices,
    names_of_groups,
    short_names,
    what_is_compared,
)
from tui_datasize.tui.live.table import LiveTable
from tui_datasize.tui.polling.snapshot import EMPTY, Interest, RunFacts, Snapshot, TrainingCurve
from tui_datasize.tui.queue.lines import TitleLine
from tui_datasize.tui.widgets.chart_view import ChartView
from tui_datasize.tui.widgets.dialogs import TextDialog
from tui_datasize.tui.widgets.filter_box import FilterBox
from tui_datasize.tui.widgets.palette import Palette, palette_of
from tui_datasize.tui.widgets.panel import Panel
from tui_datasize.tui.widgets.plain import plain_text

if TYPE_CHECKING:
    import polars as pl

MOST_RUNS = 16
"""Runs drawn at once; beyond that nobody tells them apart."""
_LEAST_ROWS_OF_RUNS = 8
_ROWS_BESIDE_RUNS = 6
"""Heading, titles of columns, the values below, and the filter."""


class LivePane(ChartPane):
    """Charts of the runs that are chosen in the table below."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("t", "toggle_all", "one/all", tooltip="One run, or all that are running"),
        Binding("m", "metric", "metric", tooltip="The next metric"),
        Binding("x", "axis", "x axis", tooltip="Update, epoch, samples seen or wall time"),
        Binding("y", "log", "log y", tooltip="Loss on a linear or a logarithmic axis"),
        Binding("c", "grid", "charts", tooltip="As many charts as the window holds, or few large ones"),
        Binding("C", "columns", "columns", tooltip="Columns of the table: hide, pin, widen"),
        Binding("slash", "filter", "filter", tooltip="Filter, such as size>=1000 state:running acc<90% !mlp"),
        Binding("d", "compare", "differences", tooltip="What differs between the runs that are marked"),
        Binding("b", "group", "group", tooltip="Mean and range of the runs drawn, by the next swept key"),
        Binding("escape", "back", "back", show=False, tooltip="Drop the filter, then the marks"),
        *CHART_KEYS,
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._snapshot: Snapshot = EMPTY
        self._is_stale = False
        self._table = LiveTable(id="live-table")
        self.charts = tuple(ChartView() for _ in range(MOST_CHARTS))
        self._chart_panels = tuple(Panel("", chart) for chart in self.charts)
        self._board = Grid(*self._chart_panels, id="live-charts")
        self._values = TitleLine()
        self._metric = METRICS[0]
        self._view = LiveView()
        self._all_running = False
        self._group = ""
        self._filter = FilterBox(self._table)
        self._slots: Mapping[str, int] = MappingProxyType({})
        self._runs_panel = Panel("Runs", self._filter, self._table, self._values, id="live-runs")
        self.is_grid = False
        """Whether as many charts are shown as the window holds."""

    def compose(self) -> ComposeResult:
        yield self._board
        yield self._runs_panel

    @property
    def first_focus(self) -> Widget:
        return self._table

    @property
    def parts(self) -> Sequence[Widget]:
        return self._runs_panel, self._board

    def choose(self, run_id: str) -> None:
        self._table.select(run_id)

    @property
    def columns(self) -> ColumnChoice:
        """What was chosen of the columns of the table."""
        return self._table.choice

    def choose_columns(self, choice: ColumnChoice) -> None:
        self._table.choose(choice)

    @property
    def experiment_in_view(self) -> str:
        rows = (row for row in self._snapshot.jobs if row.run_id == self._table.highlighted)
        return next((row.experiment for row in rows), "")

    def interest(self) -> Interest:
        # Those at work are looked at for trouble, whether or not they are drawn.
        running = (row.run_id for row in self._snapshot.running()[:MOST_RUNS])
        curves = tuple(dict.fromkeys([*self._drawn_run_ids(), *running]))
        return Interest(curves=curves, listed=tuple(self._table.keys[row] for row in self._table.in_view))

    def table_in_view(self) -> TableInView | None:
        drawn = [self._snapshot.facts[run_id].directory for run_id in self._drawn_run_ids()]
        return TableInView("metrics", partial(_read_metrics, drawn)) if drawn else None

    def key_groups(self) -> Sequence[KeyGroup]:
        return (keys_of("Live", self), keys_of("Runs", self._table), self.chart_keys())

    def show(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._table.show(snapshot)
        self._draw()

    @property
    def _is_of_many(self) -> bool:
        """Whether runs are drawn beside each other: those that are marked, else all that are running."""
        return bool(self._table.marked) or self._all_running

    def _drawn_run_ids(self) -> tuple[str, ...]:
        if self._table.marked:
            return tuple(self._table.marked)[:MOST_RUNS]
        if self._all_running:
            running = [row.run_id for row in self._snapshot.running() if row.run_id in self._snapshot.facts]
            return tuple(running[:MOST_RUNS])
        return (self._table.highlighted,) if self._table.highlighted else ()

    def _drawn_curves(self) -> list[TrainingCurve]:
        return [self._snapshot.curves[r] for r in self._drawn_run_ids() if r in self._snapshot.curves]

    def _lay_out(self, curves: Sequence[TrainingCurve]) -> Sequence[LiveMetric]:
        """Make room for the charts; what they show, in order."""
        columns, rows = chart_layout(self.app.size.width, self.app.size.height, is_grid=self.is_grid)
        shown = metrics_shown(self._metric, columns * rows, curves)
        columns = min(columns, len(shown))
        if self._board.styles.grid_size_columns != columns:
            self._board.styles.grid_size_columns = columns
        for place, panel in enumerate(self._chart_panels):
            panel.display = place < len(shown)
        return shown

    def _divide(self) -> None:
        """Leave to the charts the rows that the runs do not need."""
        runs = self._table.frame.height if self._table.frame is not None else 0
        most = max(_LEAST_ROWS_OF_RUNS, self.app.size.height // 3)
        self.styles.grid_rows = f"1fr {max(_LEAST_ROWS_OF_RUNS, min(most, runs + _ROWS_BESIDE_RUNS))}"

    def _draw(self) -> None:
        """Draw before the next frame, once however often it is asked for."""
        if not self._is_stale:
            self._is_stale = True
            self.call_next(self._draw_again)

    def _draw_again(self) -> None:
        self._is_stale = False
        self._divide()
        run_ids = self._drawn_run_ids()
        self._slots = assign_slots(run_ids, self._slots) if self._is_of_many else {}
        curves = self._drawn_curves()
        runs = self._drawn(curves)
        self._table.show_slots(self._slots if not self._group else slots_of_groups(runs))
        shown = self._lay_out(curves)
        for chart, metric in zip(self.charts, shown, strict=False):
            names = [(run.slot, run.name, run.group, run.troubles) for run in runs]
            version = (curves, metric, self._view, self._is_of_many, names, bool(run_ids))
            chart.show(version, partial(self._draw_chart, runs, metric))
        self._show_notes(run_ids, shown)

    def _drawn(self, curves: Sequence[TrainingCurve]) -> list[DrawnRun]:
        frame, troubles = self._table.runs([curve.run_id for curve in curves]), self._snapshot.troubles
        names, groups = [curve.run_id for curve in curves], [""] * len(curves)
        if frame is not None and frame.height == len(curves):
            names = short_names(frame)
            groups = names_of_groups(frame, self._group) if self._group else groups
        return [
            DrawnRun(curve, self._slots.get(curve.run_id, 0), name, group, troubles.get(curve.run_id, ()))
            for curve, name, group in zip(curves, names, groups, strict=True)
        ]

    def _draw_chart(
        self,
        runs: Sequence[DrawnRun],
        metric: LiveMetric,
        width: int,
        height: int,
        palette: Palette,
        window: ChartWindow,
    ) -> Drawing:
        view = self._view
        series: list[Series] = []
        bands: Sequence[ShadedBand] = ()
        if self._group and self._is_of_many:
            series, bands = group_series(runs, metric, view, palette)
        elif self._is_of_many:
            series = many_run_series(runs, metric, view, palette)
        elif runs:
            series = one_run_series(runs[0].curve, metric, view, palette)
        if not bands:
            series += trouble_series(runs, series, view, palette)
        end, empty = last_position([run.curve for run in runs], view.axis), self._empty(runs, metric)
        return draw_live(series, bands, metric, view, width, height, palette, window, empty=empty, end=end)

    def _empty(self, runs: Sequence[DrawnRun], metric: LiveMetric) -> str:
        if any(len(run.curve.column(metric.part or run.curve.judged_by, "loss")) for run in runs):
            # By a version that did not measure it.
            return f"No {metric.name} was logged."
        if self._all_running and self._snapshot.running():
            return "Curves begin with the first evaluation."
        if self._all_running:
            return "No run is at work. Press t to look at one that has ended."
        if not self._table.highlighted:
            return "Nothing to draw yet."
        row = next((row for row in self._snapshot.jobs if row.run_id == self._table.highlighted), None)
        if row and row.state.is_final:
            return f"Nothing was measured: {row.reason}" if row.reason else "Nothing was measured."
        return "No evaluation of this run yet."

    def _show_notes(self, run_ids: Sequence[str], shown: Sequence[LiveMetric]) -> None:
        palette = palette_of(self.app)
        which = "running " if not self._table.marked else ""
        of_group = f", mean and range by {title_of(self._group)}" if self._group else ""
        for panel, metric in zip(self._chart_panels, shown, strict=False):
            panel.show_title(metric.name[:1].upper() + metric.name[1:])
            of_part = {"batches": "training batches", "generator": "before update 1"}
            split = of_part.get(metric.part or "", "test split")
            many = f"{plural(len(run_ids), f'{which}run')}, {split}{of_group}"
            panel.show_note(Text(many if self._is_of_many else "".join(run_ids), palette.muted))
        mode = "all running" if self._all_running else "one at a time"
        if self._table.marked:
            mode = f"{len(self._table.marked)} marked"
            if len(self._table.marked) > MOST_RUNS:
                mode += f", the first {MOST_RUNS} are drawn"
        self._runs_panel.show_note(Text(mode, style=palette.muted))
        self._values.show(self._last_values())

    def _last_values(self) -> str:
        run_id = self._table.highlighted or ""
        fact, curve = self._snapshot.facts.get(run_id), self._snapshot.curves.get(run_id)
        if fact is None:
            return ""
        parts = [*self._wrong(run_id, fact), f"update {fact.updates:,}/{fact.total_updates:,}"]
        if fact.wall_s:
            parts.append(duration(fact.wall_s))
        return " · ".join(parts + (_batch_values(curve) if curve else []))

    def _wrong(self, run_id: str, fact: RunFacts) -> Sequence[str]:
        """Why a run did not end well, and what went wrong within it, the last first."""
        row = next((row for row in self._snapshot.jobs if row.run_id == run_id), None)
        reason, troubles = row.reason if row else fact.reason, self._snapshot.troubles.get(run_id, ())
        return [*filter(None, [reason]), *(f"{one.kind}: {one.words}" for one in reversed(troubles))]

    @on(LiveTable.Highlighted, "#live-table")
    @on(LiveTable.MarksChanged)
    def _other_runs_chosen(self) -> None:
        self.post_message(self.InterestChanged())
        self._draw()

    def action_back(self) -> None:
        if self._filter.value:
            self._filter.drop()
        elif self._table.marked:
            self._table.mark(())

    def action_compare(self) -> None:
        frame = self._table.runs(tuple(self._table.marked))
        if frame is None or frame.height < 2:
            self.remark("mark two runs or more with space: d shows what differs between them")
            return
        palette = palette_of(self.app)
        table = Table(box=None, padding=(0, 2, 0, 0), header_style=f"bold {palette.foreground}")
        table.add_column("")
        for name in short_names(frame):
            table.add_column(plain_text(name), justify="right")
        for title, values in differences(frame):
            table.add_row(plain_text(title, palette.muted), *map(plain_text, values))
        said = plain_text(what_is_compared(frame), palette.muted)
        title = f"What differs between {plural(frame.height, 'run')}"
        self.app.push_screen(TextDialog(title, Group(table, "", said)))

    def action_columns(self) -> None:
        dialog = ColumnDialog(self._table.choice, self._table.usual)
        self.app.push_screen(dialog, lambda choice: self.choose_columns(choice) if choice else None)

    def action_group(self) -> None:
        """Put the runs that are drawn together by the next thing that several have in common."""
        frame = self._table.runs(self._drawn_run_ids())
        if frame is None or not self._is_of_many or len(choices := group_choices(frame)) == 1:
            self.remark("no average to draw: mark runs that share a size, a draw or a variant")
            return
        at = choices.index(self._group) if self._group in choices else 0
        self._group = choices[(at + 1) % len(choices)]
        self._draw()

    @on(ChartView.Ranged)
    def _range_shared(self, event: ChartView.Ranged) -> None:
        # All charts of a run run over the same updates.
        for chart in self.charts:
            if chart is not event.chart:
                chart.follow(event.chart)

    def on_resize(self) -> None:
        self._draw()

    def action_toggle_all(self) -> None:
        self._all_running = not self._all_running
        if self._all_running and (running := self._snapshot.running()):
            self._table.select(running[0].run_id)
        self.post_message(self.InterestChanged())
        self._draw()

    def action_metric(self) -> None:
        has_loss_beside = self._chart_panels[1].display
        offered = metrics_offered(self._drawn_curves())
        others = [metric for metric in offered if metric != LOSS or not has_loss_beside]
        at = others.index(self._metric) if self._metric in others else -1
        self._metric = others[(at + 1) % len(others)]
        self._draw()

    def action_grid(self) -> None:
        self.is_grid = not self.is_grid
        self._draw()

    def action_axis(self) -> None:
        axes = list(AXES)
        self._view = replace(self._view, axis=axes[(axes.index(self._view.axis) + 1) % len(axes)])
        self._draw()

    def action_log(self) -> None:
        self._view = replace(self._view, is_log=not self._view.is_log)
        self._draw()


def _batch_values(curve: TrainingCurve) -> list[str]:
    shown = (
        ("epoch", "epoch {:.1f}"),
        ("pseudo_accepted", "{:.0%} accepted"),
        ("pseudo_accuracy", "{:.0%} right"),
        ("lr", "lr {:.2g}"),
        ("grad_norm", "gradient {:.2g}"),
        ("images_per_s", "{:,.0f} images/s"),
    )
    last = [(template, curve.last("batches", column)) for column, template in shown]
    if not len(curve.column("batches", "update")):
        made = ("epoch", "generator epoch {:.0f}"), ("elbo", "bound {:.1f} nats")
        last = [(template, curve.last("generator", column)) for column, template in made]
    return [template.format(value) for template, value in last if isfinite(value)]


def _read_metrics(directories: Sequence[str]) -> pl.DataFrame:
    from pathlib import Path

    from tui_datasize.runlog.collect import read_metrics
    from tui_datasize.runlog.paths import RunPaths

    rows, _ = read_metrics([RunPaths(Path(directory)) for directory in directories])
    return rows

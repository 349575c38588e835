"""The table of the Live tab: runs that have begun, told apart by what differs between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType

from tui_datasize.jobs.queue.state import JobState
from tui_datasize.text import fit, number, percent, plural, time_left
from tui_datasize.tui.charts.figures import mark_of
from tui_datasize.tui.live.charts import TROUBLE_MARKS
from tui_datasize.tui.live.runs import DESCRIBING, FilterError, RunOrder, differing, filter_of, listed
from tui_datasize.tui.polling.snapshot import EMPTY, JobRow, RunFacts, Snapshot
from tui_datasize.tui.widgets.line_view import MarkList
from tui_datasize.tui.widgets.palette import STATE_LOOKS, state_style

if TYPE_CHECKING:
    import polars as pl

_FIXED_WIDTH = 6
_VALUE_WIDTHS = (4, 8, 8, 8, 8, 8)
_LONGEST_TEXT = 32


class LiveTable(MarkList):
    """Runs that have begun, those at work first until another order is asked for."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "mark", "mark", tooltip="Draw this run with the others that are marked"),
        Binding("o", "order(1)", "sort", tooltip="Sort by the next column"),
        Binding("O", "turn", "turn order", show=False, tooltip="The other way round"),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._snapshot: Snapshot = EMPTY
        self._rows: Mapping[str, tuple[JobRow, RunFacts]] = MappingProxyType({})
        self._frame: pl.DataFrame | None = None
        self._columns: Sequence[str] = ()
        self._texts: Mapping[str, Sequence[str]] = MappingProxyType({})
        self._longest: Sequence[int] = ()
        self._slots: Mapping[str, int] = MappingProxyType({})
        self._order = RunOrder()
        self._filter = ""

    @property
    def header_lines(self) -> int:
        return 2

    def runs(self, run_ids: Sequence[str]) -> pl.DataFrame | None:
        """Rows of the frame `runs`, in the given order; None before the first look."""
        if self._frame is None:
            return None
        import polars as pl

        return pl.DataFrame({"run_id": run_ids}, schema={"run_id": pl.String}).join(
            self._frame, on="run_id", how="inner", maintain_order="left"
        )

    def show(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        begun = ((row, snapshot.facts.get(row.run_id)) for row in snapshot.jobs)
        self._rows = {row.run_id: (row, fact) for row, fact in begun if fact is not None and fact.updates > 0}
        self._frame = _frame_of(snapshot, self._rows)
        self.marked = {run_id: None for run_id in self.marked if run_id in self._rows}
        self._list()

    def filter(self, text: str) -> str:
        """Show only runs that match, see `filter_of`; what is wrong with it, or empty."""
        if self._frame is None:
            return ""
        try:
            filter_of(text, self._frame.schema)
        except FilterError as error:
            return error.line
        self._filter = text
        self._list()
        return ""

    def _list(self) -> None:
        if self._frame is None:
            self.set_keys([])
            return
        runs = listed(self._frame, self._order, filter_of(self._filter, self._frame.schema))
        self._columns = differing(self._frame) if runs.height else ()
        written = [
            (run_id, *map(_written, self._columns, row))
            for run_id, *row in runs.select("run_id", *self._columns).iter_rows()
        ]
        self._texts = {run_id: texts for run_id, *texts in written}
        columns = zip(*self._texts.values(), strict=True)
        self._longest = [max(map(len, texts)) for texts in columns] or [0] * len(self._columns)
        self.set_keys(runs["run_id"].to_list())

    def show_slots(self, slots: Mapping[str, int]) -> None:
        """Show which runs are drawn, in which colour; none where one run is drawn alone."""
        self._slots = slots
        self.redraw()

    def _widths(self) -> list[int]:
        room = self.view_size.width - _FIXED_WIDTH - sum(_VALUE_WIDTHS)
        widths: list[int] = []
        for name, longest in zip(self._columns, self._longest, strict=True):
            width = min(max(longest, len(DESCRIBING[name][0]) + 1), _LONGEST_TEXT) + 1
            room -= width
            if room < 0:
                break
            widths.append(width)
        return widths

    def draw_header(self) -> Sequence[Text]:
        names = "".join(
            f"{DESCRIBING[name][0]}{self._arrow(name)}".ljust(width)
            for name, width in zip(self._columns, self._widths(), strict=False)
        )
        loss, accuracy = f"loss{self._arrow('test_loss')}", f"accuracy, %{self._arrow('test_accuracy')}"
        groups = " " * (_FIXED_WIDTH + len(names) + 4 + 8) + loss.rjust(8) + accuracy.rjust(19)
        heads = " " * _FIXED_WIDTH + names + "%".rjust(4) + "left".rjust(8)
        heads += "".join(split.rjust(8) for split in ("test", "train", "test", "train"))
        return [Text(groups, style=self.palette.muted), Text(heads, style=self.palette.muted)]

    def _arrow(self, name: str) -> str:
        if name != self._order.column:
            return ""
        return "▼" if self._order.is_descending else "▲"

    def draw_empty(self) -> Sequence[Text]:
        starting = len(self._snapshot.running())
        queued = sum(row.state is JobState.QUEUED for row in self._snapshot.jobs)
        text = " No run has begun. Queue an experiment with a on the Queue tab (1)."
        if self._filter and self._rows:
            text = f" None of {plural(len(self._rows), 'run')} matches the filter; esc clears it."
        elif starting:
            text = f" {plural(starting, 'run')} starting: what they log is shown here."
        elif queued:
            text = f" No run has begun; {plural(queued, 'run')} queued. The first one is shown here."
        return [Text(text if self._snapshot is not EMPTY else "", style=self.palette.muted)]

    def draw_row(self, index: int, width: int) -> Text:  # noqa: ARG002
        run_id, palette = self.keys[index], self.palette
        row, fact = self._rows[run_id]
        troubles = self._snapshot.troubles.get(run_id, ())
        stalls = any(trouble.is_now for trouble in troubles)
        slot = self._slots.get(run_id)
        colour = palette.muted if slot is None else palette.series[slot % len(palette.series)]
        tag = " " if slot is None else mark_of(slot)
        marked = "✓" if run_id in self.marked else " "
        names = "".join(
            fit(text, size - 1) + " " for text, size in zip(self._texts[run_id], self._widths(), strict=False)
        )
        cells = (
            percent(row.fraction),
            "stalled" if stalls else time_left(row.remaining_s) if row.state.is_active else "",
            number(fact.test_loss, ".4f"),
            number(fact.train_loss, ".4f"),
            number(fact.test_accuracy, ".2f", 100),
            number(fact.train_accuracy, ".2f", 100),
        )
        values = "".join(cell.rjust(size) for cell, size in zip(cells, _VALUE_WIDTHS, strict=True))
        return Text.assemble(
            (self.pointer(index), palette.primary),
            (marked, palette.accent),
            (tag, f"bold {colour}"),
            (TROUBLE_MARKS[troubles[-1].kind] if troubles else " ", f"bold {palette.accent}"),
            (f"{STATE_LOOKS[row.state].glyph} ", state_style(row.state, palette)),
            (names, palette.foreground),
            (values, palette.foreground),
        )

    def action_order(self, step: int) -> None:
        if self._frame is not None:
            self._order = self._order.following(step, self._frame)
            self._list()

    def action_turn(self) -> None:
        if self._order.column:
            self._order = RunOrder(self._order.column, not self._order.is_descending)
            self._list()


def _frame_of(snapshot: Snapshot, rows: Mapping[str, tuple[JobRow, RunFacts]]) -> pl.DataFrame | None:
    """The frame `runs` of what has begun, in the queue's order, and with its variants and states."""
    if snapshot.runs is None:
        return None
    import polars as pl

    jobs = [row for row, _ in rows.values()]
    told = pl.DataFrame(
        {
            "run_id": [row.run_id for row in jobs],
            "told_variant": [row.variant or None for row in jobs],
            "state": [STATE_LOOKS[row.shown_state].word for row in jobs],
        },
        schema={"run_id": pl.String, "told_variant": pl.String, "state": pl.String},
    )
    joined = told.join(snapshot.runs.drop("state"), on="run_id", how="inner", maintain_order="left")
    return joined.with_columns(variant=pl.coalesce("told_variant", "variant")).drop("told_variant")


def _written(name: str, value: object) -> str:
    return "" if value is None else DESCRIBING[name][1].format(value)

"""The table of the Live tab: runs that have begun, told apart by what differs between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType

from tui_datasize.jobs.queue.state import JobState
from tui_datasize.text import fit, plural
from tui_datasize.tui.charts.figures import mark_of
from tui_datasize.tui.keys import hint_of
from tui_datasize.tui.live.charts import TROUBLE_MARKS
from tui_datasize.tui.live.columns import NOTE, ColumnChoice, LiveColumn, fitted, longest, usual_columns
from tui_datasize.tui.live.runs import RunOrder, differing
from tui_datasize.tui.polling.snapshot import EMPTY, Snapshot
from tui_datasize.tui.widgets.filter_box import RunList
from tui_datasize.tui.widgets.palette import STATE_LOOKS, STATES_BY_WORD, state_style

if TYPE_CHECKING:
    import polars as pl

_MARGIN = 5
"""Cursor, mark, the mark on the chart and the state stand before the columns."""


class LiveTable(RunList):
    """Runs that have begun, those at work first until another order is asked for."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "mark", "mark", tooltip="Draw this run with the others that are marked"),
        Binding("o", "order(1)", "sort", tooltip="Sort by the next column"),
        Binding("O", "turn", "turn order", show=False, tooltip="The other way round"),
    ]

    _snapshot: Snapshot = EMPTY
    _of: pl.DataFrame | None = None
    _shown: pl.DataFrame | None = None
    _naming: Sequence[str] = ()
    _lengths: Mapping[str, int] = MappingProxyType({})
    _fitted: tuple[int, Sequence[tuple[LiveColumn, int]]] | None = None
    _slots: Mapping[str, int] = MappingProxyType({})
    _order = RunOrder()
    choice = ColumnChoice()
    """What was chosen of the columns."""

    @property
    def header_lines(self) -> int:
        return 2

    def runs(self, run_ids: Sequence[str]) -> pl.DataFrame | None:
        """Rows of the frame of all jobs, in the given order; None before the first look."""
        if self.frame is None:
            return None
        import polars as pl

        return pl.DataFrame({"run_id": run_ids}, schema={"run_id": pl.String}).join(
            self.frame, on="run_id", how="inner", maintain_order="left"
        )

    def show(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        if snapshot.table is not None and snapshot.table is not self._of:
            self._of = snapshot.table
            has_begun = (self._of["updates"] > 0) | (self._of["state"] == STATE_LOOKS[JobState.FAILED].word)
            self.take(self._of.filter(has_begun))

    def list_again(self) -> None:
        if self.frame is None:
            return
        import polars as pl

        shown = self._order.of(self.matching())
        self._naming = differing(self.frame) if self.frame.height else ()
        self._fitted = None
        wanted = self.choice.wanted(self.usual)
        self._lengths = longest(self.frame, [name for name in wanted if self._tells(name)])
        self._shown = shown.select("run_id", "state", pl.col(NOTE).alias("why"), *self._lengths)
        self.set_keys(shown["run_id"].to_list())

    def choose(self, choice: ColumnChoice) -> None:
        self.choice = choice
        self.list_again()

    def show_slots(self, slots: Mapping[str, int]) -> None:
        """Show which runs are drawn, in which colour; none where one run is drawn alone."""
        self._slots = slots
        self.redraw()

    @property
    def usual(self) -> Sequence[str]:
        """Columns that are shown where nobody has chosen."""
        return usual_columns(self._naming)

    def _tells(self, name: str) -> bool:
        """Whether there is anything to read in a column that nobody has asked for."""
        assert self.frame is not None
        values = self.frame[name]
        is_asked = self.choice.shown.get(name) or name in (*self.choice.pinned, *self._naming)
        return is_asked or (values.null_count() < len(values) and (name != "device" or values.n_unique() > 1))

    @property
    def columns(self) -> Sequence[tuple[LiveColumn, int]]:
        """Those that fit into the window, and how wide each is."""
        width = self.view_size.width - _MARGIN
        if self._fitted is None or self._fitted[0] != width:
            self._fitted = width, fitted(self.choice, self._naming, self._lengths, width)
        return self._fitted[1]

    def draw_header(self) -> Sequence[Text]:
        over = heads = " " * _MARGIN
        arrows = {self._order.column: "▼" if self._order.is_descending else "▲"}
        for title, group in groupby(self.columns, lambda one: one[0].over):
            columns = list(group)
            room = sum(width for _, width in columns)
            over += fit(title, room - 1).rstrip().rjust(room)
            heads += "".join(one.placed(one.title + arrows.get(one.name, ""), own) for one, own in columns)
        return [Text(line, style=self.palette.muted) for line in (over, heads)]

    def draw_empty(self) -> Sequence[Text]:
        starting = len(self._snapshot.running())
        queued = sum(row.state is JobState.QUEUED for row in self._snapshot.jobs)
        how = hint_of(self, "queue_all", " Queue an experiment with a on the Queue tab (1).")
        text = f" No run has begun.{how}"
        if self.frame is not None and self.frame.height:
            text = f" None of {plural(self.frame.height, 'run')} matches the filter; esc clears it."
        elif starting:
            text = f" {plural(starting, 'run')} starting: what they log is shown here."
        elif queued:
            text = f" No run has begun; {plural(queued, 'run')} queued. The first one is shown here."
        return [Text(text if self._snapshot is not EMPTY else "", style=self.palette.muted)]

    def draw_row(self, index: int, width: int) -> Text:
        row = {} if self._shown is None else self._shown.row(index, named=True)
        run_id, state, palette = row["run_id"], STATES_BY_WORD[row["state"]], self.palette
        slot, troubles = self._slots.get(run_id), self._snapshot.troubles.get(run_id, ())
        stalls = any(trouble.is_now for trouble in troubles)
        colour = palette.muted if slot is None else palette.series[slot % len(palette.series)]
        line = Text.assemble(
            (self.pointer(index), palette.primary),
            ("✓" if run_id in self.marked else " ", palette.accent),
            (" " if slot is None else mark_of(slot), f"bold {colour}"),
            (TROUBLE_MARKS[troubles[-1].kind] if troubles else " ", f"bold {palette.error}"),
            (STATE_LOOKS[state].glyph, state_style(state, palette)),
        )
        note = row["why"] or ""
        is_note_elsewhere = not note or any(column.name == NOTE for column, _ in self.columns)
        for column, room in self.columns:
            if not is_note_elsewhere and column.name not in (*self._naming, *self.choice.pinned):
                return line.append(f"  {fit(note, width - line.cell_len - 2)}", palette.error)
            style = palette.error if column.name == NOTE else palette.foreground
            is_stall = stalls and column.name == "remaining_s"
            text = "stalled" if is_stall else column.write(row[column.name])
            line.append(column.placed(text, room), style)
        return line

    def action_order(self, step: int) -> None:
        if self.frame is not None:
            names = [column.name for column, _ in self.columns]
            self._order = self._order.following(step, self.frame, names)
            self.list_again()

    def action_turn(self) -> None:
        if self._order.column:
            self._order = RunOrder(self._order.column, not self._order.is_descending)
            self.list_again()

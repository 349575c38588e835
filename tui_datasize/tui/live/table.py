"""The runs that can be watched, with their last values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from rich.text import Text

from tui_datasize.jobs.queue.state import JobState
from tui_datasize.tui.live.charts import TAGS
from tui_datasize.tui.look.duration import time_left
from tui_datasize.tui.look.progress import percent
from tui_datasize.tui.look.snapshot import EMPTY, JobRow, RunFacts, Snapshot
from tui_datasize.tui.widgets.line_view import RowList
from tui_datasize.tui.widgets.palette import STATE_LOOKS, state_style
from tui_datasize.tui.widgets.text import fit, number, plural

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
        tag = " " if slot is None else TAGS[slot % len(TAGS)]
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

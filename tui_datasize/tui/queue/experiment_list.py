"""The list of experiments: name, how much is done, and the title where there is room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.message import Message

from tui_datasize.jobs.queue.state import JobState
from tui_datasize.text import duration, fit
from tui_datasize.tui.keys import is_refused
from tui_datasize.tui.polling.snapshot import EMPTY, ExperimentPlan, Snapshot
from tui_datasize.tui.widgets.line_view import RowList
from tui_datasize.tui.widgets.palette import progress_bar

_ROOM_FOR_TITLE = 50
_LONGEST_NAME = 32
_TIME_WIDTH = 12
_BEGINNINGS = ("b builds a sweep", "d runs a demo", "t writes a template", "i imports results")
"""As the question offers them that they are the answers to."""


class ExperimentList(RowList):
    """Experiments in the order of the file."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "open", tooltip="Go to the map of the experiment's cells")
    ]

    class Opened(Message):
        """Someone wants to see the cells."""

    _snapshot: Snapshot = EMPTY
    _begins = False

    @property
    def current(self) -> ExperimentPlan | None:
        return self._snapshot.experiment(self.highlighted or "")

    def show(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self.set_keys([plan.name for plan in snapshot.experiments])

    def say_how_to_begin(self, begins: bool) -> None:
        """Where there are no experiments, whether `b` asks what to begin with or builds one."""
        self._begins = begins
        self.redraw()

    def action_open(self) -> None:
        self.post_message(self.Opened())

    def draw_empty(self) -> Sequence[Text]:
        if not self._snapshot.is_ready:
            return [Text(" Reading the project …", style=self.palette.muted)]
        lines: tuple[str, ...] = ("No experiments yet.", "b builds a sweep.")
        if is_refused(self, "build"):
            lines = ("No experiments yet.", "Read-only: none is begun.")
        elif self._begins:
            lines = ("No experiments yet: b, then", *_BEGINNINGS)
        return [Text(f" {line}", style=self.palette.muted) for line in lines]

    @property
    def lists_times(self) -> bool:
        return self.view_size.width >= _ROOM_FOR_TITLE

    def _time_left(self, plan: ExperimentPlan) -> str:
        ends_in_s = self._snapshot.time_left.experiment_ends_in_s.get(plan.name)
        return "" if ends_in_s is None else f" {duration(ends_in_s)} left"

    def draw_row(self, index: int, width: int) -> Text:
        plan, palette = self._snapshot.experiments[index], self.palette
        counts = self._snapshot.cell_counts(plan)
        done, total = counts[JobState.SUCCEEDED], plan.n_runs
        longest = max(len(other.name) for other in self._snapshot.experiments)
        name_width = min(longest, _LONGEST_NAME, max(6, width - 11))
        count = "?" if plan.problem else f"{done}/{total}"
        line = Text.assemble(
            (f"{self.pointer(index)} ", palette.primary),
            (fit(plan.name, name_width), palette.foreground),
            (f" {count}".rjust(9), palette.error if plan.problem else palette.foreground),
        )
        if self.lists_times:
            line.append(self._time_left(plan).rjust(_TIME_WIDTH), palette.foreground)
        room = width - line.cell_len - 1
        bar_width = min(12, room) if room >= 4 else 0
        if bar_width:
            line.append(" ").append_text(
                progress_bar(done / total if total else 0.0, bar_width, palette, palette.success)
            )
        if width >= _ROOM_FOR_TITLE:
            line.append(f"  {self._snapshot.searches.get(plan.name) or plan.title}", palette.muted)
        line.truncate(width, overflow="ellipsis")
        return line

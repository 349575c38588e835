"""What every tab is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text
from textual import on
from textual.containers import Container
from textual.message import Message
from textual.widget import Widget
from textual.worker import Worker, WorkerState

from tui_datasize.tui.keys import KeyGroup
from tui_datasize.tui.polling.snapshot import Interest, Snapshot
from tui_datasize.tui.widgets.filter_box import FilterBox

if TYPE_CHECKING:
    from tui_datasize.jobs.queue.requests import Command
    from tui_datasize.tui.exports import ChartForm, TableInView


class Pane(Container):
    """One tab: draws snapshots and asks for everything else by messages."""

    @dataclass
    class Remarked(Message):
        """There is something to say in the status line."""

        text: str

    @dataclass
    class Requested(Message):
        """Someone wants the queue changed."""

        command: Command

    @dataclass
    class ChartSaved(Message):
        """A chart is to leave the screen."""

        title: str
        lines: Sequence[Text]
        form: ChartForm

    class InterestChanged(Message):
        """The pane shows something else in depth."""

    _filter: FilterBox

    @property
    def first_focus(self) -> Widget:
        """What has the focus when the tab opens."""
        raise NotImplementedError

    def show(self, snapshot: Snapshot) -> None:
        """Show another moment; called only while the tab is open."""
        raise NotImplementedError

    def interest(self) -> Interest:
        """What the pane shows in depth."""
        return Interest()

    def table_in_view(self) -> TableInView | None:
        """What an export would write; None where there is nothing yet."""
        return None

    def key_groups(self) -> Sequence[KeyGroup]:
        """The keys of the pane and its parts, for help and palette."""
        return ()

    def action_filter(self) -> None:
        self._filter.open()

    @on(FilterBox.Changed)
    def _filter_changed(self, event: FilterBox.Changed) -> None:
        self.remark(event.wrong)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        if event.state is WorkerState.ERROR:
            error = event.worker.error
            self.remark(f"{event.worker.name} failed: {type(error).__name__}: {error}")

    def remark(self, text: str) -> None:
        self.post_message(self.Remarked(text))

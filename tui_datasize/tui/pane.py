"""What every tab is, and the table in view as a CSV file (`ctrl+e`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from textual.containers import Container
from textual.message import Message
from textual.widget import Widget
from textual.worker import Worker, WorkerState

from tui_datasize.jobs.queue.commands import Command
from tui_datasize.text import plural
from tui_datasize.tui.keys import KeyGroup
from tui_datasize.tui.polling.snapshot import Interest, Snapshot

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, slots=True)
class TableInView:
    """What an export writes."""

    name: str
    """Beginning of the file's name, such as `digits-curve`."""
    build: Callable[[], pl.DataFrame]
    """Makes the table; called off the screen's thread."""


def export_csv(table: TableInView, directory: Path, now: datetime) -> str:
    """Write a table under a name that holds the time, and say where.

    Raises:
        StorageError: The file cannot be written.
    """
    from tui_datasize.runlog.export import export

    frame = table.build()
    file = directory / f"{table.name}-{now:%Y%m%d-%H%M%S}.csv"
    export(frame, "csv", file)
    return f"wrote {plural(frame.height, 'row')} to {file}"


class Pane(Container):
    """One tab: draws snapshots and asks for everything else by messages."""

    class Remarked(Message):
        """There is something to say in the status line."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Requested(Message):
        """Someone wants the queue changed."""

        def __init__(self, command: Command) -> None:
            super().__init__()
            self.command = command

    class InterestChanged(Message):
        """The pane shows something else in depth."""

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

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Say it when something that was begun in the background has failed."""
        if event.state is WorkerState.ERROR:
            error = event.worker.error
            self.remark(f"{event.worker.name} failed: {type(error).__name__}: {error}")

    def remark(self, text: str) -> None:
        """Say something in the status line."""
        self.post_message(self.Remarked(text))

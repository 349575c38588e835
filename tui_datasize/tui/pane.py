"""What every tab is."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual import events, on
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.message import Message
from textual.widget import Widget
from textual.worker import Worker, WorkerState

from tui_datasize.tui.keys import KeyGroup
from tui_datasize.tui.polling.snapshot import Interest, Snapshot
from tui_datasize.tui.widgets.filter_box import FilterBox
from tui_datasize.tui.widgets.panel import is_tiny

if TYPE_CHECKING:
    from tui_datasize.jobs.queue.requests import Command
    from tui_datasize.tui.exports import ChartForm, TableInView


class Pane(Container):
    """One tab: draws snapshots and asks for everything else by messages."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "part(1)", "more"),
        Binding("shift+tab", "part(-1)", "part before", show=False),
    ]

    @dataclass
    class Remarked(Message):
        """There is something to say in the status line."""

        text: str

    @dataclass
    class Requested(Message):
        """Someone wants the queue changed."""

        command: Command

    @dataclass
    class Begun(Message):
        """Something is to be done in the background, and then told of."""

        what: str
        work: Coroutine[Any, Any, str]

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

    @property
    def parts(self) -> Sequence[Widget]:
        """What a tiny terminal shows one at a time."""
        raise NotImplementedError

    @property
    def is_settled(self) -> bool:
        """Whether all that it computes is shown."""
        return True

    def on_resize(self) -> None:
        if self.has_class("-tiny") != is_tiny(self.app.size):
            self.toggle_class("-tiny")
            self.refresh_bindings()
            self.follow_focus()
        self.show_part(0)

    @on(events.DescendantFocus)
    def follow_focus(self) -> None:
        """Show what takes the keys now, where only one part is shown."""
        if self.has_class("-tiny") and (focused := self.screen.focused):
            for part in self.parts:
                if part in focused.ancestors_with_self:
                    self._show_alone(part)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Whether the key means anything here; elsewhere `tab` is the screen's."""
        return action != "part" or self.has_class("-tiny")

    def _show_alone(self, shown: Widget) -> None:
        for part in self.parts:
            part.set_class(part is shown, "-shown")

    def show_part(self, step: int) -> Widget:
        """Show the part so many further on than the one shown, of those that there are now."""
        there = [part for part in self.parts if part.display]
        at = next((at for at, part in enumerate(there) if part.has_class("-shown")), 0)
        self._show_alone(shown := there[(at + step) % len(there)])
        return shown

    def action_part(self, step: int) -> None:
        """Show another part of the tab in the place of this one."""
        part = self.show_part(step)
        # What takes no keys leaves them with the part before: j and k choose whose log it is.
        if taker := next((one for one in self.screen.focus_chain if part in one.ancestors_with_self), None):
            self.screen.set_focus(taker)

    def show(self, snapshot: Snapshot) -> None:
        """Show another moment; called only while the tab is open."""
        raise NotImplementedError

    def interest(self) -> Interest:
        """What the pane shows in depth."""
        return Interest()

    def table_in_view(self) -> TableInView | None:
        """What an export would write; None where there is nothing yet."""
        return None

    @property
    def experiment_in_view(self) -> str:
        """Whose runs are looked at; empty where there are none."""
        return self.interest().experiment

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

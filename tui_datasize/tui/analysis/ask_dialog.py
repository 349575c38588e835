"""The dialog that asks something of the curve: a target, what to fit, what the next runs are for."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from tui_datasize.answers.asked import Asked
from tui_datasize.errors import DatasizeError
from tui_datasize.tui.analysis.asked import asked_as_written, examples, read_asked
from tui_datasize.tui.widgets.dialogs import answers, field
from tui_datasize.tui.widgets.palette import palette_of
from tui_datasize.tui.widgets.plain import Words, titled

if TYPE_CHECKING:
    from tui_datasize.metric import Metric


class AskDialog(ModalScreen[Asked | None]):
    """What is asked on enter; None on escape."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "accept", "ask"),
        Binding("escape", "dismiss(None)", "back"),
    ]

    def __init__(self, metric: Metric, asked: Asked) -> None:
        super().__init__()
        self._metric = metric
        self._asked = asked

    def compose(self) -> ComposeResult:
        palette = palette_of(self.app)
        written = asked_as_written(self._asked, self._metric)
        fields = [
            field(name, Input(written[name], placeholder=example, name=name, compact=True))
            for name, example in examples(self._metric).items()
        ]
        keys = (("enter", "ask"), ("tab", "next"), ("esc", "back"))
        box = Vertical(*fields, Words("", classes="problem"), answers(keys, palette), classes="dialog")
        yield titled(box, f"Set a target: {self._metric.title.lower()}")

    def on_input_submitted(self) -> None:
        self.action_accept()

    def action_accept(self) -> None:
        """Close with what is asked; what makes no sense is told, and the dialog stays."""
        written = {str(entry.name): entry.value for entry in self.query(Input)}
        try:
            asked = read_asked(written, self._metric)
        except DatasizeError as error:
            self.query_one(".problem", Words).update(error.line)
        else:
            self.dismiss(asked)

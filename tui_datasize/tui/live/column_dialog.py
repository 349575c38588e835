"""`C`: which columns the table of runs shows, which stand first, and how wide they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen

from tui_datasize.tui.live.columns import ColumnChoice, live_columns, title_of
from tui_datasize.tui.widgets.dialogs import answers
from tui_datasize.tui.widgets.line_view import RowList
from tui_datasize.tui.widgets.palette import palette_of
from tui_datasize.tui.widgets.plain import titled

_STEP = 2
"""Characters by which a column gets wider or narrower."""


class ColumnList(RowList):
    """All columns; those that are shown are ticked."""

    DEFAULT_CSS = "ColumnList { height: 16; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "show_or_hide", "show or hide", tooltip="Show the column, or hide it"),
        Binding("p", "pin", "pin", tooltip="The column stands first and never goes, or no longer does"),
        Binding("plus,equals_sign", "widen(1)", "wider", tooltip="Make the column wider"),
        Binding("minus", "widen(-1)", "narrower", tooltip="Make the column narrower"),
        Binding("0", "reset", "as usual", tooltip="Forget what was chosen of all columns"),
    ]

    def __init__(self, choice: ColumnChoice, usual: Sequence[str]) -> None:
        super().__init__()
        self.choice = choice
        self._usual = usual

    def on_mount(self) -> None:
        self.set_keys(list(live_columns()))

    def draw_row(self, index: int, width: int) -> Text:  # noqa: ARG002
        name, palette = self.keys[index], self.palette
        is_shown, wider = self.choice.shows(name, self._usual), self.choice.wider.get(name, 0)
        words = "pinned  " * (name in self.choice.pinned) + (f"width {wider:+}" if wider else "")
        return Text.assemble(
            (f"{self.pointer(index)} ", palette.primary),
            ("✓ " if is_shown else "  ", palette.accent),
            (f"{title_of(name):<28}", palette.foreground if is_shown else palette.muted),
            (words, palette.muted),
        )

    def _take(self, choice: ColumnChoice) -> None:
        self.choice = choice
        self.redraw()

    def action_show_or_hide(self) -> None:
        self._take(self.choice.toggled(self.keys[self.cursor], self._usual))
        self.action_move(1)

    def action_pin(self) -> None:
        self._take(self.choice.pin_turned(self.keys[self.cursor]))

    def action_widen(self, step: int) -> None:
        self._take(self.choice.widened(self.keys[self.cursor], step * _STEP))

    def action_reset(self) -> None:
        self._take(ColumnChoice())


class ColumnDialog(ModalScreen[ColumnChoice | None]):
    """The columns as they are chosen on enter; None on escape."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "keep", "keep"),
        Binding("escape,q", "dismiss(None)", "back"),
    ]

    def __init__(self, choice: ColumnChoice, usual: Sequence[str]) -> None:
        super().__init__()
        self._list = ColumnList(choice, usual)

    def compose(self) -> ComposeResult:
        keys = (("space", "show"), ("p", "pin"), ("+ -", "width"), ("0", "usual"), ("enter", "keep"))
        box = Vertical(self._list, answers((*keys, ("esc", "back")), palette_of(self.app)), classes="dialog")
        yield titled(box, "Columns")

    def action_keep(self) -> None:
        self.dismiss(self._list.choice)

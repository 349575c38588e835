"""A field of a dialog that holds one of a few values, changed by a key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.geometry import Size

from tui_datasize.tui.widgets.line_view import LineView


class CycleField(LineView, can_focus=True):
    """One line: the value between arrows, and what it means.

    Args:
        choices: The values, as they follow each other, and what each means, in a few words.
        value: The value at first.
        id: Its name in the dialog.
    """

    DEFAULT_CSS = """
    CycleField { height: 1; width: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space,right,l", "cycle(1)", "next"),
        Binding("left,h", "cycle(-1)", "before"),
    ]

    def __init__(self, choices: Sequence[tuple[str, str]], value: str, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._meanings = dict(choices)
        self._value = value

    @property
    def value(self) -> str:
        """The value as it stands."""
        return self._value

    def draw(self, size: Size) -> Sequence[Text]:  # noqa: ARG002
        """The value and what it means."""
        # Reversed and not only coloured: some terminals have no colour.
        style = f"bold reverse {self.palette.primary}" if self.has_focus else self.palette.foreground
        width = max(map(len, self._meanings))
        meaning = (f"  {self._meanings[self._value]}", self.palette.muted)
        return [Text.assemble((f"‹ {self._value:^{width}} ›", style), meaning)]

    def watch_has_focus(self, has_focus: bool) -> None:
        """Show whether keys change it."""
        super().watch_has_focus(has_focus)
        self.redraw()

    def action_cycle(self, step: int) -> None:
        """The next value, or the one before."""
        values = list(self._meanings)
        self._value = values[(values.index(self._value) + step) % len(values)]
        self.redraw()

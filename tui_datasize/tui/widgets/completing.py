"""A line to write into that shows how it may go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, TypeAlias

from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.reactive import Reactive
from textual.suggester import Suggester
from textual.widgets import Input

Complete: TypeAlias = Callable[[str], list[str]]
"""Of a text the whole texts that it may become."""


class _Completer(Suggester):
    def __init__(self, complete: Complete) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._complete = complete

    async def get_suggestion(self, value: str) -> str | None:
        return next(iter(self._complete(value)), None)


class CompletingInput(Input):
    """`tab` takes the completion that is shown behind the text."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("tab", "complete", "complete")]
    virtual_size: Reactive[Size] = Reactive(Size(0, 0))
    """What is written changes the place and size of no widget."""

    def __init__(
        self, complete: Complete, value: str = "", *, placeholder: str = "", id: str | None = None
    ) -> None:
        super().__init__(
            value,
            placeholder=placeholder,
            suggester=_Completer(complete),
            select_on_focus=False,
            compact=True,
            id=id,
        )
        self.complete = complete

    def action_complete(self) -> None:
        if found := self.complete(self.value):
            self.value = found[0]
            self.cursor_position = len(self.value)


class FormInput(CompletingInput):
    """One of several: `tab` goes on to the next where nothing is to be completed."""

    def action_complete(self) -> None:
        if self.value and self.complete(self.value):
            super().action_complete()
        else:
            self.screen.focus_next()

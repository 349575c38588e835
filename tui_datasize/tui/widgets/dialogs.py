"""Dialogs: each asks one thing, returns a value and acts on nothing. Escape always means no."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from tui_datasize.text import visible
from tui_datasize.tui.widgets.line_view import LineView
from tui_datasize.tui.widgets.palette import Palette, palette_of
from tui_datasize.tui.widgets.plain import Words, plain_text, titled

if TYPE_CHECKING:
    from tui_datasize.tui.polling.snapshot import Snapshot

Facts: TypeAlias = Sequence[tuple[str, str]]
"""Labels and values; a value without a label is a paragraph of its own."""


@dataclass
class Copied(Message):
    """A text for the clipboard of the terminal."""

    text: str


def facts_table(facts: Facts, label_colour: str) -> Group:
    """Labelled values below one another, wrapped in their column."""
    parts: list[RenderableType] = []
    for labelled, group in groupby(facts, key=lambda fact: bool(fact[0])):
        if not labelled:
            parts += [plain_text(value) for _, value in group]
            continue
        table = Table.grid(padding=(0, 2))
        for label, value in group:
            table.add_row(plain_text(label, label_colour, no_wrap=True), plain_text(value))
        parts.append(table)
    return Group(*parts)


def field(label: str, entry: Widget) -> Horizontal:
    """A line of a dialog to fill in."""
    return Horizontal(Words(label, classes="label"), entry, classes="term")


def answers(keys: Sequence[tuple[str, str]], palette: Palette) -> Words:
    """The last line of a dialog: keys, and what each of them does."""
    return Words(answers_text(keys, palette), classes="answers")


def answers_text(keys: Sequence[tuple[str, str]], palette: Palette) -> Text:
    """The same as text."""
    key, word = f"bold {palette.primary}", palette.foreground
    parts = [((f"{name} ", key), (meaning, word)) for name, meaning in keys]
    return Text("    ").join(Text.assemble(*part) for part in parts)


class ConfirmDialog(ModalScreen[bool]):
    """A question with the facts that decide it; Enter says yes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,y", "answer(True)", "yes"),
        Binding("escape,n,q", "answer(False)", "back"),
    ]

    def __init__(self, title: str, facts: Facts, yes: str) -> None:
        super().__init__()
        self._title = title
        self._facts = facts
        self._yes = yes

    def compose(self) -> ComposeResult:
        palette = palette_of(self.app)
        box = Vertical(
            Words(facts_table(self._facts, palette.muted)),
            answers((("enter", self._yes), ("esc", "back")), palette),
            classes="dialog",
        )
        yield titled(box, self._title)

    def action_answer(self, answer: bool) -> None:
        self.dismiss(answer)


class _Choices(OptionList):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", "Down", show=False),
        Binding("k", "cursor_up", "Up", show=False),
        Binding("g", "first", "First", show=False),
        Binding("G", "last", "Last", show=False),
    ]


class ChooseDialog(ModalScreen[str | None]):
    """One of a few, by arrows or j and k; None on escape."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "dismiss(None)", "back")]

    def __init__(self, title: str, choices: Sequence[tuple[str, str]], current: str) -> None:
        super().__init__()
        self._title = title
        self._choices = choices
        self._current = current

    def compose(self) -> ComposeResult:
        options = _Choices(*(Option(Content(visible(text))) for _, text in self._choices))
        yield titled(Vertical(options, classes="dialog"), self._title, "enter choose   esc back")

    def on_mount(self) -> None:
        values = [value for value, _ in self._choices]
        if self._current in values:
            self.query_one(OptionList).highlighted = values.index(self._current)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._choices[event.option_index][0])


class TextDialog(ModalScreen[None]):
    """Something to read; it scrolls where it is longer than the screen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter,question_mark,f1", "dismiss(None)", "back"),
        Binding("j", "scroll(1)", "Down", show=False),
        Binding("k", "scroll(-1)", "Up", show=False),
    ]

    hint = "j k scroll   esc back"

    def __init__(self, title: str, content: RenderableType) -> None:
        super().__init__()
        self._title = title
        self._content = content

    def compose(self) -> ComposeResult:
        box = VerticalScroll(Words(self._content), classes="dialog reading")
        yield titled(box, self._title, self.hint)

    def action_scroll(self, lines: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)


class FollowingDialog(TextDialog):
    """What is known of one thing now, made anew from each look at the project; its path can be copied."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("y", "copy", "copy path")]
    hint = "j k scroll   y copy path   esc back"

    def __init__(
        self, title: str, make: Callable[[Snapshot], RenderableType], now: Snapshot, path: str
    ) -> None:
        super().__init__(title, make(now))
        self._make = make
        self._path = path

    def show(self, snapshot: Snapshot) -> None:
        self.query_one(Words).update(self._make(snapshot))

    def action_copy(self) -> None:
        self.post_message(Copied(self._path))


class CycleField(LineView, can_focus=True):
    """One line: the value between arrows, and what it means."""

    DEFAULT_CSS = "CycleField { height: 1; width: 1fr; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space,right,l", "cycle(1)", "next"),
        Binding("left,h", "cycle(-1)", "before"),
    ]

    class Cycled(Message):
        """Another value was chosen."""

    def __init__(self, choices: Sequence[tuple[str, str]], value: str, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._meanings = dict(choices)
        self.value = value

    def draw(self, size: Size) -> Sequence[Text]:  # noqa: ARG002
        # Reversed and not only coloured: some terminals have no colour.
        style = f"bold reverse {self.palette.primary}" if self.has_focus else self.palette.foreground
        width = max(map(len, self._meanings))
        meaning = (f"  {self._meanings[self.value]}", self.palette.muted)
        return [Text.assemble((f"‹ {self.value:^{width}} ›", style), meaning)]

    def action_cycle(self, step: int) -> None:
        values = list(self._meanings)
        self.value = values[(values.index(self.value) + step) % len(values)]
        self.redraw()
        self.post_message(self.Cycled())


class FieldsDialog(ModalScreen[tuple[str, ...] | None]):
    """What is written into a few fields, on enter; None on escape."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "accept", "yes", priority=True),
        Binding("escape", "dismiss(None)", "back"),
    ]

    def __init__(
        self, title: str, before: str, fields: Sequence[tuple[str, Input]], yes: str, problem: str = ""
    ) -> None:
        super().__init__()
        self._title, self._before, self._yes, self._problem = title, before, yes, problem
        self._fields = fields

    def compose(self) -> ComposeResult:
        rows = (field(label, entry) for label, entry in self._fields)
        keys = answers((("enter", self._yes), ("esc", "back")), palette_of(self.app))
        box = Vertical(
            Words(self._before), *rows, Words(self._problem, classes="problem"), keys, classes="dialog"
        )
        yield titled(box, self._title)

    def action_accept(self) -> None:
        self.dismiss(tuple(entry.value for _, entry in self._fields))

"""The frame of every list and chart: one heading line with a rule, and the body below."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.geometry import Size
from textual.widget import Widget

from tui_datasize.tui.widgets.line_view import LineView

_ROOM = Size(60, 20)
"""A terminal with fewer columns or lines shows one part of a tab at a time."""


def is_tiny(size: Size) -> bool:
    """Whether a terminal has no room for several parts of a tab."""
    return size.width < _ROOM.width or size.height < _ROOM.height


class Heading(LineView):
    """`── Title  note ──────`, with a heavy rule while the panel has the focus."""

    DEFAULT_CSS = "Heading { height: 1; }"

    def __init__(self, title: str) -> None:
        super().__init__()
        self._title = title
        self._notes: Sequence[Text] = ()
        self._active = False

    def show(self, title: str, *notes: Text) -> None:
        """Replace title and note; of several notes the first that fits is shown."""
        self._title, self._notes = title, notes
        self.redraw()

    @property
    def caption(self) -> str:
        """Title and first note."""
        return " · ".join(part for part in (self._title, self._notes[0].plain if self._notes else "") if part)

    def activate(self, active: bool) -> None:
        self._active = active
        self.redraw()

    def draw(self, size: Size) -> Sequence[Text]:
        palette, width = self.palette, size.width
        rule, colour = ("━", palette.primary) if self._active else ("─", palette.faint)
        title_style = f"bold {palette.foreground if self._active else palette.muted}"
        line = Text.assemble((f"{rule} ", colour), (self._title, title_style), " ")
        room = width - line.cell_len - 2
        notes = [note for note in self._notes if note.cell_len <= room] or list(self._notes[-1:])
        if notes and notes[0]:
            line.append(" ").append_text(notes[0]).append(" ")
        line.truncate(width, overflow="ellipsis")
        line.append(rule * max(0, width - line.cell_len), colour)
        return [line]


class Panel(Vertical):
    """A heading and a body."""

    ALLOW_MAXIMIZE = True
    DEFAULT_CSS = "Panel { height: 1fr; width: 1fr; }"

    def __init__(self, title: str, *body: Widget, id: str | None = None) -> None:
        super().__init__(id=id)
        self._heading = Heading(title)
        self._title = title
        self._body = body

    def compose(self) -> ComposeResult:
        yield self._heading
        yield from self._body

    @property
    def caption(self) -> str:
        return self._heading.caption

    def show_note(self, *notes: Text) -> None:
        self._heading.show(self._title, *notes)

    def show_title(self, title: str) -> None:
        """Replace the title; the note goes with the old one."""
        self._title = title
        self._heading.show(title)

    def on_descendant_focus(self) -> None:
        self._heading.activate(True)

    def on_descendant_blur(self) -> None:
        self._heading.activate(False)

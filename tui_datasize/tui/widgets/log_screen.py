"""A run's log on the whole screen, following its end."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import ClassVar, NamedTuple

from rich.cells import chop_cells
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.screen import ModalScreen
from textual.widgets import Input
from textual.worker import get_current_worker

from tui_datasize.runlog.paths import RunPaths
from tui_datasize.tui.keys import KeyBar
from tui_datasize.tui.polling.log_tail import LONG_BYTES, LogTail, run_log_tail
from tui_datasize.tui.widgets.dialogs import Copied
from tui_datasize.tui.widgets.line_view import LineView
from tui_datasize.tui.widgets.panel import Panel

_INTERVAL_S = 1.0


class _Row(NamedTuple):
    """As much of a line as the width holds."""

    line: int
    start: int
    text: str


class LogText(LineView, can_focus=True):
    """Lines wrapped to the width; it follows their end while that is in view."""

    lines: Sequence[str] = ()
    term = ""
    current = -1
    """Number of the line that was found last."""
    _rows: Sequence[_Row] = ()
    _width = 0

    def show(self, lines: Sequence[str]) -> None:
        """Replace the lines."""
        self.lines, self._width = lines, 0
        self._wrap()

    def on_resize(self) -> None:
        self._wrap()

    def _wrap(self) -> None:
        size = self.view_size
        if size.width == self._width or not size.width:
            return
        follows = self.scroll_offset.y >= len(self._rows) - size.height
        first = self.first_line
        self._width = size.width
        self._rows = [
            row for number, line in enumerate(self.lines) for row in _rows(number, line, self._width)
        ]
        self.virtual_size = Size(size.width, len(self._rows))
        self.scroll_to_line(first) if not follows else self.scroll_end(animate=False)
        self.redraw()

    def scroll_to_line(self, number: int) -> None:
        self.scroll_to(
            y=next((y for y, row in enumerate(self._rows) if row.line == number), 0), animate=False
        )

    @property
    def first_line(self) -> int:
        """The number of the line at the top."""
        return self._rows[self.scroll_offset.y].line if self._rows else 0

    def found(self, line: str) -> Iterator[tuple[int, int]]:
        """Where the term stands, in letters of either case."""
        if self.term:
            yield from (one.span() for one in re.finditer(re.escape(self.term), line, re.IGNORECASE))

    def draw(self, size: Size) -> Sequence[Text]:
        top = self.scroll_offset.y
        return [self._draw_row(row) for row in self._rows[top : top + size.height]]

    def _draw_row(self, row: _Row) -> Text:
        text = Text(row.text, self.palette.foreground)
        style = f"reverse {self.palette.accent}" if row.line == self.current else "reverse"
        for start, end in self.found(self.lines[row.line]):
            text.stylize(style, max(0, start - row.start), max(0, end - row.start))
        return text


def _rows(number: int, line: str, width: int) -> Iterator[_Row]:
    start = 0
    for part in [line] if len(line) <= width and line.isascii() else chop_cells(line, width) or [""]:
        yield _Row(number, start, part)
        start += len(part)


class _Term(Input):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "submit", "find"),
        Binding("escape", "screen.close_search", "back"),
    ]


class LogScreen(ModalScreen[None]):
    """Shows standard output or standard error of one run, at most the last 256 KiB."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,l", "leave", "back"),
        Binding("e", "switch", "output/errors", tooltip="Switch between standard output and standard error"),
        Binding("slash", "search", "search"),
        Binding("n", "find(1)", "next"),
        Binding("N", "find(-1)", "before", show=False),
        Binding("y", "copy", "copy path"),
        Binding("j", "scroll(1)", "Down", show=False),
        Binding("k", "scroll(-1)", "Up", show=False),
        Binding("g", "first", "first", show=False),
        Binding("G", "end", "end", show=False),
    ]

    def __init__(self, paths: RunPaths, *, prefer_errors: bool, about: str = "") -> None:
        """`about` is what is known of the run's end, or of the end of the attempt before."""
        super().__init__()
        self._paths = paths
        self._prefer_errors = prefer_errors
        self._about = about
        self._tail: LogTail | None = None
        self._text = LogText()
        self._term = _Term(placeholder="search, such as nan or Error", compact=True)
        self._panel = Panel(paths.run_id, self._text)
        self._place = ""

    def compose(self) -> ComposeResult:
        yield self._panel
        yield self._term
        yield KeyBar()

    def on_mount(self) -> None:
        self._term.display = False
        self._text.focus()
        self._read()
        self.set_interval(_INTERVAL_S, self._read)

    def _read(self) -> None:
        self.run_worker(self._read_in_thread, thread=True, exclusive=True, group="log")

    def _read_in_thread(self) -> None:
        worker = get_current_worker()
        tail = run_log_tail(self._paths, prefer_errors=self._prefer_errors, limit_bytes=LONG_BYTES)
        if not worker.is_cancelled:
            self.app.call_from_thread(self._show, tail)

    def _show(self, tail: LogTail) -> None:
        if self.is_attached and tail != self._tail:
            self._tail = tail
            self._text.show([*filter(None, [self._about]), *tail.lines])
            self._show_note()

    def _show_note(self) -> None:
        name = self._tail.name if self._tail else ""
        notes = (f"{name or 'nothing written yet'}{self._place}", f"{name}{self._place}")
        self._panel.show_note(*map(Text, notes))

    def action_leave(self) -> None:
        self.dismiss(None)

    def action_switch(self) -> None:
        self._prefer_errors = not self._prefer_errors
        self._tail = None
        self._read()

    def action_copy(self) -> None:
        name = self._tail.name if self._tail else ""
        self.post_message(Copied(str((self._paths.directory / name).absolute())))

    def action_search(self) -> None:
        self._term.display = True
        self._term.focus()

    def action_close_search(self) -> None:
        self._term.display = False
        self._text.focus()

    @on(Input.Submitted)
    def _search(self, event: Input.Submitted) -> None:
        self._text.term, self._text.current = event.value, self._text.first_line - 1
        self.action_close_search()
        self.action_find(1)

    def action_find(self, step: int) -> None:
        """Show the next line, or the one before, that has the term; beyond the last comes the first."""
        text = self._text
        found = [number for number, line in enumerate(text.lines) if any(text.found(line))][::step]
        self._place = f" · no line has {text.term}" if text.term else ""
        if found:
            beyond = (number for number in found if (number - text.current) * step > 0)
            text.current = next(beyond, found[0])
            text.scroll_to_line(text.current)
            self._place = f" · {text.term}: {sorted(found).index(text.current) + 1} of {len(found)}"
        text.redraw()
        self._show_note()

    def action_scroll(self, lines: int) -> None:
        self._text.scroll_relative(y=lines, animate=False)

    def action_first(self) -> None:
        self._text.scroll_home(animate=False)

    def action_end(self) -> None:
        self._text.scroll_end(animate=False)

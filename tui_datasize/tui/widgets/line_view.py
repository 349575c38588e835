"""Widgets made of lines that repaint only the lines that changed: a slow link carries nothing else."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from types import MappingProxyType
from typing import ClassVar

from rich.style import Style
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.geometry import NULL_REGION, Region, Size
from textual.message import Message
from textual.reactive import Reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui_datasize.tui.widgets.palette import Palette, palette_of
from tui_datasize.tui.widgets.plain import visible_segments


class LineView(ScrollView, can_focus=False):
    """Draws the visible lines as Rich text; subclasses say what they are in `draw`."""

    DEFAULT_CSS = """
    LineView {
        background: $background;
        scrollbar-size-vertical: 1;
        scrollbar-size-horizontal: 0;
        scrollbar-background: $background;
        scrollbar-color: $panel;
        overflow-x: hidden;
    }
    """

    virtual_size: Reactive[Size] = Reactive(Size(0, 0), repaint=False)
    """Nothing but its own scrollbar changes with it."""
    _is_stale = False
    _drawn_size = Size(0, 0)
    _strips: Sequence[Strip] = ()
    _base = Style()

    @property
    def palette(self) -> Palette:
        return palette_of(self.app)

    @property
    def view_size(self) -> Size:
        """What there is to draw in, by the last layout that had room for it."""
        return self.outer_size - self.gutter.totals

    def draw(self, size: Size) -> Sequence[Text]:
        """The visible lines, from the top; what does not fit into `size` is cut off."""
        raise NotImplementedError

    def redraw(self) -> None:
        """Draw again for the next frame, once however often it is asked for."""
        if not self._is_stale:
            self._is_stale = True
            # What is hidden is drawn when it is shown again.
            if all(one.display for one in self.ancestors_with_self):
                # Which lines differ is known when they are drawn.
                self.refresh(NULL_REGION)

    def _exchange_repaint_regions(self) -> Collection[Region]:
        """What the next frame shall show of it; called by Textual for what is in view."""
        self.draw_again()
        return super()._exchange_repaint_regions()

    def draw_again(self) -> None:
        """Draw if it is time to, and repaint what differs from what is shown."""
        size = self.view_size
        if self._is_stale or self._drawn_size != size:
            before, self._strips = self._strips, self._draw_strips(size)
            self._is_stale, self._drawn_size = False, size
            pairs = enumerate(zip_longest(before, self._strips))
            if changed := [Region(0, y, size.width, 1) for y, (old, new) in pairs if old != new]:
                self._set_dirty(*changed)

    def _draw_strips(self, size: Size) -> list[Strip]:
        console = self.app.console
        strips = []
        for line in self.draw(size)[: size.height]:
            line.truncate(size.width)
            base = console.get_style(line.style)
            segments = visible_segments(line.render(console, end=""))
            strips.append(Strip(segments).apply_style(base))
        return strips

    def render_lines(self, crop: Region) -> list[Strip]:
        """Visible lines; called by Textual."""
        # Found by a walk up to the screen, which would take most of the time if every line made it.
        self._base = self.rich_style
        # Not every view that is shown again is told so.
        self.draw_again()
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        """One visible line; called by Textual."""
        width = self.view_size.width
        strip = self._strips[y] if y < len(self._strips) else Strip.blank(width)
        return strip.adjust_cell_length(width).apply_style(self._base)

    def watch_virtual_size(self, virtual_size: Size) -> None:
        self._scroll_update(virtual_size)

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, lambda _: self.redraw())

    def on_resize(self) -> None:
        if self._drawn_size != self.view_size:
            self.redraw()

    def watch_has_focus(self, _has_focus: bool) -> None:
        """Called by Textual, which would compute its styles again: by these nothing looks otherwise."""
        self.redraw()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self.redraw()


def wrapped(text: str, width: int, colour: str) -> list[Text]:
    """Sentences on as many lines as it takes, indented."""
    return [Text(f" {line}", style=colour) for line in textwrap.wrap(text, max(10, width - 2))]


class RowList(LineView, can_focus=True):
    """A list of keyed rows with a cursor; only what is visible is drawn, so that length costs nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home,g", "jump(0)", "First", show=False),
        Binding("end,G", "jump(-1)", "Last", show=False),
    ]

    @dataclass
    class Highlighted(Message):
        """The cursor came to another row."""

        row_list: RowList
        key: str

        @property
        def control(self) -> RowList:
            """For `on` selectors."""
            return self.row_list

    keys: Sequence[str] = ()
    cursor = 0

    @property
    def highlighted(self) -> str | None:
        return self.keys[self.cursor] if self.keys else None

    @property
    def in_view(self) -> range:
        """The rows that are to be seen."""
        first = self.scroll_offset.y
        return range(first, min(len(self.keys), first + self.view_size.height - self.header_lines))

    @property
    def header_lines(self) -> int:
        return 0

    def draw_header(self) -> Sequence[Text]:
        """The lines that stay at the top; `header_lines` of them."""
        return ()

    def draw_row(self, index: int, width: int) -> Text:
        raise NotImplementedError

    def draw_empty(self) -> Sequence[Text]:
        """What is shown where there are no rows."""
        return ()

    def draw(self, size: Size) -> Sequence[Text]:
        header = self.draw_header()
        if not self.keys:
            return [*header, *self.draw_empty()]
        return [*header, *(self._draw_whole_row(index, size.width) for index in self.in_view)]

    def _draw_whole_row(self, index: int, width: int) -> Text:
        line = self.draw_row(index, width)
        line.pad_right(max(0, width - line.cell_len))
        if index == self.cursor:
            shade = self.palette.cursor if self.has_focus else self.palette.cursor_passive
            line.stylize_before(f"on {shade}")
        return line

    def set_keys(self, keys: Sequence[str]) -> None:
        """Replace the rows; the cursor stays with its row, or at its place where that is gone.

        While the list is not in use, a cursor at the top stays there: whoever only looks on sees what
        comes first.
        """
        before = self.highlighted
        follows_top = self.cursor == 0 and not self.has_focus
        self.keys = keys
        if before in keys and not follows_top:
            self.cursor = keys.index(before)
        else:
            self.cursor = max(0, min(self.cursor, len(keys) - 1))
        self._resize()
        self.scroll_to_cursor()
        self.redraw()
        if self.highlighted is not None and self.highlighted != before:
            self.post_message(self.Highlighted(self, self.highlighted))

    def on_resize(self) -> None:
        self._resize()
        self.scroll_to_cursor()

    def _resize(self) -> None:
        self.virtual_size = Size(self.view_size.width, len(self.keys) + self.header_lines)

    def move_to(self, index: int) -> None:
        """Put the cursor on a row; an index out of range is brought into it."""
        index = max(0, min(index, len(self.keys) - 1))
        if self.keys and index != self.cursor:
            self.cursor = index
            self.scroll_to_cursor()
            self.redraw()
            self.post_message(self.Highlighted(self, self.keys[index]))

    def select(self, key: str) -> None:
        """Put the cursor on the row of a key, where there is one."""
        if key in self.keys:
            self.move_to(self.keys.index(key))

    def scroll_to_cursor(self) -> None:
        """Scroll as little as it takes to see the cursor."""
        visible = max(1, self.view_size.height - self.header_lines)
        top = self.scroll_offset.y
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False)
        elif self.cursor >= top + visible:
            self.scroll_to(y=self.cursor - visible + 1, animate=False)

    def action_move(self, rows: int) -> None:
        self.move_to(self.cursor + rows)

    def action_page(self, pages: int) -> None:
        self.move_to(self.cursor + pages * max(1, self.view_size.height - self.header_lines))

    def action_jump(self, index: int) -> None:
        """Move the cursor to the first (0) or the last (-1) row."""
        self.move_to(0 if index == 0 else len(self.keys) - 1)

    def pointer(self, index: int) -> str:
        """A mark before the row under the cursor, for terminals without colour."""
        return " " if index != self.cursor else "▸" if self.has_focus else "›"


class MarkList(RowList):
    """Rows of which some are marked; the marks stay with their keys."""

    class MarksChanged(Message):
        """Other rows are marked."""

    marked: Mapping[str, None] = MappingProxyType({})
    """Keys in the order in which they were marked."""

    def mark(self, keys: Iterable[str]) -> None:
        """Mark these rows and no others."""
        self.marked = dict.fromkeys(keys)
        self.post_message(self.MarksChanged())
        self.redraw()

    def action_mark(self) -> None:
        """Mark the row under the cursor, or take its mark away, and go on to the next."""
        if (key := self.highlighted) is not None:
            others = [one for one in self.marked if one != key]
            self.mark(others if key in self.marked else [*others, key])
            self.action_move(1)

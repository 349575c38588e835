"""How commands print: plain tables on stdout that a pipe does not cut."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tui_datasize.words import visible

PIPE_WIDTH = 1000
"""Columns where stdout is no terminal: nothing is wrapped or cut for a program that reads it."""


class PlainConsole(Console):
    """A console for which text is text: no markup, no emoji codes, and nothing that acts on a terminal.

    Every string that is printed, in tables and titles too, passes `render_str`; what is to have several
    styles is put together by `styled`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """The string as text, made visible; called by Rich."""
        return super().render_str(visible(text, lines=True), **options)


def data_console() -> PlainConsole:
    """A console on stdout, as wide as the terminal, or as wide as needed where there is none."""
    console = PlainConsole()
    return console if console.is_terminal else PlainConsole(width=PIPE_WIDTH)


def styled(*parts: str | tuple[str, str]) -> Text:
    """Strings, and strings with their style, as one text, made visible."""
    return Text.assemble(
        *(visible(part) if isinstance(part, str) else (visible(part[0]), part[1]) for part in parts)
    )


def print_words(console: Console, text: str) -> None:
    """Print sentences: on a terminal broken between words, else each on a line of its own."""
    console.print(text, soft_wrap=not console.is_terminal)


def plain_table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """A table without lines, its columns as wide as what they hold.

    Args:
        *columns: Headings, from left to right.
        right: Those of them whose values are aligned to the right.
    """
    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table

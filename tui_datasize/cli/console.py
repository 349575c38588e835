"""How commands print: plain tables on stdout that a pipe does not cut."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

PIPE_WIDTH = 1000
"""Columns where stdout is no terminal: nothing is wrapped or cut for a program that reads it."""


def data_console() -> Console:
    """A console on stdout, as wide as the terminal, or as wide as needed where there is none."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PIPE_WIDTH)


def print_words(console: Console, text: str) -> None:
    """Print sentences: on a terminal broken between words, else each on a line of its own."""
    console.print(text, soft_wrap=not console.is_terminal, markup=False)


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

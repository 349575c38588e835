"""How commands print: plain tables on stdout that a pipe does not cut."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tui_datasize.answers.answer import SEVERITIES, Answer, Sentence, Tone
from tui_datasize.render.cells import MOST_ROWS, NUMBER, Written, written
from tui_datasize.text import plural, visible

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


def print_words(console: Console, text: str | Text) -> None:
    """Print sentences: on a terminal broken between words, else each on a line of its own."""
    console.print(text, soft_wrap=not console.is_terminal)


def plain_table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """A table without lines, its columns as wide as what they hold; some aligned to the right."""
    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def print_answer(console: Console, title: str, answer: Answer, *, everything: bool) -> None:
    """Print one answer, if it applies; asides, special tables and all rows where everything is wanted."""
    if not answer.applies:
        return
    if title:
        console.print(title, style="bold")
    print_words(console, _strong(answer.headline))
    for sentence in answer.sentences:
        if everything or sentence.tone != "aside":
            print_words(console, _sentence(sentence))
    for table in answer.tables:
        if (everything or not table.is_detail) and not table.frame.is_empty():
            print_table(console, written(table, None if everything else MOST_ROWS))
    console.print()


def print_table(console: Console, table: Written) -> None:
    """Print a table below its title."""
    if table.title:
        console.print(f"\n{table.title}", style="bold")
    grid = plain_table()
    for place, head in enumerate(table.heads):
        grid.add_column(head, justify="left" if place < table.n_texts else "right", overflow="fold")
    for row in table.rows:
        grid.add_row(*row)
    console.print(grid)
    if table.n_left_out:
        console.print(f"… {plural(table.n_left_out, 'more row')}: --all")


def _sentence(sentence: Sentence) -> Text:
    if sentence.tone in SEVERITIES:
        return styled((f"{sentence.tone}:", _STYLES[sentence.tone]), f" {sentence.text}")
    return styled((sentence.text, "dim")) if sentence.tone == "aside" else _strong(sentence.text)


_STYLES: Mapping[Tone, str] = MappingProxyType({"error": "bold red", "warning": "yellow", "note": "dim"})


def _strong(text: str) -> Text:
    """A sentence whose numbers stand out."""
    shown = styled(text)
    shown.highlight_regex(NUMBER, "bold")
    return shown

"""The line above the keys: what an action did, and what is wrong with the project."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual.geometry import Size

from tui_datasize.tui.line_view import LineView

SHOWN_S = 12.0
"""Seconds for which the outcome of an action stays."""


class StatusLine(LineView):
    """Shows the newest notice for a while, otherwise the first problem."""

    DEFAULT_CSS = """
    StatusLine { height: 1; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._notice = ""
        self._is_error = False
        self._count = 0
        self._problems: Sequence[str] = ()

    @property
    def text(self) -> str:
        """What the line says."""
        return self._notice or (self._problems[0] if self._problems else "")

    def say(self, text: str, *, error: bool = False) -> None:
        """Show the outcome of an action."""
        self._notice, self._is_error = text, error
        self._count += 1
        count = self._count
        self.set_timer(SHOWN_S, lambda: self._fade(count))
        self.redraw()

    def show_problems(self, problems: Sequence[str]) -> None:
        """Show what is wrong for as long as it is."""
        self._problems = problems
        self.redraw()

    def _fade(self, count: int) -> None:
        # A later notice has its own time.
        if count == self._count:
            self._notice = ""
            self.redraw()

    def draw(self, size: Size) -> Sequence[Text]:
        """The line."""
        palette = self.palette
        if self._notice:
            glyph, colour = ("✗", palette.error) if self._is_error else ("›", palette.primary)
            line = Text.assemble((f" {glyph} ", colour), (self._notice, palette.foreground))
        elif self._problems:
            more = f"  (+{len(self._problems) - 1} more)" if len(self._problems) > 1 else ""
            room = size.width - 3 - len(more)
            line = Text.assemble((" ! ", f"bold {palette.error}"), (self._problems[0][:room], palette.error))
            line.append(more, palette.muted)
        else:
            return [Text()]
        line.truncate(size.width, overflow="ellipsis")
        return [line]

"""The line above the keys, or a few: what an action did, and what is wrong with the project."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from rich.text import Text
from textual.geometry import Size

from tui_datasize.text import fit
from tui_datasize.tui.widgets.line_view import LineView
from tui_datasize.tui.widgets.panel import is_tiny

SHOWN_S = 12.0
"""Seconds for which the outcome of an action stays."""
MOST_ROWS = 3
"""Rows for what does not fit into one."""
_MARGIN = 3


class StatusLine(LineView):
    """Shows the newest notice for a while, otherwise the first problem."""

    DEFAULT_CSS = "StatusLine { height: 1; }"

    def __init__(self, project_root: Path) -> None:
        super().__init__()
        self._project_root = f"{project_root}/"
        self._notice = ""
        self._is_error = False
        self._count = 0
        self._problems: Sequence[str] = ()

    @property
    def text(self) -> str:
        return self._notice or (self._problems[0] if self._problems else "")

    def say(self, text: str, *, error: bool = False) -> None:
        self._notice, self._is_error = text, error
        self._count += 1
        count = self._count
        self.set_timer(SHOWN_S, lambda: self._fade(count))
        self.redraw()

    def show_problems(self, problems: Sequence[str]) -> None:
        self._problems = problems
        self.redraw()

    def _fade(self, count: int) -> None:
        # A later notice has its own time.
        if count == self._count:
            self._notice = ""
            self.redraw()

    def redraw(self) -> None:
        """Take as many rows as the words need, then draw."""
        size = self.app.size
        least = 0 if is_tiny(size) else 1
        self.styles.height = max(least, min(MOST_ROWS, len(self._wrapped(size.width))))
        super().redraw()

    def draw(self, size: Size) -> Sequence[Text]:
        palette = self.palette
        lines = self._wrapped(size.width)
        if len(lines) > size.height:
            last = " ".join(lines[size.height - 1 :])
            lines = [*lines[: size.height - 1], fit(last, size.width - _MARGIN).rstrip()]
        if self._notice:
            glyph, colour = ("✗", palette.error) if self._is_error else ("›", palette.primary)
            mark, style = Text(f" {glyph} ", colour), palette.foreground
        else:
            mark, style = Text(" ! ", f"bold {palette.error}"), palette.error
        drawn = [Text(" " * _MARGIN).append(line, style) for line in lines]
        return [mark.append(lines[0], style), *drawn[1:]] if lines else [Text()]

    def _wrapped(self, width: int) -> list[str]:
        # Everyone knows which project this is; the room is for what is wrong with it.
        text = self.text.replace(self._project_root, "")
        if not self._notice and len(self._problems) > 1:
            text += f" (+{len(self._problems) - 1} more)"
        return textwrap.wrap(text, max(10, width - _MARGIN))

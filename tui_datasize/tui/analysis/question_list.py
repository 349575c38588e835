"""The questions beside the chart of a wide window: which there are, which one is shown, what some need."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from tui_datasize.text import fit
from tui_datasize.tui.analysis.analyst import PAGES
from tui_datasize.tui.widgets.line_view import RowList

LEAST_WIDTH = 150
"""Columns of a window that has room for the list."""
_LEARNING_CURVE = "Learning curve and answer"


class QuestionList(RowList):
    """The learning curve, then every page; where the cursor is, that one is shown."""

    DEFAULT_CSS = "QuestionList { width: 1fr; }"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.missing: Sequence[str] = ("",) * (len(PAGES) + 1)
        """By page, what the runs lack for it; empty where it can be shown."""

    def show(self, page: int) -> None:
        """Follow the page that is shown; 0 is the learning curve."""
        keys = [str(number) for number in range(len(PAGES) + 1)]
        if list(self.keys) != keys:
            self.set_keys(keys)
        if self.cursor != page:
            self.move_to(page)
        self.redraw()

    def draw_row(self, index: int, width: int) -> Text:
        palette, missing = self.palette, self.missing[index]
        title = PAGES[index - 1].title if index else _LEARNING_CURVE
        words, colour = (
            (f"{title} · needs {missing}", palette.faint) if missing else (title, palette.foreground)
        )
        return Text.assemble((self.pointer(index), palette.primary), (f" {fit(words, width - 2)}", colour))

    def about(self, index: int) -> str:
        """What a page answers, or why it has nothing to show for these runs."""
        title = PAGES[index - 1].title if index else ""
        if missing := self.missing[index]:
            return f"{title} needs {missing}; this experiment has none"
        return PAGES[index - 1].asks if index else "How much data is enough?"

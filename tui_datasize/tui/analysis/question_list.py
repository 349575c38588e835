"""The questions beside the chart of a wide window: which there are, which one is shown, what some need."""

from __future__ import annotations

from collections.abc import Callable

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
        self._is_offered: Callable[[int], bool] = lambda _: True

    def show(self, page: int, is_offered: Callable[[int], bool]) -> None:
        """Follow the page that is shown; 0 is the learning curve."""
        self._is_offered = is_offered
        keys = [str(number) for number in range(len(PAGES) + 1)]
        if list(self.keys) != keys:
            self.set_keys(keys)
        if self.cursor != page:
            self.move_to(page)
        self.redraw()

    def draw_row(self, index: int, width: int) -> Text:
        palette = self.palette
        title = PAGES[index - 1].title if index else _LEARNING_CURVE
        colour = palette.foreground if self._is_offered(index) else palette.faint
        return Text.assemble((self.pointer(index), palette.primary), (f" {fit(title, width - 2)}", colour))


def what_is_missing(index: int) -> str:
    """Why a page has nothing to show for these runs."""
    page = PAGES[index - 1]
    return f"{page.title} needs {page.needs}; this experiment has none"

"""A chart on the screen: drawn only when its data, its size or the colours have changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from rich.text import Text
from textual.geometry import Size

from tui_datasize.tui.widgets.line_view import LineView
from tui_datasize.tui.widgets.palette import Palette

Drawer: TypeAlias = Callable[[int, int, Palette], Text]
"""Draws a chart of a width and a height."""


class ChartView(LineView):
    """Shows what a drawer makes, and asks it as seldom as possible: a chart costs tens of milliseconds."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._version: object = None
        self._drawer: Drawer | None = None
        self._drawn_for: tuple[object, Size, Palette] | None = None
        self._lines: Sequence[Text] = ()

    def show(self, version: object, drawer: Drawer) -> None:
        """Show a chart.

        Args:
            version: Equal for equal charts: the data and all settings.
            drawer: Draws it.
        """
        self._version = version
        self._drawer = drawer
        self.redraw()

    def draw(self, size: Size) -> Sequence[Text]:
        """The lines of the chart."""
        if self._drawer is None:
            return []
        wanted = (self._version, size, self.palette)
        if wanted != self._drawn_for:
            # plotext keeps one figure per process: charts are drawn on this thread alone.
            text = self._drawer(size.width, size.height, self.palette)
            self._lines = list(text.split("\n", allow_blank=True))
            self._drawn_for = wanted
        return [line.copy() for line in self._lines]

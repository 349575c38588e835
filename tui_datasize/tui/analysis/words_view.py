"""The words beside a chart."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from rich.text import Text
from textual.geometry import Size

from tui_datasize.tui.analysis.fit_text import NO_BREAK
from tui_datasize.tui.widgets.line_view import LineView


class WordsView(LineView):
    """Small tables as they are, and sentences wrapped to the width."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: Sequence[Text] = ()

    def show(self, lines: Sequence[Text]) -> None:
        """Replace the lines."""
        self._lines = lines
        self.redraw()

    def draw(self, size: Size) -> Sequence[Text]:
        """Lines of the table as they are, sentences wrapped."""
        shown: list[Text] = []
        for line in self._lines:
            if line.cell_len < size.width:
                shown.append(Text(" ").append_text(line))
            else:
                wrapped = textwrap.wrap(line.plain, max(10, size.width - 1))
                shown += [Text(f" {part}", style=line.style) for part in wrapped]
        for line in shown:
            line.plain = line.plain.replace(NO_BREAK, " ")
        return shown

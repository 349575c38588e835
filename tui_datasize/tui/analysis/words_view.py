"""The words beside a chart."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from rich.text import Text
from textual.geometry import Size

from tui_datasize.tui.analysis.fit_text import NO_BREAK
from tui_datasize.tui.widgets.line_view import LineView
from tui_datasize.words import plural


class WordsView(LineView):
    """Small tables as they are, and sentences wrapped to the width."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: Sequence[Text] = ()

    def show(self, lines: Sequence[Text]) -> None:
        """Replace the lines."""
        self._lines = lines
        self.redraw()

    @property
    def lines(self) -> Sequence[Text]:
        """All lines."""
        return self._lines

    def rows_at(self, width: int) -> int:
        """How many rows all lines take at a width."""
        return len(_wrapped(self._lines, width))

    def draw(self, size: Size) -> Sequence[Text]:
        """As many lines as fit, and how many do not."""
        shown = _wrapped(self._lines, size.width)
        if len(shown) > size.height > 0:
            left_out = len(shown) - size.height + 1
            words = f" … {plural(left_out, 'more line')}: press i"
            shown = [*shown[: size.height - 1], Text(words, style=self.palette.muted)]
        return shown


def _wrapped(lines: Sequence[Text], width: int) -> list[Text]:
    """Lines of a table as they are, sentences wrapped."""
    shown: list[Text] = []
    for line in lines:
        if line.cell_len < width or line.no_wrap:
            shown.append(Text(" ").append_text(line))
        else:
            wrapped = textwrap.wrap(line.plain, max(10, width - 1))
            shown += [Text(f" {part}", style=line.style) for part in wrapped]
    for line in shown:
        line.plain = line.plain.replace(NO_BREAK, " ")
    return shown

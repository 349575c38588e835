"""The words beside a chart."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from rich.text import Text
from textual.geometry import Size

from tui_datasize.text import plural
from tui_datasize.tui.widgets.line_view import LineView
from tui_datasize.tui.widgets.palette import Palette


class WordsView(LineView):
    """Small tables as they are, and sentences wrapped to the width."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: Sequence[Text] = ()
        self._elsewhere: Sequence[Text] = ()

    def show(self, lines: Sequence[Text], elsewhere: Sequence[Text] = ()) -> None:
        """Replace the lines.

        Args:
            lines: What is shown here.
            elsewhere: What follows, and stands in the place of the chart.
        """
        self._lines, self._elsewhere = lines, elsewhere
        self.redraw()

    @property
    def lines(self) -> Sequence[Text]:
        return [*self._lines, *self._elsewhere]

    def rows_at(self, width: int) -> int:
        """How many rows the lines shown here take at a width."""
        return len(_wrapped(self._lines, width))

    def draw(self, size: Size) -> Sequence[Text]:
        return fitted(self._lines, size.width, size.height, self.palette)


def fitted(lines: Sequence[Text], width: int, height: int, palette: Palette) -> Sequence[Text]:
    """Lines of a table as they are and sentences wrapped, as many as fit, and how many do not."""
    shown = _wrapped(lines, width)
    if len(shown) > height > 0:
        left_out = len(shown) - height + 1
        words = f" … {plural(left_out, 'more line')}: press i"
        shown = [*shown[: height - 1], Text(words, style=palette.muted)]
    return shown


def _wrapped(lines: Sequence[Text], width: int) -> list[Text]:
    shown: list[Text] = []
    for line in lines:
        if line.cell_len < width or line.no_wrap:
            shown.append(Text(" ").append_text(line))
        else:
            shown += [Text(" ").append_text(part) for part in _parts(line, max(10, width - 1))]
    return shown


def _parts(line: Text, width: int) -> Iterator[Text]:
    """A sentence broken between words; each part keeps its colours."""
    start = 0
    for part in textwrap.wrap(line.plain, width):
        start = line.plain.index(part, start)
        yield line[start : start + len(part)]
        start += len(part)

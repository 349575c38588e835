"""The small lines of the Queue tab: legend, title and the end of a log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from rich.cells import chop_cells
from rich.text import Text
from textual.geometry import Size

from tui_datasize.tui.polling.log_tail import LogTail
from tui_datasize.tui.polling.snapshot import legend_counts
from tui_datasize.tui.widgets.line_view import LineView, wrapped
from tui_datasize.tui.widgets.palette import STATE_LOOKS, CellState, state_style


class LegendLine(LineView):
    """What the glyphs on the map mean, and how many there are of each."""

    DEFAULT_CSS = "LegendLine { height: 1; }"

    _counts: Mapping[CellState, int] = MappingProxyType({})

    def show(self, counts: Mapping[CellState, int]) -> None:
        self._counts = counts
        self.redraw()

    def draw(self, size: Size) -> Sequence[Text]:
        """The legend as generous as fits: with counts and spaces, with spaces, with neither."""
        palette = self.palette
        lines: list[Text] = []
        for template in (" {count:,} {word}  ", " {word}  ", "{word} "):
            lines = [Text(" ")]
            for state, count in legend_counts(self._counts):
                look = STATE_LOOKS[state]
                entry = template.format(count=count, word=look.word)
                if lines[-1].cell_len + 1 + len(entry.rstrip()) > size.width:
                    lines.append(Text(" "))
                lines[-1].append(look.glyph, state_style(state, palette)).append(entry, palette.muted)
            if len(lines) <= size.height:
                break
        return lines


class TitleLine(LineView):
    """What an experiment is about."""

    DEFAULT_CSS = "TitleLine { height: 1; }"

    _title = ""

    def show(self, title: str) -> None:
        self._title = title
        self.redraw()

    def draw(self, size: Size) -> Sequence[Text]:
        line = Text(f" {self._title}", style=self.palette.muted)
        line.truncate(size.width, overflow="ellipsis")
        return [line]


class LogView(LineView):
    """Why a job failed, and the last lines of its log, newest at the bottom."""

    _tail: LogTail | None = None
    _reason = ""

    def show(self, tail: LogTail | None, reason: str) -> None:
        """Replace the log; None while it has not been read."""
        self._tail = tail
        self._reason = reason
        self.redraw()

    def draw(self, size: Size) -> Sequence[Text]:
        palette = self.palette
        above = wrapped(self._reason, size.width, palette.error)
        if self._tail is None:
            return above
        if not self._tail.lines:
            return above or [Text(" Nothing written yet.", style=palette.muted)]
        room = size.height - len(above)
        lines = self._tail.lines[-room:] if room > 0 else ()
        rows = [row for line in lines for row in chop_cells(line, max(1, size.width - 1))]
        return above + [Text(f" {row}", style=palette.foreground) for row in rows[-room:]]

"""An answer in the panel beside its chart: the headline, what follows from it, its tables."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from types import MappingProxyType

from rich.text import Text
from textual.geometry import Size

from tui_datasize.answers.answer import SEVERITIES, Answer, Bars, Sentence, Tone
from tui_datasize.experiments.variants import plain_words
from tui_datasize.render.cells import NUMBER, Written, written
from tui_datasize.text import fit, plural, visible, width_of
from tui_datasize.tui.charts.figures import draw_figures
from tui_datasize.tui.charts.lines import Drawing, sentence
from tui_datasize.tui.charts.window import WHOLE, ChartWindow
from tui_datasize.tui.widgets.line_view import LineView
from tui_datasize.tui.widgets.palette import GREY, Palette
from tui_datasize.tui.widgets.panel import is_tiny

_COLOURS: Mapping[Tone, str] = MappingProxyType(
    {
        "plain": "foreground",
        "good": "success",
        "aside": "muted",
        "note": "foreground",
        "warning": "accent",
        "error": "error",
    }
)
"""Names of fields of `Palette`."""
_GAP = "  "


def answer_lines(answer: Answer, palette: Palette, *, everything: bool = False) -> list[Text]:
    """The lines of an answer, tables for specialists too where everything is asked for.

    Those of tables are not to be wrapped.
    """
    if not answer.applies:
        return [Text(plain_words(answer.why_not), style=palette.muted)]
    lines = [Text(plain_words(answer.headline), style=f"bold {palette.foreground}")]
    lines += [_sentence(sentence, palette) for sentence in answer.sentences]
    for table in answer.tables:
        if (everything or not table.is_detail) and not table.frame.is_empty():
            lines += [Text(""), *_table_lines(written(table, None), palette)]
    return lines


def draw_answer(
    answer: Answer, width: int, height: int, palette: Palette, window: ChartWindow = WHOLE
) -> Drawing:
    """An answer in the place of a chart: its figures; without any, what follows the headline; or why not."""
    if not answer.applies:
        return Drawing(sentence(answer.why_not, width, height, palette))
    if answer.figures:
        return draw_figures(answer.figures, width, height, palette, window)
    lines = answer_lines(answer, palette)
    shown = _fitted(lines[1:] or lines, width, height, palette)
    for line in shown:
        line.truncate(width)
    return Drawing(Text("\n").join(shown))


def rows_of(answer: Answer, width: int) -> int | None:
    """Rows of an answer in the place of a chart; None where it fills as many as there are."""
    match answer.figures:
        case [Bars() as bars, *_]:
            return len(bars.bars) + any(bars.heads)
        case [_, *_]:
            return None
    lines = answer_lines(answer, GREY)
    return len(_wrapped(lines[1:] or lines, width))


def _sentence(sentence: Sentence, palette: Palette) -> Text:
    colour: str = getattr(palette, _COLOURS[sentence.tone])
    told = plain_words(sentence.text)
    if sentence.tone in SEVERITIES:
        return Text.assemble((f"{sentence.tone}: ", f"bold {colour}"), (told, palette.foreground))
    text = Text(told, style=colour)
    text.highlight_regex(NUMBER, "bold")
    return text


def _table_lines(table: Written, palette: Palette) -> Iterator[Text]:
    if table.title:
        yield Text(table.title, style=palette.foreground, no_wrap=True)
    every = [[plain_words(visible(cell)) for cell in row] for row in (table.heads, *table.rows)]
    widths = [max(map(width_of, column)) for column in zip(*every, strict=True)]
    for number, row in enumerate(every):
        cells = (
            fit(cell, width) if place < table.n_texts else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        style = palette.foreground if number else palette.muted
        yield Text(_GAP.join(cells).rstrip(), style=style, no_wrap=True)


class WordsView(LineView):
    """Small tables as they are, and sentences wrapped to the width."""

    _lines: Sequence[Text] = ()
    _elsewhere: Sequence[Text] = ()

    def show(self, lines: Sequence[Text], elsewhere: Sequence[Text] = ()) -> None:
        """Replace the lines shown here, and those that stand in the place of the chart."""
        self._lines, self._elsewhere = lines, elsewhere
        self.redraw()

    @property
    def lines(self) -> Sequence[Text]:
        return [*self._lines, *self._elsewhere]

    def rows_at(self, width: int) -> int:
        """How many rows the lines shown here take at a width."""
        return len(_wrapped(self._lines, width))

    def draw(self, size: Size) -> Sequence[Text]:
        # A tiny terminal shows one part alone, and may not show the chart's.
        lines = self._lines or (self._elsewhere if is_tiny(self.app.size) else ())
        return _fitted(lines, size.width, size.height, self.palette)


def _fitted(lines: Sequence[Text], width: int, height: int, palette: Palette) -> Sequence[Text]:
    """Lines of a table as they are and sentences wrapped, as many as fit, and how many do not."""
    shown = _without_cut_columns(_wrapped(lines, width), width)
    if len(shown) > height > 0:
        left_out = len(shown) - height + 1
        words = f" … {plural(left_out, 'more line')}: press i"
        shown = [*shown[: height - 1], Text(words, style=palette.muted)]
    return shown


def _without_cut_columns(lines: Sequence[Text], width: int) -> list[Text]:
    """Rows of tables end with the last column that fits as a whole."""
    shown: list[Text] = []
    for is_table, rows in groupby(lines, lambda line: line.no_wrap):
        block = list(rows)
        long = [line for line in block if is_table and line.cell_len > width]
        gaps = [end for end in range(width - 1) if all(line.plain[end : end + 2] == _GAP for line in long)]
        for line in block:
            if line in long and gaps:
                line.truncate(gaps[-1])
                line.rstrip()
                line.append(" …")
            shown.append(line)
    return shown


def _wrapped(lines: Sequence[Text], width: int) -> list[Text]:
    shown: list[Text] = []
    for line in lines:
        if line.cell_len < width or line.no_wrap:
            shown.append(Text(" ", no_wrap=line.no_wrap).append_text(line))
        else:
            shown += [Text(" ").append_text(part) for part in _parts(line, max(10, width - 1))]
    return shown


def _parts(line: Text, width: int) -> Iterator[Text]:
    """A sentence broken between words; each part keeps its colours."""
    start = 0
    # A number stays with its unit.
    for part in textwrap.wrap(line.plain.replace(" %", "\N{NO-BREAK SPACE}%"), width):
        start = line.plain.index(part.replace("\N{NO-BREAK SPACE}", " "), start)
        yield line[start : start + len(part)]
        start += len(part)

"""An answer in the panel beside its chart: the headline, what follows from it, and its tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from rich.text import Text

from tui_datasize.answers.answer import SEVERITIES, Answer, Sentence, Tone
from tui_datasize.render.cells import NUMBER, Written, written
from tui_datasize.text import visible
from tui_datasize.tui.analysis.words_view import fitted
from tui_datasize.tui.charts.figures import draw_figures
from tui_datasize.tui.charts.lines import sentence
from tui_datasize.tui.widgets.palette import Palette

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
        return [Text(answer.why_not, style=palette.muted)]
    lines = [Text(answer.headline, style=f"bold {palette.foreground}")]
    lines += [_sentence(sentence, palette) for sentence in answer.sentences]
    for table in answer.tables:
        if (everything or not table.is_detail) and not table.frame.is_empty():
            lines += [Text(""), *_table_lines(written(table, None), palette)]
    return lines


def draw_answer(answer: Answer, width: int, height: int, palette: Palette) -> Text:
    """An answer in the place of a chart: its figures; without any, what follows the headline; or why not."""
    if not answer.applies:
        return sentence(answer.why_not, width, height, palette)
    if answer.figures:
        return draw_figures(answer.figures, width, height, palette)
    lines = answer_lines(answer, palette)
    shown = fitted(lines[1:] or lines, width, height, palette)
    for line in shown:
        line.truncate(width)
    return Text("\n").join(shown)


def _sentence(sentence: Sentence, palette: Palette) -> Text:
    colour: str = getattr(palette, _COLOURS[sentence.tone])
    if sentence.tone in SEVERITIES:
        return Text.assemble((f"{sentence.tone}: ", f"bold {colour}"), (sentence.text, palette.foreground))
    text = Text(sentence.text, style=colour)
    text.highlight_regex(NUMBER, "bold")
    return text


def _table_lines(table: Written, palette: Palette) -> Iterator[Text]:
    """Columns as wide as what they hold, texts at the left and numbers at the right."""
    if table.title:
        yield Text(table.title, style=palette.foreground, no_wrap=True)
    every = [[visible(cell) for cell in row] for row in (table.heads, *table.rows)]
    widths = [max(map(len, column)) for column in zip(*every, strict=True)]
    for number, row in enumerate(every):
        cells = (
            cell.ljust(width) if place < table.n_texts else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        style = palette.foreground if number else palette.muted
        yield Text(_GAP.join(cells).rstrip(), style=style, no_wrap=True)

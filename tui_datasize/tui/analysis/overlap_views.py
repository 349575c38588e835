"""The overlap of the subset draws below the learning curve: a matrix, bars, and what is said of them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from rich.text import Text

from tui_datasize.answers.answer import Answer, Map
from tui_datasize.tui.charts.figures import draw_figure
from tui_datasize.tui.widgets.palette import Palette

_LEAST_ROWS = 3
"""Of bars, whatever is said below them."""


def draw_matrix(answer: Answer, width: int, height: int, palette: Palette) -> Text:
    """What each pair of draws has in common, and what all of them have."""
    return _above(answer, 0, [answer.headline], width, height, palette)


def draw_classes(answer: Answer, width: int, height: int, palette: Palette) -> Text:
    """Overlap within each class, the highest first, with what independent draws would share."""
    return _above(answer, 1, [one.text for one in answer.sentences], width, height, palette)


def _above(
    answer: Answer, place: int, captions: Sequence[str], width: int, height: int, palette: Palette
) -> Text:
    """A figure above as much of its captions as leaves it a row for each of its own."""
    if not answer.applies:
        return Text()
    figure = answer.figures[place]
    rows = 1 + len(figure.rows) if isinstance(figure, Map) else _LEAST_ROWS
    wrapped = [line for text in captions for line in textwrap.wrap(text, max(width, 10))]
    room = max(0, height - rows)
    shown = [Text(line[:width], style=palette.muted) for line in wrapped[:room]]
    drawn = draw_figure(figure, width, height - len(shown), palette)
    return Text("\n").join([drawn, *shown])

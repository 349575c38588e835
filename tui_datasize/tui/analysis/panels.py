"""The four panels of the Analysis tab, and what is drawn in them; what is shown is decided by the tab."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from rich.text import Text

from tui_datasize.answers.answer import Answer, Map
from tui_datasize.answers.catalogue import QUESTIONS, Entry
from tui_datasize.experiments.variants import plain_words
from tui_datasize.text import plural
from tui_datasize.tui.analysis.analyst import AnalysisChoice, chosen_variant
from tui_datasize.tui.analysis.answer_lines import WordsView, answer_lines, draw_answer, rows_of
from tui_datasize.tui.charts.figures import draw_figure
from tui_datasize.tui.charts.lines import sentence
from tui_datasize.tui.charts.window import ChartWindow
from tui_datasize.tui.widgets.chart_view import ChartView
from tui_datasize.tui.widgets.palette import Palette, palette_of
from tui_datasize.tui.widgets.panel import Panel

if TYPE_CHECKING:
    from tui_datasize.tui.analysis.analyst import Analysed


class AnalysisPanels:
    """Curve and fit above, overlap below; a page takes the place of the first two.

    Every chart is drawn again only when the version or what else it was shown with has changed.
    """

    def __init__(self) -> None:
        self._chart = ChartView()
        self._words = WordsView()
        self._heat_map = ChartView()
        self._class_bars = ChartView()
        self.charts = self._chart, self._heat_map, self._class_bars
        self._curve = Panel("Learning curve", self._chart, id="curve")
        self._fit = Panel("Answer", self._words, id="fit")
        self._matrix = Panel("Overlap", self._heat_map, id="matrix")
        self._page: Answer | None = None
        self._classes = Panel("Per class", self._class_bars, id="classes")

    @property
    def panels(self) -> Sequence[Panel]:
        return self._curve, self._fit, self._matrix, self._classes

    @property
    def words(self) -> Text:
        return Text("\n").join(self._words.lines)

    def rows_of_page(self, width: int) -> int | None:
        """Rows that a page fills, heading included, if each half has a width; None for all there are."""
        rows = None if self._page is None else rows_of(self._page, width)
        return None if rows is None else 1 + max(rows, self._words.rows_at(width))

    def rows_of_words(self, width: int) -> int:
        """How many rows the words take at a width, their heading included."""
        return 1 + self._words.rows_at(width)

    def show_curve(
        self, version: int, analysed: Analysed, choice: AnalysisChoice, overlap: Answer | None, terms: str
    ) -> None:
        """The curve, the answer beside it, and the overlap; `terms` are those of the filter in force."""
        palette, answer = palette_of(self._curve.app), analysed.answers[choice.fit_to]
        self._chart.show((version, choice), partial(draw_answer, answer))
        words = answer_lines(answer, palette, everything=choice.fit_to == "laws")
        # What does not apply says so in the place of the chart.
        self._words.show(*((words,) if answer.applies else ((), words)))
        whose = subject(analysed.experiment, chosen_variant(analysed.variants, choice), terms)
        first = analysed.answers["answer"]
        about = first.about, first.about.partition(",")[0]
        notes = (*(f"{whose} · {text}".rstrip(" ·") for text in about), whose)
        self._curve.show_note(*(Text(note, palette.muted) for note in notes))
        self._fit.show_title(QUESTIONS[choice.fit_to].title)
        fitted = f"n ≥ {choice.asked.fit_from:,}" if choice.asked.fit_from else ""
        self._fit.show_note(Text(fitted, palette.muted))
        if overlap is not None and overlap.applies:
            self._heat_map.show(id(overlap), partial(_above, overlap, 0, [overlap.headline]))
            sentences = [one.text for one in overlap.sentences]
            self._class_bars.show(id(overlap), partial(_above, overlap, 1, sentences))
            self._matrix.show_title("Overlap")
            of_matrix, of_classes = overlap_notes(overlap)
            told = [f"only {terms} · {text}" for text in of_matrix] if terms else of_matrix
            for panel, texts in ((self._matrix, told), (self._classes, of_classes)):
                panel.show_note(*(Text(text, palette.muted) for text in texts))

    def show_page(
        self, version: int, page: Entry, answer: Answer, whose: str, curve: Answer, *, is_part: bool
    ) -> None:
        """A page, whose heading says what it `is_part` of; below one that is short the learning curve."""
        palette, about = palette_of(self._curve.app), page_note(answer)
        self._page = answer
        self._heat_map.show(("below", version), partial(draw_answer, curve))
        self._matrix.show_title("Learning curve")
        self._matrix.show_note(Text(whose, palette.muted))
        self._chart.show((version, page.name), partial(draw_answer, answer))
        self._words.show(*_beside(answer, palette))
        note = f"{whose} · {about}".rstrip(" ·")
        shorter = (whose,) if is_part else (about, whose)
        self._curve.show_note(*(Text(text, palette.muted) for text in (note, *shorter) if text))

    def show_titles(self, page: Entry | None) -> None:
        self._page = None
        self._curve.show_title(page.title if page else "Learning curve")
        self._fit.show_title("In words" if page else "Answer")
        if page is not None:
            self._say(("computing", page.name), "Computing …")

    def show_whole(self) -> None:
        """Look at all of the chart: its part was one of other sizes."""
        self._chart.action_reset()

    def show_sentence(self, text: str) -> None:
        self._say(text, text)
        for chart in (self._heat_map, self._class_bars):
            chart.show("", lambda *_: Text())

    def _say(self, version: object, text: str) -> None:
        """Say something in the place of the chart."""
        self._chart.show(version, lambda width, height, palette, _: sentence(text, width, height, palette))
        self._words.show((), [Text(text, palette_of(self._curve.app).muted)])


def _beside(answer: Answer, palette: Palette) -> tuple[Sequence[Text], Sequence[Text]]:
    """What stands beside the chart, and what of the answer stands in its place where there is none."""
    lines = answer_lines(answer, palette)
    if not answer.applies:
        return (), lines
    if answer.proposed:
        lines.insert(0, Text(f"Press a to queue {plural(len(answer.proposed), 'run')}.", palette.accent))
    return (lines, ()) if answer.figures else (lines[:1], lines[1:])


def subject(experiment: str, variant: str | None, filter_text: str) -> str:
    """The experiment, the variant in the foreground where there are several, and the filter in force."""
    only = f"only {filter_text}" if filter_text else ""
    return " · ".join(filter(None, (experiment, plain_words(variant or ""), only)))


def page_note(answer: Answer) -> str:
    """What the numbers are of; the axes of a map do not say which metric it is of."""
    first = answer.figures[0] if answer.figures else None
    return f"{first.title} · {answer.about}" if isinstance(first, Map) else answer.about


def overlap_notes(overlap: Answer) -> tuple[Sequence[str], Sequence[str]]:
    """Of the matrix its size and how overlap is measured; of the classes as much of a legend as fits, too."""
    size, about, expected = overlap.figures[0].title, overlap.about, "┃ expected"
    interval = f"{expected} · [ ] 95 % · ▲▼ outside"
    of_matrix = [f"{size} · {about}", f"{size} · {about.partition(',')[0]}", size]
    return of_matrix, [f"{size} · {about} · {interval}", f"{size} · {interval}", f"{size} · {expected}"]


_LEAST_ROWS = 3
"""Of bars, whatever is said below them."""


def _above(
    answer: Answer,
    place: int,
    below: Sequence[str],
    width: int,
    height: int,
    palette: Palette,
    _: ChartWindow,
) -> Text:
    """A figure above as much of what stands `below` as leaves it a row for each of its own."""
    figure = answer.figures[place]
    rows = 1 + len(figure.rows) if isinstance(figure, Map) else _LEAST_ROWS
    wrapped = [line for text in below for line in textwrap.wrap(text, max(width, 10))]
    room = max(0, height - rows)
    shown = [Text(line[:width], style=palette.muted) for line in wrapped[:room]]
    drawn = draw_figure(figure, width, height - len(shown), palette).text
    return Text("\n").join([drawn, *shown])

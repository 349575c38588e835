"""What a page is: a question, a chart, some sentences and a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from rich.text import Text

from tui_datasize.answers.answer import Answer, Map
from tui_datasize.answers.asked import NOTHING, Asked
from tui_datasize.answers.catalogue import Entry
from tui_datasize.tui.analysis.answer_lines import draw_told
from tui_datasize.tui.charts.figures import draw_figures
from tui_datasize.tui.charts.lines import sentence
from tui_datasize.tui.widgets.chart_view import Drawer
from tui_datasize.tui.widgets.palette import Palette

if TYPE_CHECKING:
    import polars as pl

    from tui_datasize.answers.record import Record
    from tui_datasize.experiments.spec import RunSpec
    from tui_datasize.metric import Metric
    from tui_datasize.runlog.reader import RunLog


@dataclass(frozen=True)
class Request:
    """What a page is made of."""

    log: RunLog
    runs: pl.DataFrame
    """Schema `RUNS`, those of one experiment and variant."""
    all_runs: pl.DataFrame
    """Schema `RUNS`, those of all variants of the experiment."""
    metric: Metric
    view: int = 0
    """Which of the views of the page, counted round and round."""
    size: int = 0
    """Which of the train sizes, counted round and round from the largest."""
    asked: Asked = NOTHING
    """What is asked of the curve."""
    sweep: Sequence[RunSpec] = ()
    """All runs of the experiment in experiments.toml."""

    @property
    def record(self) -> Record:
        """The same for a question of the catalogue."""
        from tui_datasize.answers.record import Record

        variant = str(self.runs["variant"][0]) if self.runs.height else None
        asked = replace(self.asked, variant=variant, view=self.view, size=self.size)
        return Record(self.log, self.all_runs, self.metric, asked, self.sweep)


@dataclass(frozen=True)
class Content:
    """A page, computed and ready to be drawn."""

    draw: Drawer
    """Called on the thread of the screen."""
    lines: Sequence[str] = ()
    """Sentences beside the chart."""
    note: str = ""
    """Behind the heading."""
    table: Callable[[], pl.DataFrame] | None = None
    """What `ctrl+e` exports."""
    views: int = 1
    """How many views there are for `s` to walk through."""
    sizes: int = 1
    """How many train sizes there are for `n` to walk through."""
    proposed: Sequence[RunSpec] | None = None
    """Runs that `a` queues; None where the page proposes none."""
    answer: Answer | None = None
    """What stands in the place of `lines`."""


Build: TypeAlias = Callable[[Request], Content]
"""Reads and computes on the analyst's thread; draws nothing."""


def answered(entry: Entry) -> Page:
    """A question of the catalogue as a page."""
    return Page(
        entry.name, entry.title, lambda request: content_of(entry.ask(request.record)), entry.is_offered
    )


def content_of(answer: Answer) -> Content:
    """An answer as a page."""
    if not answer.applies:
        return replace(only_words(answer.why_not), views=answer.views, proposed=answer.proposed)
    return Content(
        partial(draw_figures, answer.figures) if answer.figures else partial(draw_told, answer),
        note=_note(answer),
        table=answer.rows,
        views=answer.views,
        sizes=answer.sizes,
        proposed=answer.proposed,
        answer=answer,
    )


def _note(answer: Answer) -> str:
    """What the numbers are of; the axes of a map do not say which metric it is of."""
    first = answer.figures[0] if answer.figures else None
    return f"{first.title} · {answer.about}" if isinstance(first, Map) else answer.about


@dataclass(frozen=True, slots=True)
class Page:
    """An entry of the catalogue of pages."""

    name: str
    title: str
    """Heading, and what the list of pages shows."""
    build: Build
    is_offered: Callable[[pl.DataFrame], bool] = lambda _: True
    """Whether there is anything to ask of the runs of an experiment, schema `RUNS`."""


def only_words(text: str) -> Content:
    """A page that has nothing to draw, and says why."""

    def draw(width: int, height: int, palette: Palette) -> Text:
        return sentence(text, width, height, palette)

    return Content(draw)

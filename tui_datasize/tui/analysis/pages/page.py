"""What a page is: a question, a chart, some sentences and a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from rich.text import Text

from tui_datasize.answers.answer import Answer
from tui_datasize.answers.asked import NOTHING, Asked
from tui_datasize.answers.catalogue import Entry
from tui_datasize.tui.analysis.answer_lines import draw_told
from tui_datasize.tui.charts.figures import draw_figures
from tui_datasize.tui.charts.lines import sentence
from tui_datasize.tui.widgets.chart_view import Drawer
from tui_datasize.tui.widgets.palette import Palette

if TYPE_CHECKING:
    import polars as pl

    from tui_datasize.analysis.curve import Metric
    from tui_datasize.answers.record import Record
    from tui_datasize.experiments.spec import RunSpec
    from tui_datasize.runlog.reader import RunLog


MOST_COMPARED = 40
"""Runs of one size that are compared with each other; their pairs grow with the square."""


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

    @property
    def metrics(self) -> pl.DataFrame:
        """Schema `RUN_METRICS`, of `runs`."""
        return self.log.metrics(self.runs["run_id"])


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
    return Page(entry.name, entry.title, lambda request: content_of(entry.ask(request.record)))


def content_of(answer: Answer) -> Content:
    """An answer as a page."""
    if not answer.applies:
        return replace(only_words(answer.why_not), views=answer.views, proposed=answer.proposed)
    return Content(
        partial(draw_figures, answer.figures) if answer.figures else partial(draw_told, answer),
        note=answer.about,
        table=answer.rows,
        views=answer.views,
        sizes=answer.sizes,
        proposed=answer.proposed,
        answer=answer,
    )


@dataclass(frozen=True, slots=True)
class Page:
    """An entry of the catalogue of pages."""

    name: str
    title: str
    """Heading, and what the list of pages shows."""
    build: Build


def only_words(text: str, lines: Sequence[str] = ()) -> Content:
    """A page that has nothing to draw, and says why."""

    def draw(width: int, height: int, palette: Palette) -> Text:
        return sentence(text, width, height, palette)

    return Content(draw, lines)


def numbers(values: Iterable[float | None], by: float = 1.0) -> list[float]:
    """Values times a factor, NaN where there is none."""
    return [float("nan") if value is None else value * by for value in values]


def bounded(runs: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """The first runs of each size, for what takes every pair of them; words, where others are left out."""
    kept = runs.group_by("train_size", maintain_order=True).head(MOST_COMPARED)
    if kept.height == runs.height:
        return runs, []
    looked_at = f"{kept.height:,} of {runs.height:,}"
    return kept, [f"Of each train size the first {MOST_COMPARED} runs are looked at: {looked_at}."]


def largest_size(runs: pl.DataFrame) -> pl.DataFrame:
    """The finished runs of the largest train size that has any."""
    import polars as pl

    size = pl.col("train_size")
    return runs.filter(state="succeeded").filter(size == size.max())

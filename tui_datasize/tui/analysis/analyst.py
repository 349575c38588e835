"""The thread that computes analyses, so that neither the screen nor the polling waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from tui_datasize.answers.answer import Answer
from tui_datasize.answers.asked import NOTHING, Asked
from tui_datasize.answers.catalogue import QUESTIONS
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.tui.analysis.choice import FITS

if TYPE_CHECKING:
    import polars as pl

    from tui_datasize.answers.record import Record
    from tui_datasize.experiments.spec import RunSpec
    from tui_datasize.runlog.reader import RunLog
    from tui_datasize.stats.overlap import DrawOverlap
    from tui_datasize.stats.summary import Analysis
    from tui_datasize.tui.analysis.pages.page import Content, Page

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Wish:
    """What a page is wanted of."""

    experiment: str
    metric: str
    """A key of `METRICS_OFFERED`."""
    variant: str | None = None
    """Whose runs; None for all variants."""
    view: int = 0
    """Which of the page's views."""
    size: int = 0
    """Which of the page's train sizes."""
    asked: Asked = NOTHING
    """What is asked of the curve."""
    sweep: Sequence[RunSpec] = ()
    """All runs of the experiment in experiments.toml."""


@dataclass(frozen=True)
class Analysed:
    """The learning curves of one experiment, answered."""

    experiment: str
    metric: str
    variants: Sequence[str]
    """In the order of their names."""
    answers: Mapping[str, Answer]
    """By the names of `FITS`."""
    analysis: Analysis
    """Without the overlaps of the subset draws."""


class Analyst:
    """Analyses one experiment at a time on a thread of its own; keeps the overlaps it computed last."""

    def __init__(self, project: ProjectPaths) -> None:
        self._project = project
        # One thread, since a run log is for one.
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="analyst")
        self._log: RunLog | None = None
        self._overlaps: tuple[object, Sequence[DrawOverlap]] = (None, ())

    def warm(self) -> None:
        """Import in the background what every analysis needs, so that the first one need not wait for it."""
        self._executor.submit(_import_analysis)

    async def analyse(self, runs: pl.DataFrame, wish: Wish) -> Analysed:
        """Answer the questions beside the learning curve.

        Args:
            runs: The frame `runs` of the whole project.
            wish: What of.

        Raises:
            ConfigError: There is no such metric, or what is asked makes no sense for it.
        """
        return await self._run(lambda: self._analyse(runs, wish))

    async def overlap(self, runs: pl.DataFrame, wish: Wish) -> Answer:
        """Compare the subset draws of one experiment.

        Args:
            runs: The frame `runs` of the whole project.
            wish: What of: its view is the measure.
        """
        return await self._run(lambda: self._overlap(runs, wish))

    async def build(self, page: Page, runs: pl.DataFrame, wish: Wish) -> Content:
        """Compute a page.

        Args:
            page: Which.
            runs: The frame `runs` of the whole project.
            wish: What of.

        Raises:
            DatasizeError: The page cannot be made of these runs.
        """
        return await self._run(lambda: self._build(page, runs, wish))

    def close(self) -> None:
        """End the thread once its work is done; wait for nothing."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def _analyse(self, runs: pl.DataFrame, wish: Wish) -> Analysed:
        own = runs.filter(runs["experiment"] == wish.experiment)
        record = self._record(own, wish)
        variants = [curve.variant for curve in record.analysis.curves]
        answers: dict[str, Answer] = {name: QUESTIONS[name].ask(record) for name in FITS}
        return Analysed(wish.experiment, wish.metric, variants, answers, record.analysis)

    def _build(self, page: Page, runs: pl.DataFrame, wish: Wish) -> Content:
        from tui_datasize.metric import metric_named
        from tui_datasize.tui.analysis.pages.page import Request

        own = runs.filter(runs["experiment"] == wish.experiment)
        variants = own["variant"].unique().sort()
        variant = variants[0] if wish.variant is None and len(variants) else wish.variant
        chosen = own.filter(own["variant"] == variant)
        log, metric = self._open(wish.experiment), metric_named(wish.metric)
        request = Request(log, chosen, own, metric, wish.view, wish.size, asked=wish.asked, sweep=wish.sweep)
        return page.build(request)

    def _record(self, own: pl.DataFrame, wish: Wish) -> Record:
        from tui_datasize.answers.record import Record
        from tui_datasize.metric import metric_named

        asked = replace(wish.asked, variant=wish.variant, view=wish.view, size=wish.size)
        return Record(self._open(wish.experiment), own, metric_named(wish.metric), asked, wish.sweep)

    def _open(self, experiment: str) -> RunLog:
        from tui_datasize.runlog.reader import RunLog

        self._log = self._log or RunLog(self._project)
        self._log.runs(experiment)
        return self._log

    def _overlap(self, runs: pl.DataFrame, wish: Wish) -> Answer:
        from tui_datasize.stats.overlap import find_draws

        own = runs.filter(runs["experiment"] == wish.experiment)
        known, overlaps = self._overlaps
        key = tuple(find_draws(own).rows())
        record = replace(self._record(own, wish), known_overlaps=overlaps if key == known else None)
        self._overlaps = (key, record.overlaps)
        return QUESTIONS["overlap"].ask(record)


def _import_analysis() -> None:
    # plotext is only imported here, and draws on the screen's thread alone.
    import plotext  # noqa: F401

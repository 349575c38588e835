"""The thread that computes analyses, so that neither the screen nor the polling waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from tui_datasize.answers.asked import NOTHING, Asked
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.tui.analysis.overlap_views import OverlapView, view_overlap

if TYPE_CHECKING:
    import polars as pl

    from tui_datasize.analysis.overlap import DrawOverlap, Measure
    from tui_datasize.analysis.summary import Analysis
    from tui_datasize.experiments.spec import RunSpec
    from tui_datasize.runlog.reader import RunLog
    from tui_datasize.tui.analysis.pages.page import Content, Page

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Wish:
    """What a page is wanted of."""

    experiment: str
    metric: str
    """A key of `METRICS_OFFERED`."""
    variant: int = 0
    """Position among the variants of the experiment, in the order of their names."""
    view: int = 0
    """Which of the page's views."""
    size: int = 0
    """Which of the page's train sizes."""
    asked: Asked = NOTHING
    """What is asked of the curve."""
    sweep: Sequence[RunSpec] = ()
    """All runs of the experiment in experiments.toml."""


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

    async def analyse(
        self, runs: pl.DataFrame, experiment: str, metric: str, asked: Asked = NOTHING
    ) -> Analysis:
        """Analyse the learning curves of one experiment; what its subset draws share is left out.

        Args:
            runs: The frame `runs` of the whole project.
            experiment: Its name.
            metric: A key of `METRICS_OFFERED`.
            asked: What is asked of each curve.

        Raises:
            ConfigError: There is no such metric, or what is asked makes no sense for it.
        """
        return await self._run(lambda: self._analyse(runs, experiment, metric, asked))

    async def overlaps(self, runs: pl.DataFrame, experiment: str) -> Sequence[DrawOverlap]:
        """Compare the subset draws of one experiment.

        Args:
            runs: The frame `runs` of the whole project.
            experiment: Its name.
        """
        return await self._run(lambda: self._compare(runs, experiment))

    async def view_overlap(self, overlap: DrawOverlap | None, measure: Measure) -> OverlapView:
        """Compute what is shown of the overlap of one size."""
        return await self._run(lambda: view_overlap(overlap, measure))

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

    def _analyse(self, runs: pl.DataFrame, experiment: str, metric: str, asked: Asked) -> Analysis:
        from tui_datasize.analysis.summary import analyse

        own = runs.filter(runs["experiment"] == experiment)
        return analyse(own, metric, question=asked.question())

    def _build(self, page: Page, runs: pl.DataFrame, wish: Wish) -> Content:
        from tui_datasize.analysis.curve import metric_named
        from tui_datasize.tui.analysis.pages.page import Request

        own = runs.filter(runs["experiment"] == wish.experiment)
        variants = own["variant"].unique().sort()
        chosen = (
            own.filter(own["variant"] == variants[wish.variant % len(variants)]) if len(variants) else own
        )
        log, metric = self._open(wish.experiment), metric_named(wish.metric)
        request = Request(log, chosen, own, metric, wish.view, wish.size, asked=wish.asked, sweep=wish.sweep)
        return page.build(request)

    def _open(self, experiment: str) -> RunLog:
        from tui_datasize.runlog.reader import RunLog

        self._log = self._log or RunLog(self._project)
        self._log.runs(experiment)
        return self._log

    def _compare(self, runs: pl.DataFrame, experiment: str) -> Sequence[DrawOverlap]:
        from tui_datasize.analysis.overlap import find_draws, find_overlaps

        draws = find_draws(runs.filter(runs["experiment"] == experiment))
        known, overlaps = self._overlaps
        key = tuple(draws.rows())
        if key != known:
            log, ids = self._open(experiment), draws["run_id"]
            overlaps = find_overlaps(draws, log.subsets(ids), log.datasets(ids))
            self._overlaps = (key, overlaps)
        return overlaps


def _import_analysis() -> None:
    # plotext is only imported here, and draws on the screen's thread alone.
    import plotext  # noqa: F401

    import tui_datasize.analysis.overlap_tables
    import tui_datasize.analysis.summary  # noqa: F401

"""The thread that computes analyses, so that neither the screen nor the polling waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tui_datasize.runlog.paths import ProjectPaths

if TYPE_CHECKING:
    import polars as pl

    from tui_datasize.analysis.overlap import DrawOverlap
    from tui_datasize.analysis.summary import Analysis
    from tui_datasize.runlog.reader import RunLog
    from tui_datasize.tui.analysis.pages.page import Content, Page


class Analyst:
    """Analyses one experiment at a time on a thread of its own; keeps the overlaps it computed last."""

    def __init__(self, project: ProjectPaths) -> None:
        self._project = project
        # One thread, since a run log is for one.
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="analyst")
        self._log: RunLog | None = None
        self._overlaps: tuple[object, Sequence[DrawOverlap]] = (None, ())

    async def analyse(self, runs: pl.DataFrame, experiment: str, metric: str) -> Analysis:
        """Analyse one experiment.

        Args:
            runs: The frame `runs` of the whole project.
            experiment: Its name.
            metric: A key of `METRICS_OFFERED`.

        Raises:
            ConfigError: There is no such metric.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, self._analyse, runs, experiment, metric)

    async def build(
        self, page: Page, runs: pl.DataFrame, experiment: str, metric: str, variant: int
    ) -> Content:
        """Compute a page.

        Args:
            page: Which.
            runs: The frame `runs` of the whole project.
            experiment: Its name.
            metric: A key of `METRICS_OFFERED`.
            variant: Position among the variants of the experiment, in the order of their names.

        Raises:
            DatasizeError: The page cannot be made of these runs.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._executor, self._build, page, runs, experiment, metric, variant
        )

    def close(self) -> None:
        """End the thread once its work is done; wait for nothing."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _analyse(self, runs: pl.DataFrame, experiment: str, metric: str) -> Analysis:
        # SciPy is imported here, on this thread, when the tab is first opened.
        from tui_datasize.analysis.overlap import find_draws
        from tui_datasize.analysis.summary import analyse

        own = runs.filter(runs["experiment"] == experiment)
        draws = find_draws(own)
        known, overlaps = self._overlaps
        key = tuple(draws.rows())
        if key != known:
            overlaps = self._compare(draws, experiment)
            self._overlaps = (key, overlaps)
        return analyse(own, metric, overlaps)

    def _build(self, page: Page, runs: pl.DataFrame, experiment: str, metric: str, variant: int) -> Content:
        from tui_datasize.analysis.curve import metric_named
        from tui_datasize.tui.analysis.pages.page import Request

        own = runs.filter(runs["experiment"] == experiment)
        variants = own["variant"].unique().sort()
        chosen = own.filter(own["variant"] == variants[variant % len(variants)]) if len(variants) else own
        return page.build(Request(self._open(experiment), chosen, own, metric_named(metric)))

    def _open(self, experiment: str) -> RunLog:
        from tui_datasize.runlog.reader import RunLog

        self._log = self._log or RunLog(self._project)
        self._log.runs(experiment)
        return self._log

    def _compare(self, draws: pl.DataFrame, experiment: str) -> Sequence[DrawOverlap]:
        from tui_datasize.analysis.overlap import find_overlaps

        log, ids = self._open(experiment), draws["run_id"]
        return find_overlaps(draws, log.subsets(ids), log.datasets(ids))

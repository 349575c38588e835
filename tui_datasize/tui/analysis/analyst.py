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

    def _compare(self, draws: pl.DataFrame, experiment: str) -> Sequence[DrawOverlap]:
        from tui_datasize.analysis.overlap import find_overlaps
        from tui_datasize.runlog.reader import RunLog

        self._log = self._log or RunLog(self._project)
        self._log.runs(experiment)
        ids = draws["run_id"]
        return find_overlaps(draws, self._log.subsets(ids), self._log.datasets(ids))

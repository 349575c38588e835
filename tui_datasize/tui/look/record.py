"""The run directories as the polling thread sees them."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from tui_datasize.runlog.collect import RUN_METRICS
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.runlog.reader import RunLog
from tui_datasize.runlog.tail import MetricsTail, extend


class ProjectRecord:
    """The frame `runs`, and the metrics of a few runs read on from where they were left. For one thread."""

    def __init__(self, project: ProjectPaths) -> None:
        self._project = project
        self._log = RunLog(project)
        self._watched: frozenset[str] = frozenset()
        self._forget()

    def _forget(self) -> None:
        self._tail = MetricsTail()
        self._rows = pl.DataFrame(schema=dict(RUN_METRICS))

    def runs(self) -> pl.DataFrame:
        """One row per run directory, schema `RUNS`."""
        return self._log.runs()

    def problems(self) -> list[str]:
        """What could not be read, one line each."""
        return [str(problem) for problem in self._log.problems]

    def metrics(self, experiments: Mapping[str, str]) -> pl.DataFrame:
        """Metric rows of some runs, schema `RUN_METRICS`.

        Args:
            experiments: The experiment of each run id.
        """
        if frozenset(experiments) != self._watched:
            self._watched = frozenset(experiments)
            self._forget()
        runs = [self._project.run(experiment, run_id) for run_id, experiment in experiments.items()]
        self._rows = extend(self._rows, self._tail.read(runs))
        return self._rows

"""The run directories as the polling thread sees them."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import polars as pl

from tui_datasize.runlog.collect import RUN_METRICS
from tui_datasize.runlog.paths import ProjectPaths, RunPaths
from tui_datasize.runlog.reader import FINISHED, RunLog
from tui_datasize.runlog.scan import Stamp, read_stamp
from tui_datasize.runlog.tail import MetricsTail, extend

_FIRST_STEP = 500
"""Run directories that are read at one look where they are not cached, and twice as many at the next."""
_LOOKS_BETWEEN = 60
"""Every so many looks all run directories are looked at, whatever anything else tells."""


class ProjectRecord:
    """The frame `runs`, and the metrics of a few runs read on from where they were left. For one thread."""

    def __init__(self, project: ProjectPaths) -> None:
        self._project = project
        self._log = RunLog(project)
        self._watched: frozenset[str] = frozenset()
        self._runs: pl.DataFrame | None = None
        self._unfinished: list[RunPaths] | None = None
        self._stamp: Stamp | None = None
        self._looks = 0
        self._step = _FIRST_STEP
        self._forget()

    def _forget(self) -> None:
        self._tail = MetricsTail()
        self._rows = pl.DataFrame(schema=dict(RUN_METRICS))

    @property
    def unread(self) -> int:
        """Run directories that were left for the next look."""
        return self._log.unread

    def runs(self, *, queue_changed: bool = True, in_steps: bool = False) -> pl.DataFrame:
        """One row per run directory, schema `RUNS`; the very same frame while nothing has changed.

        Args:
            queue_changed: Whether the queue has changed since the last call: then any run may have. While
                it has not, all run directories are looked at only now and then, those of finished runs
                by the directories that hold them.
            in_steps: Whether a call may leave some of many directories `unread` for the next.
        """
        self._looks += 1
        # Before the look, so that what changes during it is seen by the next.
        stamp = self._read_stamp()
        is_due = self._looks % _LOOKS_BETWEEN == 0
        if self._runs is None or stamp is None or queue_changed or is_due or stamp != self._stamp:
            self._stamp = None
            self._step = 2 * self._step if self.unread else _FIRST_STEP
            runs = self._log.runs(most_read=self._step if in_steps else None)
            if self._runs is None or not runs.equals(self._runs):
                self._runs, self._unfinished = runs, self._find_unfinished(runs)
                # Of the runs as they are now.
                stamp = None
            self._stamp = stamp
        return self._runs

    def _read_stamp(self) -> Stamp | None:
        """What changes with the runs; None where only a look at them tells."""
        if self._unfinished is None or self.unread:
            return None
        return read_stamp(self._project, self._unfinished)

    def _find_unfinished(self, runs: pl.DataFrame) -> list[RunPaths] | None:
        unfinished = runs.filter(~pl.col("state").is_in(FINISHED))
        if (unfinished["state"] == "running").any():
            # It may have died without a trace.
            return None
        return [self._project.run(*names) for names in unfinished.select("experiment", "run_id").iter_rows()]

    def problems(self) -> list[str]:
        return [str(problem) for problem in self._log.problems]

    def finished_metrics(self, run_ids: Collection[str]) -> pl.DataFrame:
        """Metric rows of some runs that have ended, schema `RUN_METRICS`; nothing of them is kept."""
        return self._log.metrics(run_ids)

    def metrics(self, experiments: Mapping[str, str]) -> pl.DataFrame:
        """Metric rows of some runs, given the experiment of each; schema `RUN_METRICS`."""
        if frozenset(experiments) != self._watched:
            self._watched = frozenset(experiments)
            self._forget()
        runs = [self._project.run(experiment, run_id) for run_id, experiment in experiments.items()]
        self._rows = extend(self._rows, self._tail.read(runs))
        return self._rows

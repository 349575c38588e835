"""Polars frames of everything that a project's run directories hold.

Nothing here raises for what a directory holds or lacks: what cannot be read is left out and named in
`RunLog.problems`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias

import polars as pl

from tui_datasize.files import read_bounded
from tui_datasize.runlog import schema
from tui_datasize.runlog.cache import KNOWN, METRICS_FILE, SEGMENT_RUNS, RunCache
from tui_datasize.runlog.collect import RUN_METRICS, read_metrics, read_runs, run_paths
from tui_datasize.runlog.describe import SUMMARISED, with_places, with_variants
from tui_datasize.runlog.incomplete import LostRun, note_incomplete
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.runlog.scan import SCANNED, Problem, scan_runs
from tui_datasize.runlog.schema import INCOMPLETE, IS_INCOMPLETE, RUNS, Schema
from tui_datasize.runlog.tables import FileOf, read_datasets, read_tables
from tui_datasize.text import plural

FINISHED = ("succeeded", INCOMPLETE, "failed", "cancelled")
"""States in which nothing changes in a run directory unless someone asks."""

_MOST_SHEET_BYTES = 4_000_000
_PNG_HEAD_BYTES = 24
"""Up to the end of its width and height."""
_LEAST_TO_CACHE = 64
"""Finished runs that are worth a segment; fewer are read from their directories in no time."""

TableName: TypeAlias = Literal["subsets", "per_class", "confusion", "predictions"]
_TABLES: Mapping[TableName, tuple[FileOf, Schema]] = MappingProxyType(
    {
        "subsets": (lambda run: run.subset, schema.SUBSET),
        "per_class": (lambda run: run.per_class, schema.PER_CLASS),
        "confusion": (lambda run: run.confusion, schema.CONFUSION),
        "predictions": (lambda run: run.predictions, schema.PREDICTIONS),
    }
)
"""Training images used, in draw order; accuracy per class; confusion counts; predicted probabilities."""


class RunLog:
    """The record of one project; each call reads again what has changed.

    Frames other than `runs` are of the runs that the last call of `runs` found. Finished runs are taken from,
    and added to, `runs/.cache/` unless told not to. An instance is for one thread; several, in one process or
    many, do not disturb each other.
    """

    def __init__(self, project: ProjectPaths, *, use_cache: bool = True) -> None:
        self.project = project
        self._cache = RunCache(project.cache) if use_cache else None
        self._cache_is_writable = use_cache
        self._known: pl.DataFrame | None = None
        self._problems: dict[str, list[Problem]] = {}
        self.unread = 0
        """Run directories that the last call of `runs` left for the next."""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What the last call for each frame could not read, without repetition."""
        return tuple(dict.fromkeys(problem for found in self._problems.values() for problem in found))

    def runs(self, experiment: str | None = None, *, most_read: int | None = None) -> pl.DataFrame:
        """One row per run directory, schema `RUNS`, in order of experiment, variant, size, draw and seed.

        No more than `most_read` directories are read that are not known, nor cached; the next call goes on.
        """
        directory = pl.lit(f"{self.project.runs}/")
        path = pl.concat_str(directory, "experiment", pl.lit("/"), "run_id").alias("path")
        known = self._refresh(most_read).select(*SUMMARISED)
        runs = with_variants(with_places(known)).with_columns(path).select(*RUNS)
        if experiment is not None:
            runs = runs.filter(pl.col("experiment") == experiment)
        return runs.sort("experiment", "variant", "train_size", "subset_seed", "seed", "repeat", "run_id")

    def metrics(self, run_ids: Collection[str] | None = None) -> pl.DataFrame:
        """Rows of `metrics.jsonl`, schema `RUN_METRICS`, those of a run together and in file order.

        Broken lines are left out, and so are rows that a resumed worker did again; `run_ids` as in `table`.
        """
        wanted = self._select(run_ids)
        frames = [pl.DataFrame(schema=dict(RUN_METRICS))]
        uncached = [wanted.filter(pl.col(METRICS_FILE).is_null())]
        for (file,), group in wanted.drop_nulls(METRICS_FILE).group_by(METRICS_FILE):
            rows = self._cache.metrics(str(file), group["run_id"]) if self._cache else None
            if rows is None:
                uncached.append(group)
            else:
                frames.append(rows)
        rows, self._problems["metrics"] = read_metrics(run_paths(self.project, pl.concat(uncached)))
        return pl.concat([*frames, rows]).sort("experiment", "run_id", maintain_order=True)

    def table(self, name: TableName, run_ids: Collection[str] | None = None) -> pl.DataFrame:
        """What lies in one file of each run, its columns behind `run_id`.

        All frames are of some runs, unknown ones ignored, or by default of all.
        """
        file_of, columns = _TABLES[name]
        runs = run_paths(self.project, self._select(run_ids))
        frame, self._problems[name] = read_tables(runs, file_of, columns)
        return frame

    def sheet(self, experiment: str, run_id: str, of: Literal["chosen", "generated"] = "chosen") -> bytes:
        """The images that a run's strategy added first and last, or generated ones, a PNG; empty for none."""
        run = self.project.run(experiment, run_id)
        try:
            png = read_bounded(run.chosen if of == "chosen" else run.generated, _MOST_SHEET_BYTES)
        except OSError:
            return b""
        return png if png.startswith(b"\x89PNG\r\n\x1a\n") and len(png) > _PNG_HEAD_BYTES else b""

    def datasets(self, run_ids: Collection[str] | None = None) -> pl.DataFrame:
        """Images per class of the whole data set, schema `DATASETS`; `run_ids` as in `table`."""
        runs = run_paths(self.project, self._select(run_ids))
        frame, self._problems["datasets"] = read_datasets(runs)
        return frame

    def _refresh(self, most_read: int | None = None) -> pl.DataFrame:
        scanned, unlisted = scan_runs(self.project)
        recalled = self._recall().join(scanned, on=list(SCANNED), how="semi")
        missing = scanned.join(recalled, on=list(SCANNED), how="anti")
        self.unread = 0 if most_read is None else max(0, missing.height - most_read)
        missing = missing.head(missing.height - self.unread)
        read, unreadable = read_runs(self.project, missing)
        loose = read.with_columns(pl.lit(None, pl.String).alias(METRICS_FILE))
        self._known = self._compact(pl.concat([recalled, loose]), scanned)
        broken = self._known.filter(pl.col("broken_lines") > 0)
        torn = [
            Problem(str(run.metrics), f"{plural(lines, 'broken line')} left out")
            for run, lines in zip(run_paths(self.project, broken), broken["broken_lines"], strict=True)
        ]
        self._problems["runs"] = [*unlisted, *unreadable, *torn]
        if self._cache is not None and not self.unread:
            lost = self._known.filter(IS_INCOMPLETE).sort("experiment", "run_id")
            columns = ("experiment", "run_id", "metrics_ns", "metrics_bytes")
            note_incomplete(self.project, [LostRun(*row) for row in lost.select(columns).iter_rows()])
        return self._known

    def _recall(self) -> pl.DataFrame:
        """Rows, schema `KNOWN`, that hold as long as their stamps do."""
        if self._known is not None:
            # A running run may have died without a trace: it is looked at each time.
            return self._known.filter(pl.col("state") != "running")
        return self._cache.runs() if self._cache else pl.DataFrame(schema=dict(KNOWN))

    def _compact(self, known: pl.DataFrame, scanned: pl.DataFrame) -> pl.DataFrame:
        loose = known.filter(pl.col("state").is_in(FINISHED) & pl.col(METRICS_FILE).is_null())
        if self._cache is None or not self._cache_is_writable or loose.height < _LEAST_TO_CACHE:
            return known
        try:
            for runs in loose.iter_slices(SEGMENT_RUNS):
                self._cache.add(runs, read_metrics(run_paths(self.project, runs))[0])
            self._cache.tidy(scanned)
        except OSError as error:
            self._cache_is_writable = False
            self._problems["cache"] = [Problem(str(self.project.cache), f"is unwritable: {error.strerror}")]
        files = self._cache.runs().select(*SCANNED, METRICS_FILE)
        return known.drop(METRICS_FILE).join(files, on=list(SCANNED), how="left")

    def _select(self, run_ids: Collection[str] | None) -> pl.DataFrame:
        known = self._refresh() if self._known is None else self._known
        return known if run_ids is None else known.filter(pl.col("run_id").is_in(list(run_ids)))


def incomplete_of(project: ProjectPaths, run_ids: Collection[str]) -> list[str]:
    """Those of some runs that succeeded, as their directories tell, and lack evaluations."""
    lost = RunLog(project).runs().filter(IS_INCOMPLETE & pl.col("run_id").is_in(list(run_ids)))
    return list(lost["run_id"])

"""Many run directories at once: their rows of the frame `runs`, and their metrics."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

import polars as pl

from tui_datasize.experiments.budget import missing_evaluations
from tui_datasize.files import read_bounded
from tui_datasize.runlog.describe import (
    DESCRIBED,
    EVALUATED,
    PLANNED_EVALUATIONS,
    SUMMARISED,
    VALIDATED,
    describe_run,
    summarise,
)
from tui_datasize.runlog.paths import ProjectPaths, RunPaths
from tui_datasize.runlog.rows import (
    MOST_METRICS_BYTES,
    SOURCE,
    complete_lines,
    drop_voided,
    parse_rows,
)
from tui_datasize.runlog.scan import STAMP, Problem
from tui_datasize.runlog.schema import INCOMPLETE, METRICS, Schema

STAMPED: Schema = MappingProxyType({**SUMMARISED, **STAMP})
"""A run's row before `variant` and `path` are added, with the stamp under which it was read."""

_OWNER = {"run_id": pl.String, "experiment": pl.String}
RUN_METRICS: Schema = MappingProxyType({**_OWNER, **METRICS})
"""The frame `metrics`: the rows of `metrics.jsonl` that count, and whose they are."""

_REQUIRED = ("dataset", "model", "train_size", "total_updates")
_BATCH_RUNS = 1024


def run_paths(project: ProjectPaths, rows: pl.DataFrame) -> list[RunPaths]:
    """The directories of rows with columns `experiment` and `run_id`."""
    return [project.run(*names) for names in rows.select("experiment", "run_id").iter_rows()]


def read_runs(project: ProjectPaths, scanned: pl.DataFrame) -> tuple[pl.DataFrame, list[Problem]]:
    """Read run directories, schema `SCANNED`: their rows, schema `STAMPED`, and what could not be read."""
    frames = [pl.DataFrame(schema=dict(STAMPED))]
    problems: list[Problem] = []
    for batch in scanned.iter_slices(_BATCH_RUNS):
        frame, unreadable = _read_batch(run_paths(project, batch))
        frames.append(frame.join(batch, on=["experiment", "run_id"]).select(*STAMPED))
        problems += unreadable
    return pl.concat(frames), problems


def read_metrics(runs: Sequence[RunPaths]) -> tuple[pl.DataFrame, list[Problem]]:
    """The rows of `metrics.jsonl` that count, schema `RUN_METRICS`, those of a run in file order."""
    frames = [pl.DataFrame(schema=dict(RUN_METRICS))]
    problems: list[Problem] = []
    for start in range(0, len(runs), _BATCH_RUNS):
        batch = runs[start : start + _BATCH_RUNS]
        parsed = parse_rows([complete_lines(_read_bytes(run, problems)) for run in batch])
        frames.append(with_owners(drop_voided(parsed.rows, SOURCE), batch))
    return pl.concat(frames), problems


def with_owners(rows: pl.DataFrame, runs: Sequence[RunPaths]) -> pl.DataFrame:
    """Metric rows with whose they are, schema `RUN_METRICS`; their column `source` is a place in `runs`."""
    names = [(run.run_id, run.experiment) for run in runs]
    owners = pl.DataFrame(names, schema=_OWNER, orient="row").with_row_index(SOURCE)
    return rows.join(owners, on=SOURCE, maintain_order="left").select(*RUN_METRICS)


def _read_batch(runs: Sequence[RunPaths]) -> tuple[pl.DataFrame, list[Problem]]:
    described = [describe_run(run) for run in runs]
    problems = [row for row in described if isinstance(row, Problem)]
    parsed = parse_rows([complete_lines(_read_bytes(run, problems)) for run in runs])
    rows = [row | {SOURCE: source} for source, row in enumerate(described) if not isinstance(row, Problem)]
    small_files = pl.DataFrame(
        [
            # A value of another type is null, and its run left out below.
            pl.Series(name, [row.get(name) for row in rows], dtype=kind, strict=False)
            for name, kind in {**DESCRIBED, SOURCE: pl.UInt32}.items()
        ]
    )
    frame = small_files.join(summarise(drop_voided(parsed.rows, SOURCE)), on=SOURCE, how="left")
    broken = pl.Series(parsed.broken_lines, dtype=pl.Int64)
    frame = frame.with_columns(broken.gather(frame[SOURCE]).alias("broken_lines"), _missing(frame))
    is_lost = (pl.col("state") == "succeeded") & (pl.col("missing_evaluations") > 0)
    frame = frame.with_columns(pl.when(is_lost).then(pl.lit(INCOMPLETE)).otherwise("state").alias("state"))
    # Of an imported run alone nobody may know the seed, the draw, nor the batch size.
    has_seed = pl.any_horizontal(pl.col("seed", "repeat").is_not_null())
    has_draw = pl.any_horizontal(pl.col("subset_seed").is_not_null(), pl.col("batch_size").is_null())
    is_whole = pl.all_horizontal(pl.col(_REQUIRED).is_not_null(), has_seed, has_draw)
    for source in frame.filter(~is_whole)[SOURCE]:
        problems.append(Problem(str(runs[source].spec), "has a value of the wrong type"))
    return frame.filter(is_whole), problems


def _missing(frame: pl.DataFrame) -> pl.Series:
    """Evaluations that are asked for and not there; null where nobody knows what was asked for."""
    made_of = pl.when(pl.col("task") == "classification").then(EVALUATED).otherwise(VALIDATED)
    columns = frame.select(
        "total_updates", PLANNED_EVALUATIONS, made_of.alias(EVALUATED), "ended_update", "refit_update"
    )
    counts = [
        None
        if updates is None or planned is None
        else missing_evaluations(updates, planned, made or (), *otherwise)
        for updates, planned, made, *otherwise in columns.iter_rows()
    ]
    return pl.Series("missing_evaluations", counts, dtype=pl.Int64)


def _read_bytes(run: RunPaths, problems: list[Problem]) -> bytes:
    try:
        return read_bounded(run.metrics, MOST_METRICS_BYTES)
    except FileNotFoundError:
        return b""  # Not begun.
    except OSError as error:
        problems.append(Problem(str(run.metrics), f"cannot be read: {error.strerror}"))
        return b""

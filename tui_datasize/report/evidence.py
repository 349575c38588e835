"""What a report, and `analyze`, read of the record: the files behind the frame of runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from tui_datasize.answers.asked import Asked
from tui_datasize.answers.record import Record
from tui_datasize.metric import metric_named
from tui_datasize.runlog.paths import RunPaths
from tui_datasize.runlog.reader import RunLog
from tui_datasize.runlog.scan import Problem, read_object
from tui_datasize.stats.audit import runs_to_read
from tui_datasize.stats.question import Question
from tui_datasize.stats.summary import Analysis


@dataclass(frozen=True)
class Evidence:
    """Everything that a report shows."""

    runs: pl.DataFrame
    """Schema `RUNS`, of one experiment."""
    analysis: Analysis
    datasets: pl.DataFrame
    """Schema `DATASETS`, of one run per draw."""
    provenance: tuple[dict[str, Any], ...]
    """The `provenance.json` of each run that has one."""
    record: Record


def gather(log: RunLog, runs: pl.DataFrame, metric: str, question: Question) -> Evidence:
    """Read and analyse the runs of one experiment.

    Args:
        log: The record.
        runs: Schema `RUNS`, of one experiment, at least one.
        metric: A key of `METRICS_OFFERED`.
        question: What is asked of the curves.

    Raises:
        ConfigError: There is no such metric, or the question makes no sense for it.
    """
    offered = metric_named(metric)
    question.check(offered)
    documents = (read_object(RunPaths(Path(path)).provenance) for path in runs["path"])
    record = Record(log, runs, offered, Asked(question.target, question.fit_from, question.delta))
    return Evidence(
        runs=runs,
        analysis=record.analysis,
        datasets=log.datasets(runs_to_read(runs)[0]),
        provenance=tuple(document for document in documents if not isinstance(document, Problem)),
        record=record,
    )

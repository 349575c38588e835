"""What a report, and `analyze`, read of the record: the files behind the frame of runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from tui_datasize.analysis.audit import runs_to_read
from tui_datasize.analysis.curve import Metric, metric_named
from tui_datasize.analysis.per_class import class_curves
from tui_datasize.analysis.question import Question
from tui_datasize.analysis.summary import Analysis, analyse
from tui_datasize.analysis.training_views import SURFACES, surface, training_curves
from tui_datasize.answers.asked import Asked
from tui_datasize.answers.record import Record
from tui_datasize.report.framed import View
from tui_datasize.report.predicted import FROM_PREDICTIONS
from tui_datasize.report.views import BUILDERS, Source
from tui_datasize.runlog.paths import RunPaths
from tui_datasize.runlog.reader import RunLog
from tui_datasize.runlog.scan import Problem, read_object
from tui_datasize.runlog.schema import SCORES


@dataclass(frozen=True)
class Evidence:
    """Everything that a report shows."""

    runs: pl.DataFrame
    """Schema `RUNS`, of one experiment."""
    analysis: Analysis
    courses: pl.DataFrame | None
    """The frame of `training_curves`; None for a metric that has no course."""
    surfaces: tuple[tuple[Metric, pl.DataFrame], ...]
    """Metrics of the evaluations, with the frame of `surface` of each that has been measured."""
    classes: pl.DataFrame
    """Schema `CLASS_CURVES`."""
    datasets: pl.DataFrame
    """Schema `DATASETS`, of one run per draw."""
    provenance: tuple[dict[str, Any], ...]
    """The `provenance.json` of each run that has one."""
    record: Record
    views: Mapping[str, tuple[View, ...]]
    """Tables by the names of the app's pages, such as "gap" or "ensembles"."""


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
    metrics = log.metrics(runs["run_id"])
    documents = (read_object(RunPaths(Path(path)).provenance) for path in runs["path"])
    record = Record(log, runs, offered, Asked(question.target, question.fit_from, question.delta))
    source = Source(log, runs, metrics, offered, question)
    return Evidence(
        runs=runs,
        analysis=analyse(runs, metric, record.overlaps, question),
        courses=_courses(runs, metrics, offered),
        surfaces=tuple(_surfaces(runs, metrics)),
        classes=class_curves(runs, log.per_class(runs["run_id"])),
        datasets=log.datasets(runs_to_read(runs)[0]),
        provenance=tuple(document for document in documents if not isinstance(document, Problem)),
        record=record,
        views={
            **{name: tuple(build(source)) for name, build in BUILDERS.items()},
            **{name: tuple(build(source)) for name, build in FROM_PREDICTIONS.items()},
        },
    )


def _courses(runs: pl.DataFrame, metrics: pl.DataFrame, metric: Metric) -> pl.DataFrame | None:
    split, _, score = metric.name.partition("_")
    if split not in ("test", "train") or score not in SCORES:
        return None
    return training_curves(runs, metrics, score, split)


def _surfaces(runs: pl.DataFrame, metrics: pl.DataFrame) -> Iterator[tuple[Metric, pl.DataFrame]]:
    for name in SURFACES:
        split, _, score = name.partition("_")
        table = surface(runs, metrics, score, split)
        if table.height:
            yield metric_named(name), table

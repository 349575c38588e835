"""Commands that read the record: export a table, analyse an experiment."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

import polars as pl

from tui_datasize.answers.asked import NOTHING, Asked
from tui_datasize.answers.catalogue import QUESTIONS
from tui_datasize.answers.document import to_dict
from tui_datasize.answers.record import Record
from tui_datasize.cli.comparisons import comparison_dict
from tui_datasize.cli.plan_tables import answers_of, plans_of
from tui_datasize.cli.project import print_json, project_paths, talk
from tui_datasize.errors import EXIT_OK, ConfigError
from tui_datasize.experiments.toml_table import nearest
from tui_datasize.metric import metric_named
from tui_datasize.render.console import data_console, print_answer, print_words
from tui_datasize.render.json import answers_dict
from tui_datasize.runlog.export import SUFFIXES
from tui_datasize.runlog.export import export as export_frame
from tui_datasize.runlog.outputs import refuse_output
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.runlog.reader import RunLog
from tui_datasize.stats.curve import learning_curve
from tui_datasize.stats.ensembles import ensembles_table
from tui_datasize.stats.findings import findings_table
from tui_datasize.stats.fits_table import fits_table
from tui_datasize.stats.groups_table import groups_table
from tui_datasize.stats.overlap_tables import overlap_table
from tui_datasize.stats.summary import analyse_curves
from tui_datasize.stats.variance import variance_table
from tui_datasize.text import plural

BuildTable: TypeAlias = Callable[[RunLog, pl.DataFrame, str], pl.DataFrame]


def export(arguments: argparse.Namespace) -> int:
    """Write a table of the record to a file or to stdout."""
    metric_named(arguments.metric)
    if arguments.output != "-":
        refuse_output(Path(arguments.output), suffixes=SUFFIXES[arguments.format], force=arguments.force)
    log = RunLog(project_paths(arguments))
    runs = runs_of(log, arguments.experiment)
    frame = _frame(log, runs, arguments)
    to_stdout = arguments.output == "-"
    if to_stdout and arguments.format == "parquet" and sys.stdout.isatty():
        raise ConfigError("Parquet is not for a terminal", fix="name a file with -o FILE")
    file = None if to_stdout else Path(arguments.output)
    export_frame(frame, arguments.format, file, force=arguments.force)
    _tell_problems(log)
    if not to_stdout:
        talk(f"{arguments.output}: {plural(frame.height, 'row')}")
    return EXIT_OK


def _frame(log: RunLog, runs: pl.DataFrame, arguments: argparse.Namespace) -> pl.DataFrame:
    match arguments.table:
        case "plan":
            return plans_of(log, runs, arguments)
        case "answer":
            return answers_of(runs, arguments)
        case "runs" if arguments.columns == "short":
            return runs.select(_SHORT)
        case table:
            return _TABLES[table](log, runs, arguments.metric)


_SHORT = (
    *("run_id", "experiment", "variant", "train_size", "subset_seed", "seed", "state"),
    *("test_accuracy", "test_loss", "wall_s"),
)
"""Columns of runs that most people want."""


def analyze(arguments: argparse.Namespace) -> int:
    """Print what the runs of an experiment say: the answer first."""
    paths = project_paths(arguments)
    asked = asked_of(arguments)
    record = record_of(paths, arguments.experiment, arguments.metric, asked)
    if arguments.json:
        answers = {name: entry.ask(record) for name, entry in QUESTIONS.items()}
        analysis = replace(record.analysis, overlaps=tuple(record.overlaps))
        print_json(answers_dict(answers) | to_dict(analysis) | comparison_dict(record))
    else:
        print_analysis(record, everything=arguments.all)
    _tell_problems(record.log)
    return EXIT_OK


def asked_of(arguments: argparse.Namespace) -> Asked:
    """What `--target`, `--fit-from` and `--delta` ask of a metric.

    Raises:
        ConfigError: There is no such metric, or a value is none of it.
    """
    metric = metric_named(arguments.metric)
    return Asked(
        target=arguments.target and metric.read(arguments.target),
        fit_from=arguments.fit_from,
        delta=arguments.delta and metric.read_difference(arguments.delta),
    )


def record_of(paths: ProjectPaths, experiment: str, metric: str, asked: Asked = NOTHING) -> Record:
    """The runs of an experiment, to ask questions of.

    Raises:
        ConfigError: There is no such metric, what is asked makes no sense for it, or there are no runs.
    """
    offered = metric_named(metric)
    asked.question().check(offered)
    log = RunLog(paths)
    return Record(log, runs_of(log, experiment), offered, asked)


def print_analysis(record: Record, *, everything: bool = False) -> None:
    """Print the answer, what speaks against it and the learning curve; or everything that can be asked.

    Raises:
        ConfigError: What is asked makes no sense for the metric.
    """
    console = data_console()
    left_out = []
    for entry in QUESTIONS.values():
        if not (everything or entry.is_brief):
            continue
        answer = entry.ask(record)
        print_answer(console, "" if entry.name == "answer" else entry.title, answer, everything=everything)
        if not answer.applies and (everything or entry.name == "answer"):
            left_out.append(f"{entry.title}: {answer.why_not}")
    for line in left_out:
        print_words(console, line)
    if not everything:
        others = sum(not entry.is_brief for entry in QUESTIONS.values())
        talk(f"{plural(others, 'more question')} answered with --all")


def _record(log: RunLog, runs: pl.DataFrame, metric: str = "test_accuracy") -> Record:
    return Record(log, runs, metric_named(metric))


def runs_of(log: RunLog, experiment: str | None) -> pl.DataFrame:
    """The runs of one experiment, or all.

    Raises:
        ConfigError: The experiment has no runs.
    """
    runs = log.runs(experiment)
    if experiment is not None and runs.is_empty():
        known = set(log.runs()["experiment"])
        hint = nearest(experiment, known) if known else "no run has been queued yet"
        raise ConfigError(f"no experiment {experiment!r} has runs here", fix=hint)
    return runs


def _runs_table(_log: RunLog, runs: pl.DataFrame, _metric: str) -> pl.DataFrame:
    return runs


def _metrics_table(log: RunLog, runs: pl.DataFrame, _metric: str) -> pl.DataFrame:
    return log.metrics(runs["run_id"])


def _curve_table(_log: RunLog, runs: pl.DataFrame, metric: str) -> pl.DataFrame:
    return learning_curve(runs, metric)


def _fits_table(_log: RunLog, runs: pl.DataFrame, metric: str) -> pl.DataFrame:
    return fits_table(analyse_curves(runs, metric))


def _overlap_table(log: RunLog, runs: pl.DataFrame, _metric: str) -> pl.DataFrame:
    return overlap_table(_record(log, runs).overlaps)


def _ensembles_table(log: RunLog, runs: pl.DataFrame, _metric: str) -> pl.DataFrame:
    return ensembles_table(runs, log.predictions)


def _audit_table(log: RunLog, runs: pl.DataFrame, _metric: str) -> pl.DataFrame:
    return findings_table(_record(log, runs).findings)


def _groups_table(_log: RunLog, runs: pl.DataFrame, metric: str) -> pl.DataFrame:
    return groups_table(runs, metric)


def _variance_table(log: RunLog, runs: pl.DataFrame, metric: str) -> pl.DataFrame:
    return variance_table(_record(log, runs, metric).scatter)


_TABLES: Mapping[str, BuildTable] = MappingProxyType(
    {
        "runs": _runs_table,
        "metrics": _metrics_table,
        "curve": _curve_table,
        "fits": _fits_table,
        "overlap": _overlap_table,
        "ensembles": _ensembles_table,
        "audit": _audit_table,
        "groups": _groups_table,
        "variance": _variance_table,
    }
)


def _tell_problems(log: RunLog) -> None:
    for problem in log.problems:
        talk(str(problem))

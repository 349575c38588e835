"""Commands that read the record: export a table, analyse an experiment."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import polars as pl
from rich.console import Console

from tui_datasize.analysis.curve import Metric, learning_curve, metric_named
from tui_datasize.analysis.document import fits_table, to_dict
from tui_datasize.analysis.ensembles import ensembles_table
from tui_datasize.analysis.findings import findings_table
from tui_datasize.analysis.fits import Estimate, FitFailure, LackOfFit, LogLinearFit
from tui_datasize.analysis.groups_table import groups_table
from tui_datasize.analysis.overlap import DrawOverlap
from tui_datasize.analysis.overlap_tables import overlap_table
from tui_datasize.analysis.question import Question
from tui_datasize.analysis.summary import Analysis, CurveAnalysis, analyse, analyse_curves
from tui_datasize.analysis.variance import variance_table
from tui_datasize.answers.asked import Asked
from tui_datasize.answers.record import Record
from tui_datasize.cli.comparisons import comparison_dict, print_answers, print_comparisons
from tui_datasize.cli.console import data_console, plain_table, print_words
from tui_datasize.cli.law_lines import print_laws, print_published
from tui_datasize.cli.plan_tables import plans_of
from tui_datasize.cli.project import print_json, project_paths, talk
from tui_datasize.errors import EXIT_OK, ConfigError
from tui_datasize.experiments.toml_table import nearest
from tui_datasize.report.evidence import overlaps_of
from tui_datasize.runlog.export import SUFFIXES
from tui_datasize.runlog.export import export as export_frame
from tui_datasize.runlog.outputs import refuse_output
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.runlog.reader import RunLog
from tui_datasize.words import plural

BuildTable: TypeAlias = Callable[[RunLog, pl.DataFrame, str], pl.DataFrame]


def export(arguments: argparse.Namespace) -> int:
    """Write a table of the record to a file or to stdout."""
    metric_named(arguments.metric)
    if arguments.output != "-":
        refuse_output(Path(arguments.output), suffixes=SUFFIXES[arguments.format], force=arguments.force)
    log = RunLog(project_paths(arguments))
    runs = runs_of(log, arguments.experiment)
    frame = (
        plans_of(log, runs, arguments)
        if arguments.table == "plan"
        else _TABLES[arguments.table](log, runs, arguments.metric)
    )
    to_stdout = arguments.output == "-"
    if to_stdout and arguments.format == "parquet" and sys.stdout.isatty():
        raise ConfigError("Parquet is not for a terminal", fix="name a file with -o FILE")
    file = None if to_stdout else Path(arguments.output)
    export_frame(frame, arguments.format, file, force=arguments.force)
    _tell_problems(log)
    if not to_stdout:
        talk(f"{arguments.output}: {plural(frame.height, 'row')}")
    return EXIT_OK


def analyze(arguments: argparse.Namespace) -> int:
    """Print an experiment's learning curves, fits and overlap."""
    paths = project_paths(arguments)
    question = Question(arguments.fit_from, arguments.target, arguments.delta)
    if arguments.json:
        log, runs, analysis = _analyse(paths, arguments.experiment, arguments.metric, question)
        print_json(to_dict(analysis) | comparison_dict(_record(log, runs, arguments.metric, question)))
        _tell_problems(log)
    else:
        print_analysis(paths, arguments.experiment, arguments.metric, question)
    return EXIT_OK


def print_analysis(
    paths: ProjectPaths, experiment: str, metric: str, question: Question | None = None
) -> None:
    """Print what speaks against the numbers, then the learning curves, their fits, groups and overlaps.

    Raises:
        ConfigError: There is no such metric, or the experiment has no runs.
    """
    log, runs, analysis = _analyse(paths, experiment, metric, question or Question())
    console = data_console()
    record = _record(log, runs, metric, question or Question())
    print_answers(console, record, "audit")
    for curve in analysis.curves:
        _print_curve(console, curve)
    print_comparisons(console, runs, metric)
    print_answers(console, record, "variance")
    for overlap in analysis.overlaps:
        if len(overlap.draws) > 1:
            _print_overlap(console, overlap)
    if analysis.n_left_out:
        is_or_are = "is" if analysis.n_left_out == 1 else "are"
        talk(f"{plural(analysis.n_left_out, 'run')} {is_or_are} left out: not succeeded, or without {metric}")
    _tell_problems(log)


def _analyse(
    paths: ProjectPaths, experiment: str, metric: str, question: Question
) -> tuple[RunLog, pl.DataFrame, Analysis]:
    question.check(metric_named(metric))
    log = RunLog(paths)
    runs = runs_of(log, experiment)
    return log, runs, analyse(runs, metric, overlaps_of(log, runs), question)


def _record(
    log: RunLog, runs: pl.DataFrame, metric: str = "test_accuracy", question: Question | None = None
) -> Record:
    asked = Asked(question.target, question.fit_from, question.delta) if question else Asked()
    return Record(log, runs, metric_named(metric), asked)


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
    return overlap_table(overlaps_of(log, runs))


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


def _print_curve(console: Console, curve: CurveAnalysis) -> None:
    metric, variant = curve.metric, f", {curve.variant}" if curve.variant else ""
    unit = " in %" if metric.is_share else ""
    console.print(f"{metric.title}{unit} of {curve.experiment}{variant}", style="bold")
    columns = ("train size", "runs", "mean", "SD", "95 % interval", "min", "max")
    table = plain_table(*columns, right=columns)
    for row in curve.curve.iter_rows(named=True):
        mean, sd, least, most = (_show(row[key], metric) for key in ("mean", "sd", "min", "max"))
        interval = _interval(row, metric)
        table.add_row(str(row["train_size"]), str(row["n_runs"]), mean, sd, interval, least, most)
    console.print(table)
    print_words(console, _fit_lines(curve))
    print_published(console, curve)
    print_laws(console, curve)


def _interval(row: Mapping[str, Any], metric: Metric) -> str:
    """Of one row of schema `CURVE`; without any scatter none can be told."""
    if row["low"] is None:
        return "all runs equal" if row["n_runs"] > 1 else ""
    return f"{_show(row['low'], metric)} to {_show(row['high'], metric)}"


def _fit_lines(curve: CurveAnalysis) -> str:
    fit = curve.fit
    if isinstance(fit, FitFailure):
        return f"\nno log-linear fit: it {fit.reason}\n"
    lines = [
        f"\n{curve.metric.name} = {fit.formula}, through the means of {fit.n_points} sizes",
        f"slope      {_describe(fit.slope)}",
        f"intercept  {_describe(fit.intercept)}",
        f"r2 {fit.r2:.3f}, adjusted {fit.r2_adjusted:.3f}, F {fit.f:.2f}, p {fit.f_p:.2e}",
        _doubling_line(fit, curve.metric),
        curve.caveat or _lack_line(curve.lack_of_fit),
    ]
    return "\n".join(line for line in lines if line) + "\n"


def _lack_line(test: LackOfFit | FitFailure) -> str:
    return "" if isinstance(test, FitFailure) else f"all runs together do not speak against it: {test.words}"


def _describe(estimate: Estimate) -> str:
    return (
        f"{estimate.value:.4f}, SE {estimate.stderr:.4f}, t {estimate.t:.2f}, p {estimate.p:.2e}, "
        f"95 % {estimate.low:.4f} to {estimate.high:.4f}"
    )


def _doubling_line(fit: LogLinearFit, metric: Metric) -> str:
    gain = fit.doubling
    scale, unit = (100, " points") if metric.is_share else (1, "")
    return (
        f"by this law the next doubling of the data changes it by {scale * gain.value:+z.2f}{unit} "
        f"(95 % {scale * gain.low:+z.2f} to {scale * gain.high:+z.2f})"
    )


def _print_overlap(console: Console, overlap: DrawOverlap) -> None:
    mean, low, high = overlap.expected_fraction
    console.print(f"Overlap of draws of {overlap.train_size} images in %", style="bold")
    table = plain_table("", *overlap.draws, right=overlap.draws)
    for draw, shares in zip(overlap.draws, overlap.fraction, strict=True):
        table.add_row(draw, *(f"{100 * share:.1f}" for share in shares))
    console.print(table)
    if mean == mean:
        console.print(
            f"independent draws would share {_percent(mean)} ({_percent(low)} to {_percent(high)})\n"
        )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _show(value: float | None, metric: Metric) -> str:
    if value is None:
        return ""
    return f"{100 * value:.2f}" if metric.is_share else f"{value:.4f}"

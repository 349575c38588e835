"""Commands that read the record: export a table, analyse an experiment, plan its next runs, report on it."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
from rich.console import Console

import tui_datasize
from tui_datasize.answers.answer import Answer, Asked
from tui_datasize.answers.catalogue import QUESTIONS
from tui_datasize.answers.document import to_dict
from tui_datasize.answers.plan import Planned, make_plan, plan_dict, plan_table
from tui_datasize.answers.proposal import Proposal
from tui_datasize.answers.record import Reading, Record
from tui_datasize.answers.tables import TABLES
from tui_datasize.cli.basics import experiments_of, print_json, project_paths, talk, tell
from tui_datasize.cli.queueing import enqueue
from tui_datasize.errors import EXIT_OK, ConfigError
from tui_datasize.experiments.load import Project, load_project
from tui_datasize.experiments.project_tables import project_costs
from tui_datasize.experiments.rungs import outlook, outlook_in_words
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.experiments.sweep import plan_runs
from tui_datasize.experiments.toml import nearest
from tui_datasize.experiments.variants import variant_named
from tui_datasize.jobs.client import QueueClient
from tui_datasize.metric import metric_named
from tui_datasize.render.blocks import contents
from tui_datasize.render.cells import written
from tui_datasize.render.console import data_console, print_answer, print_table, print_words
from tui_datasize.render.json import answers_dict, finite
from tui_datasize.render.page import to_html, to_markdown
from tui_datasize.runlog.export import SUFFIXES
from tui_datasize.runlog.export import export_frame as export_frame
from tui_datasize.runlog.notes import read_remarks
from tui_datasize.runlog.outputs import refuse_output, write_output
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.runlog.project_file import with_lines
from tui_datasize.runlog.reader import RunLog
from tui_datasize.text import plural


def export(arguments: argparse.Namespace) -> int:
    """Write a table of the record to a file or to stdout."""
    if arguments.output != "-":
        refuse_output(Path(arguments.output), suffixes=SUFFIXES[arguments.format], force=arguments.force)
    record = record_of(arguments)
    frame = TABLES[arguments.table](record)
    if arguments.table == "runs" and arguments.columns == "short":
        frame = frame.select(_SHORT)
    to_stdout = arguments.output == "-"
    if to_stdout and arguments.format == "parquet" and sys.stdout.isatty():
        raise ConfigError("Parquet is not for a terminal", fix="name a file with -o FILE")
    file = None if to_stdout else Path(arguments.output)
    export_frame(frame, arguments.format, file, force=arguments.force)
    _tell_problems(record.log)
    if not to_stdout:
        talk(f"{arguments.output}: {plural(frame.height, 'row')}")
    return EXIT_OK


_SHORT = (
    *("run_id", "experiment", "variant", "train_size", "subset_seed", "seed", "state"),
    *("test_accuracy", "test_loss", "wall_s"),
)
"""Columns of runs that most people want."""


_CHART_COLUMNS, _CHART_ROWS = 100, 14


def analyze(arguments: argparse.Namespace) -> int:
    """Print what the runs of an experiment say: the answer first."""
    record = record_of(arguments)
    if arguments.json or arguments.all:
        record = with_sweep(record, arguments)
    if arguments.json:
        answers = {name: entry.ask(record) for name, entry in QUESTIONS.items()}
        print_json(finite(answers_dict(answers) | to_dict(record, answers)))
    else:
        print_analysis(record, everything=arguments.all)
    _tell_problems(record.log)
    _tell_other_rules(project_paths(arguments), arguments.experiment)
    return EXIT_OK


def record_of(arguments: argparse.Namespace) -> Record:
    """The runs of an experiment, or of all, and what `--metric`, `--target` and their like ask of them."""
    metric = metric_named(arguments.metric)
    # Not every command has every option.
    option = vars(arguments).get
    target, delta = option("target"), option("delta")
    asked = Asked(
        target=metric.read(target) if target else None,
        delta=metric.read_difference(delta) if delta else None,
        fit_from=option("fit_from") or 0,
        at=option("at"),
        runs=option("runs"),
        samples=option("samples"),
        hours=option("hours"),
    )
    asked.check(metric)
    paths = project_paths(arguments)
    log = RunLog(paths)
    reading = Reading(log, runs_of(log, arguments.experiment))
    return Record(reading, metric, asked, costs=project_costs(paths.root))


def with_sweep(record: Record, arguments: argparse.Namespace) -> Record:
    """With the runs that experiments.toml lists of the experiment, or why it lists none."""
    try:
        project = load_project(project_paths(arguments).experiments)
        if record.experiment not in project.experiments:
            return record
        listed = plan_runs(project.experiment(record.experiment), project)
    except ConfigError as error:
        return replace(record, unlisted=error.line)
    return replace(record, sweep=listed)


def print_analysis(record: Record, *, everything: bool = False) -> None:
    """Print the answer, what speaks against it and the learning curve; or everything that can be asked."""
    console = data_console()
    left_out = []
    for entry in QUESTIONS.values():
        if not (everything or entry.is_brief) or not entry.suits(record.all_runs):
            continue
        answer = entry.ask(record)
        print_answer(console, "" if entry.name == "answer" else entry.title, answer, everything=everything)
        if entry.name == "answer" and console.is_terminal:
            _draw(console, answer)
        if not answer.applies and (everything or entry.name == "answer"):
            left_out.append(f"{entry.title}: {answer.why_not}")
    for line in left_out:
        print_words(console, line)
    if not everything:
        others = sum(entry.suits(record.all_runs) and not entry.is_brief for entry in QUESTIONS.values())
        talk(f"{plural(others, 'more question')} answered with --all")


def _draw(console: Console, answer: Answer) -> None:
    from tui_datasize.tui.charts.figures import draw_figures
    from tui_datasize.tui.widgets.palette import GREY

    if answer.figures:
        width = min(console.width, _CHART_COLUMNS)
        console.print(draw_figures(answer.figures[:1], width, _CHART_ROWS, GREY).text, end="\n\n")


def runs_of(log: RunLog, experiment: str | None) -> pl.DataFrame:
    """The runs of one experiment, or all."""
    runs = log.runs(experiment)
    if experiment is not None and runs.is_empty():
        known = set(log.runs()["experiment"])
        hint = nearest(experiment, known) if known else "no run has been queued yet"
        raise ConfigError(f"no experiment {experiment!r} has runs here", fix=hint)
    return runs


def _tell_problems(log: RunLog) -> None:
    for problem in log.problems:
        talk(str(problem))


def _tell_other_rules(paths: ProjectPaths, experiment: str) -> None:
    """Say that runs read image files by other rules than those that experiments.toml would add."""
    with suppress(ConfigError):
        if told := QueueClient(paths).mixed_rules(
            load_project(paths.experiments).experiment(experiment).rules
        ):
            talk(told)


def plan(arguments: argparse.Namespace) -> int:
    """Propose the next runs of an experiment, and queue them where asked to."""
    paths, name = project_paths(arguments), arguments.experiment
    project = experiments_of(paths)
    if (experiment := project.experiments.get(name)) and experiment.search:
        for line in outlook_in_words(outlook(experiment, plan_runs(experiment, project))):
            talk(line)
        if not (paths.runs / name).is_dir():
            return EXIT_OK
    record = record_of(arguments)
    record.asked.check_plan(record.metric)
    _tell_other_rules(paths, name)
    runs = _curve(record.all_runs, arguments.variant)
    made = make_plan(with_sweep(record, arguments), runs)
    if not isinstance(made, Planned):
        raise ConfigError(f"no plan for {name}: {made.reason}")
    if arguments.json:
        print_json(finite(plan_dict(made)))
    else:
        console = data_console()
        print_words(console, "\n".join(made.words) + "\n")
        if made.plan.n_added:
            print_table(console, written(plan_table({"": made}, record), None))
    if arguments.write:
        _write(paths, name, made.proposal)
    elif made.proposal.words:
        talk(made.proposal.words)
    return _queue(paths, project, arguments, made.proposal.specs) if arguments.queue else EXIT_OK


def _curve(runs: pl.DataFrame, variant: str | None) -> pl.DataFrame:
    """The runs of one variant."""
    variants = runs["variant"].unique(maintain_order=True).to_list()
    variant = variant_named(variant, variants) if variant is not None else None
    if variant is None and len(variants) == 1:
        return runs
    if variant not in variants:
        what = "several variants" if variant is None else f"no variant {variant!r}"
        known = ", ".join(f'"{name}"' for name in variants)
        raise ConfigError(f"{what}: one curve is planned at a time", fix=f"name one with --variant: {known}")
    return runs.filter(pl.col("variant") == variant)


def _write(paths: ProjectPaths, name: str, proposal: Proposal) -> None:
    """Add the proposed runs to experiments.toml where it does not list them, and show what was added."""
    if not proposal.lines:
        talk(proposal.words or f"{name}: experiments.toml lists these runs already")
        return
    change = with_lines(paths.experiments, proposal.lines)
    change.write()
    talk("\n".join((f"{paths.experiments}: added", *change.difference)))


def _queue(
    paths: ProjectPaths, project: Project, arguments: argparse.Namespace, specs: Sequence[RunSpec]
) -> int:
    """Queue what was proposed; the exit status, 2 where the scheduler refused any of it."""
    if not specs:
        talk(f"{arguments.experiment}: nothing was queued")
        return EXIT_OK
    client = QueueClient(paths)
    return tell(client.request(enqueue(client, specs, project, arguments)))


_HTML = (".html", ".htm")
_MARKDOWN = (".md", ".markdown")


def report(arguments: argparse.Namespace) -> int:
    """Write the page."""
    file = arguments.output
    suffix = file.suffix.lower()
    if suffix not in (*_HTML, *_MARKDOWN):
        raise ConfigError(f"no report of the kind {suffix!r}", where=str(file), fix="name it .html or .md")
    own = _HTML if suffix in _HTML else _MARKDOWN
    refuse_output(file, suffixes=own, force=arguments.force)
    paths, record = project_paths(arguments), with_sweep(record_of(arguments), arguments)
    page = {
        "this page": f"datasize-tui {tui_datasize.__version__}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "command of this page": shlex.join(["datasize-tui", *sys.argv[1:]]),
    }
    blocks = contents(record, page, read_remarks(paths, record.experiment))
    title = f"{arguments.experiment}, {arguments.metric}"
    text = to_html(title, blocks) if suffix in _HTML else to_markdown(blocks)
    write_output(file, text.encode(), suffixes=own, force=arguments.force)
    _tell_problems(record.log)
    talk(f"{file}: {plural(record.all_runs.height, 'run')}")
    return EXIT_OK

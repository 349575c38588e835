"""The command that proposes, and queues, the runs that narrow an answer most.

Where the sweep in experiments.toml lists too few runs for a plan, it is continued by seeds or subset draws,
and the line that lists them in the file is printed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import polars as pl
from rich.console import Console

from tui_datasize.answers.plan import plan_words
from tui_datasize.answers.values import finite
from tui_datasize.cli.levers import ask
from tui_datasize.cli.plan_tables import question_of
from tui_datasize.cli.project import print_json, project_paths, read_project, talk
from tui_datasize.cli.queueing import incomplete_runs, tell_queued
from tui_datasize.cli.tables import runs_of
from tui_datasize.errors import EXIT_OK, ConfigError
from tui_datasize.experiments.load import Project
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.experiments.sweep import plan_runs, source_runs
from tui_datasize.jobs.client import QueueClient
from tui_datasize.render.console import data_console, plain_table, print_words
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.runlog.reader import RunLog
from tui_datasize.stats.fits import FitFailure
from tui_datasize.stats.planner import Plan, plan_next_runs
from tui_datasize.stats.proposal import Proposal, cells_alike, propose, samples_per_run


def plan(arguments: argparse.Namespace) -> int:
    """Propose the next runs of an experiment, and queue them where asked to."""
    paths = project_paths(arguments)
    runs = _curve(runs_of(RunLog(paths), arguments.experiment), arguments.variant)
    project = read_project(paths)
    cells = cells_alike(runs, _sweep(project, arguments.experiment))
    made = plan_next_runs(runs, arguments.metric, question_of(arguments), samples_per_run(cells))
    if isinstance(made, FitFailure):
        raise ConfigError(f"no plan for {arguments.experiment}: {made.reason}")
    proposal = propose(made, cells, runs)
    if arguments.json:
        print_json(_document(made, proposal))
    else:
        _print_plan(data_console(), made)
    if proposal.words:
        talk(proposal.words)
    return _queue(paths, project, arguments.experiment, proposal.specs) if arguments.queue else EXIT_OK


def _curve(runs: pl.DataFrame, variant: str | None) -> pl.DataFrame:
    """The runs of one variant.

    Raises:
        ConfigError: There are several and none is named, or the one named is not there.
    """
    variants = runs["variant"].unique(maintain_order=True).to_list()
    if variant is None and len(variants) == 1:
        return runs
    if variant not in variants:
        what = "several variants" if variant is None else f"no variant {variant!r}"
        known = ", ".join(f'"{name}"' for name in variants)
        raise ConfigError(f"{what}: one curve is planned at a time", fix=f"name one with --variant: {known}")
    return runs.filter(pl.col("variant") == variant)


def _sweep(project: Project, name: str) -> Sequence[RunSpec]:
    """All runs that experiments.toml lists of an experiment; none where only its runs are left."""
    return plan_runs(project.experiment(name), project) if name in project.experiments else ()


def _queue(paths: ProjectPaths, project: Project, name: str, specs: Sequence[RunSpec]) -> int:
    """Queue what was proposed; the exit status, 2 where the scheduler refused any of it."""
    if not specs:
        talk(f"{name}: nothing to queue: no further run can be named at these sizes")
        return EXIT_OK
    client = QueueClient(paths)
    sources = source_runs(specs, project)
    lost = incomplete_runs(client, [*sources, *specs])
    acknowledgement = client.enqueue(specs, data_dir=project.data_dir, sources=sources, incomplete=lost)
    return tell_queued(name, acknowledgement, ask(client, acknowledgement) or ())


def _print_plan(console: Console, made: Plan) -> None:
    print_words(console, "\n".join(plan_words(made)) + "\n")
    columns = ("train size", "runs", "add", "of these, checks", "samples")
    table = plain_table(*columns, right=columns)
    for size in made.sizes:
        table.add_row(
            f"{size.train_size:,}",
            str(size.runs),
            str(size.add or ""),
            str(size.check or ""),
            # Runs from elsewhere do not say how many samples they saw.
            f"{size.samples:,.0f}" if size.samples else "",
        )
    console.print(table)


def _document(made: Plan, proposal: Proposal) -> dict[str, Any]:
    document = {name: value for name, value in asdict(made).items() if name not in ("outlook", "noise")} | {
        "words": plan_words(made),
        "metric": made.metric.name,
        "n_added": made.n_added,
        "run_ids": [spec.run_id for spec in proposal.specs],
        "lacking_seeds": {str(size): runs for size, runs in proposal.lacking.items()},
    }
    plain: dict[str, Any] = finite(document)
    return plain

"""The command that proposes, and queues, the runs that narrow an answer most.

Where the sweep in experiments.toml lists too few runs for a plan, it is continued by seeds or subset draws,
and the line that lists them in the file is printed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import polars as pl

from tui_datasize.answers.plan import Planned, make_plan, plan_dict, plan_table
from tui_datasize.cli.project import print_json, project_paths, read_project, talk, tell
from tui_datasize.cli.queueing import enqueue
from tui_datasize.cli.tables import record_of, with_sweep
from tui_datasize.errors import EXIT_OK, ConfigError
from tui_datasize.experiments.load import Project
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.jobs.client import QueueClient
from tui_datasize.render.cells import written
from tui_datasize.render.console import data_console, print_table, print_words
from tui_datasize.render.json import finite
from tui_datasize.runlog.paths import ProjectPaths


def plan(arguments: argparse.Namespace) -> int:
    """Propose the next runs of an experiment, and queue them where asked to."""
    paths, name = project_paths(arguments), arguments.experiment
    project, record = read_project(paths), record_of(arguments)
    record.asked.check_plan(record.metric)
    runs = _curve(record.all_runs, arguments.variant)
    made = make_plan(with_sweep(record, arguments), runs)
    if not isinstance(made, Planned):
        raise ConfigError(f"no plan for {name}: {made.reason}")
    if arguments.json:
        print_json(finite(plan_dict(made)))
    else:
        console = data_console()
        print_words(console, "\n".join(made.words) + "\n")
        print_table(console, written(plan_table({"": made}, record), None))
    if made.proposal.words:
        talk(made.proposal.words)
    return _queue(paths, project, name, made.proposal.specs) if arguments.queue else EXIT_OK


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


def _queue(paths: ProjectPaths, project: Project, name: str, specs: Sequence[RunSpec]) -> int:
    """Queue what was proposed; the exit status, 2 where the scheduler refused any of it."""
    if not specs:
        talk(f"{name}: nothing to queue: no further run can be named at these sizes")
        return EXIT_OK
    client = QueueClient(paths)
    return tell(client.request(enqueue(client, specs, project)))

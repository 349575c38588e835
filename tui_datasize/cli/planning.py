"""The command that proposes, and queues, the runs that narrow an answer most.

A plan names train sizes and numbers of runs. Runs are cells of the sweep in experiments.toml, so those
with seeds that the sweep lists are queued as they are; where it lists too few, the line with more seeds is
printed: once it stands in the file, the same command queues the rest.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import polars as pl
from rich.console import Console

from tui_datasize.analysis.document import finite
from tui_datasize.analysis.fits import FitFailure
from tui_datasize.analysis.planner import Plan, plan_next_runs
from tui_datasize.cli.console import data_console, plain_table
from tui_datasize.cli.plan_tables import question_of
from tui_datasize.cli.project import print_json, project_paths, read_project, talk
from tui_datasize.cli.queueing import describe
from tui_datasize.cli.tables import runs_of
from tui_datasize.errors import EXIT_OK, ConfigError
from tui_datasize.experiments.budget import total_updates
from tui_datasize.experiments.load import Experiment, Project
from tui_datasize.experiments.spec import RunSpec, SubsetSpec
from tui_datasize.experiments.sweep import plan_runs, source_runs
from tui_datasize.jobs.client import QueueClient
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.runlog.reader import RunLog

COMING = ("succeeded", "running", "queued", "interrupted")
"""States of runs that a plan does not ask for again."""


@dataclass(frozen=True)
class ProposedCells:
    """The cells of the sweep that a plan asks for."""

    specs: tuple[RunSpec, ...]
    """That experiments.toml has and that are not there yet."""
    lacking: dict[int, int]
    """By train size, the runs for which it lists too few seeds."""


def plan(arguments: argparse.Namespace) -> int:
    """Propose the next runs of an experiment, and queue them where asked to."""
    paths = project_paths(arguments)
    runs = _curve(runs_of(RunLog(paths), arguments.experiment), arguments.variant)
    project = read_project(paths)
    cells = _cells_alike(runs, project, arguments.experiment)
    samples = {spec.train_size: float(total_updates(spec) * spec.batch_size) for spec in cells}
    made = plan_next_runs(runs, arguments.metric, question_of(arguments), samples)
    if isinstance(made, FitFailure):
        raise ConfigError(f"no plan for {arguments.experiment}: it {made.reason}")
    proposed = propose_cells(made, cells, runs)
    if arguments.json:
        print_json(_document(made, proposed))
    else:
        _print_plan(data_console(), made)
    if proposed.lacking:
        talk(_seeds_line(project.experiment(arguments.experiment), proposed) if cells else _no_cells(runs))
    if arguments.queue:
        _queue(paths, project, arguments.experiment, proposed.specs)
    return EXIT_OK


def propose_cells(made: Plan, cells: Sequence[RunSpec], runs: pl.DataFrame) -> ProposedCells:
    """The cells to queue for a plan, seeds and draws in the order of the sweep.

    Args:
        made: The plan.
        cells: All cells of the curve in experiments.toml.
        runs: The curve's runs, schema `RUNS`.
    """
    there = set(runs.filter(pl.col("state").is_in(COMING))["run_id"])
    specs: list[RunSpec] = []
    lacking: dict[int, int] = {}
    for size in made.sizes:
        free = [spec for spec in cells if spec.train_size == size.train_size and spec.run_id not in there]
        specs += free[: size.add]
        if size.add > len(free):
            lacking[size.train_size] = size.add - len(free)
    return ProposedCells(tuple(specs), lacking)


def _no_cells(runs: pl.DataFrame) -> str:
    """Why no run can be named."""
    if runs["batch_size"].null_count() == runs.height:
        return "these runs were imported: train the further ones where they come from"
    return "experiments.toml no longer has the recipe of these runs: put it back to queue further ones"


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


def _cells_alike(runs: pl.DataFrame, project: Project, name: str) -> tuple[RunSpec, ...]:
    """The cells of the sweep that differ from some run in size, draw and seed alone."""
    if name not in project.experiments:
        return ()
    specs = plan_runs(project.experiment(name), project)
    run_ids = set(runs["run_id"])
    recipes = {_recipe(spec) for spec in specs if spec.run_id in run_ids}
    return tuple(spec for spec in specs if _recipe(spec) in recipes)


def _recipe(spec: RunSpec) -> RunSpec:
    transfer = replace(spec.transfer, source="") if spec.transfer else None
    subset: SubsetSpec = replace(spec.subset, seed=0)
    return replace(spec, train_size=1, seed=0, subset=subset, transfer=transfer)


def _seeds_line(experiment: Experiment, proposed: ProposedCells) -> str:
    """What to change in experiments.toml for the runs that it has no seeds for."""
    draws = max(1, len(experiment.subset_seeds))
    more = -(-max(proposed.lacking.values()) // draws)
    seeds = list(experiment.seeds)
    step = abs(seeds[-1] - seeds[-2]) if len(seeds) > 1 else 1
    last = max(seeds)
    seeds += [last + step * k for k in range(1, more + 1)]
    lacking = ", ".join(f"{runs} at {size:,}" for size, runs in proposed.lacking.items())
    return (
        f"Runs that need seeds beyond the listed ones: {lacking}. In [experiments.{experiment.name}] write\n"
        f"seeds = {seeds}\nand give this command again."
    )


def _queue(paths: ProjectPaths, project: Project, name: str, specs: Sequence[RunSpec]) -> None:
    if not specs:
        talk(f"{name}: nothing to queue: experiments.toml lists no further run at these sizes")
        return
    client = QueueClient(paths)
    sources = source_runs(specs, project)
    acknowledgement = client.enqueue(specs, data_dir=project.data_dir, sources=sources)
    client.ensure_scheduler()
    talk(describe(name, acknowledgement))


def _print_plan(console: Console, made: Plan) -> None:
    console.print("\n".join(made.words) + "\n", soft_wrap=True, markup=False)
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


def _document(made: Plan, proposed: ProposedCells) -> dict[str, Any]:
    document = asdict(made) | {
        "metric": made.metric.name,
        "n_added": made.n_added,
        "run_ids": [spec.run_id for spec in proposed.specs],
        "lacking_seeds": {str(size): runs for size, runs in proposed.lacking.items()},
    }
    plain: dict[str, Any] = finite(document)
    return plain

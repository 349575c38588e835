"""Commands that ask something of the queue: what there is, add runs, change jobs."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from tui_datasize.cli.levers import ask, tell
from tui_datasize.cli.project import (
    print_json,
    project_paths,
    read_project,
    resolve_jobs,
    selected_runs,
    talk,
)
from tui_datasize.errors import EXIT_BAD_INPUT, EXIT_OK, DatasizeError
from tui_datasize.experiments.budget import total_updates
from tui_datasize.experiments.load import Experiment, Project
from tui_datasize.experiments.reference import json_schema, sections
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.experiments.sweep import check_file, check_runs, listed_runs, source_runs
from tui_datasize.experiments.variants import variant_labels
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.queue.commands import Acknowledgement, CommandResult
from tui_datasize.jobs.queue.state import MAX_ATTEMPTS, Job, JobState
from tui_datasize.render.console import data_console, plain_table
from tui_datasize.text import lost_evaluations, plural, there_already, visible


def experiments(arguments: argparse.Namespace) -> int:
    """List the experiments of the project with what is done of each, or tell of the file that holds them.

    Raises:
        ConfigError: The file is missing or wrong.
    """
    if arguments.schema:
        print_json(json_schema())
        return EXIT_OK
    if arguments.keys:
        return _print_keys()
    paths = project_paths(arguments)
    if arguments.check:
        return _check(paths.experiments)
    project = read_project(paths)
    client = QueueClient(paths)
    jobs = [job for job in client.jobs() if job.state is JobState.SUCCEEDED]
    lost = frozenset(_incomplete(client, [job.run_id for job in jobs]))
    rows = [_describe(project, experiment, jobs, lost) for experiment in project.experiments.values()]
    if arguments.json:
        print_json(rows)
        return EXIT_OK
    counted = ("done", *(["incomplete"] if any(row["incomplete"] for row in rows) else []), "runs")
    table = plain_table("experiment", *counted, "data set", "model", "sizes", right=counted)
    for row in rows:
        counts = [str(row[name]) if row["runs"] else "-" for name in counted]
        sizes = row["problem"] or _span(row["sizes"])
        table.add_row(row["experiment"], *counts, row["dataset"], row["model"], sizes)
    data_console().print(table)
    return EXIT_OK


def _print_keys() -> int:
    console = data_console()
    for title, keys in sections():
        table = plain_table("key", "what it takes [default]: what it means")
        for key in keys:
            table.add_row(key.name, ": ".join(filter(None, (key.takes, key.meaning))))
        console.print(title, style="bold")
        console.print(table)
        console.print()
    return EXIT_OK


def _check(file: Path) -> int:
    found = check_file(file)
    for error in found.errors:
        talk(error.line)
    for dataset, names in found.unchecked.items():
        talk(f"{dataset} cannot be read here, so nothing was compared with its images: {', '.join(names)}")
    if found.errors:
        talk(f"{file.name}: {plural(len(found.errors), 'error')}")
        return EXIT_BAD_INPUT
    experiments = found.project.experiments.values()
    runs = plural(sum(experiment.n_runs for experiment in experiments), "run")
    print(f"{file.name} is right: {plural(len(experiments), 'experiment')}, {runs}")
    return EXIT_OK


def _describe(
    project: Project, experiment: Experiment, jobs: Sequence[Job], lost: Collection[str]
) -> dict[str, Any]:
    """One experiment as plain values; a missing data set is a `problem`, not a failure."""
    problem, sizes, done = "", (), set()  # type: str, Collection[int], set[str]
    succeeded = {job.run_id for job in jobs if job.experiment == experiment.name}
    try:
        sizes = check_runs(experiment, project)
        done = listed_runs(experiment, project, succeeded)
    except DatasizeError as error:
        problem = error.what
    return {
        "experiment": experiment.name,
        "title": experiment.title,
        "dataset": experiment.dataset,
        "model": ", ".join(dict.fromkeys(str(recipe.spec.model) for recipe in experiment.recipes)),
        "sizes": sorted(sizes),
        "seeds": list(experiment.seeds),
        "subset_seeds": list(experiment.subset_seeds),
        "runs": 0 if problem else experiment.n_runs,
        "done": len(done.difference(lost)),
        "incomplete": len(done.intersection(lost)),
        "problem": problem,
    }


def _span(sizes: Sequence[int]) -> str:
    return f"{len(sizes)} from {sizes[0]} to {sizes[-1]}" if len(sizes) > 1 else str(sizes[0])


def queue(arguments: argparse.Namespace) -> int:
    """Queue the missing runs of an experiment; status 2 where the scheduler refused any of them."""
    paths = project_paths(arguments)
    project, specs = selected_runs(paths, arguments)
    client = QueueClient(paths)
    if arguments.dry_run:
        return _dry_run(client, [*source_runs(specs, project), *specs], arguments)
    acknowledgement = enqueue(client, specs, source_runs(specs, project), project, arguments)
    results = ask(client, acknowledgement)
    if not arguments.json:
        return tell_queued(
            arguments.experiment, acknowledgement, results or (), has_terms=asks_for_terms(arguments)
        )
    refused = {result.run_id: result.message for result in results or () if not result.ok}
    print_json(
        {
            "experiment": arguments.experiment,
            "new": acknowledgement.new - len(refused),
            "incomplete": acknowledgement.incomplete,
            "present": acknowledgement.present,
            "refused": refused,
            "run_ids": [spec.run_id for spec in specs],
        }
    )
    return EXIT_BAD_INPUT if refused else EXIT_OK


def enqueue(
    client: QueueClient,
    specs: Sequence[RunSpec],
    sources: Sequence[RunSpec],
    project: Project,
    arguments: argparse.Namespace,
) -> Acknowledgement:
    """Queue runs on the terms that a person asked for.

    Raises:
        UnknownRunError: A run would wait for one that is unknown, has ended without success, or waits for it.
        StorageError: The queue cannot be written.
    """
    waited_for = resolve_jobs(client, arguments.after) if arguments.after else []
    return client.enqueue(
        specs,
        force=arguments.force,
        data_dir=project.data_dir,
        max_attempts=arguments.max_attempts or MAX_ATTEMPTS,
        after={spec.run_id: waited_for for spec in specs},
        sources=sources,
        incomplete=incomplete_runs(client, [*sources, *specs]),
    )


def incomplete_runs(client: QueueClient, specs: Sequence[RunSpec]) -> list[str]:
    """Ids of those of some runs that the queue has as succeeded and whose record lacks evaluations."""
    wanted = {spec.run_id for spec in specs}
    done = [job.run_id for job in client.jobs() if job.state is JobState.SUCCEEDED and job.run_id in wanted]
    return _incomplete(client, done)


def _incomplete(client: QueueClient, done: Sequence[str]) -> list[str]:
    """Those of some runs that succeeded whose record lacks evaluations."""
    if not done:
        return []
    # Only here: reading the record takes a library that a first queueing need not wait for.
    from tui_datasize.runlog.reader import incomplete_of

    return incomplete_of(client.project, done)


def asks_for_terms(arguments: argparse.Namespace) -> bool:
    """Whether a person asked for terms, which runs that are there already do not get."""
    return bool(arguments.after or arguments.max_attempts or arguments.order)


def tell_queued(
    experiment: str,
    acknowledgement: Acknowledgement,
    results: Sequence[CommandResult],
    *,
    has_terms: bool = False,
) -> int:
    """Tell what became of an enqueue; the exit status, 2 where any run was refused.

    Args:
        experiment: Whose runs they are.
        acknowledgement: What was acknowledged.
        results: What the scheduler answered; empty where it has not yet.
        has_terms: Whether terms were asked for, such as a limit of attempts.
    """
    refused = [result for result in results if not result.ok]
    talk(describe(experiment, acknowledgement, len(refused), has_terms=has_terms))
    tell(refused)
    return EXIT_BAD_INPUT if refused else EXIT_OK


def describe(
    experiment: str, acknowledgement: Acknowledgement, refused: int = 0, *, has_terms: bool = False
) -> str:
    """One line on what an enqueue did, but for so many of its runs that were refused."""
    there = there_already(acknowledgement.present, keep_terms=has_terms)
    queued = plural(acknowledgement.new - refused, "run")
    text = f"{experiment}: {queued} queued{lost_evaluations(acknowledgement.incomplete)}, {there}"
    if refused:
        text += f", {refused} refused"
    if acknowledgement.failed:
        text += (
            f", {acknowledgement.failed} of them failed; `datasize-tui retry {experiment}` runs those again"
        )
    return text


def _dry_run(client: QueueClient, specs: Sequence[RunSpec], arguments: argparse.Namespace) -> int:
    lost = incomplete_runs(client, specs)
    present = {job.run_id for job in client.jobs() if job.state is not JobState.CANCELLED} - {*lost}
    missing = [spec for spec in specs if arguments.force or spec.run_id not in present]
    updates = sum(total_updates(spec) for spec in missing)
    if arguments.json:
        print_json(
            {
                "experiment": arguments.experiment,
                "missing": [spec.run_id for spec in missing],
                "present": len(specs) - len(missing),
                "incomplete": len(lost),
                "updates": updates,
            }
        )
        return EXIT_OK
    labels = variant_labels(spec for spec in specs if spec.experiment == arguments.experiment)
    for spec in missing:
        print(visible(f"{spec.run_id}  {labels.get(spec.run_id, '')}".rstrip()))
    talk(
        f"{arguments.experiment}: {len(missing)} of {plural(len(specs), 'run')} would be queued"
        f"{lost_evaluations(len(lost))}, {plural(updates, 'update')}; nothing was queued"
    )
    return EXIT_OK

"""Commands that ask something of the queue: what there is, add runs, change jobs."""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from tui_datasize.cli.basics import experiments_of, print_json, project_paths, selected_runs, talk, tell
from tui_datasize.errors import EXIT_BAD_INPUT, EXIT_OK, ConfigError, DatasizeError
from tui_datasize.experiments.budget import total_updates
from tui_datasize.experiments.cluster_settings import Place
from tui_datasize.experiments.load import Experiment, Project, read_project
from tui_datasize.experiments.reference import json_schema, sections
from tui_datasize.experiments.rungs import outlook, outlook_in_words, rungs_of
from tui_datasize.experiments.samples import text_of_file
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.experiments.sweep import (
    check_file,
    check_runs,
    further_runs,
    listed_runs,
    plan_runs,
    source_runs,
)
from tui_datasize.experiments.toml import nearest
from tui_datasize.experiments.variants import variant_labels
from tui_datasize.jobs.client import QueueClient, checked_place
from tui_datasize.jobs.queue.commands import CommandKind, nothing_to, select_jobs
from tui_datasize.jobs.queue.image_files import told_of_images
from tui_datasize.jobs.queue.requests import ChangeJobs, Drain, Enqueue, QueueTerms, Undo
from tui_datasize.jobs.queue.state import Job, JobState
from tui_datasize.render.console import data_console, plain_table
from tui_datasize.runlog.notes import add_note, read_remarks
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.text import cancelled_left_out, lost_checkpoints, lost_evaluations, plural, visible


def experiments(arguments: argparse.Namespace) -> int:
    """List the experiments of the project with what is done of each, or tell of the file that holds them."""
    if arguments.schema:
        print_json(json_schema())
        return EXIT_OK
    if arguments.keys:
        return _print_keys()
    if arguments.template:
        print(text_of_file("template.toml"), end="")
        return EXIT_OK
    paths = project_paths(arguments)
    if arguments.check:
        return _check(paths.experiments)
    project = experiments_of(paths)
    client = QueueClient(paths)
    jobs = [job for job in client.jobs() if job.state is not JobState.CANCELLED]
    lost = frozenset(_incomplete(client, [job.run_id for job in jobs if job.state is JobState.SUCCEEDED]))
    rows = [_describe(project, one, jobs, lost, client) for one in project.experiments.values()]
    rows += _recorded(paths, project.experiments)
    if arguments.json:
        print_json(rows)
        return EXIT_OK
    counted = ("done", *(["incomplete"] if any(row["incomplete"] for row in rows) else []), "runs")
    table = plain_table("experiment", *counted, "data set", "model", "sizes", right=counted)
    for row in rows:
        counts = [str(row[name]) if row["runs"] else "-" for name in counted]
        sizes = row["problem"] or "".join(map(str, row["sizes"]))
        if len(row["sizes"]) > 1:
            sizes = f"{len(row['sizes'])} from {row['sizes'][0]} to {row['sizes'][-1]}"
        sizes += "" if row["experiment"] in project.experiments else "; not in experiments.toml"
        table.add_row(row["experiment"], *counts, row["dataset"], _few(row["model"]), sizes)
    data_console().print(table)
    for told in filter(None, (row.get("told") for row in rows)):
        talk(told)
    return EXIT_OK


def remark(arguments: argparse.Namespace) -> int:
    """Write a remark on an experiment, or print those that are there."""
    paths, name = project_paths(arguments), arguments.experiment
    if not arguments.words:
        print(*map(visible, read_remarks(paths, name)), sep="\n")
        return EXIT_OK
    known = set(read_project(paths.experiments)[0].names) if paths.experiments.exists() else set()
    known |= {one.name for one in paths.runs.glob("[!.]*/")}
    if name not in known:
        hint = nearest(name, known) if known else "there are none yet"
        raise ConfigError(f"no experiment {name!r}", where=str(paths.root), fix=hint)
    add_note(paths, name, " ".join(arguments.words), datetime.now(UTC))
    talk(f"{name}: noted in {paths.note(name)}")
    return EXIT_OK


def _print_keys() -> int:
    console = data_console()
    for title, keys in sections():
        table = plain_table("key", "what it takes [default]: what it means")
        for key, meaning in keys:
            table.add_row(key, meaning)
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


def _few(models: str) -> str:
    """The first of many models.

    >>> _few("mlp, mlp(hidden=8, dropout=0.5), mlp(hidden=9), cnn3"), _few("mlp, cnn3")
    ('mlp and 3 more', 'mlp, cnn3')
    """
    first, *others = re.split(r", (?![^(]*\))", models)
    return f"{first} and {len(others)} more" if len(others) > 2 else models


def _describe(
    project: Project, experiment: Experiment, jobs: Sequence[Job], lost: Collection[str], client: QueueClient
) -> dict[str, Any]:
    """One experiment as plain values; a missing data set is a `problem`, not a failure."""
    problem, sizes = "", ()  # type: str, Collection[int]
    listed, further = set[str](), set[str]()
    own = {job.run_id: job.state for job in jobs if job.experiment == experiment.name}
    try:
        sizes = check_runs(experiment, project)
        listed = listed_runs(experiment, project, own)
        if unlisted := own.keys() - listed:
            further = _further(experiment, project, client) & unlisted
    except DatasizeError as error:
        problem = error.what
    done = {run_id for run_id in listed | further if own[run_id] is JobState.SUCCEEDED}
    return {
        "experiment": experiment.name,
        "title": experiment.title,
        "dataset": experiment.dataset,
        "model": ", ".join(dict.fromkeys(str(recipe.spec.model) for recipe in experiment.recipes)),
        "sizes": sorted(sizes),
        "seeds": list(experiment.seeds),
        "subset_seeds": list(experiment.subset_seeds),
        "runs": 0 if problem else experiment.n_runs + len(further),
        "further": len(further),
        "done": len(done.difference(lost)),
        "incomplete": len(done.intersection(lost)),
        "problem": problem,
        "told": client.mixed_rules(experiment.rules),
    }


def _further(experiment: Experiment, project: Project, client: QueueClient) -> set[str]:
    """Queued runs that differ from those of an experiment in size, draw and seed alone, its own included."""
    seeds, draws = experiment.seeds[:1], experiment.subset_seeds[:1]
    firsts = plan_runs(replace(experiment, seeds=seeds, subset_seeds=draws, also=()), project)
    shapes = client.shapes()
    return {run.run_id for run in further_runs(firsts, shapes, client.runs_of_shapes(shapes.keys()))}


def _recorded(paths: ProjectPaths, listed: Collection[str]) -> Iterator[dict[str, Any]]:
    """The same of experiments of which only runs are there, such as imported ones."""
    names = sorted(one.name for one in paths.runs.glob("[!.]*/") if one.name not in listed)
    if not names:
        return
    from tui_datasize.runlog.reader import RunLog
    from tui_datasize.runlog.schema import INCOMPLETE

    log = RunLog(paths)
    for name in names:
        runs = log.runs(name)
        known = {one: runs[one].drop_nulls().unique(maintain_order=True).to_list() for one in _TOLD_BY_RUNS}
        states = runs["state"].to_list()
        if states:
            yield {
                "experiment": name,
                "title": "",
                "dataset": ", ".join(known["dataset"]),
                "model": ", ".join(known["model"]),
                "sizes": sorted(known["train_size"]),
                "seeds": sorted(known["seed"]),
                "subset_seeds": sorted(known["subset_seed"]),
                "runs": len(states),
                "done": states.count(JobState.SUCCEEDED),
                "incomplete": states.count(INCOMPLETE),
                "problem": "",
            }


_TOLD_BY_RUNS = ("dataset", "model", "train_size", "seed", "subset_seed")


def queue(arguments: argparse.Namespace) -> int:
    """Queue the missing runs of an experiment; status 2 where the scheduler refused any of them."""
    paths = project_paths(arguments)
    client = QueueClient(paths)
    project, specs = selected_runs(client, arguments)
    if arguments.dry_run:
        return _dry_run(client, specs, project, arguments)
    command = enqueue(client, specs, project, arguments)
    outcome = client.request(command)
    if not arguments.json or outcome.error:
        return tell(outcome)
    acknowledged = outcome.acknowledgement
    print_json(
        {
            "experiment": arguments.experiment,
            "new": acknowledged.new - len(outcome.refused),
            "incomplete": acknowledged.incomplete,
            "renewed": acknowledged.renewed,
            "present": acknowledged.present,
            "cancelled": len(command.left_out),
            "refused": {result.run_id: result.message for result in outcome.refused},
            "run_ids": [spec.run_id for spec in command.specs],
        }
    )
    return EXIT_BAD_INPUT if outcome.refused else EXIT_OK


def enqueue(
    client: QueueClient,
    specs: Sequence[RunSpec],
    project: Project,
    arguments: argparse.Namespace | None = None,
) -> Enqueue:
    """The command to queue runs on a person's terms, and before them those that they take weights from."""
    asked = argparse.Namespace(**{**_UNASKED, **(vars(arguments) if arguments else {})})
    specs, left_out = _apart(client, specs, asked)
    sources = source_runs(specs, project)
    lost = incomplete_runs(client, [*sources, *specs])
    terms = QueueTerms(
        tuple(asked.after), asked.max_attempts, asked.order, asked.on or _usual(specs, project)
    )
    searched = project.experiments.get(specs[0].experiment) if specs else None
    rungs = rungs_of(searched, specs) if searched else {}
    own, others = tuple(specs), tuple(sources)
    return Enqueue(own, project.data_dir, others, terms, tuple(lost), asked.force, rungs, tuple(left_out))


_UNASKED: Mapping[str, Any] = MappingProxyType(
    {"after": (), "max_attempts": None, "order": None, "on": None, "force": False, "cancelled": True}
)
"""The terms of a command that has no options for them."""


def _apart(
    client: QueueClient, specs: Sequence[RunSpec], asked: argparse.Namespace
) -> tuple[Sequence[RunSpec], Sequence[RunSpec]]:
    """The runs that are asked for, and cancelled ones that are not."""
    states = {} if asked.cancelled or asked.force else client.expected_states()
    gone = {run_id for run_id, state in states.items() if state is JobState.CANCELLED}
    left_out = {spec for spec in specs if gone and spec.run_id in gone}
    return [spec for spec in specs if spec not in left_out], tuple(left_out)


def _usual(specs: Sequence[RunSpec], project: Project) -> Place:
    """Where the runs of an experiment are made by its own word."""
    experiment = project.experiments.get(specs[0].experiment) if specs else None
    return experiment.on if experiment else "local"


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


def _dry_run(
    client: QueueClient, own: Sequence[RunSpec], project: Project, arguments: argparse.Namespace
) -> int:
    """Print what would be queued."""
    chosen, left_out = _apart(client, own, arguments)
    sources = source_runs(chosen, project)
    lost = incomplete_runs(client, [*sources, *chosen])
    asked = client.to_queue(chosen, sources, force=arguments.force, incomplete=lost)
    specs, missing = asked.runs.values(), [asked.runs[one] for one in asked.queued]
    place = checked_place(client.project, arguments.on or _usual(own, project), specs)
    images = client.check_images(tuple(specs), project.data_dir)
    stretches = outlook(project.experiment(arguments.experiment), own)
    states = {job.run_id: job.state for job in client.jobs()}
    there, again = (Counter(map(states.get, run_ids)) for run_ids in (asked.runs, asked.queued))
    counts = {
        "new": again[None],
        "cancelled": again[JobState.CANCELLED] + len(left_out),
        "failed": there[JobState.FAILED] - again[JobState.FAILED],
        "present": len(specs) - len(missing),
        "incomplete": len(lost),
        "renewed": len(asked.renewed),
        "updates": sum(total_updates(spec) for spec in missing),
    }
    if arguments.json:
        named = {"experiment": arguments.experiment, "on": place or "local", "missing": [*asked.queued]}
        print_json(named | counts | {"images": images, "search": list(map(asdict, stretches))})
        return EXIT_OK
    for line in told_of_images(images):
        talk(line)
    labels = variant_labels(spec for spec in specs if spec.experiment == arguments.experiment)
    for spec in missing:
        print(visible(f"{spec.run_id}  {labels.get(spec.run_id, '')}".rstrip()))
    asked_for, where = plural(len(specs) + len(left_out), "run"), place and f" on {place}"
    told = f"{len(missing)} of {asked_for} would be queued{where}{_told_apart(counts, len(left_out))}"
    talk(f"{arguments.experiment}: {told}, {plural(counts['updates'], 'update')}; nothing was queued")
    for line in outlook_in_words(stretches):
        talk(line)
    return EXIT_OK


def _told_apart(counts: Mapping[str, int], left_out: int) -> str:
    """Which of the runs that would be queued are not new, and which others are left alone."""
    cancelled, failed, new = counts["cancelled"] - left_out, counts["failed"], f"{counts['new']:,} new"
    again = f"{cancelled:,} cancelled before" if cancelled else ""
    retried = f"{failed:,} failed: `retry` runs those again" if failed else ""
    told = [*filter(None, (again, cancelled_left_out(left_out), retried))]
    apart = f" ({'; '.join((new, *told))})" if told else ""
    return lost_evaluations(counts["incomplete"]) + lost_checkpoints(counts["renewed"]) + apart


def change_jobs(arguments: argparse.Namespace) -> int:
    """Hold, release, cancel, retry, reprioritise or move jobs, and tell the scheduler's answer."""
    client = QueueClient(project_paths(arguments))
    kind, jobs = CommandKind(arguments.command), client.jobs()
    named = _named(client, jobs, kind, arguments)
    states = frozenset(JobState(word) for word in arguments.state)
    chosen = [run_id for group in named for run_id in group.chosen(kind, states)]
    others = {job.run_id for group in named for job in group.jobs}.difference(chosen)
    found = Counter(job.state.value for job in jobs if job.run_id in others)
    if not chosen:
        talk(nothing_to(kind, found, arguments.state))
        return EXIT_OK
    ends = frozenset(chosen if kind is CommandKind.CANCEL and not arguments.yes else ())
    if not _may_end([job for job in jobs if job.run_id in ends]):
        talk("nothing was cancelled")
        return EXIT_OK
    left_alone = {} if states or arguments.all else found
    amount = getattr(arguments, "by", 0)
    outcome = client.request(ChangeJobs(kind, tuple(dict.fromkeys(chosen)), amount, left_alone))
    status = tell(outcome)
    return EXIT_OK if any(result.ok for result in outcome.results) else status


def _may_end(jobs: Sequence[Job]) -> bool:
    """Ask a person at a terminal whether jobs that run may be ended."""
    running = sum(job.state.is_active for job in jobs)
    if not running or not sys.stdin.isatty():
        return True
    lost = "what they have not saved in a checkpoint is lost"
    print(f"Cancel {plural(running, 'running job')}? {lost} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def drain(arguments: argparse.Namespace) -> int:
    """Let the queue finish what runs and start nothing, or start again."""
    return tell(QueueClient(project_paths(arguments)).request(Drain(not arguments.off)))


def undo(arguments: argparse.Namespace) -> int:
    """Take the last command back."""
    return tell(QueueClient(project_paths(arguments)).request(Undo()))


class _Named(NamedTuple):
    """What one word of a command stands for."""

    run_id: str
    """Of the one run that it names; empty for several."""
    jobs: Sequence[Job]

    def chosen(self, kind: CommandKind, states: Collection[JobState]) -> list[str]:
        """The runs that are asked for: a single one whatever its state, and the scheduler answers."""
        if not self.run_id:
            return select_jobs(self.jobs, kind, states=states)
        return [self.run_id] if not states or any(job.state in states for job in self.jobs) else []


def _named(
    client: QueueClient, jobs: Sequence[Job], kind: CommandKind, arguments: argparse.Namespace
) -> list[_Named]:
    """What the words of a command stand for."""
    if bool(arguments.jobs) == arguments.all:
        what = "JOB and --all exclude each other" if arguments.all else "no job given"
        raise ConfigError(what, fix=f"name a run or an experiment, or say `{kind} --all`")
    if arguments.all:
        return [_Named("", jobs)]
    experiments = {job.experiment for job in jobs}
    named = []
    for word in arguments.jobs:
        run_ids = client.resolve_all(word)
        single = run_ids[0] if len(run_ids) == 1 and word not in experiments else ""
        members = set(run_ids)
        named.append(_Named(single, [job for job in jobs if job.run_id in members]))
    return named

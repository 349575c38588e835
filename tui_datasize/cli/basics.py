"""What every command begins and ends with; nothing here takes time to import.

What is wrong with what a command is given is raised, as one line: `dispatch` prints it.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tui_datasize.errors import EXIT_BAD_INPUT, EXIT_OK, ConfigError
from tui_datasize.files import named_path
from tui_datasize.runlog.paths import ProjectPaths, RunPaths
from tui_datasize.text import shortened, visible

if TYPE_CHECKING:
    from tui_datasize.experiments.load import Experiment, Project
    from tui_datasize.experiments.spec import RunSpec
    from tui_datasize.jobs.client import QueueClient
    from tui_datasize.jobs.queue.requests import Outcome

_MOST_LINES = 20
"""Refusals that are told one by one."""


def project_paths(arguments: argparse.Namespace) -> ProjectPaths:
    """The files of the project that the arguments name; the current directory by default."""
    root = project_root(arguments.project or Path())
    if not root.is_dir():
        raise ConfigError("no such directory", where=str(root), fix="name the project with --project DIR")
    return ProjectPaths(root)


def project_root(named: Path) -> Path:
    """The project directory that was named, whether it is there or not."""
    try:
        return named_path(named)
    except ValueError as error:
        where = shortened(str(named.absolute()))
        raise ConfigError(f"no project can be kept there: {error}", where=where, fix="name another") from None


def talk(text: str) -> None:
    """Tell a person something, on stderr: stdout is for data."""
    print(visible(text, lines=True), file=sys.stderr)


def tell(outcome: Outcome) -> int:
    """Tell a person what came of a request; the exit status, 2 where it was refused, for some runs or all."""
    if outcome.error:
        print(f"datasize-tui: {visible(outcome.sentence)}", file=sys.stderr)
        return outcome.error.exit_status
    talk(outcome.sentence)
    refused = outcome.refused
    if len(refused) > 1:
        for result in refused[:_MOST_LINES]:
            talk(result.message)
    return EXIT_BAD_INPUT if refused else EXIT_OK


@contextmanager
def without_collection() -> Iterator[None]:
    """Look for no garbage meanwhile: modules, or a queue of ten thousand jobs, are objects that stay."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def print_json(value: Any, **tables: Mapping[str, Sequence[Any]]) -> None:
    """Print a value as JSON on stdout: indented for a reader, on one line (much faster) for a program.

    `tables` are further items of a value that is a dictionary: lists of objects, of which there may be tens
    of thousands, given by their columns.
    """
    if sys.stdout.isatty():
        lists = {
            name: [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
            for name, columns in tables.items()
        }
        print(json.dumps(value | lists if tables else value, indent=2, default=str))
        return
    text = _encode(value)
    for name, columns in tables.items():
        text = f"{text.removesuffix('}')}, {_encode(name)}: [{', '.join(_objects(columns))}]}}"
    print(text)


# Nothing that is printed holds itself, and to look for that takes long of ten thousand jobs.
_encode = json.JSONEncoder(default=str, check_circular=False).encode
# No text in JSON holds the end of a line as it is.
_encode_lines = json.JSONEncoder(default=str, check_circular=False, separators=("\n", ": ")).encode


def _objects(columns: Mapping[str, Sequence[Any]]) -> Iterable[str]:
    """The rows of a table, each as a JSON object; what all of them share is put into words once."""
    parts, varying, count = [], [], 0
    for name, column in columns.items():
        count, part = len(column), f"{_encode(name)}: "
        if column and column.count(column[0]) == count and len(set(map(type, column))) == 1:
            parts.append((part + _encode(column[0])).replace("%", "%%"))
            continue
        texts = _encode_lines(column)[1:-1].split("\n")
        # Where values are lists of their own, their items were taken for others.
        varying.append(texts if len(texts) == count else list(map(_encode, column)))
        parts.append(part.replace("%", "%%") + "%s")
    row = f"{{{', '.join(parts)}}}"
    return map(row.__mod__, zip(*varying, strict=True) if varying else repeat((), count))


def experiments_of(paths: ProjectPaths) -> Project:
    """The experiments of a project."""
    from tui_datasize.experiments.load import load_project

    return load_project(paths.experiments)


def selected_runs(client: QueueClient, arguments: argparse.Namespace) -> tuple[Project, tuple[RunSpec, ...]]:
    """The project, and the runs that EXPERIMENT, --sizes and --seeds select, as --order puts them.

    Of a search those that were promoted are among them, the last.
    """
    from tui_datasize.experiments.sweep import plan_runs, select

    project = experiments_of(client.project)
    experiment = project.experiment(arguments.experiment)
    specs = plan_runs(replace(experiment, order=arguments.order or experiment.order), project)
    # A default or a lever that was promoted is there already.
    specs = tuple(dict.fromkeys((*specs, *promoted_to(client, experiment))))
    return project, select(specs, sizes=arguments.sizes, seeds=arguments.seeds)


def promoted_to(client: QueueClient, experiment: Experiment) -> tuple[RunSpec, ...]:
    """The runs that the search of an experiment has gone on with; none without a search."""
    if experiment.search is None:
        return ()
    from tui_datasize.experiments.rungs import climbed

    return climbed(experiment, client.promoted(experiment.name))


def find_run(client: QueueClient, word: str) -> RunPaths:
    """The files of the one run whose id is or begins with `word`; they need not exist yet."""
    run_id = client.resolve(word)
    for job in client.jobs():
        if job.run_id == run_id:
            return client.project.run(job.experiment, run_id)
    return next(paths for paths in client.project.all_runs() if paths.run_id == run_id)

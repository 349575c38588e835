"""What most commands begin with: the project, its experiments and its queue."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tui_datasize.errors import ConfigError, UnknownRunError
from tui_datasize.experiments.load import Project, load_project
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.experiments.sweep import plan_runs, select
from tui_datasize.jobs.client import QueueClient
from tui_datasize.runlog.paths import ProjectPaths, RunPaths


def project_paths(arguments: argparse.Namespace) -> ProjectPaths:
    """The files of the project that the arguments name; the current directory by default.

    Raises:
        ConfigError: There is no such directory.
    """
    root = (arguments.project or Path()).expanduser().absolute()
    if not root.is_dir():
        raise ConfigError("no such directory", where=str(root), fix="name the project with --project DIR")
    return ProjectPaths(root)


def read_project(paths: ProjectPaths) -> Project:
    """The experiments of a project.

    Raises:
        ConfigError: `experiments.toml` is missing or wrong.
    """
    return load_project(paths.experiments)


def selected_runs(paths: ProjectPaths, arguments: argparse.Namespace) -> tuple[Project, tuple[RunSpec, ...]]:
    """The project, and the runs that EXPERIMENT, --sizes and --seeds select.

    Raises:
        ConfigError: The file, the experiment or a filter is wrong.
        DataError: The data set is missing or too small.
    """
    project = read_project(paths)
    specs = plan_runs(project.experiment(arguments.experiment), project)
    return project, select(specs, sizes=arguments.sizes, seeds=arguments.seeds)


def resolve_jobs(client: QueueClient, words: Sequence[str]) -> list[str]:
    """Run ids for run ids, unique prefixes and names of experiments, each once, in order.

    Raises:
        UnknownRunError: A word names nothing, or a prefix is not unique.
    """
    jobs = client.jobs()
    chosen: dict[str, None] = {}
    for word in words:
        of_experiment = [job.run_id for job in jobs if job.experiment == word]
        chosen.update(dict.fromkeys(of_experiment or [client.resolve(word)]))
    if not chosen:
        raise UnknownRunError("no job given")
    return list(chosen)


def find_run(client: QueueClient, word: str) -> RunPaths:
    """The files of the one run whose id is or begins with `word`; they need not exist yet.

    Raises:
        UnknownRunError: There is none, or more than one.
    """
    run_id = client.resolve(word)
    for job in client.jobs():
        if job.run_id == run_id:
            return client.project.run(job.experiment, run_id)
    return next(paths for paths in client.project.all_runs() if paths.run_id == run_id)


def talk(text: str) -> None:
    """Tell a person something, on stderr: stdout is for data."""
    print(text, file=sys.stderr)


def print_json(value: Any) -> None:
    """Print a value as JSON on stdout: indented for a reader, on one line (much faster) for a program."""
    print(json.dumps(value, indent=2 if sys.stdout.isatty() else None, default=str))

"""What most commands begin with: the project, its experiments and its queue."""

from __future__ import annotations

import argparse
from dataclasses import replace

from tui_datasize.cli.basics import print_json, project_paths, talk, tell
from tui_datasize.experiments.load import Project, load_project
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.experiments.sweep import plan_runs, select
from tui_datasize.jobs.client import QueueClient
from tui_datasize.runlog.paths import ProjectPaths, RunPaths

__all__ = [
    "find_run",
    "print_json",
    "project_paths",
    "read_project",
    "selected_runs",
    "talk",
    "tell",
]


def read_project(paths: ProjectPaths) -> Project:
    """The experiments of a project.

    Raises:
        ConfigError: `experiments.toml` is missing or wrong.
    """
    return load_project(paths.experiments)


def selected_runs(paths: ProjectPaths, arguments: argparse.Namespace) -> tuple[Project, tuple[RunSpec, ...]]:
    """The project, and the runs that EXPERIMENT, --sizes and --seeds select, as --order puts them.

    Raises:
        ConfigError: The file, the experiment or a filter is wrong.
        DataError: The data set is missing or too small.
    """
    project = read_project(paths)
    experiment = project.experiment(arguments.experiment)
    specs = plan_runs(replace(experiment, order=arguments.order or experiment.order), project)
    return project, select(specs, sizes=arguments.sizes, seeds=arguments.seeds)


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

"""`demo`: the main job on data that comes with scikit-learn, in a directory of its own."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tui_datasize.cli.basics import experiments_of, project_root, talk, tell
from tui_datasize.cli.queueing import enqueue
from tui_datasize.errors import EXIT_OK, EXIT_RUN_FAILED, StorageError
from tui_datasize.experiments.samples import text_of_file
from tui_datasize.experiments.sweep import plan_runs
from tui_datasize.jobs.client import QueueClient
from tui_datasize.runlog.paths import ProjectPaths

DIRECTORY = "datasize-demo"
EXPERIMENT = "digits"


def demo(arguments: argparse.Namespace) -> int:
    """Queue the demonstration and open the app on it; without a terminal wait and print its tables."""
    paths = ProjectPaths(project_root(arguments.project or Path(DIRECTORY)))
    _make_project(paths)
    project = experiments_of(paths)
    specs = plan_runs(project.experiment(EXPERIMENT), project)
    client = QueueClient(paths)
    outcome = client.request(enqueue(client, specs, project))
    if outcome.error:
        return tell(outcome)
    talk(f"{paths.root}: {outcome.sentence}")
    if not arguments.headless and sys.stdin.isatty() and sys.stdout.isatty():
        from tui_datasize.tui.start import run_app

        return run_app(paths)
    from tui_datasize.cli.tables import print_analysis, record_of
    from tui_datasize.cli.watch import wait_for

    succeeded = wait_for(client, specs)
    asked = argparse.Namespace(project=paths.root, experiment=EXPERIMENT, metric="test_accuracy")
    print_analysis(record_of(asked))
    return EXIT_OK if succeeded else EXIT_RUN_FAILED


def _make_project(paths: ProjectPaths) -> None:
    if paths.experiments.exists():
        return
    text = text_of_file("demo.toml")
    try:
        paths.root.mkdir(parents=True, exist_ok=True)
        paths.experiments.write_text(text, encoding="utf-8")
    except OSError as error:
        where, fix = str(paths.experiments), "run the demo where you may write"
        raise StorageError.of(error, "cannot be written", where=where, fix=fix) from None

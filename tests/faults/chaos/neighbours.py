"""What is beside the project under faults: a second one on the same slots, and a copy of it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import suppress

from tests.faults.chaos.client import spec_of
from tests.faults.chaos.findings import Execution, find_violations, read_lives
from tests.faults.lab import FINAL, Lab
from tui_datasize.errors import DatasizeError
from tui_datasize.jobs.queue.commands import CommandKind, select_jobs
from tui_datasize.runlog.paths import ProjectPaths

_RUNS = 12


class Second:
    """A project whose owner queues a few runs and leaves the rest to the machine.

    Args:
        lab: Its directory exists.
    """

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._specs = [spec_of(number) for number in range(1000, 1000 + _RUNS)]

    def tend(self) -> bool:
        """Queue what is missing or has failed, and see that a scheduler runs."""
        client = self.lab.client
        with suppress(DatasizeError):
            client.enqueue(self._specs)
            client.send(CommandKind.RETRY, select_jobs(client.jobs(), CommandKind.RETRY))
            client.ensure_scheduler()
        return True

    def is_settled(self) -> bool:
        """Whether all of its runs have ended; helps that along."""
        jobs = self.lab.client.jobs()
        failed = select_jobs(jobs, CommandKind.RETRY)
        if failed or len(jobs) < _RUNS:
            self.tend()
        with suppress(DatasizeError):
            self.lab.client.keep_scheduler()
        return len(jobs) == _RUNS and not failed and all(job.state in FINAL for job in jobs)

    def violations(self) -> Iterator[str]:
        """What must hold of it as well, though nobody noted its acknowledgements."""
        project = self.lab.project
        logs = [project.scheduler_log]
        return find_violations(self.lab.client.jobs(), project, project.root / "none", logs)


class Copy:
    """A copy of a project, made while that is at work, in which everything is cancelled.

    Args:
        original: The project.
        lab: Of the copy; its directory is made.
    """

    def __init__(self, original: ProjectPaths, lab: Lab) -> None:
        self._original = original
        self.lab = lab

    def make(self) -> bool:
        """Copy what is there, as `cp -r` does, and cancel all that the copy is said to run."""
        if not self._original.queue.exists() or self.lab.project.runs.exists():
            return False
        # What comes and goes meanwhile is missing, and the database may be torn. In a process of its own:
        # closing a file gives up the locks on it that connections of this one have.
        command = ["cp", "-r", str(self._original.root), str(self.lab.project.root)]
        subprocess.run(command, stderr=subprocess.DEVNULL, check=False)
        with suppress(DatasizeError):
            client = self.lab.client
            client.send(CommandKind.CANCEL, select_jobs(client.jobs(), CommandKind.CANCEL))
            client.ensure_scheduler()
        return True


def executions_of(project: ProjectPaths, jobs: list[tuple[str, str]]) -> Iterator[Execution]:
    """All executions of the runs of a project.

    Args:
        project: The project.
        jobs: (experiment, run id) of each.
    """
    for experiment, run_id in jobs:
        for life in read_lives(project, project.run(experiment, run_id)):
            yield from life

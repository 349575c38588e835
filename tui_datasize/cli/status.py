"""Commands that look at the queue and its scheduler."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

from rich.table import Table

from tui_datasize.cli.console import data_console, plain_table
from tui_datasize.cli.project import print_json, project_paths, talk
from tui_datasize.errors import EXIT_OK, EXIT_RUN_FAILED
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.state import Job, JobState


def status(arguments: argparse.Namespace) -> int:
    """Show counts per experiment and the jobs that are not done."""
    client = QueueClient(project_paths(arguments))
    jobs = client.jobs()
    if arguments.experiment:
        jobs = [job for job in jobs if job.experiment == arguments.experiment]
    alive = client.scheduler_alive()
    if arguments.json:
        counts = Counter(job.state.value for job in jobs)
        print_json({"scheduler": alive, "counts": counts, "jobs": [asdict(job) for job in jobs]})
        return EXIT_OK
    console = data_console()
    console.print(_counts_table(jobs) if jobs else "the queue is empty")
    shown = jobs if arguments.experiment else [job for job in jobs if _is_of_interest(job)]
    if shown:
        console.print()
        console.print(_jobs_table(shown))
    talk(f"scheduler: {'running' if alive else 'not running'}")
    return EXIT_OK


def _is_of_interest(job: Job) -> bool:
    return job.state.is_active or job.state in (JobState.FAILED, JobState.INTERRUPTED, JobState.HELD)


def _counts_table(jobs: Sequence[Job]) -> Table:
    """Jobs per experiment and state, states that nothing is in left out."""
    states = [state for state in JobState if any(job.state is state for job in jobs)]
    names = [state.value for state in states]
    table = plain_table("experiment", *names, "runs", right=(*names, "runs"))
    for experiment in dict.fromkeys(job.experiment for job in jobs):
        counts = Counter(job.state for job in jobs if job.experiment == experiment)
        cells = [str(counts[state]) if counts[state] else "-" for state in states]
        table.add_row(experiment, *cells, str(counts.total()))
    return table


def _jobs_table(jobs: Sequence[Job]) -> Table:
    table = plain_table("run", "state", "attempt", "device", "reason")
    for job in jobs:
        attempt = f"{job.attempts}/{job.max_attempts}"
        table.add_row(job.run_id, job.state.value, attempt, job.device or "-", job.reason)
    return table


def scheduler(arguments: argparse.Namespace) -> int:
    """Start, stop or look for the scheduler; `status` exits with 1 when there is none."""
    client = QueueClient(project_paths(arguments))
    if arguments.action == "start":
        client.ensure_scheduler()
    elif arguments.action == "stop":
        client.stop_scheduler()
    alive = client.scheduler_alive()
    talk(f"scheduler: {'running' if alive else 'not running'}")
    if arguments.action == "stop" and not alive:
        talk("runs that were started go on; `datasize-tui scheduler start` takes them up again")
    wanted = arguments.action != "stop"
    return EXIT_OK if alive == wanted else EXIT_RUN_FAILED

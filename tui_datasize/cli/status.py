"""Commands that look at the queue and its scheduler."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from rich.table import Table

from tui_datasize.analysis.eta import Estimate, latest
from tui_datasize.cli.console import data_console, plain_table
from tui_datasize.cli.project import print_json, project_paths, talk
from tui_datasize.errors import EXIT_OK, EXIT_RUN_FAILED, ConfigError
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.commands import QueueSettings
from tui_datasize.jobs.state import Job, JobState
from tui_datasize.jobs.views import Usage
from tui_datasize.tui.look.duration import duration
from tui_datasize.tui.look.forecast import look_ahead

_BASES_SHOWN = 3


def status(arguments: argparse.Namespace) -> int:
    """Show counts per experiment and the jobs that are not done."""
    client = QueueClient(project_paths(arguments))
    look = _look(client, arguments.experiment)
    jobs = look.jobs
    if arguments.json:
        print_json(look.as_dict())
        return EXIT_OK
    console = data_console()
    console.print(_counts_table(look) if jobs else "the queue is empty")
    shown = jobs if arguments.experiment else [job for job in jobs if _is_of_interest(job)]
    if shown:
        console.print()
        console.print(_jobs_table(shown, look))
    for line in look.lines():
        talk(line)
    return EXIT_OK


@dataclass(frozen=True, slots=True)
class _Look:
    """Everything that `status` shows, at one moment."""

    jobs: Sequence[Job]
    alive: bool
    settings: QueueSettings
    estimates: Mapping[str, Estimate]
    """By run id, of the jobs that run or will."""
    slots: int
    usage: Mapping[str, Usage]
    """By experiment."""

    def of(self, experiment: str) -> list[Estimate]:
        """The estimates of one experiment."""
        return [estimate for estimate in self.estimates.values() if estimate.experiment == experiment]

    def as_dict(self) -> dict[str, Any]:
        """Plain values; jobs carry their estimate."""
        nothing = {"remaining_s": None, "ends_in_s": None, "basis": ""}
        names = [field.name for field in fields(Job)]
        estimates = {
            run_id: {"remaining_s": e.remaining_s, "ends_in_s": e.ends_in_s, "basis": e.basis}
            for run_id, e in self.estimates.items()
        }
        return {
            "scheduler": self.alive,
            "settings": asdict(self.settings),
            "counts": Counter(job.state.value for job in self.jobs),
            "ends_in_s": latest(self.estimates.values()),
            "slots": self.slots,
            "experiments": {
                name: {
                    "ends_in_s": latest(self.of(name)),
                    "cpu_s": self.usage[name].cpu_s if name in self.usage else 0.0,
                    "gpu_s": self.usage[name].gpu_s if name in self.usage else 0.0,
                }
                for name in dict.fromkeys(job.experiment for job in self.jobs)
            },
            "jobs": [
                {name: getattr(job, name) for name in names} | estimates.get(job.run_id, nothing)
                for job in self.jobs
            ],
        }

    def lines(self) -> Iterator[str]:
        """What is said beside the tables."""
        yield f"scheduler: {'running' if self.alive else 'not running'}"
        if self.settings.draining:
            yield "the queue drains: nothing is started; `datasize-tui drain --off` ends that"
        if not self.estimates:
            return
        runs, slots = _plural(len(self.estimates), "run"), _plural(self.slots, "slot")
        ends_in_s = latest(self.estimates.values())
        known = "not known yet" if ends_in_s is None else f"about {duration(ends_in_s)}"
        yield f"time left: {known} for {runs} on {slots}"
        bases = Counter(estimate.basis for estimate in self.estimates.values() if estimate.basis)
        for basis, count in bases.most_common(_BASES_SHOWN):
            yield f"  learned from {basis} ({_plural(count, 'run')})"


def _look(client: QueueClient, experiment: str | None) -> _Look:
    """Look at the jobs of an experiment, or at all; others still count for when they end."""
    jobs = client.jobs()
    settings = client.settings()
    ahead = look_ahead(client.executions(), jobs, settings.slots or 1, reached={})
    shown = {job.run_id for job in jobs if experiment in (None, job.experiment)}
    return _Look(
        jobs=[job for job in jobs if job.run_id in shown],
        alive=client.scheduler_alive(),
        settings=settings,
        estimates={run_id: e for run_id, e in ahead.estimates.items() if run_id in shown},
        slots=ahead.slots,
        usage={usage.experiment: usage for usage in client.usage()},
    )


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def _is_of_interest(job: Job) -> bool:
    return (
        job.state.is_active
        or bool(job.waits_for)
        or job.state in (JobState.FAILED, JobState.INTERRUPTED, JobState.HELD)
    )


def _counts_table(look: _Look) -> Table:
    """Jobs per experiment and state, states that nothing is in left out, time left and time used."""
    jobs = look.jobs
    states = [state for state in JobState if any(job.state is state for job in jobs)]
    names = [state.value for state in states]
    times = ("time left", "CPU h", "GPU h")
    table = plain_table("experiment", *names, "runs", *times, right=(*names, "runs", *times))
    for experiment in dict.fromkeys(job.experiment for job in jobs):
        counts = Counter(job.state for job in jobs if job.experiment == experiment)
        cells = [str(counts[state]) if counts[state] else "-" for state in states]
        table.add_row(experiment, *cells, str(counts.total()), *_times(look, experiment))
    return table


def _times(look: _Look, experiment: str) -> tuple[str, str, str]:
    estimates, used = look.of(experiment), look.usage.get(experiment)
    left = duration(latest(estimates)) if estimates else "-"
    if used is None:
        return left, "-", "-"
    return left, _hours(used.cpu_s), _hours(used.gpu_s)


def _hours(seconds: float) -> str:
    hours = seconds / 3600
    return f"{hours:.1f}" if hours >= 10 else f"{hours:.2g}" if hours else "-"


def _jobs_table(jobs: Sequence[Job], look: _Look) -> Table:
    table = plain_table("run", "state", "attempt", "device", "time left", "reason", right=("time left",))
    for job in jobs:
        estimate = look.estimates.get(job.run_id)
        left = duration(estimate.remaining_s) if estimate else "-"
        attempt = f"{job.attempts}/{job.max_attempts}"
        table.add_row(job.run_id, job.state.value, attempt, job.device or "-", left, _why(job))
    return table


def _why(job: Job) -> str:
    """The reason of a job's state, or what it waits for."""
    if not job.waits_for:
        return job.reason
    first, *others = job.waits_for
    return f"waits for {first}" + (f" and {len(others)} more" if others else "")


def scheduler(arguments: argparse.Namespace) -> int:
    """Start, stop or look for the scheduler; `status` exits with 1 when there is none."""
    options = _scheduler_options(arguments)
    client = QueueClient(project_paths(arguments), scheduler_options=options)
    if options and (arguments.action != "start" or client.scheduler_alive()):
        raise ConfigError(
            f"{options[0]} is for a scheduler that starts",
            fix="stop the one that runs first: `datasize-tui scheduler stop`; its runs go on",
        )
    if arguments.action == "start":
        client.ensure_scheduler()
    elif arguments.action == "stop":
        client.stop_scheduler()
    alive = client.scheduler_alive()
    if arguments.action == "stop" and not alive:
        talk("scheduler: stopped; runs that were started go on, the next command or the app starts another")
    else:
        talk(f"scheduler: {'running' if alive else 'not running'}")
    wanted = arguments.action != "stop"
    return EXIT_OK if alive == wanted else EXIT_RUN_FAILED


def _scheduler_options(arguments: argparse.Namespace) -> list[str]:
    """The options of `scheduler start` as the scheduler's own."""
    options = ["--cold"] if arguments.cold else []
    for name in ("slots_per_gpu", "max_jobs_per_gpu", "cpu_slots"):
        if getattr(arguments, name) is not None:
            options += [f"--{name.replace('_', '-')}", str(getattr(arguments, name))]
    return options

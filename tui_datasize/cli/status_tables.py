"""The tables of `status`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.table import Table

from tui_datasize.cli.status import Look
from tui_datasize.jobs.queue.paces import latest
from tui_datasize.jobs.queue.state import Job, JobState
from tui_datasize.render.console import plain_table
from tui_datasize.text import time_left


def counts_table(look: Look) -> Table:
    """Jobs per experiment and state, states that nothing is in left out, time left and time used."""
    jobs = look.jobs
    found = {look.state_of(job) for job in jobs}
    names = [name for name in (*(state.value for state in JobState), "incomplete") if name in found]
    times = ("time left", "CPU h", "GPU h")
    table = plain_table("experiment", *names, "runs", *times, right=(*names, "runs", *times))
    for experiment in dict.fromkeys(job.experiment for job in jobs):
        counts = Counter(look.state_of(job) for job in jobs if job.experiment == experiment)
        cells = [str(counts[name]) if counts[name] else "-" for name in names]
        table.add_row(experiment, *cells, str(counts.total()), *_times(look, experiment))
    return table


def _times(look: Look, experiment: str) -> tuple[str, str, str]:
    estimates, used = look.of(experiment), look.usage.get(experiment)
    left = time_left(latest(estimates)) if estimates else "-"
    if used is None:
        return left, "-", "-"
    return left, _hours(used.cpu_s), _hours(used.gpu_s)


def _hours(seconds: float) -> str:
    hours = seconds / 3600
    return f"{hours:.1f}" if hours >= 10 else f"{hours:.2g}" if hours else "-"


def jobs_table(jobs: Sequence[Job], look: Look) -> Table:
    """One line per job; with a column for what is swept, where something is."""
    has_variants = any(job.run_id in look.variants for job in jobs)
    columns = ["run", *(["variant"] if has_variants else [])]
    table = plain_table(*columns, "state", "attempt", "device", "time left", "reason", right=("time left",))
    for job in jobs:
        estimate = look.estimates.get(job.run_id)
        left = time_left(estimate.remaining_s) if estimate else "-"
        attempt = f"{job.attempts}/{job.max_attempts}"
        names = [job.run_id, *([look.variants.get(job.run_id, "-")] if has_variants else [])]
        table.add_row(*names, job.state.value, attempt, job.device or "-", left, _why(job))
    return table


def _why(job: Job) -> str:
    """The reason of a job's state, what it waits for, or with how many it shares its worker."""
    if job.pack:
        return f"one of {len(job.pack)} that one process trains"
    if not job.waits_for:
        return job.reason
    first, *others = job.waits_for
    return f"waits for {first}" + (f" and {len(others)} more" if others else "")

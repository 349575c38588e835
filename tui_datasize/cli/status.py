"""The command that looks at the queue: its tables, and what sets the runs of a sweep apart."""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from tui_datasize.cli.basics import print_json, project_paths, talk, without_collection
from tui_datasize.errors import EXIT_OK, EXIT_RUN_FAILED, ConfigError, UnknownRunError
from tui_datasize.experiments.device_settings import DeviceOptions
from tui_datasize.experiments.project_tables import device_settings
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.queue.faults import Fault
from tui_datasize.jobs.queue.paces import TimeEstimate, latest
from tui_datasize.jobs.queue.reading import Usage
from tui_datasize.jobs.queue.settings import QueueSettings
from tui_datasize.jobs.queue.state import Job, JobState
from tui_datasize.jobs.queue.time_left import time_left_of, what_holds_up
from tui_datasize.runlog.incomplete import noted_incomplete
from tui_datasize.runlog.reached import Reached, after_interruption, read_reached, resumed_at
from tui_datasize.text import duration, plural, time_left

if TYPE_CHECKING:
    from rich.table import Table

_CHAINED_SHOWN = 5
"""Jobs that wait for other runs, in the table of all experiments."""
_REASONS_SHOWN = 3
_NOT_KNOWN = TimeEstimate("", "", None, None, "")


def status(arguments: argparse.Namespace) -> int:
    """Show counts per experiment and the jobs that are not done."""
    client = QueueClient(project_paths(arguments))
    with without_collection():
        look = _look(client, arguments.experiment)
        if arguments.json:
            print_json(look.as_dict(), jobs=look.columns())
            return look.exit_status
    jobs = look.jobs
    # Not needed, and not imported, where a program asks.
    from tui_datasize.render.console import data_console

    console = data_console()
    console.print(counts_table(look) if jobs else "the queue is empty")
    shown, chained = jobs, []
    if not arguments.experiment:
        shown = [job for job in jobs if _is_of_interest(job)]
        chained = [job for job in jobs if job.waits_for and not _is_of_interest(job)]
    if shown or chained:
        console.print()
        console.print(jobs_table([*shown, *chained[:_CHAINED_SHOWN]], look))
    if (more := len(chained) - _CHAINED_SHOWN) > 0:
        talk(f"{more:,} more wait for other runs; `status --experiment NAME` lists all")
    for line in look.lines():
        talk(line)
    if look.alive:
        try:
            device_settings(client.project.root)
        except ConfigError as error:
            talk(f"the scheduler keeps its settings of the devices: {error.line}")
    return look.exit_status


@dataclass(frozen=True, slots=True)
class Look:
    """Everything that `status` shows, at one moment."""

    jobs: Sequence[Job]
    alive: bool
    settings: QueueSettings
    estimates: Mapping[str, TimeEstimate]
    """By run id, of the jobs that run or will."""
    slots: int
    usage: Mapping[str, Usage]
    """By experiment."""
    variants: Mapping[str, str]
    """By run id, what sets it apart from others of its size, draw and seed, where something does."""
    waiting: str
    """Who has the slots that jobs wait for; empty where they wait for none of others."""
    held_up: str
    """Why no job that waits begins; empty where one does."""
    options: DeviceOptions
    """What the scheduler that runs was started with."""
    faults: Sequence[Fault]
    interruptions: Mapping[str, str]
    """By run id, what ended the attempt before of those that have begun again."""
    lost: frozenset[str]
    """Ids of runs that succeeded and lacked evaluations when the record was last read."""
    searches: Mapping[str, str]
    """By experiment, where its searches stand and what they wait for."""

    @property
    def exit_status(self) -> int:
        return EXIT_RUN_FAILED if self.faults else EXIT_OK

    def of(self, experiment: str) -> list[TimeEstimate]:
        return [estimate for estimate in self.estimates.values() if estimate.experiment == experiment]

    def as_dict(self) -> dict[str, Any]:
        """Plain values of all but the jobs."""
        by_experiment: dict[str, list[Job]] = defaultdict(list)
        for job in self.jobs:
            by_experiment[job.experiment].append(job)
        return {
            "scheduler": self.alive,
            "scheduler_options": self.options.said,
            "settings": asdict(self.settings),
            "counts": Counter(map(self.state_of, self.jobs)),
            "ends_in_s": self._ends_in_s([*self.estimates.values()], self.jobs),
            "slots": self.slots,
            "waiting": self.waiting,
            "held_up": self.held_up,
            "searches": self.searches,
            "faults": [asdict(fault) for fault in self.faults],
            "experiments": {
                name: {
                    "ends_in_s": self._ends_in_s(self.of(name), jobs),
                    "cpu_s": self.usage[name].cpu_s if name in self.usage else 0.0,
                    "gpu_s": self.usage[name].gpu_s if name in self.usage else 0.0,
                }
                for name, jobs in by_experiment.items()
            },
            "sources": self._source_sets(),
        }

    @staticmethod
    def _ends_in_s(estimates: Collection[TimeEstimate], jobs: Iterable[Job]) -> float | None:
        """Seconds until the last of some jobs ends; None where one is not known, 0 where all are done."""
        return latest(estimates) if estimates or all(job.state.is_final for job in jobs) else None

    def columns(self) -> dict[str, list[Any]]:
        """The jobs with their estimates; `after` is the number of what they wait for in `sources`."""
        jobs, numbers = self.jobs, {id(one): number for number, one in enumerate(self._source_sets())}
        estimates = [self.estimates.get(job.run_id, _NOT_KNOWN) for job in jobs]
        told = dict(zip(Job._fields[:-1], map(list, zip(*jobs, strict=True)), strict=False))
        return told | {
            "after": [numbers.get(id(job.after)) for job in jobs],
            "waits_for": [len(job.waits_for) for job in jobs],
            "remaining_s": [one.remaining_s for one in estimates],
            "ends_in_s": [one.ends_in_s for one in estimates],
            "basis": [one.basis for one in estimates],
            "variant": [self.variants.get(job.run_id, "") for job in jobs],
            "incomplete": [self._is_lost(job) for job in jobs],
        }

    def _source_sets(self) -> list[tuple[str, ...]]:
        """What jobs wait for: hundreds of them may share one list of hundreds."""
        return list({id(job.after): job.after for job in self.jobs if job.after}.values())

    def state_of(self, job: Job) -> str:
        """The state that a job is counted in."""
        return "incomplete" if self._is_lost(job) else job.state.value

    def _is_lost(self, job: Job) -> bool:
        return job.state is JobState.SUCCEEDED and job.run_id in self.lost

    def lines(self) -> Iterator[str]:
        off = "stopped" if self.settings.stopped else "not running"
        options = f" with {self.options.describe()}" if self.options.said else ""
        yield f"scheduler: {'running' if self.alive else off}{options}"
        if not self.alive and any(job.state.is_active for job in self.jobs):
            yield "running jobs are as last seen; `datasize-tui scheduler start` looks again"
        if self.settings.draining:
            yield "draining: running jobs finish, no new ones start; `datasize-tui drain --off` ends that"
        for fault in self.faults:
            yield f"fault: {fault.sentence}"
        if self.waiting:
            yield self.waiting
        yield from (f"{name}: {words}" for name, words in self.searches.items())
        waiting = (job.reason or "not handed over yet" for job in self.jobs if _waits_for_cluster(job))
        for reason, count in Counter(waiting).most_common(_REASONS_SHOWN):
            yield f"slurm: {plural(count, 'run')}: {reason}"
        for experiment, count in Counter(job.experiment for job in self.jobs if self._is_lost(job)).items():
            yield (
                f"{experiment}: {plural(count, 'run')} incomplete, evaluations lost: not done; "
                f"`datasize-tui queue {experiment}` runs them again"
            )
        if not self.estimates:
            return
        yield self._time_left()
        bases = Counter(estimate.basis for estimate in self.estimates.values() if estimate.basis)
        for basis, count in bases.most_common(3):
            yield f"  learned from {basis} ({plural(count, 'run')})"

    def _time_left(self) -> str:
        runs, ends_in_s = plural(len(self.estimates), "run"), latest(self.estimates.values())
        away = sum(estimate.awaits_cluster for estimate in self.estimates.values())
        known = [one for one in self.estimates.values() if one.ends_in_s is not None]
        if self.held_up and len(known) < len(self.estimates):
            first = f"about {duration(latest(known))} for {plural(len(known), 'run')}, " if known else ""
            held = plural(len(self.estimates) - len(known), "run")
            return f"time left: {first}not known for {held}: {self.held_up}"
        if away:
            why = f"Slurm decides when {away:,} of them {'begins' if away == 1 else 'begin'}"
            return f"time left: not known for {runs}: {why}"
        left = "not known yet" if ends_in_s is None else f"about {duration(ends_in_s)}"
        left = "any moment" if ends_in_s == 0 else left
        is_here = any(not job.place and job.run_id in self.estimates for job in self.jobs)
        slots = f" on {plural(self.slots, 'slot')}" if self.slots and is_here else ""
        return f"time left: {left} for {runs}{slots}"


def _reached(client: QueueClient, jobs: Sequence[Job]) -> Mapping[str, Reached]:
    """How far the runs have come that a worker has, or had until it vanished."""
    begun = (job for job in jobs if job.state.is_active or job.state is JobState.INTERRUPTED)
    found = ((job.run_id, read_reached(client.project.run(job.experiment, job.run_id))) for job in begun)
    return {run_id: reached for run_id, reached in found if reached is not None}


def _interruptions(client: QueueClient, jobs: Iterable[Job]) -> Mapping[str, str]:
    begun = (job for job in jobs if job.interrupted_by and job.state.is_active)
    return {
        job.run_id: after_interruption(
            job.interrupted_by, resumed_at(client.project.run(job.experiment, job.run_id))
        )
        for job in begun
    }


def _look(client: QueueClient, experiment: str | None) -> Look:
    """Look at the jobs of an experiment, or at all; others still count for when they end."""
    jobs = client.jobs()
    of_interest = jobs if experiment is None else [job for job in jobs if job.experiment == experiment]
    if experiment is not None and not of_interest:
        known = ", ".join(dict.fromkeys(job.experiment for job in jobs)) or "nothing"
        what = f"no experiment {experiment!r} in the queue, which holds {known}"
        raise UnknownRunError(what, fix="`datasize-tui queue EXPERIMENT` queues one")
    settings = client.settings()
    faults, waiting = client.faults(), client.waits_for_slots()
    ahead = time_left_of(client.executions(jobs), jobs, client.slots(), _reached(client, jobs))
    ahead = ahead.while_held_up(what_holds_up(jobs, ahead.slots, faults, settings, waiting))
    estimates = ahead.estimates
    if of_interest is not jobs:
        estimates = {job.run_id: estimates[job.run_id] for job in of_interest if job.run_id in estimates}
    labels = label_variants(client.shapes())
    return Look(
        jobs=of_interest,
        alive=client.scheduler_alive(),
        settings=settings,
        estimates=estimates,
        slots=ahead.slots,
        usage={usage.experiment: usage for usage in client.usage()},
        variants={job.run_id: labels[job.shape] for job in of_interest if job.shape in labels},
        waiting=waiting,
        held_up=ahead.held_up,
        options=client.scheduler_options(),
        faults=faults,
        interruptions=_interruptions(client, of_interest),
        lost=noted_incomplete(client.project),
        searches={one: told for one, told in client.searches().items() if experiment in (None, one)},
    )


def _waits_for_cluster(job: Job) -> bool:
    return bool(job.place) and job.state.is_waiting and not job.waits_for


def _is_of_interest(job: Job) -> bool:
    return job.state.is_active or job.state in (JobState.FAILED, JobState.INTERRUPTED, JobState.HELD)


def counts_table(look: Look) -> Table:
    """Jobs per experiment and state, states that nothing is in left out, time left and time used."""
    from tui_datasize.render.console import plain_table

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
    from tui_datasize.render.console import plain_table

    has_variants = any(job.run_id in look.variants for job in jobs)
    columns = ["run", *(["variant"] if has_variants else [])]
    table = plain_table(*columns, "state", "attempt", "device", "time left", "reason", right=("time left",))
    # An id in two pieces cannot be copied.
    table.columns[0].no_wrap = True
    for job in jobs:
        estimate = look.estimates.get(job.run_id)
        left = time_left(estimate.remaining_s) if estimate else "-"
        attempt = f"{job.attempts}/{job.max_attempts}"
        names = [job.run_id, *([look.variants.get(job.run_id, "-")] if has_variants else [])]
        table.add_row(*names, job.state.value, attempt, job.device or "-", left, _why(job, look))
    return table


def _why(job: Job, look: Look) -> str:
    if job.run_id in look.interruptions:
        return look.interruptions[job.run_id]
    if job.pack:
        return f"one of {len(job.pack)} that one process trains"
    if not job.waits_for:
        return job.reason
    first, *others = job.waits_for
    return f"waits for {first}" + (f" and {len(others)} more" if others else "")


def label_variants(shapes: Mapping[int, RunSpec]) -> Mapping[int, str]:
    """Labels such as `optimizer.lr=0.001` by number; runs of experiments that sweep nothing have none."""
    by_experiment: dict[str, dict[int, RunSpec]] = defaultdict(dict)
    for number, spec in shapes.items():
        by_experiment[spec.experiment][number] = spec
    labels: dict[int, str] = {}
    for alike in by_experiment.values():
        if len({replace(spec, train_size=0) for spec in alike.values()}) > 1:
            # Takes a while to import, and most queues sweep nothing but sizes and seeds.
            from tui_datasize.experiments.variants import variant_labels

            found = variant_labels(list(alike.values()))
            labels |= {number: label for number, spec in alike.items() if (label := found.get(spec.run_id))}
    return labels

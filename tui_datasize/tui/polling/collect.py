"""Builds snapshots: one look at the queue, the record, the devices and the project's file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from functools import partial
from sys import intern
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from tui_datasize.errors import DatasizeError
from tui_datasize.experiments.variants import on_screen
from tui_datasize.jobs.queue.paces import TimeEstimate
from tui_datasize.jobs.queue.settings import QueueSettings
from tui_datasize.jobs.queue.state import Job, JobState
from tui_datasize.jobs.queue.time_left import (
    NOTHING_KNOWN,
    NOTHING_MOVES,
    KeptTimeLeft,
    TimeLeft,
    what_holds_up,
)
from tui_datasize.jobs.scheduler.devices import DeviceReport, capacities, or_cpu
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.runlog.reached import after_interruption, resumed_at
from tui_datasize.tui.polling.log_tail import LogTail, run_log_tail
from tui_datasize.tui.polling.machine import Machine, MachineWatch
from tui_datasize.tui.polling.project_file import Planner, ProjectPlan, with_further
from tui_datasize.tui.polling.runs_of_jobs import runs_of_jobs
from tui_datasize.tui.polling.snapshot import (
    EMPTY,
    ExperimentPlan,
    Interest,
    JobRow,
    Kept,
    RunFacts,
    Snapshot,
    TrainingCurve,
    display_order,
)
from tui_datasize.tui.widgets.palette import INCOMPLETE, CellState

if TYPE_CHECKING:
    import polars as pl

    from tui_datasize.experiments.spec import RunSpec
    from tui_datasize.jobs.client import QueueClient
    from tui_datasize.tui.polling.record import ProjectRecord
    from tui_datasize.tui.polling.trouble import Trouble, TroubleFinder

T = TypeVar("T")

_LOOKED_AT_ONCE = 10
"""Runs that have ended of which the whole log is read at one look."""
_FACT_COLUMNS = ["path" if one.name == "directory" else one.name for one in fields(RunFacts)]


class Collector:
    """Looks at a project again and again; what fails is reported and keeps its last good value."""

    def __init__(
        self,
        project: ProjectPaths,
        queue: QueueClient,
        open_record: Callable[[], ProjectRecord],
        read_devices: Callable[[], DeviceReport],
    ) -> None:
        self._project = project
        self._queue = queue
        self._watch = queue.watch()
        self._version: object = None
        self._queue_changed = False
        self._open_record = open_record
        self._record: ProjectRecord | None = None
        self._read_devices = read_devices
        self._planner = Planner(project.experiments)
        self._last = EMPTY
        self._plan = ProjectPlan()
        self._jobs: list[Job] = []
        self._settings = QueueSettings()
        self._searches: Mapping[str, str] = {}
        self._shapes: Mapping[int, RunSpec] = {}
        self._kept_time = KeptTimeLeft()
        self._still: Kept[TimeLeft] = Kept()
        self._strangers: Kept[list[RunFacts]] = Kept()
        self._states: Kept[Mapping[str, JobState]] = Kept()
        self._variants: Kept[Mapping[str, tuple[str, str]]] = Kept()
        self._experiments: Kept[tuple[ExperimentPlan, ...]] = Kept()
        self._unlisted: frozenset[str] = frozenset()
        self._listed: Kept[set[str]] = Kept()
        self._split_curves: Kept[Mapping[str, TrainingCurve]] = Kept()
        self._rows: Kept[tuple[JobRow, ...]] = Kept()
        self._resumed: Mapping[Job, int] = {}
        self._troubles: TroubleFinder | None = None
        self._machine = MachineWatch(project)
        self._table: Kept[pl.DataFrame] = Kept()
        self._counted: Kept[Mapping[str, Counter[CellState]]] = Kept()

    def look(self, interest: Interest) -> Snapshot:
        """Look once, for as long as a person would wait: at first at the queue alone, then at some runs more.

        Nothing here raises: a part that cannot be read is named in `problems`, and the rest goes on.
        """
        if self._last is EMPTY:
            problems: list[str] = []
            glance = self._glance(interest, problems)
            # Polars takes longer to import than all of this.
            variants = self._variants.of(_variants, glance.experiments)
            self._last = replace(
                glance,
                jobs=_job_rows(self._jobs, (), {}, NOTHING_KNOWN, variants, {}),
                states=_states(self._jobs, ()),
                unread=len(self._jobs),
                problems=tuple(problems),
            )
            if self._jobs:
                return self._last
        return self.collect(interest, in_steps=True)

    def collect(self, interest: Interest, *, in_steps: bool = False) -> Snapshot:
        """Look once, at everything unless told not to; raises nothing, like `look`."""
        problems: list[str] = []
        snapshot, last = self._look(interest, problems, in_steps), self._last
        facts, states = snapshot.facts, snapshot.states
        curves = _attempt("metrics", lambda: self._curves(interest, facts), last.curves, problems)
        troubles = _attempt(
            "metrics", lambda: self._look_for_trouble(interest, curves, states), last.troubles, problems
        )
        log = _attempt("log", lambda: self._log(interest, states, facts), last.log, problems)
        machine = self._look_at_machine(snapshot.devices, problems) if interest.machine else None
        told = [*problems, *(self._record.problems() if self._record else ())]
        # The header has these.
        of_faults = {fault.sentence for fault in snapshot.faults}
        self._last = replace(
            snapshot,
            counted=self._count(snapshot),
            curves=curves,
            troubles=troubles,
            log=log,
            machine=machine,
            table=self._table.of(runs_of_jobs, snapshot.jobs, snapshot.runs, self._shapes),
            problems=tuple(line for line in dict.fromkeys(told) if line not in of_faults),
        )
        return self._last

    def look_at_queue(self, interest: Interest, last: Snapshot, problem: str) -> Snapshot:
        """What was seen last, with what the queue alone says now; `problem` is told with it."""
        problems: list[str] = []
        glance = self._glance(interest, problems)
        strangers = _strangers(self._jobs, last.facts)
        variants = self._variants.of(_variants, glance.experiments)
        is_first = not last.is_ready and not last.unread
        left = last.time_left.while_held_up(NOTHING_MOVES)
        snapshot = replace(
            last,
            experiments=glance.experiments,
            scheduler_alive=glance.scheduler_alive,
            stopped=glance.stopped,
            draining=glance.draining,
            data_dir=glance.data_dir,
            file_problem=glance.file_problem,
            jobs=_job_rows(self._jobs, strangers, last.facts, left, variants, {}),
            time_left=left,
            counted={},
            states=_states(self._jobs, strangers),
            faults=tuple(_attempt("faults", self._queue.faults, list(last.faults), problems)),
            unread=len(self._jobs) if is_first else last.unread,
            problems=(problem, *problems),
        )
        return replace(snapshot, counted=self._count(snapshot))

    def _count(self, snapshot: Snapshot) -> Mapping[str, Counter[CellState]]:
        return self._counted.of(
            lambda *_: {plan.name: snapshot.cell_counts(plan) for plan in snapshot.experiments},
            *(snapshot.experiments, snapshot.jobs, snapshot.states, snapshot.facts),
        )

    def _glance(self, interest: Interest, problems: list[str]) -> Snapshot:
        """What the project's file and the queue say; what could not be read is added to `problems`."""
        self._plan = plan = _attempt(
            "experiments.toml", lambda: self._planner.plan(interest.experiment), self._plan, problems
        )
        file_problem = " ".join(problems)
        # Before the queue, which then tells of one that ends in between that it was stopped.
        alive = _attempt("scheduler", self._queue.scheduler_alive, False, problems)
        self._queue_changed |= _attempt("queue", self._read_queue, True, problems)
        return Snapshot(
            experiments=self._with_further(plan.experiments, problems),
            scheduler_alive=alive,
            stopped=self._settings.stopped,
            draining=self._settings.draining,
            searches=self._searches,
            data_dir=plan.data_dir,
            file_problem=file_problem,
        )

    def _look(self, interest: Interest, problems: list[str], in_steps: bool) -> Snapshot:
        """All but what follows from the rest; what could not be read is added to `problems`."""
        last, glance = self._last, self._glance(interest, problems)
        devices, slots = self._look_at_devices(glance.scheduler_alive, problems)
        runs = _attempt("runs", lambda: self._runs(in_steps), last.runs, problems)
        unread = self._record.unread if self._record else 0
        facts, version = self._facts(runs)
        strangers = self._strangers.of(_strangers, self._jobs, facts)
        estimate = partial(self._kept_time.look, self._jobs, self._queue.executions, slots, facts)
        faults = tuple(_attempt("faults", self._queue.faults, list(last.faults), problems))
        time_left = _attempt("time left", estimate, last.time_left, problems)
        waiting = _attempt("slots", self._queue.waits_for_slots, "", problems)
        why = intern(what_holds_up(self._jobs, slots, faults, self._settings, waiting))
        time_left = self._still.of(TimeLeft.while_held_up, time_left, why)
        variants = self._variants.of(_variants, glance.experiments)
        return replace(
            glance,
            jobs=self._rows.of(
                _job_rows, self._jobs, strangers, facts, time_left, variants, self._look_for_resumptions()
            ),
            states=self._states.of(_states, self._jobs, strangers),
            facts=facts,
            devices=devices,
            faults=faults,
            waiting=waiting,
            time_left=time_left,
            runs=runs,
            runs_version=version,
            unread=unread,
            is_ready=not unread,
        )

    def _with_further(
        self, plans: tuple[ExperimentPlan, ...], problems: list[str]
    ) -> tuple[ExperimentPlan, ...]:
        """The experiments with what was queued for them beside their sweeps, such as the runs of a plan."""
        listed = self._listed.of(lambda plans: {cell.run_id for plan in plans for cell in plan.cells}, plans)
        names = {plan.name for plan in plans if plan.cells}
        unlisted = frozenset(
            job.run_id
            for job in self._jobs
            if job.experiment in names and job.run_id not in listed and job.state is not JobState.CANCELLED
        )
        if unlisted != self._unlisted:
            self._unlisted = unlisted
        add = partial(with_further, queue=self._queue)
        return _attempt("queue", lambda: self._experiments.of(add, plans, self._unlisted), plans, problems)

    def _look_at_devices(self, alive: bool, problems: list[str]) -> tuple[DeviceReport | None, int]:
        devices = _attempt("devices", self._read_devices, self._last.devices, problems)
        # A scheduler that runs and has slots has those of the CPU where no GPU can take jobs.
        takes_cpu = bool(alive and self._settings.slots) or self._plan.devices.cpu
        devices = devices and or_cpu(devices, takes_cpu)
        if devices:
            self._machine.note(devices)
        slots = self._slots(devices, alive)
        return replace(devices, cpu_slots=slots) if devices and devices.cpu_slots else devices, slots

    def _look_at_machine(self, devices: DeviceReport | None, problems: list[str]) -> Machine | None:
        at_work = [job for job in self._jobs if job.state.is_active]
        return _attempt("machine", lambda: self._machine.look(devices, at_work), self._last.machine, problems)

    def _read_queue(self) -> bool:
        """Read the queue where it has changed, and return whether it has."""
        # Before the queue, so that what is committed meanwhile is read the next time.
        version = self._watch.version()
        if version == self._version:
            return False
        jobs, self._settings = self._queue.jobs(), self._queue.settings()
        self._searches = self._queue.searches()
        if jobs != self._jobs:
            self._jobs = jobs
            # They never change, but are added to.
            if not self._shapes.keys() >= {job.shape for job in jobs if job.shape}:
                self._shapes = self._queue.shapes()
        self._version = version
        return True

    def _look_for_resumptions(self) -> Mapping[Job, int]:
        """The update from which runs at work have gone on after an interruption, once it is known."""
        known = {}
        for job in (job for job in self._jobs if job.interrupted_by and job.state.is_active):
            paths = self._project.run(job.experiment, job.run_id)
            update = self._resumed[job] if job in self._resumed else resumed_at(paths)
            if update is not None:
                known[job] = update
        if known != self._resumed:
            self._resumed = known
        return self._resumed

    def _slots(self, devices: DeviceReport | None, alive: bool) -> int:
        """Jobs that are taken at once: as the scheduler that runs says, else as the project's file does."""
        if alive and self._settings.slots is not None:
            return self._settings.slots
        asked = self._plan.devices
        return sum(capacities(devices, asked.slots_per_gpu, asked.cpu_slots).values()) if devices else 1

    def _runs(self, in_steps: bool) -> pl.DataFrame:
        # Opened here, so that what it imports does not delay the first screen.
        self._record = self._record or self._open_record()
        runs = self._record.runs(queue_changed=self._queue_changed, in_steps=in_steps)
        self._queue_changed = False
        return runs

    def _facts(self, runs: pl.DataFrame | None) -> tuple[Mapping[str, RunFacts], int]:
        last = self._last
        if runs is None or (last.runs is not None and (runs is last.runs or runs.equals(last.runs))):
            return last.facts, last.runs_version
        return read_facts(runs), last.runs_version + 1

    def _curves(self, interest: Interest, facts: Mapping[str, RunFacts]) -> Mapping[str, TrainingCurve]:
        experiments = {run_id: facts[run_id].experiment for run_id in interest.curves if run_id in facts}
        if not experiments or self._record is None:
            return MappingProxyType({})
        return self._split_curves.of(self._split, self._record.metrics(experiments))

    def _split(self, rows: pl.DataFrame) -> Mapping[str, TrainingCurve]:
        """The rows run by run; those that have not changed as they were."""
        curves = {}
        for (run_id,), part in rows.partition_by("run_id", as_dict=True).items():
            before = self._last.curves.get(run_id)
            curves[run_id] = before if before and before.rows.equals(part) else TrainingCurve(run_id, part)
        return MappingProxyType(curves)

    def _look_for_trouble(
        self, interest: Interest, curves: Mapping[str, TrainingCurve], states: Mapping[str, JobState]
    ) -> Mapping[str, tuple[Trouble, ...]]:
        """In the curves, and once in a few of the listed runs that have ended."""
        if not curves and not interest.listed:
            return self._last.troubles
        # Imported once there is something to look at: NumPy would delay the first screen.
        from tui_datasize.tui.polling.trouble import TroubleFinder

        finder = self._troubles = self._troubles or TroubleFinder()
        ended = (one for one in interest.listed if one in states and states[one].is_final)
        new = [run_id for run_id in ended if run_id not in curves and not finder.knows(run_id)]
        if (new := new[:_LOOKED_AT_ONCE]) and self._record is not None:
            rows = self._record.finished_metrics(new)
            found = {run_id: TrainingCurve(run_id, rows.filter(rows["run_id"] == run_id)) for run_id in new}
            curves = {**curves, **found}
        running = [run_id for run_id in curves if states.get(run_id) is JobState.RUNNING]
        return finder.look(curves, running, datetime.now(UTC))

    def _log(
        self, interest: Interest, states: Mapping[str, JobState], facts: Mapping[str, RunFacts]
    ) -> LogTail | None:
        if not interest.log:
            return None
        job = next((job for job in self._jobs if job.run_id == interest.log), None)
        fact = facts.get(interest.log)
        experiment = job.experiment if job else fact.experiment if fact else ""
        failed = states.get(interest.log) in (JobState.FAILED, JobState.INTERRUPTED)
        return run_log_tail(self._project.run(experiment, interest.log), prefer_errors=failed)


def _attempt(what: str, read: Callable[[], T], fallback: T, problems: list[str]) -> T:
    """The value read, or the fallback and a line in `problems`."""
    try:
        return read()
    except DatasizeError as error:
        problems.append(error.line)
    except Exception as error:
        # A broken file or a library's error must not end the one thread that keeps the screen alive.
        problems.append(f"{what}: {type(error).__name__}: {' '.join(str(error).split())}")
    return fallback


def read_facts(runs: pl.DataFrame) -> Mapping[str, RunFacts]:
    """The rows of the frame `runs` by run id; unknown texts are empty, unknown numbers but of metrics 0."""
    import polars as pl

    texts, numbers = pl.col(pl.String).fill_null(""), pl.col(pl.Int64, pl.Int32).fill_null(0)
    # A second training is as long as the best of the first was: at most as long as that.
    anew = pl.coalesce("refit_update", 2 * pl.col("total_updates"))
    runs = runs.with_columns(total_updates=pl.when("refit").then(anew).otherwise("total_updates"))
    known = runs.select(_FACT_COLUMNS).with_columns(texts, numbers, pl.col("wall_s").fill_null(0.0))
    facts = {}
    for run_id, experiment, word, *others in known.iter_rows():
        state = JobState.SUCCEEDED if word == INCOMPLETE else JobState(word)
        facts[run_id] = RunFacts(run_id, experiment, state, *others)
    return MappingProxyType(facts)


_WAITING = frozenset({JobState.QUEUED, JobState.INTERRUPTED})


def _strangers(jobs: Iterable[Job], facts: Mapping[str, RunFacts]) -> list[RunFacts]:
    """Runs that the queue does not know, e.g. copied ones.

    Unfinished ones are left out: nobody is going to take them up, so that they count as missing.
    """
    known = {job.run_id for job in jobs}
    return [fact for fact in facts.values() if fact.run_id not in known and fact.state not in _WAITING]


def _states(jobs: Iterable[Job], strangers: Iterable[RunFacts]) -> Mapping[str, JobState]:
    """The queue's word on a run, or that of its directory where the queue has none."""
    told = {fact.run_id: fact.state for fact in strangers}
    return MappingProxyType(told | {job.run_id: job.state for job in jobs})


def _variants(plans: Sequence[ExperimentPlan]) -> Mapping[str, tuple[str, str]]:
    """Of each run of a swept experiment its variant, and that in few words."""
    found: dict[str, tuple[str, str]] = {}
    for plan in plans:
        short = on_screen({cell.variant for cell in plan.cells})
        found |= {cell.run_id: (cell.variant, short[cell.variant]) for cell in plan.cells if cell.variant}
    return found


def _job_rows(
    queued: Sequence[Job],
    strangers: Sequence[RunFacts],
    facts: Mapping[str, RunFacts],
    time_left: TimeLeft,
    variants: Mapping[str, tuple[str, str]],
    resumed: Mapping[Job, int],
) -> tuple[JobRow, ...]:
    estimates = time_left.estimates
    jobs = [*queued, *map(_as_job, strangers)]
    rows = (
        _job_row(job, facts.get(job.run_id), estimates.get(job.run_id), variants.get(job.run_id, ("", "")))
        for job in display_order(jobs)
    )
    told = {job.run_id: after_interruption(job.interrupted_by, update) for job, update in resumed.items()}
    return tuple(replace(row, interrupted_by=told[row.run_id]) if row.run_id in told else row for row in rows)


def _as_job(fact: RunFacts) -> Job:
    return Job(
        run_id=fact.run_id,
        experiment=fact.experiment,
        state=fact.state,
        priority=0,
        position=0,
        attempts=fact.attempt,
        max_attempts=fact.attempt,
        reason=fact.reason,
        device=fact.device,
        queued_at="",
        started_at="",
        finished_at="",
    )


def _job_row(
    job: Job, fact: RunFacts | None, estimate: TimeEstimate | None, variant: tuple[str, str]
) -> JobRow:
    fraction = fact.updates / fact.total_updates if fact and fact.total_updates else 0.0
    return JobRow(
        run_id=job.run_id,
        experiment=job.experiment,
        variant=variant[0],
        short_variant=variant[1],
        state=job.state,
        reason=job.reason or (fact.reason if fact else ""),
        device=job.device or (fact.device if fact else ""),
        attempts=job.attempts,
        max_attempts=job.max_attempts,
        priority=job.priority,
        fraction=1.0 if job.state is JobState.SUCCEEDED else min(1.0, fraction),
        remaining_s=estimate.remaining_s if estimate else None,
        waits_for=job.waits_for,
        pack=job.pack,
        finished_at=job.finished_at,
        loss=fact.test_loss if fact else None,
        accuracy=fact.test_accuracy if fact else None,
        lost_evaluations=fact.missing_evaluations if fact and fact.is_incomplete else 0,
        interrupted_by=after_interruption(job.interrupted_by, None),
        shape=job.shape,
    )

"""A queue in memory that notes what was asked of it, and devices that nobody owns."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tui_datasize.errors import DatasizeError, UnknownRunError
from tui_datasize.experiments.device_settings import DeviceOptions
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.queue.faults import Fault
from tui_datasize.jobs.queue.reading import Execution, Usage
from tui_datasize.jobs.queue.requests import (
    Acknowledgement,
    Answered,
    Command,
    CommandResult,
    Drain,
    Enqueue,
    Outcome,
    RestartScheduler,
    StopScheduler,
    Undo,
    outcome_of,
    outcome_of_error,
    outcome_of_restart,
    outcome_of_stop,
)
from tui_datasize.jobs.queue.settings import QueueSettings
from tui_datasize.jobs.queue.state import Job, JobState
from tui_datasize.jobs.scheduler.devices import DeviceReport, Gpu
from tui_datasize.jobs.scheduler_client import SchedulerLook

GIB = 2**30
USED_S = 4.0
"""Seconds that each run of a fake queue has taken."""
ANSWERS: Mapping[CommandKind, str] = {
    CommandKind.HOLD: "held",
    CommandKind.RELEASE: "released",
    CommandKind.CANCEL: "is being cancelled",
    CommandKind.RETRY: "queued again",
    CommandKind.PRIORITY: "priority is now 1",
    CommandKind.MOVE: "moved",
}
DRAINED = {
    True: "draining: running jobs finish, no new ones start",
    False: "the queue starts jobs again",
}
CPU_ONLY = DeviceReport((), 2, "NVML: NVML Shared Library Not Found: jobs run on the CPU")
TWO_GPUS = DeviceReport(
    (
        Gpu("GPU-aaaa", 0, "NVIDIA H100 80GB HBM3", 80 * GIB, 39 * GIB, 87, 63),
        Gpu("GPU-bbbb", 1, "NVIDIA H100 80GB HBM3", 80 * GIB, 77 * GIB, 12, 41),
    ),
    0,
    "",
)
EIGHT_GPUS = DeviceReport(
    tuple(
        Gpu(f"GPU-{i}", i, "NVIDIA H100 80GB HBM3", 80 * GIB, (80 - 9 * i) * GIB, 12 * i, 40 + i)
        for i in range(8)
    ),
    0,
    "",
)


def job(spec: RunSpec, state: JobState, position: int = 0, **changes: object) -> Job:
    """A queue entry of a run."""
    values: dict[str, object] = {
        "run_id": spec.run_id,
        "experiment": spec.experiment,
        "state": state,
        "priority": 0,
        "position": position,
        "attempts": 0 if state in (JobState.QUEUED, JobState.HELD) else 1,
        "max_attempts": 3,
        "reason": "",
        "device": "cpu" if state not in (JobState.QUEUED, JobState.HELD) else "",
        "queued_at": "2026-01-02T03:04:05.000+00:00",
        "started_at": "",
        "finished_at": "2026-01-02T03:05:05.000+00:00" if state.is_final else "",
    }
    return Job(**(values | changes))  # type: ignore[arg-type]


@dataclass
class FakeQueue:
    """Answers like `QueueClient`; `sent` and `enqueued` hold what it was asked."""

    entries: list[Job] = field(default_factory=list)
    told_searches: dict[str, str] = field(default_factory=dict)
    alive: bool = True
    sent: list[tuple[CommandKind, tuple[str, ...], int]] = field(default_factory=list)
    enqueued: list[tuple[RunSpec, ...]] = field(default_factory=list)
    data_dirs: list[Path | None] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    """Where each of `enqueued` is to be made."""
    terms: list[tuple[int, dict[str, Sequence[str]]]] = field(default_factory=list)
    """Attempts allowed, and what is waited for, of each enqueueing."""
    started: int = 0
    refusal: str = ""
    """What every command is answered; empty for success."""
    error: DatasizeError | None = None
    """What comes of every command."""
    standing: list[Fault] = field(default_factory=list)
    broken: Exception | None = None
    """Raised by `jobs`."""
    specs: dict[str, RunSpec] = field(default_factory=dict)
    """Of the jobs whose time can be told, by run id."""
    used: list[Usage] = field(default_factory=list)
    slots: int | None = None
    stopped: bool = False
    """Whether somebody stopped the scheduler."""
    hangs: bool = False
    """Whether the scheduler does not end when it is stopped."""
    waiting: str = ""
    """Who has the slots."""
    drains: list[bool] = field(default_factory=list)
    """What was asked of the whole queue."""
    undone: int = 0
    """How often a command was to be taken back."""
    look: SchedulerLook = field(default_factory=lambda: SchedulerLook(alive=True, slots=2))
    """What is told of the scheduler, but for whether it runs or was stopped."""
    restarts: list[DeviceOptions] = field(default_factory=list)
    """The options of each restart."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def mixed_rules(self, wanted: Mapping[str, int]) -> str:
        return ""

    def shapes(self) -> Mapping[int, RunSpec]:
        """What was enqueued, each run a shape of its own."""
        return dict(enumerate(spec for specs in self.enqueued for spec in specs))

    def runs_of_shapes(self, numbers: Collection[int]) -> Mapping[str, int]:
        """Those runs."""
        return {spec.run_id: number for number, spec in self.shapes().items() if number in numbers}

    def jobs(self) -> list[Job]:
        """All jobs."""
        if self.broken:
            raise self.broken
        with self.lock:
            return list(self.entries)

    def settings(self) -> QueueSettings:
        """As the last drain left them."""
        draining = bool(self.drains and self.drains[-1])
        return QueueSettings(draining=draining, slots=self.slots, stopped=self.stopped)

    def searches(self) -> dict[str, str]:
        """What the test says."""
        return self.told_searches

    def waits_for_slots(self) -> str:
        """What the test says."""
        return self.waiting

    def watch(self) -> FakeQueue:
        """Itself."""
        return self

    def version(self) -> object:
        """Everything that `jobs` and `settings` tell."""
        with self.lock:
            return tuple(self.entries), self.settings(), self.broken

    def faults(self) -> list[Fault]:
        """What the test says."""
        return self.standing

    def executions(self, jobs: Sequence[Job]) -> list[Execution]:
        """Every run has used `USED_S`, as far as it has run."""
        with self.lock:
            return [
                Execution(
                    entry.run_id,
                    self.specs[entry.run_id],
                    entry.state,
                    entry.place or entry.device,
                    USED_S if entry.device else 0.0,
                )
                for entry in self.entries
                if entry.run_id in self.specs
            ]

    def usage(self) -> list[Usage]:
        """What the test says."""
        if self.error:
            raise self.error
        return list(self.used)

    def scheduler_alive(self) -> bool:
        """Whether a scheduler runs."""
        return self.alive

    def ensure_scheduler(self) -> None:
        """Count, and run."""
        self.started += 1
        self.alive = True

    def keep_scheduler(self) -> bool:
        """As where jobs may start."""
        self.ensure_scheduler()
        return True

    def look_at_scheduler(self) -> SchedulerLook:
        """What the test says."""
        if self.error:
            raise self.error
        return replace(self.look, alive=self.alive, stopped=self.stopped)

    def request(self, command: Command) -> Outcome:
        """Note the command, and answer at once as the scheduler does."""
        if self.error:
            return outcome_of_error(self.error)
        if isinstance(command, StopScheduler):
            self.stopped = True
            self.alive = self.hangs
            return outcome_of_stop(ended=not self.alive)
        if isinstance(command, RestartScheduler):
            self.restarts.append(command.options)
            self.alive, self.stopped = True, False
            return outcome_of_restart(command.options)
        if isinstance(command, Undo):
            self.undone += 1
            return Outcome(Answered.DONE, "undo of: hold 1 run: released")
        if isinstance(command, Enqueue):
            try:
                acknowledgement, run_ids = self._enqueue(command)
            except UnknownRunError as error:
                return outcome_of_error(error)
            answer = "queued"
        elif isinstance(command, Drain):
            self.drains.append(command.draining)
            acknowledgement, run_ids = Acknowledgement((0,)), ("",)
            answer = DRAINED[command.draining]
        else:
            self.sent.append((command.kind, command.run_ids, command.amount))
            acknowledgement, run_ids = Acknowledgement(tuple(range(len(command.run_ids)))), command.run_ids
            answer = ANSWERS[command.kind]
        self.ensure_scheduler()
        said = [f"{run_id}: {self.refusal or answer}" if run_id else answer for run_id in run_ids]
        ok = not self.refusal
        results = [CommandResult(run_id, ok, text) for run_id, text in zip(run_ids, said, strict=True)]
        return outcome_of(command, acknowledgement, results)

    def _resolve(self, word: str) -> list[str]:
        """Every job whose id begins with the word."""
        found = [entry.run_id for entry in self.entries if entry.run_id.startswith(word)]
        if not found:
            raise UnknownRunError(f"no run {word!r}")
        return found

    def _enqueue(self, command: Enqueue) -> tuple[Acknowledgement, tuple[str, ...]]:
        """Add what is missing, and begin afresh what is incomplete."""
        specs, incomplete = command.specs, command.incomplete
        after = [run_id for word in command.terms.after for run_id in self._resolve(word)]
        with self.lock:
            self.entries = [entry for entry in self.entries if entry.run_id not in incomplete]
            known = {entry.run_id for entry in self.entries}
            new = [spec for spec in specs if spec.run_id not in known]
            self.entries += [job(spec, JobState.QUEUED, len(self.entries) + i) for i, spec in enumerate(new)]
            self.specs |= {spec.run_id: spec for spec in specs}
            self.enqueued.append(specs)
            self.places.append(command.terms.on)
            self.data_dirs.append(command.data_dir)
            self.terms.append((command.terms.attempts, {spec.run_id: after for spec in specs}))
        present = len(specs) - len(new)
        acknowledgement = Acknowledgement(
            tuple(range(len(new))), len(new), present, incomplete=len(incomplete)
        )
        return acknowledgement, tuple(spec.run_id for spec in new)

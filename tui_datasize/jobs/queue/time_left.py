"""When runs end: what the queue has executed and will, seen as work; for the screen and the command line."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from tui_datasize.jobs.queue.faults import Fault, stops_everything, stops_starts
from tui_datasize.jobs.queue.paces import Kind, Paces, TimeEstimate, Work, estimate_ends, latest
from tui_datasize.jobs.queue.settings import QueueSettings
from tui_datasize.jobs.queue.state import CPU, SLURM, Job, JobState

if TYPE_CHECKING:
    from tui_datasize.experiments.spec import RunSpec
    from tui_datasize.jobs.queue.reading import Execution


class RunProgress(Protocol):
    """What the record says of how far a run has come."""

    @property
    def updates(self) -> int:
        """Updates made."""

    @property
    def wall_s(self) -> float:
        """Seconds spent on them."""


@dataclass(frozen=True, slots=True)
class TimeLeft:
    """When the runs of the queue end, and what tells how long others would take."""

    estimates: Mapping[str, TimeEstimate]
    """By run id, of those that run or will; held ones are left out."""
    slots: int
    """Workers that the devices take at once."""
    device: str
    """Where a run that waits will probably run."""
    paces: Paces = field(compare=False)
    ends_in_s: float | None = None
    """Seconds until the last run of the queue ends; None where nobody knows or none is left."""
    experiment_ends_in_s: Mapping[str, float | None] = field(default_factory=lambda: MappingProxyType({}))
    """The same of each experiment that has runs left, by name."""
    held_up: str = ""
    """Why nothing that waits begins, and maybe nothing moves; empty where it does."""

    def while_held_up(self, why: str) -> TimeLeft:
        """The same while `what_holds_up` jobs, if anything does: nobody knows when they end."""
        ends = {
            run_id: one._replace(remaining_s=None, ends_in_s=None)
            for run_id, one in self.estimates.items()
            if why == NOTHING_MOVES or one.waits_here
        }
        if not (why and ends):
            return self
        estimates = {**self.estimates, **ends}
        return replace(
            self, held_up=why, estimates=MappingProxyType(estimates), **_latest(list(estimates.values()))
        )

    def estimate_s(self, specs: Iterable[RunSpec], cluster: str = "") -> float | None:
        """Seconds that these runs would take with all slots to themselves; None where nobody knows.

        On a `cluster` those that they take one after the other.
        """
        device = _sort(cluster) if cluster else self.device
        works = [Work(spec.run_id, _kind(spec, device)) for spec in specs]
        return latest(estimate_ends(works, self.paces, 1 if cluster else self.slots))


WAITING_FOR = "waiting: "
"""What begins a line on who has all slots, or keeps all GPUs."""
NOTHING_MOVES = "nothing moves until that is mended"
NOTHING_KNOWN = TimeLeft(MappingProxyType({}), 1, CPU, Paces([]))
"""Before anything was read."""


def time_left_of(
    executions: Sequence[Execution], jobs: Iterable[Job], slots: int, reached: Mapping[str, RunProgress]
) -> TimeLeft:
    """Learn from what was executed and tell when the rest ends.

    `executions` are the unfinished jobs, in the order in which they run, and some that succeeded. With 0
    `slots` nothing that waits has an end. `reached` tells by run id how far runs have come; without it only
    their time so far tells.
    """
    after = {job.run_id: job.waits_for for job in jobs if job.waits_for}
    # A job that waits will probably run where the others have run.
    usual = next((_sort(e.device) for e in reversed(executions) if e.device not in ("", SLURM)), CPU)
    kinds = _kinds(executions, usual)
    lanes = Counter(e.worker for e in executions)
    succeeded: list[Work] = []
    coming: list[Work] = []
    for e, kind in zip(executions, kinds, strict=True):
        work = _work(e, kind, after.get(e.run_id, ()), reached.get(e.run_id), lanes[e.worker])
        if e.state is JobState.SUCCEEDED:
            succeeded.append(work)
        elif e.state in _COMING:
            coming.append(work)
    paces = Paces(succeeded)
    estimates = estimate_ends(coming, paces, slots)
    return TimeLeft(
        estimates=MappingProxyType({estimate.run_id: estimate for estimate in estimates}),
        slots=slots,
        device=usual,
        paces=paces,
        **_latest(estimates),
    )


def _latest(estimates: Collection[TimeEstimate]) -> dict[str, Any]:
    """When the last run ends, of all and of each experiment."""
    by_experiment: dict[str, list[TimeEstimate]] = defaultdict(list)
    for estimate in estimates:
        by_experiment[estimate.experiment].append(estimate)
    each = {name: latest(part) for name, part in by_experiment.items()}
    return {
        "ends_in_s": latest(estimates) if estimates else None,
        "experiment_ends_in_s": MappingProxyType(each),
    }


def what_holds_up(
    jobs: Iterable[Job], slots: int, faults: Sequence[Fault], settings: QueueSettings, waiting: str
) -> str:
    """Why nothing moves, or nothing that waits begins: for faults, people or other projects; mostly empty.

    `waiting` is as `QueueClient.waits_for_slots` has it.
    """
    if stops_everything(faults):
        return NOTHING_MOVES
    if settings.draining:
        return "the queue is draining"
    if settings.stopped:
        return "the scheduler was stopped"
    if stops_starts(faults):
        return "nothing more starts until that is mended"
    if not slots:
        return "there are 0 slots, so no waiting job starts; `datasize-tui doctor` says why"
    # What runs here makes room for the next, whoever has the other slots.
    if not waiting.startswith(WAITING_FOR) or any(job.state.is_active and not job.place for job in jobs):
        return ""
    return waiting.removeprefix(WAITING_FOR)


class KeptTimeLeft:
    """Tells the time left again and again, and reads and reckons only where something has changed."""

    _jobs: Sequence[Job] | None = None
    _executions: Sequence[Execution] = ()
    _basis: tuple[object, ...] = ()
    _known: TimeLeft = NOTHING_KNOWN

    def look(
        self,
        jobs: Sequence[Job],
        read_executions: Callable[[Sequence[Job]], Sequence[Execution]],
        slots: int,
        reached: Mapping[str, RunProgress],
    ) -> TimeLeft:
        """The time left now; the very same object while nothing has changed.

        Executions are read when the jobs have changed; `reached`, by run id, is the same object while that
        is the same.
        """
        if jobs != self._jobs:
            self._executions = read_executions(jobs)
            self._jobs = jobs
        before, self._basis = self._basis, (self._executions, slots, reached)
        if not before or any(old is not new for old, new in zip(before, self._basis, strict=True)):
            self._known = time_left_of(self._executions, jobs, slots, reached)
        return self._known


_COMING = frozenset(state for state in JobState if state.is_active or state.is_waiting)
_FROM_NOTHING = frozenset({JobState.QUEUED, JobState.HELD, JobState.FAILED, JobState.CANCELLED})
"""What such a job had done before is not work done: it starts from nothing."""


def _sort(device: str) -> str:
    return {CPU: CPU, SLURM: "the cluster"}.get(device, "GPU")


def _kind(spec: RunSpec, device: str) -> Kind:
    from tui_datasize.experiments.budget import total_updates

    # Updates that learn from several times as many images take longer, and a generator is trained first.
    synthetic = spec.synthetic
    beside = spec.task.name, spec.unlabelled.method, f"{synthetic.model} {synthetic.epochs}"
    others = [one for one in beside if one != "classification" and not one.startswith("none")]
    model = " with ".join([str(spec.model), *others])
    return Kind(spec.experiment, spec.dataset, model, spec.batch_size, device, total_updates(spec))


def _kinds(executions: Iterable[Execution], usual: str) -> Iterator[Kind]:
    """The kind of each execution; one that never ran will probably run where it is `usual`."""
    # Thousands share a few specifications.
    known: dict[tuple[int, str], Kind] = {}
    for execution in executions:
        key = id(execution.spec), execution.device
        if key not in known:
            known[key] = _kind(execution.spec, _sort(execution.device) if execution.device else usual)
        yield known[key]


def _work(
    execution: Execution, kind: Kind, after: tuple[str, ...], reached: RunProgress | None, lanes: int
) -> Work:
    state, is_away = execution.state, execution.device == SLURM
    if state in _FROM_NOTHING:
        return Work._make((execution.run_id, kind, 0.0, None, False, after, "", is_away))
    updates, used_s = None, execution.used_s
    if reached is not None and reached.updates and state is not JobState.SUCCEEDED:
        updates, used_s = reached.updates, reached.wall_s / (lanes if execution.worker else 1)
    return Work(execution.run_id, kind, used_s, updates, state.is_active, after, execution.worker, is_away)

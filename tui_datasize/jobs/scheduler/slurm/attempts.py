"""What becomes of a run that Slurm makes, by its directory and by whether Slurm still has its task."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from tui_datasize.files import read_end
from tui_datasize.jobs.queue.cluster import HandedRun
from tui_datasize.jobs.queue.schema import VANISHED
from tui_datasize.jobs.queue.state import CPU, SLURM, JobState
from tui_datasize.jobs.queue.store import Store
from tui_datasize.jobs.scheduler.attempt_end import Decision, Ending, decide, ended, starts_again
from tui_datasize.jobs.scheduler.slurm.calls import ClusterTask, SqueueAnswer
from tui_datasize.jobs.scheduler.slurm.evidence import Evidence
from tui_datasize.runlog import lease as leases
from tui_datasize.runlog.claim import (
    ClaimRecord,
    ExitRecord,
    Lack,
    Observation,
    RunOutcome,
    conclude_if_there,
    make_end_durable,
    observe,
    who_has,
)
from tui_datasize.runlog.paths import ProjectPaths, RunPaths

T = TypeVar("T")
_LOG = logging.getLogger(__name__)
AGAIN = "Slurm started it again"
_LINE_BYTES = 4096
_MACHINE = frozenset({Lack.DISK, Lack.HOST, Lack.LIBRARIES})


class Reach(Protocol):
    """Has something done at the shared disk, which may take its time."""

    def __call__(self, work: Callable[[], T], /) -> Generator[bool, None, T]:
        """What it brings.

        Raises OSError: the disk refuses it, or does not answer.
        """


@dataclass(frozen=True, slots=True)
class Sight:
    """What the directory of a run shows at one moment."""

    seen: Observation
    is_gone: bool
    """Whether Slurm has no job that could be its worker."""
    is_leased: bool
    """Whether a worker may live all the same: there is a lease without an end, and it is not old."""
    leased: int
    """The highest attempt for which there is a lease."""
    has_saved: bool
    """Whether the newest attempt has brought the run further: made a checkpoint."""
    said: str
    """The last line of what its task said before it had the run."""
    is_unasked: bool = False
    """Whether all hangs on a job of which Slurm was not asked."""


@dataclass(frozen=True, slots=True)
class Attempts:
    """Follows the attempts of runs that Slurm makes; every change is committed at once.

    The queue goes on while the disk is asked: whatever that brings is of use only if the run is still as it
    was.
    """

    store: Store
    project: ProjectPaths
    on_cpu: bool
    evidence: Evidence
    reach: Reach
    answer: SqueueAnswer
    unasked: set[str]
    """Takes the runs that a job has of which Slurm has to be asked."""

    def look(
        self, run: HandedRun, task: ClusterTask | None, logs: Path, *, is_answered: bool
    ) -> Generator[bool, None, bool]:
        """Look at the directory of one run; whether Slurm has nothing to do with it any more.

        `task` is its own in the last answer of squeue, which `is_answered` if it tells of runs that it does
        not name; `logs` have what tasks said before they had a run.

        Raises OSError: the directory cannot be read or written now.
        """
        paths = self.project.run(run.experiment, run.run_id)
        is_gone = is_answered and (task is None or task.is_over)
        log = logs / f"{run.array}-{run.task}.log"
        sight = yield from self.reach(partial(see, run, paths, log, self.answer, is_gone=is_gone))
        if sight.is_unasked:
            self.unasked.add(run.run_id)
        if self._has_changed(run):
            return False
        seen, is_gone, node = sight.seen, sight.is_gone, task.node if task else ""
        if seen.claim and max(run.first, run.attempts + 1) <= seen.claim.attempt == seen.newest_attempt:
            run = self._begin(run, seen.claim)
            self.evidence.begun(run.run_id, node)
        end = ended(max(run.attempts, run.first), seen)
        has_succeeded = end is not None and end.outcome is RunOutcome.SUCCEEDED
        if run.cancel_requested and not run.state.is_active and not has_succeeded:
            return (yield from self._cancel(run, paths, sight))
        if end is not None:
            return (yield from self._end(run, paths, end, node, sight))
        if is_gone and not sight.is_leased:
            return (yield from self._end_unseen(run, paths, sight, task, log))
        if seen.is_running and not is_gone:
            self.evidence.at_work(run.run_id, node, has_saved=sight.has_saved)
        return False

    def _has_changed(self, run: HandedRun) -> bool:
        return self.store.cluster.standing(run.run_id) != run.standing

    def _begin(self, run: HandedRun, claim: ClaimRecord) -> HandedRun:
        """Note that a worker has begun an attempt, and what that says of the one before."""
        run_id, store = run.run_id, self.store
        with store.transaction():
            if run.state.is_active:
                store.change(run_id, JobState.INTERRUPTED, starts_again(AGAIN))
                store.end_attempt(run_id, run.attempts, VANISHED, AGAIN)
                store.increase(run_id, "max_attempts")
            elif run.state is JobState.HELD:
                # It began before the cluster could be told.
                store.change(run_id, JobState.QUEUED)
            store.begin_attempt(run_id, claim.attempt, CPU if self.on_cpu else SLURM, 0, claim.tag)
            store.change(run_id, JobState.RUNNING)
            store.update(run_id, device=claim.host or SLURM)
        _LOG.info("%s attempt %d: job %s on %s", run_id, claim.attempt, claim.job, claim.host)
        most = run.max_attempts + run.state.is_active
        return run._replace(state=JobState.RUNNING, attempts=claim.attempt, max_attempts=most)

    def _end(
        self, run: HandedRun, paths: RunPaths, end: ExitRecord, node: str, sight: Sight
    ) -> Generator[bool, None, bool]:
        """Take in the end that a worker, or somebody for it, has written."""
        if not run.state.is_active:
            if end.outcome is RunOutcome.SUCCEEDED:
                # Somebody else has made it.
                with self.store.transaction():
                    if run.state is JobState.HELD:
                        self.store.change(run.run_id, JobState.QUEUED)
                    self.store.change(run.run_id, JobState.SUCCEEDED)
            # Known already: another attempt may come of the task, as long as Slurm has it.
            return sight.is_gone
        is_machines = end.lack in _MACHINE or bool(end.device_fault)
        has_left = end.outcome is RunOutcome.INTERRUPTED and end.lack is Lack.NOTHING
        is_forgiven = is_machines or (has_left and sight.has_saved)
        decision = decide(_ending(run, end.outcome, end.reason, end.lack), is_machines_fault=is_forgiven)
        outcome = RunOutcome(decision.state)
        tells_less = decision.state.is_final and end.outcome not in (outcome, RunOutcome.SUCCEEDED)
        if tells_less and not (yield from self._conclude(run, paths, run.attempts, decision)):
            return False
        with self.store.transaction():
            self.store.change(run.run_id, decision.state, decision.reason)
            self.store.end_attempt(
                run.run_id, run.attempts, end.outcome, end.reason, finished_at=end.finished_at
            )
            if decision.is_forgiven:
                self.store.increase(run.run_id, "max_attempts")
        self._tell(run, decision)
        if is_machines:
            # Every node has the same shared disk.
            node = "" if end.lack is Lack.DISK else node
            self.evidence.lacked(run.run_id, node, f"{run.run_id}: {end.device_fault or end.reason}")
        else:
            self.evidence.begun(run.run_id, node)
            self.evidence.at_work(run.run_id, node, has_saved=True)
        return sight.is_gone

    def _cancel(self, run: HandedRun, paths: RunPaths, sight: Sight) -> Generator[bool, None, bool]:
        """Cancel a run that has not begun, which could not be done at once."""
        attempt = max(run.attempts + 1, sight.seen.newest_attempt, sight.leased)
        decision = Decision(JobState.CANCELLED, "cancelled while it waited")
        if not (yield from self._conclude(run, paths, attempt, decision, is_gone=sight.is_gone)):
            return False
        with self.store.transaction():
            self.store.update(run.run_id, attempts=attempt)
            self.store.change(run.run_id, JobState.CANCELLED, "cancelled")
        return sight.is_gone

    def _end_unseen(
        self, run: HandedRun, paths: RunPaths, sight: Sight, task: ClusterTask | None, log: Path
    ) -> Generator[bool, None, bool]:
        """End an attempt that Slurm does not have any more, and whose worker has written no end."""
        if run.state is JobState.HELD:
            # Nothing has come of it that would count.
            return True
        has_begun, node = run.state.is_active, _blamed_node(task)
        reason = "worker vanished" if has_begun else _why_unseen(task, sight.said, log)
        is_own_fault = self.evidence.is_own_fault(run.run_id, node)
        is_forgiven = self.evidence.is_hit(run.run_id) if has_begun else not is_own_fault
        attempt = max(run.attempts + (not has_begun), sight.seen.newest_attempt, sight.leased)
        ending = _ending(run._replace(attempts=attempt), None, reason, Lack.NOTHING)
        decision = decide(ending, is_machines_fault=is_forgiven)
        if not (yield from self._conclude(run, paths, attempt, decision, is_gone=True)):
            return False
        with self.store.transaction():
            if not has_begun:
                self.store.begin_attempt(run.run_id, attempt, CPU if self.on_cpu else SLURM, 0, "")
            self.store.change(run.run_id, decision.state, decision.reason)
            self.store.end_attempt(run.run_id, run.attempts if has_begun else attempt, VANISHED, reason)
            if decision.is_forgiven:
                self.store.increase(run.run_id, "max_attempts")
        self._tell(run, decision)
        if is_forgiven and not has_begun:
            self.evidence.ended_unseen(run.run_id, node, f"{run.run_id}: {reason}")
        return True

    def give_up(self, run: HandedRun, problem: str) -> None:
        """End a run whose directory alone cannot be used, and that Slurm does not have any more."""
        if self._has_changed(run):
            return
        with self.store.transaction():
            if run.state.is_active:
                state = JobState.CANCELLED if run.cancel_requested else JobState.FAILED
                self.store.change(run.run_id, state, problem)
                self.store.end_attempt(run.run_id, run.attempts, VANISHED, problem)
            elif run.cancel_requested:
                self.store.change(run.run_id, JobState.CANCELLED, problem)
            elif run.state.is_waiting:
                self.store.change(run.run_id, JobState.HELD, f"{problem}; fix it, then release the run")

    def _conclude(
        self, run: HandedRun, paths: RunPaths, attempt: int, decision: Decision, *, is_gone: bool = False
    ) -> Generator[bool, None, bool]:
        """Have the directory tell what the queue will, unless a worker or a command is just changing it."""
        told = (paths, attempt, RunOutcome(decision.state), decision.reason)
        concluded = yield from self.reach(partial(conclude_if_there, *told, is_gone=is_gone))
        return concluded is not False and not self._has_changed(run)

    def _tell(self, run: HandedRun, decision: Decision) -> None:
        why = decision.reason and f" ({decision.reason})"
        _LOG.info("%s attempt %d: %s%s", run.run_id, run.attempts, decision.state, why)


def see(run: HandedRun, paths: RunPaths, log: Path, answer: SqueueAnswer, *, is_gone: bool) -> Sight:
    """Look at the directory of a run, and at what its task has said.

    Raises OSError: it cannot be read or written now.
    """
    has_ended: bool | None = is_gone
    if is_gone and paths.directory.exists():
        # From now on the files of other hosts are seen as they are.
        leases.file_system_time(paths.directory)
        holder = leases.read_holder(paths, leases.newest(paths))
        has_ended = holder is None or answer.has_ended(holder.job)
    elif paths.directory.parent.is_symlink():
        # It may be this one alone that is missing, and it may be the disk.
        paths.directory.parent.stat()
    seen, leased = observe(paths), leases.newest(paths)
    if ended(max(run.attempts, run.first), seen):
        make_end_durable(paths, seen)
    may_be_leased = has_ended is not False and bool(who_has(paths))
    is_leased = may_be_leased and not leases.is_stale(paths, leased)
    is_gone = bool(has_ended)
    return Sight(
        seen=seen,
        is_gone=is_gone,
        is_leased=is_gone and is_leased,
        leased=leased,
        has_saved=_has_saved(paths),
        said=_last_line(log) if is_gone else "",
        is_unasked=has_ended is None and not is_leased,
    )


def _why_unseen(task: ClusterTask | None, said: str, log: Path) -> str:
    if task is None:
        return f"Slurm has its job no more, and no worker has begun; see {log}"
    if task.state == "CANCELLED":
        return "its job was cancelled, not by this queue, before its worker began"
    where = f" on {task.node}" if task.node else ""
    return f"its job ended{where} before it began{said and f': {said}'}; see {log}"


def _blamed_node(task: ClusterTask | None) -> str:
    """The node that a job's end before its worker began may tell of."""
    return task.node if task and task.state != "CANCELLED" else ""


def _ending(run: HandedRun, outcome: RunOutcome | None, reason: str, lack: Lack) -> Ending:
    return Ending(
        outcome=outcome,
        reason=reason,
        attempt=run.attempts,
        max_attempts=run.max_attempts,
        cancel_requested=run.cancel_requested,
        beside_others=False,
        lack=lack,
    )


def _has_saved(paths: RunPaths) -> bool:
    with suppress(OSError):
        return paths.checkpoint.stat().st_mtime_ns >= paths.claim.stat().st_mtime_ns
    return False


def _last_line(log: Path) -> str:
    with suppress(OSError):
        end, _ = read_end(log, _LINE_BYTES)
        lines = [line for line in end.decode(errors="replace").splitlines() if line.strip()]
        return lines[-1].strip() if lines else ""
    return ""

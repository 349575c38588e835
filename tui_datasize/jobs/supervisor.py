"""The active jobs of one scheduler: watching, ending and cancelling them."""

from __future__ import annotations

import logging
import os
import selectors
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from tui_datasize.jobs.database import storage_errors
from tui_datasize.jobs.gpus import CPU
from tui_datasize.jobs.judge import Ending, Finding, decide, ended, find
from tui_datasize.jobs.process import describe_status, find_tagged, kill_tagged, signal_group
from tui_datasize.jobs.records import ActiveJob
from tui_datasize.jobs.spawn import Worker
from tui_datasize.jobs.state import JobState
from tui_datasize.jobs.store import Store
from tui_datasize.runlog.claim import Observation, Outcome, conclude, observe
from tui_datasize.runlog.identity import ProcessIdentity
from tui_datasize.runlog.paths import ProjectPaths, RunPaths

CANCELLED_UNCLAIMED = "cancelled before it began"
_LOG = logging.getLogger(__name__)
_LOOK_INTERVAL_S = 2.0
"""How often a run is looked at of which nothing has been heard."""
_SETTLING_INTERVAL_S = 0.05
"""How often one that is starting, ending or being cancelled is looked at."""
_STATUS_PATIENCE_S = 1.0
"""How long a vanished worker's exit status is waited for."""
_LEFTOVER_PATIENCE_S = 10.0
"""How long a lock that nobody known holds is waited for."""


@dataclass(slots=True)
class ActiveRun:
    """An active job with what only this scheduler's life knows of it."""

    job: ActiveJob
    paths: RunPaths
    worker: Worker
    adopted: bool
    """Whether an earlier scheduler began it."""
    watched: ProcessIdentity | None = None
    """The process whose end will wake, or has woken, the scheduler."""
    pidfd: int | None = None
    """Descriptor of that process while it is watched."""
    peak_bytes: int = 0
    """Most GPU memory that it has been seen to have."""
    look_at_s: float = 0.0
    """When to look again, on the monotonic clock."""
    since_s: dict[str, float] = field(default_factory=dict)
    """When something that is only tolerated for a while was first seen."""

    @property
    def came_dead(self) -> bool:
        """Whether its worker had gone before this scheduler looked."""
        return self.adopted and self.watched is None

    def lasts(self, what: str) -> float:
        """Seconds for which `what` has been seen, this time included."""
        now = time.monotonic()
        return now - self.since_s.setdefault(what, now)


class Supervisor:
    """Takes active jobs from their start to their end.

    Args:
        store: The database; every decision is committed before it counts.
        project: Where the run directories lie.
        selector: Woken when a worker ends.
        grace_s: Seconds that a cancelled worker has between TERM and KILL.
    """

    def __init__(
        self,
        store: Store,
        project: ProjectPaths,
        selector: selectors.BaseSelector,
        grace_s: float,
    ) -> None:
        self._store = store
        self._project = project
        self._selector = selector
        self._grace_s = grace_s
        self._runs: dict[str, ActiveRun] = {}

    def __len__(self) -> int:
        return len(self._runs)

    def runs(self) -> Iterator[ActiveRun]:
        """All active runs."""
        return iter(self._runs.values())

    def refresh(self) -> None:
        """Take in what commands have changed, and jobs that another scheduler began."""
        for job in self._store.active():
            run = self._runs.get(job.run_id)
            if run is None:
                self._adopt(job)
            elif job.cancel_requested and not run.job.cancel_requested:
                run.job = job
                run.look_at_s = 0.0

    def add(self, job: ActiveJob, worker: Worker) -> None:
        """Watch a job whose start has been committed and whose worker has been asked for."""
        paths = self._project.run(job.experiment, job.run_id)
        self._runs[job.run_id] = ActiveRun(job, paths, worker, adopted=False)

    def look(self) -> bool:
        """Look at every run that is due, and return whether any has ended."""
        before = len(self._runs)
        for run in list(self._runs.values()):
            self._watch(run)
            if time.monotonic() >= run.look_at_s:
                with storage_errors(run.paths.directory):
                    self._look_at(run)
        return len(self._runs) < before

    def next_look_s(self) -> float:
        """Seconds until a run is due; infinite without any."""
        due = min((run.look_at_s for run in self._runs.values()), default=float("inf"))
        return max(0.0, due - time.monotonic())

    def wake(self, descriptor: int) -> None:
        """The process behind a watched descriptor has ended."""
        for run in self._runs.values():
            if run.pidfd == descriptor:
                self._unwatch(run)
                run.look_at_s = 0.0

    def close(self) -> None:
        """Stop watching; the workers go on."""
        for run in self._runs.values():
            self._unwatch(run)
        self._runs.clear()

    def _adopt(self, job: ActiveJob) -> None:
        paths = self._project.run(job.experiment, job.run_id)
        # A claim will tell better; until there is one, the tag finds a worker that was just started.
        process = next(find_tagged(job.tag), None) if job.tag else None
        worker = Worker(process, status_expected=False, is_gone=process is None)
        self._runs[job.run_id] = ActiveRun(job, paths, worker, adopted=True)

    def _look_at(self, run: ActiveRun) -> None:
        seen = observe(run.paths)
        finding = find(run.job.attempts, seen, run.worker.is_alive())
        settling = run.job.cancel_requested or finding is not Finding.RUNNING
        run.look_at_s = time.monotonic() + (_SETTLING_INTERVAL_S if settling else _LOOK_INTERVAL_S)
        if finding is Finding.RUNNING and seen.claim:
            run.worker.process = seen.claim.process
            self._note_running(run)
        if finding in (Finding.STARTING, Finding.RUNNING):
            if run.job.cancel_requested:
                self._cancel(run, seen)
        elif self._is_clear(run, seen, finding):
            self._end(run, seen, finding)

    def _note_running(self, run: ActiveRun) -> None:
        if run.job.state is not JobState.RUNNING:
            with self._store.transaction():
                self._store.change(run.job.run_id, JobState.RUNNING)
            run.job = replace(run.job, state=JobState.RUNNING)

    def _is_clear(self, run: ActiveRun, seen: Observation, finding: Finding) -> bool:
        """Whether nobody is left of the attempt; helps that along."""
        if finding in (Finding.ENDING, Finding.LEFTOVERS):
            return self._clear_leftovers(run, seen)
        if finding is Finding.ENDED:
            return True
        # Nobody is there; whoever started the worker may still be about to say how it ended.
        worker = run.worker
        is_told = worker.status is not None or not worker.status_expected
        return is_told or run.lasts("without status") > _STATUS_PATIENCE_S

    def _clear_leftovers(self, run: ActiveRun, seen: Observation) -> bool:
        if seen.claimant_alive:
            if seen.claim and run.lasts("leaving") > self._grace_s:
                signal_group(seen.claim.process, signal.SIGKILL)
            return False
        _kill_descendants(run, seen)
        return run.lasts("leftovers") > _LEFTOVER_PATIENCE_S

    def _cancel(self, run: ActiveRun, seen: Observation) -> None:
        """TERM, after the grace KILL; a worker that has not claimed finds its attempt over."""
        process = run.worker.process
        if not seen.claimant_alive and conclude(
            run.paths, run.job.attempts, Outcome.CANCELLED, CANCELLED_UNCLAIMED
        ):
            if process:
                signal_group(process, signal.SIGKILL)
            run.look_at_s = 0.0
        elif process and "terminated" not in run.since_s:
            run.lasts("terminated")
            signal_group(process, signal.SIGTERM)
        elif process and run.lasts("terminated") > self._grace_s:
            signal_group(process, signal.SIGKILL)

    def _end(self, run: ActiveRun, seen: Observation, finding: Finding) -> None:
        job = run.job
        is_unfollowed = run.adopted or run.worker.was_never_begun
        if finding is Finding.UNCLAIMED and is_unfollowed and not job.cancel_requested:
            self._repeat(run)
            return
        record, last_sign = ended(job.attempts, seen), _last_sign(run)
        if job.cancel_requested or record is None:
            _kill_descendants(run, seen)
        reason = record.reason if record else _reason_without_exit(run, finding)
        decision = decide(
            Ending(
                outcome=record.outcome if record else None,
                reason=reason,
                attempt=job.attempts,
                max_attempts=job.max_attempts,
                cancel_requested=job.cancel_requested,
                beside_others=job.device not in (CPU, "") and not job.alone,
            )
        )
        outcome = Outcome(decision.state)
        tells_less = record is None or (decision.state.is_final and record.outcome is not outcome)
        if tells_less and not self._conclude(run, outcome, decision.reason, finding):
            return
        with self._store.transaction():
            self._store.change(job.run_id, decision.state, decision.reason)
            self._store.end_attempt(
                job.run_id,
                job.attempts,
                record.outcome if record else "vanished",
                reason,
                finished_at=record.finished_at if record else last_sign if run.came_dead else "",
            )
            if decision.alone:
                self._store.set_alone(job.run_id)
        self._forget(run, decision.state, decision.reason)

    def _repeat(self, run: ActiveRun) -> None:
        """Take back a start that was committed and never followed: it costs the job nothing."""
        job, who = run.job, "scheduler" if run.adopted else "preloader"
        reason = f"the {who} ended before its worker began"
        if self._conclude(run, Outcome.INTERRUPTED, reason, Finding.UNCLAIMED):
            with self._store.transaction():
                self._store.forgive_attempt(job.run_id, job.attempts, reason)
            self._forget(run, JobState.INTERRUPTED, reason)

    def _conclude(self, run: ActiveRun, outcome: Outcome, reason: str, finding: Finding) -> bool:
        """Have the directory tell what the queue will; no worker that comes late can claim the attempt then.

        Returns:
            False where such a worker is just claiming it, and has to be looked at again.
        """
        concluded = conclude(run.paths, run.job.attempts, outcome, reason)
        return concluded or finding is not Finding.UNCLAIMED or not run.paths.directory.exists()

    def _watch(self, run: ActiveRun) -> None:
        """Have the end of the worker's process wake the scheduler."""
        process = run.worker.process
        if process is None or run.watched == process:
            return
        self._unwatch(run)
        run.watched = process
        run.look_at_s = 0.0
        with suppress(ProcessLookupError):
            descriptor = os.pidfd_open(process.pid)
            # Only now is it sure that the descriptor is of this process and not of a later one.
            if process.is_alive():
                run.pidfd = descriptor
                self._selector.register(descriptor, selectors.EVENT_READ)
            else:
                os.close(descriptor)

    def _unwatch(self, run: ActiveRun) -> None:
        if run.pidfd is not None:
            self._selector.unregister(run.pidfd)
            os.close(run.pidfd)
            run.pidfd = None

    def _forget(self, run: ActiveRun, state: JobState, reason: str) -> None:
        self._unwatch(run)
        del self._runs[run.job.run_id]
        _LOG.info("%s attempt %d: %s%s", run.job.run_id, run.job.attempts, state, reason and f" ({reason})")


def _last_sign(run: ActiveRun) -> str:
    """When its worker last wrote something, in UTC; empty where it never did."""
    written_s = []
    for file in (run.paths.claim, run.paths.metrics, run.paths.stdout, run.paths.checkpoint):
        with suppress(OSError):
            written_s.append(file.stat().st_mtime)
    if not written_s:
        return ""
    return datetime.fromtimestamp(max(written_s), UTC).isoformat(timespec="milliseconds")


def _kill_descendants(run: ActiveRun, seen: Observation) -> None:
    for tag in {run.job.tag, seen.claim.tag if seen.claim else ""}:
        kill_tagged(tag)


def _reason_without_exit(run: ActiveRun, finding: Finding) -> str:
    how = describe_status(run.worker.status) if run.worker.status is not None else ""
    if finding is Finding.LEFTOVERS:
        return "an unknown process keeps the run's lock"
    if finding is Finding.VANISHED:
        return f"worker vanished: {how}" if how else "worker vanished"
    return f"worker {how or 'ended'} before it claimed the run; see stderr.log"

"""The active jobs of one scheduler: watching, ending and cancelling them."""

from __future__ import annotations

import logging
import os
import selectors
import signal
import sqlite3
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from types import MappingProxyType

from tui_datasize.errors import DatasizeError
from tui_datasize.files import fault_of
from tui_datasize.jobs.queue.database import concerns_all, storage_errors
from tui_datasize.jobs.queue.faults import FaultKind, faults_of_disk
from tui_datasize.jobs.queue.gpu_memory import noted_context, noted_memory
from tui_datasize.jobs.queue.records import ActiveJob
from tui_datasize.jobs.queue.schema import VANISHED
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.jobs.queue.store import Store
from tui_datasize.jobs.scheduler.active_run import (
    ActiveRun,
    early_end,
    ending_of,
    first_seen_s,
    last_sign,
    look_how_far,
)
from tui_datasize.jobs.scheduler.attempt_end import (
    AttemptState,
    Decision,
    Ending,
    decide,
    ended,
    find,
    starts_again,
)
from tui_datasize.jobs.scheduler.pause import StartPause
from tui_datasize.jobs.workers.process import ProjectProcesses
from tui_datasize.jobs.workers.spawn import Worker, cannot_start
from tui_datasize.runlog.claim import (
    ClaimRecord,
    Lack,
    Observation,
    RunOutcome,
    conclude,
    make_end_durable,
    observe,
)
from tui_datasize.runlog.identity import ProcessIdentity
from tui_datasize.runlog.paths import ProjectPaths

CANCELLED_UNCLAIMED = "cancelled before it began"
_LOG = logging.getLogger(__name__)
_LOOK_INTERVAL_S = 2.0
"""How often a run is looked at of which nothing has been heard."""
_LANE_INTERVAL_S = 0.5
"""The same for a run whose worker has others: its end wakes nobody."""
_SETTLING_INTERVAL_S = 0.05
"""How often one that is starting, ending or being cancelled is looked at."""
_STATUS_PATIENCE_S = 1.0
"""How long a vanished worker's exit status is waited for."""
_LEFTOVER_PATIENCE_S = 10.0
"""How long a lock that nobody known holds is waited for."""
_CLAIM_PATIENCE_S = 5.0
"""How long a worker may take to claim the rest of its runs once it executes the first."""


class Supervisor:
    """Takes active jobs from their start to their end; every decision is committed before it counts.

    The selector is woken when a worker ends. A cancelled one has `grace_s` between TERM and KILL. The pause
    is told how far runs get, and judges early ends; None for one that nobody else looks at. `workers` are
    those that this process has started already, by tag.
    """

    def __init__(
        self,
        store: Store,
        project: ProjectPaths,
        selector: selectors.BaseSelector,
        grace_s: float,
        pause: StartPause | None = None,
        workers: Mapping[str, Worker] = MappingProxyType({}),
    ) -> None:
        self._store = store
        self._project = project
        self._selector = selector
        self._grace_s = grace_s
        self._pause = pause or StartPause(store)
        self._processes = ProjectProcesses(project.root)
        self._runs: dict[str, ActiveRun] = {}
        self._remnants: set[str] = set()
        """Tags of workers that other runs need, and whose descendants are to be killed behind them."""
        self._lost_gpus: dict[str, str] = {}
        self.workers_by_tag = dict(workers)
        """Those that this process has started, as of when it last began to watch, or stopped."""

    def __len__(self) -> int:
        return len(self._runs)

    def workers(self) -> Sequence[Sequence[ActiveRun]]:
        """All active runs, those together that share a worker."""
        packs = defaultdict(list)
        for run in self._runs.values():
            packs[run.job.tag or run.job.run_id].append(run)
        return list(packs.values())

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
        """Watch a job whose start has been committed and whose worker has been asked for.

        Jobs of one pack come with the same worker.
        """
        paths = self._project.run(job.experiment, job.run_id)
        self._runs[job.run_id] = ActiveRun(job, paths, worker, adopted=False)

    def look(self) -> bool:
        """Look at every run that is due, and return whether any has ended."""
        before = len(self._runs)
        for run in list(self._runs.values()):
            with storage_errors(run.paths.directory):
                self._watch_over(run)
        return len(self._runs) < before

    def _watch_over(self, run: ActiveRun) -> None:
        """Look at one run if it is due; what is wrong with it alone ends nothing but itself."""
        try:
            self._watch(run)
            if time.monotonic() >= run.look_at_s:
                self._look_at(run)
        except (DatasizeError, sqlite3.Error):
            raise
        except OSError as error:
            if concerns_all(error, self._project.runs):
                raise
            self._give_up(run, fault_of(error))
        except Exception as error:
            _LOG.exception("%s cannot be looked at", run.job.run_id)
            self._give_up(run, f"unexpected error: {type(error).__name__}: {error}; see scheduler.log")

    def _give_up(self, run: ActiveRun, problem: str) -> None:
        """End a run whose directory cannot be used, as soon as no worker has it any more."""
        job = run.job
        if run.worker.is_alive():
            run.look_at_s = time.monotonic() + _LOOK_INTERVAL_S
            if job.cancel_requested and run.worker.process:
                self._ask_to_end(run, run.worker.process)
            return
        self._processes.kill_tagged(job.tag)
        state = JobState.CANCELLED if job.cancel_requested else JobState.FAILED
        with self._store.transaction():
            self._store.change(job.run_id, state, problem)
            self._store.end_attempt(job.run_id, job.attempts, VANISHED, problem)
        self._forget(run, state, problem)

    def take_lost_gpus(self) -> dict[str, str]:
        """By UUID, why GPUs could not be used that runs have ended for since the last call."""
        lost, self._lost_gpus = self._lost_gpus, {}
        return lost

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
        # It may stop before it has looked at any.
        self.workers_by_tag |= {run.job.tag: run.worker for run in self._runs.values() if not run.adopted}
        self._runs.clear()

    def _adopt(self, job: ActiveJob) -> None:
        if known := self.workers_by_tag.get(job.tag):
            self.add(job, known)
            return
        paths = self._project.run(job.experiment, job.run_id)
        worker = next((run.worker for run in self._runs.values() if job.tag and run.job.tag == job.tag), None)
        if worker is None:
            # A claim will tell better; until there is one, the tag finds a worker that was just started.
            process = next(self._processes.find_tagged(job.tag), None) if job.tag else None
            worker = Worker(process, status_expected=False, is_gone=process is None)
            worker.run_ids = self._store.lanes(job.tag) if job.tag else ()
        self._runs[job.run_id] = ActiveRun(job, paths, worker, adopted=True)

    def _look_at(self, run: ActiveRun) -> None:
        seen = observe(run.paths)
        finding = find(run.job.attempts, seen, run.worker.is_alive())
        settling = run.job.cancel_requested or finding is not AttemptState.RUNNING
        running_s = _LOOK_INTERVAL_S if run.worker.lanes == 1 else _LANE_INTERVAL_S
        run.look_at_s = time.monotonic() + (_SETTLING_INTERVAL_S if settling else running_s)
        if finding is AttemptState.RUNNING and seen.claim:
            _recognise(run, seen.claim)
            run.running_since_s = first_seen_s(run.running_since_s)
            if run.job.state is not JobState.RUNNING:
                with self._store.transaction():
                    self._store.change(run.job.run_id, JobState.RUNNING)
                run.job = replace(run.job, state=JobState.RUNNING)
            before = (run.has_updated, run.has_saved)
            if not all(before):
                look_how_far(run)
                if (run.has_updated, run.has_saved) != before:
                    self._pause.note_progress(run.job.run_id, has_saved=run.has_saved)
        if finding in (AttemptState.STARTING, AttemptState.RUNNING):
            if run.job.cancel_requested:
                self._cancel(run, seen)
            elif finding is AttemptState.STARTING:
                self._end_if_left_out(run)
        elif self._clear(run, seen, finding):
            make_end_durable(run.paths, seen)
            self._end(run, seen, finding)

    def _clear(self, run: ActiveRun, seen: Observation, finding: AttemptState) -> bool:
        """See that nobody is left of an attempt that is over; whether that is so by now."""
        if finding in (AttemptState.ENDING, AttemptState.LEFTOVERS):
            return self._clear_leftovers(run, seen)
        if finding is AttemptState.ENDED:
            is_last = seen.claim and seen.claimant_alive and not self._is_shared(run, seen.claim.process)
            # The last run of a worker stays until that has gone: it has the slot.
            return self._clear_leftovers(run, seen) if is_last else True
        # Nobody is there; whoever started the worker may still be about to say how it ended.
        if run.worker.status is not None or not run.worker.status_expected:
            return True
        run.unexplained_since_s = first_seen_s(run.unexplained_since_s)
        return time.monotonic() > run.unexplained_since_s + _STATUS_PATIENCE_S

    def _clear_leftovers(self, run: ActiveRun, seen: Observation) -> bool:
        if seen.claim and seen.claimant_alive:
            process = seen.claim.process
            if not self._is_shared(run, process):
                run.leaving_since_s = first_seen_s(run.leaving_since_s)
                if time.monotonic() > run.leaving_since_s + self._grace_s:
                    self._processes.signal_group(process, signal.SIGKILL)
            return False
        self._kill_descendants(run, seen)
        run.leftovers_since_s = first_seen_s(run.leftovers_since_s)
        return time.monotonic() > run.leftovers_since_s + _LEFTOVER_PATIENCE_S

    def _cancel(self, run: ActiveRun, seen: Observation) -> None:
        """TERM, after the grace KILL; a worker that has not claimed finds its attempt over.

        Runs of the same pack leave with it and start again: a worker cannot be asked to leave one run.
        """
        process = run.worker.process
        if not seen.is_running and conclude(
            run.paths, run.job.attempts, RunOutcome.CANCELLED, CANCELLED_UNCLAIMED
        ):
            if process and not self._is_shared(run, process):
                self._processes.signal_group(process, signal.SIGKILL)
            run.look_at_s = 0.0
        elif process:
            self._ask_to_end(run, process)

    def _ask_to_end(self, run: ActiveRun, process: ProcessIdentity) -> None:
        if run.term_sent_s is None:
            run.term_sent_s = time.monotonic()
            self._processes.signal_group(process, signal.SIGTERM)
        elif time.monotonic() > run.term_sent_s + self._grace_s:
            self._processes.signal_group(process, signal.SIGKILL)

    def _end_if_left_out(self, run: ActiveRun) -> None:
        """Have a run start again that its worker could not claim, and that goes on with others."""
        others = (other for other in self._runs.values() if other.worker is run.worker)
        if any(other.job.state is JobState.RUNNING for other in others):
            run.left_out_since_s = first_seen_s(run.left_out_since_s)
            if time.monotonic() > run.left_out_since_s + _CLAIM_PATIENCE_S:
                self._repeat(run, "its worker went on with other runs of its pack")

    def _is_shared(self, run: ActiveRun, process: ProcessIdentity) -> bool:
        """Whether a process has other runs beside this one, or is to have them."""
        return any(other is not run and other.worker.process == process for other in self._runs.values())

    def _with_disk(self, ending: Ending, finding: AttemptState) -> Ending:
        """How an attempt ended, with its disk where a worker vanished while that took nothing."""
        if finding is not AttemptState.VANISHED or ending.lack is not Lack.NOTHING:
            return ending
        refuses = self._store.faults.stands(FaultKind.DISK) or any(faults_of_disk(self._project.runs))
        why = f"{ending.reason}, while its disk took nothing more"
        return replace(ending, reason=why) if refuses else ending

    def _kill_descendants(self, run: ActiveRun, seen: Observation) -> None:
        """Kill what is left of the run's workers; of those that others need, once these have ended."""
        for tag in {run.job.tag, seen.claim.tag if seen.claim else ""}:
            same = (other for other in self._runs.values() if other is not run and other.job.tag == tag)
            if any(other.worker.is_alive() for other in same):
                self._remnants.add(tag)
            else:
                self._processes.kill_tagged(tag)

    def _end(self, run: ActiveRun, seen: Observation, finding: AttemptState) -> None:
        job = run.job
        is_unfollowed = run.adopted or run.worker.was_never_begun
        if finding is AttemptState.UNCLAIMED and is_unfollowed and not job.cancel_requested:
            self._repeat(run, _why_unfollowed(run))
            return
        record, vanished_at = ended(job.attempts, seen), last_sign(run) if run.came_dead else ""
        if job.cancel_requested or record is None:
            self._kill_descendants(run, seen)
        may_be_for_another = record is None or record.outcome is RunOutcome.INTERRUPTED
        is_for_another = may_be_for_another and self._store.has_cancelled_beside(job.run_id, job.tag)
        ending = self._with_disk(ending_of(run, record, finding, is_for_another=is_for_another), finding)
        if run.is_machines_fault is None:
            early = early_end(run, ending, finding)
            run.is_machines_fault = early is not None and self._pause.forgive(early)
        decision = decide(ending, is_machines_fault=run.is_machines_fault)
        outcome = RunOutcome(decision.state)
        tells_less = record is None or (decision.state.is_final and record.outcome is not outcome)
        if tells_less and not self._conclude(run, outcome, decision.reason, finding):
            return
        with self._store.transaction():
            self._store.change(job.run_id, decision.state, decision.reason)
            kept, at = _outcome(ending, decision), record.finished_at if record else vanished_at
            self._store.end_attempt(job.run_id, job.attempts, kept, ending.reason, finished_at=at)
            if decision.alone:
                self._store.update(job.run_id, alone=1)
            if decision.is_forgiven:
                # It did not end through the fault of the job.
                self._store.increase(job.run_id, "max_attempts")
            if decision.state is JobState.SUCCEEDED:
                self._learn_memory(run)
        if ending.lost_gpu and record:
            self._lost_gpus[job.device] = record.device_fault
        if decision.state is JobState.SUCCEEDED:
            self._pause.note_progress(job.run_id, has_saved=True)
        self._forget(run, decision.state, decision.reason)

    def _repeat(self, run: ActiveRun, reason: str) -> None:
        """Take back a start that was committed and never followed: it costs the job nothing."""
        job = run.job
        if self._conclude(run, RunOutcome.INTERRUPTED, reason, AttemptState.UNCLAIMED):
            with self._store.transaction():
                self._store.forgive_attempt(job.run_id, job.attempts, starts_again(reason))
            self._forget(run, JobState.INTERRUPTED, reason)

    def _conclude(self, run: ActiveRun, outcome: RunOutcome, reason: str, finding: AttemptState) -> bool:
        """Have the directory tell what the queue will; no worker that comes late can claim the attempt then.

        False where such a worker is just claiming it, and has to be looked at again.
        """
        concluded = conclude(run.paths, run.job.attempts, outcome, reason)
        return concluded or finding is not AttemptState.UNCLAIMED or not run.paths.directory.exists()

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

    def _learn_memory(self, run: ActiveRun) -> None:
        """From a run that has ended well: what its kind takes of a GPU, and what a process takes beyond."""
        if learned := noted_memory(run.paths):
            self._store.learn_memory(run.job.workload, learned)
        if run.seen_bytes and (context_bytes := noted_context(run.paths, run.seen_bytes)):
            self._store.known_gpus.note_context(run.job.device, context_bytes, run.used_with)

    def _forget(self, run: ActiveRun, state: JobState, reason: str) -> None:
        self._unwatch(run)
        self._pause.note_end(run.job.run_id)
        del self._runs[run.job.run_id]
        _LOG.info("%s attempt %d: %s%s", run.job.run_id, run.job.attempts, state, reason and f" ({reason})")
        tag = run.job.tag
        if tag in self._remnants and not any(other.job.tag == tag for other in self._runs.values()):
            self._remnants.remove(tag)
            self._processes.kill_tagged(tag)


def _why_unfollowed(run: ActiveRun) -> str:
    """Why a start that was committed has come to nothing."""
    if run.worker.error:
        return cannot_start(run.worker.error)
    if run.worker.has_lost_slots:
        return "the file of its slot was moved or deleted before its worker began"
    return f"the {'scheduler' if run.adopted else 'preloader'} ended before its worker began"


def _outcome(ending: Ending, decision: Decision) -> str:
    """What is kept of an attempt: runs that had to end for another one have not brought their worker down."""
    if decision.state is JobState.CANCELLED or (decision.is_forgiven and ending.is_for_another):
        return decision.state
    return ending.outcome or VANISHED


def _recognise(run: ActiveRun, claim: ClaimRecord) -> None:
    """Note which process has the run: its worker, or a straggler of an earlier attempt."""
    if claim.tag == run.job.tag:
        run.worker.process = claim.process
        run.worker.is_gone = run.worker.was_never_begun = False
    elif run.worker.process != claim.process:
        run.worker = Worker(claim.process, status_expected=False)

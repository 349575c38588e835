"""What becomes of a run that Slurm makes, by its directory and by whether Slurm still has its task."""

from __future__ import annotations

import logging
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from tui_datasize.files import read_end
from tui_datasize.jobs.queue.cluster import HandedRun
from tui_datasize.jobs.queue.schema import VANISHED
from tui_datasize.jobs.queue.state import CPU, SLURM, JobState
from tui_datasize.jobs.queue.store import Store
from tui_datasize.jobs.scheduler.attempt_end import Ending, decide, ended, starts_again
from tui_datasize.jobs.scheduler.slurm.calls import ClusterTask
from tui_datasize.runlog import lease as leases
from tui_datasize.runlog.claim import (
    ClaimRecord,
    ExitRecord,
    Lack,
    Observation,
    RunOutcome,
    conclude,
    make_end_durable,
    observe,
    who_has,
)
from tui_datasize.runlog.paths import ProjectPaths, RunPaths

_LOG = logging.getLogger(__name__)
AGAIN = "Slurm started it again"
_LINE_BYTES = 4096
_MACHINE = frozenset({Lack.DISK, Lack.HOST, Lack.LIBRARIES})


@dataclass(frozen=True, slots=True)
class RunLook:
    """What a look at a run has brought."""

    is_free: bool = False
    """Whether Slurm has nothing to do with it any more."""
    trouble: str = ""
    """What speaks of the cluster rather than of the run."""
    has_begun: bool = False
    """Whether its worker is at work, or was."""


_NOTHING = RunLook()


@dataclass(frozen=True, slots=True)
class Attempts:
    """Follows the attempts of runs that Slurm makes; every change is committed at once."""

    store: Store
    project: ProjectPaths
    on_cpu: bool
    is_proven: bool
    """Whether a worker of the cluster has begun a run lately: otherwise a job that ends before it has is no
    fault of its run."""
    living: Collection[str] = ()
    """The tasks that Slurm has, by its names, of whichever submission."""

    def look(self, run: HandedRun, task: ClusterTask | None, *, is_answered: bool, log: Path) -> RunLook:
        """Look at the directory of one run; `task` is its own in the last answer of squeue.

        Whether that answer `is_answered` tells of runs that it does not name; `log` has what the task said
        before it had a run.

        Raises OSError: the directory cannot be read or written now.
        """
        paths = self.project.run(run.experiment, run.run_id)
        is_gone = is_answered and (task is None or task.is_over)
        if is_gone:
            # From now on the files of other hosts are seen as they are.
            leases.file_system_time(paths.directory)
            holder = leases.read_holder(paths, leases.newest(paths))
            is_gone = holder is None or holder.job not in self.living
        seen = observe(paths)
        if seen.claim and max(run.first, run.attempts + 1) <= seen.claim.attempt == seen.newest_attempt:
            run = self._begin(run, seen.claim)
        end = ended(max(run.attempts, run.first), seen)
        if end is not None:
            make_end_durable(paths, seen)
            return self._end(run, paths, end, is_gone=is_gone)
        if not is_gone or (who_has(paths) and not leases.is_stale(paths, leases.newest(paths))):
            return RunLook(has_begun=seen.is_running)
        return self._end_unseen(run, paths, seen, log)

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
        return replace(run, state=JobState.RUNNING, attempts=claim.attempt, device=claim.host)

    def _end(self, run: HandedRun, paths: RunPaths, end: ExitRecord, *, is_gone: bool) -> RunLook:
        """Take in the end that a worker, or somebody for it, has written."""
        if not run.state.is_active:
            if end.outcome is RunOutcome.SUCCEEDED and run.state.is_waiting:
                # Somebody else has made it.
                with self.store.transaction():
                    self.store.change(run.run_id, JobState.SUCCEEDED)
            # Known already: another attempt may come of the task, as long as Slurm has it.
            return RunLook(is_free=is_gone)
        has_left = end.outcome is RunOutcome.INTERRUPTED and end.lack is Lack.NOTHING and not end.device_fault
        is_forgiven = end.lack in _MACHINE or (has_left and _has_saved(paths))
        decision = decide(_ending(run, end.outcome, end.reason, end.lack), is_machines_fault=is_forgiven)
        outcome = RunOutcome(decision.state)
        tells_less = decision.state.is_final and end.outcome not in (outcome, RunOutcome.SUCCEEDED)
        if tells_less and not conclude(paths, run.attempts, outcome, decision.reason):
            return _NOTHING
        with self.store.transaction():
            self.store.change(run.run_id, decision.state, decision.reason)
            self.store.end_attempt(
                run.run_id, run.attempts, end.outcome, end.reason, finished_at=end.finished_at
            )
            if decision.is_forgiven:
                self.store.increase(run.run_id, "max_attempts")
        self._tell(run, decision.state, decision.reason)
        return RunLook(
            is_free=is_gone,
            trouble=f"{run.run_id}: {end.reason}" if end.lack in _MACHINE else "",
            has_begun=True,
        )

    def _end_unseen(self, run: HandedRun, paths: RunPaths, seen: Observation, log: Path) -> RunLook:
        """End an attempt that Slurm does not have any more, and whose worker has written no end."""
        leased = leases.newest(paths)
        has_begun = run.state.is_active
        reason, trouble = "worker vanished", ""
        if not has_begun:
            if run.state is JobState.HELD:
                # Nothing has come of it that would count.
                return RunLook(is_free=True)
            said = _last_line(log)
            reason = f"its job ended before it began{said and f': {said}'}; see {log}"
            trouble = f"{run.run_id}: {reason}"
        attempt = max(run.attempts + (not has_begun), seen.newest_attempt, leased)
        is_forgiven = not has_begun and not self.is_proven
        ending = _ending(replace(run, attempts=attempt), None, reason, Lack.NOTHING)
        decision = decide(ending, is_machines_fault=is_forgiven)
        if not conclude(paths, attempt, RunOutcome(decision.state), decision.reason, is_gone=True):
            return _NOTHING
        with self.store.transaction():
            if not has_begun:
                self.store.begin_attempt(run.run_id, attempt, CPU if self.on_cpu else SLURM, 0, "")
            self.store.change(run.run_id, decision.state, decision.reason)
            self.store.end_attempt(run.run_id, run.attempts if has_begun else attempt, VANISHED, reason)
            if decision.is_forgiven:
                self.store.increase(run.run_id, "max_attempts")
        self._tell(run, decision.state, decision.reason)
        return RunLook(is_free=True, trouble=trouble)

    def _tell(self, run: HandedRun, state: JobState, reason: str) -> None:
        _LOG.info("%s attempt %d: %s%s", run.run_id, run.attempts, state, reason and f" ({reason})")


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
    """Whether the newest attempt has brought the run further: made a checkpoint."""
    with suppress(OSError):
        return paths.checkpoint.stat().st_mtime_ns >= paths.claim.stat().st_mtime_ns
    return False


def _last_line(log: Path) -> str:
    with suppress(OSError):
        end, _ = read_end(log, _LINE_BYTES)
        lines = [line for line in end.decode(errors="replace").splitlines() if line.strip()]
        return lines[-1].strip() if lines else ""
    return ""

"""A job that a worker has or may have, as one scheduler sees it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType

from tui_datasize.errors import EXIT_TRY_AGAIN
from tui_datasize.files import read_end
from tui_datasize.jobs.queue.faults import FaultKind
from tui_datasize.jobs.queue.gpu_memory import Learned
from tui_datasize.jobs.queue.records import ActiveJob
from tui_datasize.jobs.queue.state import CPU
from tui_datasize.jobs.scheduler.attempt_end import AttemptState, Ending
from tui_datasize.jobs.scheduler.pause import EarlyEnd
from tui_datasize.jobs.workers.process import describe_status
from tui_datasize.jobs.workers.spawn import Worker, cannot_start
from tui_datasize.runlog.claim import ExitRecord, Lack, RunOutcome
from tui_datasize.runlog.identity import ProcessIdentity
from tui_datasize.runlog.paths import RunPaths

_TAIL_BYTES = 4096
_EARLY_S = 60.0
"""What has run for longer has begun, though it may not have written a row yet."""
_LACKS: Mapping[Lack, FaultKind] = MappingProxyType(
    {Lack.DISK: FaultKind.DISK, Lack.HOST: FaultKind.PROCESSES, Lack.LIBRARIES: FaultKind.PROCESSES}
)


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
    learned: Learned | None = None
    """What its process has taught of its workload so far."""
    seen_bytes: int = 0
    """The most that its process was seen to have on its GPU."""
    used_with: str = ""
    """The software with which it was seen so."""
    has_updated: bool = False
    """Whether this attempt has been seen to make an update."""
    has_saved: bool = False
    """Whether it has been seen to save a checkpoint."""
    is_machines_fault: bool | None = None
    """Whether its end is held against the machine; None until that is decided."""
    look_at_s: float = 0.0
    """When to look again, on the monotonic clock."""
    running_since_s: float | None = None
    """When it was first seen at work, on the monotonic clock; None before."""
    left_out_since_s: float | None = None
    """When its worker was first seen at other runs of its pack, and not at this one."""
    term_sent_s: float | None = None
    leaving_since_s: float | None = None
    """When its worker was first seen to go on after the end of the run."""
    leftovers_since_s: float | None = None
    """When its lock was first seen in the hands of nobody known."""
    unexplained_since_s: float | None = None
    """When its worker was first seen gone while its status was still awaited."""

    @property
    def came_dead(self) -> bool:
        """Whether its worker had gone before this scheduler looked."""
        return self.adopted and self.watched is None

    @property
    def running_s(self) -> float:
        """Seconds since it was first seen at work; 0 before."""
        return 0.0 if self.running_since_s is None else time.monotonic() - self.running_since_s


def first_seen_s(moment_s: float | None) -> float:
    """When something was first seen, on the monotonic clock: now, where it was not seen before."""
    return time.monotonic() if moment_s is None else moment_s


def look_how_far(run: ActiveRun) -> None:
    """Note whether the attempt has made an update, and whether it has saved anything."""
    with suppress(OSError):
        claimed_ns = run.paths.claim.stat().st_mtime_ns
        with suppress(FileNotFoundError):
            run.has_saved |= run.paths.checkpoint.stat().st_mtime_ns >= claimed_ns
        if not run.has_updated and run.paths.metrics.stat().st_mtime_ns >= claimed_ns:
            end, _ = read_end(run.paths.metrics, _TAIL_BYTES)
            # A worker that goes on from a checkpoint says so before anything else.
            run.has_updated = b'"resume"' not in end.rstrip().rpartition(b"\n")[2]


def early_end(run: ActiveRun, ending: Ending, finding: AttemptState) -> EarlyEnd | None:
    """What speaks of the machine in the end of an attempt; None where nothing does."""
    if ending.cancel_requested or ending.is_for_another or run.came_dead or finding is AttemptState.LEFTOVERS:
        return None
    look_how_far(run)
    is_early = not run.has_updated and run.running_s < _EARLY_S
    kind = _LACKS.get(ending.lack)
    # What fills the memory in the end may be the run itself.
    is_told = kind is not None and (is_early or ending.lack is Lack.DISK)
    is_wordless = ending.outcome is None
    has_failed = ending.outcome is RunOutcome.FAILED and ending.lack is not Lack.DEVICE_MEMORY
    if not is_told and not (is_early and (is_wordless or has_failed)):
        return None
    job, held_against = run.job, kind if is_told and kind else FaultKind.ALIKE
    return EarlyEnd(job.run_id, job.experiment, job.tag, held_against, ending.reason, is_told, has_failed)


def last_sign(run: ActiveRun) -> str:
    """When its worker last wrote something, in UTC; empty where it never did."""
    written_s = []
    for file in (run.paths.claim, run.paths.metrics, run.paths.stdout, run.paths.checkpoint):
        with suppress(OSError):
            written_s.append(file.stat().st_mtime)
    if not written_s:
        return ""
    return datetime.fromtimestamp(max(written_s), UTC).isoformat(timespec="milliseconds")


def ending_of(
    run: ActiveRun, record: ExitRecord | None, finding: AttemptState, *, is_for_another: bool
) -> Ending:
    """What is known of a run's attempt that is over; its worker may have written no `record` of the end."""
    job = run.job
    could_not_begin = finding is AttemptState.UNCLAIMED and run.worker.error is not None
    is_unsaid = finding is AttemptState.VANISHED and run.worker.status == EXIT_TRY_AGAIN
    return Ending(
        outcome=record.outcome if record else RunOutcome.FAILED if could_not_begin else None,
        reason=record.reason if record else _reason_without_exit(run, finding),
        attempt=job.attempts,
        max_attempts=job.max_attempts,
        cancel_requested=job.cancel_requested,
        beside_others=job.device not in (CPU, "") and not job.alone,
        has_shared=run.worker.lanes > 1,
        is_for_another=is_for_another,
        lost_gpu=bool(record and record.device_fault) and job.device not in (CPU, ""),
        lack=record.lack if record else Lack.DISK if is_unsaid else Lack.NOTHING,
    )


def _reason_without_exit(run: ActiveRun, finding: AttemptState) -> str:
    how = describe_status(run.worker.status) if run.worker.status is not None else ""
    if finding is AttemptState.LEFTOVERS:
        return "an unknown process keeps the run's lock"
    if finding is AttemptState.VANISHED and run.worker.status == EXIT_TRY_AGAIN:
        return "its disk took nothing more, not even how it ended"
    if finding is AttemptState.VANISHED:
        return f"worker vanished: {how}" if how else "worker vanished"
    if run.worker.error:
        return cannot_start(run.worker.error)
    first = next(iter(run.worker.run_ids), run.job.run_id)
    log = "stderr.log" if first == run.job.run_id else f"stderr.log of {first}"
    return f"worker {how or 'ended'} before it claimed the run; see {log}"

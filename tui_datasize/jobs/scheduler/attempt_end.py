"""What a run's directory and its worker's process say about an attempt. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from tui_datasize.jobs.queue.state import JobState
from tui_datasize.runlog.claim import ExitRecord, Lack, Observation, RunOutcome


class AttemptState(Enum):
    """How an attempt stands."""

    STARTING = auto()
    """Its worker lives and has not claimed the run yet."""
    RUNNING = auto()
    """A worker has the run."""
    ENDING = auto()
    """Its end is written; the worker, or descendants of it, still have the run."""
    ENDED = auto()
    """Its end is written and nobody has the run any more."""
    LEFTOVERS = auto()
    """The lock is held, but not by a living worker."""
    VANISHED = auto()
    """A worker had the run and went without writing an end."""
    UNCLAIMED = auto()
    """No worker is left, and none has ever claimed this attempt."""


def find(attempt: int, seen: Observation, worker_alive: bool) -> AttemptState:
    """Tell how the newest attempt that was committed stands, whose worker lives, or may live, or not."""
    if ended(attempt, seen):
        # A worker keeps the lock until it dies, or is done with this run and goes on with others.
        return AttemptState.ENDING if seen.lock_held else AttemptState.ENDED
    if seen.is_running:
        # Perhaps a straggler of an earlier attempt: whoever has the claim has the run.
        return AttemptState.RUNNING
    if worker_alive:
        return AttemptState.STARTING
    if seen.lock_held:
        return AttemptState.LEFTOVERS
    if seen.claim and seen.claim.attempt >= attempt:
        return AttemptState.VANISHED
    return AttemptState.UNCLAIMED


def ended(attempt: int, seen: Observation) -> ExitRecord | None:
    """The end of the run, if it is one for this attempt; success ends every attempt."""
    if seen.exit and (seen.exit.outcome is RunOutcome.SUCCEEDED or seen.exit.attempt >= attempt):
        return seen.exit
    return None


@dataclass(frozen=True, slots=True)
class Ending:
    """What is known of an attempt that is over."""

    outcome: RunOutcome | None
    """None where the worker vanished, or ended before it claimed the run."""
    reason: str
    attempt: int
    max_attempts: int
    cancel_requested: bool
    beside_others: bool
    """Whether it ran on a GPU that it may have shared."""
    has_shared: bool = False
    """Whether its worker was started for other runs too."""
    is_for_another: bool = False
    """Whether another run of its worker was to be cancelled, for which the whole worker is told to end."""
    lost_gpu: bool = False
    """Whether its GPU could not be used, which ended it."""
    lack: Lack = Lack.NOTHING
    """What was lacking, as its worker says."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of the job."""

    state: JobState
    reason: str
    alone: bool = False
    """Whether its next attempt gets a GPU to itself."""
    is_forgiven: bool = False
    """Whether the attempt costs the job nothing."""


def decide(ending: Ending, *, is_machines_fault: bool = False) -> Decision:
    """Decide what becomes of a job whose attempt is over, which may be held against the machine."""
    if ending.outcome is RunOutcome.SUCCEEDED:
        return Decision(JobState.SUCCEEDED, "")
    if ending.cancel_requested or ending.outcome is RunOutcome.CANCELLED:
        reason = ending.reason if ending.outcome is RunOutcome.CANCELLED else "cancelled"
        return Decision(JobState.CANCELLED, reason)
    is_made_way = ending.is_for_another and ending.outcome in (None, RunOutcome.INTERRUPTED)
    has_lost_gpu = ending.lost_gpu and ending.outcome is RunOutcome.INTERRUPTED
    if is_made_way or is_machines_fault or has_lost_gpu:
        return Decision(JobState.INTERRUPTED, starts_again(ending.reason), is_forgiven=True)
    tries_left = ending.attempt < ending.max_attempts
    if ending.outcome is RunOutcome.FAILED:
        if ending.lack is Lack.DEVICE_MEMORY and ending.beside_others and tries_left:
            return Decision(JobState.INTERRUPTED, f"{ending.reason}; starts again alone", alone=True)
        return Decision(JobState.FAILED, ending.reason)
    reason = ending.reason or "stopped on request"
    if tries_left:
        # As `Dispatcher` does: who may have brought a worker down shares none next time.
        is_suspect = ending.has_shared and ending.outcome is None
        return Decision(JobState.INTERRUPTED, starts_again(reason, alone=is_suspect))
    return Decision(JobState.FAILED, f"{reason} on attempt {ending.attempt}, the last one")


def starts_again(reason: str, *, alone: bool = False) -> str:
    """Why a run was interrupted, and that nobody need do anything about it.

    `alone` is one that shares its next worker with no other run.
    """
    how = "alone, since it may have ended its worker" if alone else "by itself"
    return f"{reason}; starts again {how}"

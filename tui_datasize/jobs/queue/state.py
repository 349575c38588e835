"""The states of a job and the one table of what may follow what."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

CPU = "cpu"
"""The name of the CPU where a job's device is named; GPUs are named by UUID."""
SLURM = "slurm"
"""The place of a job that Slurm makes, and its device in the queue's books, where that is a GPU of a node."""
MAX_ATTEMPTS = 3
"""Attempts that a job is allowed before a vanishing worker counts as a failure."""
MOST_ATTEMPTS = 1000
"""The largest limit of attempts that is taken: a larger one is a slip of the finger."""


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    HELD = "held"
    STARTING = "starting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"

    @property
    def is_final(self) -> bool:
        """Whether nothing happens to the job any more unless someone asks."""
        return self in _FINAL

    @property
    def is_active(self) -> bool:
        """Whether a worker has, or may have, the job."""
        return self in _ACTIVE

    @property
    def is_waiting(self) -> bool:
        """Whether the scheduler starts the job as soon as a device is free."""
        return self in _WAITING


_FINAL = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})
_ACTIVE = frozenset({JobState.STARTING, JobState.RUNNING})
_WAITING = frozenset({JobState.QUEUED, JobState.INTERRUPTED})


class Job(NamedTuple):
    """The queue's entry for one run, as clients see it; a tuple, since there are tens of thousands."""

    run_id: str
    experiment: str
    state: JobState
    priority: int
    """Higher runs first; equal priorities run in the order of `position`."""
    position: int
    attempts: int = 0
    max_attempts: int = MAX_ATTEMPTS
    reason: str = ""
    """Why it failed, was cancelled or waits; empty otherwise."""
    device: str = ""
    """GPU UUID or `cpu`; empty while it has none."""
    queued_at: str = ""
    started_at: str = ""
    finished_at: str = ""
    place: str = ""
    """`slurm` where the cluster makes it; empty for this machine."""
    after: tuple[str, ...] = ()
    """Runs that must succeed before it starts."""
    waits_for: tuple[str, ...] = ()
    """Those of them that have not succeeded yet."""
    pack: tuple[str, ...] = ()
    """The runs that one worker trains together, this one among them; empty where it has its own."""
    interrupted_by: str = ""
    """What ended the attempt before, of a job that has begun again; empty otherwise."""
    shape: int = 0
    """The number of what it does, as in `QueueClient.shapes`; 0 where that is not known."""


TRANSITIONS: Mapping[JobState, frozenset[JobState]] = MappingProxyType(
    {
        JobState.QUEUED: frozenset(
            {JobState.HELD, JobState.STARTING, JobState.FAILED, JobState.CANCELLED, JobState.SUCCEEDED}
        ),
        JobState.HELD: frozenset({JobState.QUEUED, JobState.FAILED, JobState.CANCELLED}),
        JobState.STARTING: frozenset(
            {JobState.RUNNING, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.INTERRUPTED}
        ),
        JobState.RUNNING: frozenset(
            {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.INTERRUPTED}
        ),
        JobState.INTERRUPTED: frozenset(
            {JobState.STARTING, JobState.HELD, JobState.FAILED, JobState.CANCELLED, JobState.SUCCEEDED}
        ),
        JobState.SUCCEEDED: frozenset({JobState.QUEUED}),
        JobState.FAILED: frozenset({JobState.QUEUED}),
        JobState.CANCELLED: frozenset({JobState.QUEUED}),
    }
)
"""`SUCCEEDED -> QUEUED` is taken by `--force` and for a checkpoint that is gone, `FAILED` and
`CANCELLED -> QUEUED` by a retry.
A job that has not begun fails when a run that it waits for fails or is cancelled."""


class IllegalTransitionError(Exception):
    """A defect of the scheduler: it tried to change a state in a way the table does not know."""


def sources(target: JobState) -> tuple[JobState, ...]:
    """The states from which a job may become `target`.

    >>> [state.value for state in sources(JobState.RUNNING)]
    ['starting']
    """
    return tuple(state for state in JobState if target in TRANSITIONS[state])

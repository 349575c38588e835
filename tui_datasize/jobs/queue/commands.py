"""What clients ask of the queue, and what they are answered."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from tui_datasize.jobs.queue.state import Job, JobState


class CommandKind(StrEnum):
    """What a client may ask for."""

    ENQUEUE = "enqueue"
    HOLD = "hold"
    RELEASE = "release"
    CANCEL = "cancel"
    RETRY = "retry"
    PRIORITY = "priority"
    """Change the priority by an amount; higher runs first."""
    MOVE = "move"
    """Move a waiting job places up (negative) or down (positive) among those of its priority."""
    DRAIN = "drain"
    """Finish what runs and start nothing (amount 1), or start again (amount 0); concerns no run."""
    STOP = "stop"
    """End the scheduler; workers go on. None is started by itself before something else is asked, unless
    this is to make room for another one (amount 1)."""


_INACTIVE = frozenset(state for state in JobState if state.is_waiting or state is JobState.HELD)
APPLIES_TO: Mapping[CommandKind, frozenset[JobState]] = MappingProxyType(
    {
        CommandKind.HOLD: frozenset(state for state in JobState if state.is_waiting),
        CommandKind.RELEASE: frozenset({JobState.HELD}),
        CommandKind.CANCEL: frozenset(state for state in JobState if not state.is_final),
        CommandKind.RETRY: frozenset({JobState.FAILED, JobState.CANCELLED, JobState.INTERRUPTED}),
        CommandKind.PRIORITY: _INACTIVE,
        CommandKind.MOVE: _INACTIVE,
    }
)
"""The states in which a command for jobs means something."""


def select_jobs(
    jobs: Iterable[Job],
    kind: CommandKind,
    *,
    experiment: str | None = None,
    states: Collection[JobState] = (),
) -> list[str]:
    """The runs of an experiment, or of the whole queue, that a command is for, in the given order.

    Args:
        jobs: All jobs.
        kind: A command that concerns jobs.
        experiment: The jobs of this experiment; of all where it is None.
        states: Only jobs in one of these states; empty for all that the command applies to.
    """
    return [
        job.run_id
        for job in jobs
        if (experiment is None or job.experiment == experiment)
        and job.state in APPLIES_TO[kind]
        and (not states or job.state in states)
    ]


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """What holds for the whole queue, whatever ends and begins again."""

    draining: bool = False
    """Whether what runs is finished and nothing is started."""
    slots: int | None = None
    """Jobs that the devices took at once when a scheduler last looked; None before it did."""
    stopped: bool = False
    """Whether somebody asked the scheduler to end, and nobody for another since."""


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """Commands that are committed: they will be applied whatever ends before."""

    command_ids: tuple[int, ...]
    new: int = 0
    """Runs that an enqueue added or queued again."""
    present: int = 0
    """Runs that were in the queue or done already, failed ones included."""
    failed: int = 0
    """Runs among `present` that have failed: a retry or a forced enqueue runs them again."""
    incomplete: int = 0
    """Runs among `new` that had succeeded, and whose record lacks evaluations."""
    doubt: str = ""
    """Where the queue was made for them on a file system that may be one of a network: a sentence."""


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What became of one command for one run."""

    run_id: str
    """Empty for a command that concerns no run."""
    ok: bool
    message: str
    """One line for a person, with the run's id."""

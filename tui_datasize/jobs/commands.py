"""What clients ask of the queue, and what they are answered."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


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
    """Move a waiting job one place up (-1) or down (+1) among those of its priority."""
    STOP = "stop"
    """End the scheduler; workers go on."""


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


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What became of one command for one run."""

    run_id: str
    """Empty for a command that concerns no run."""
    ok: bool
    message: str
    """One line for a person, with the run's id."""

"""The commands that the queue takes, those for jobs with the states that they apply to and their help."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from tui_datasize.jobs.queue.state import Job, JobState
from tui_datasize.text import listed


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
    UNDO = "undo"
    """Put back what another command changed of a job; the name of the batch tells which."""
    STOP = "stop"
    """End the scheduler; workers go on. None is started by itself before something else is asked, unless
    this is to make room for another one (amount 1)."""


PROMOTION = "search "
"""What the name of a batch begins with that the scheduler itself gives, for what a search goes on with."""


UNDO = "undo "
"""What the name of a batch begins with that takes another back; the name of that one follows."""


class Amount(NamedTuple):
    """What the amount of a command is."""

    default: int
    meaning: str


class JobCommand(NamedTuple):
    """What a command that changes jobs is for, and how the command line tells it."""

    applies_to: frozenset[JobState]
    """The states in which it means something."""
    verb: str
    """What it does to jobs, as in "nothing to hold"."""
    summary: str
    example: str
    """What may stand behind its name."""
    amount: Amount | None = None


_WAITING = frozenset(state for state in JobState if state.is_waiting)
_INACTIVE = _WAITING | {JobState.HELD}
JOB_COMMANDS: Mapping[CommandKind, JobCommand] = MappingProxyType(
    {
        CommandKind.HOLD: JobCommand(_WAITING, "hold", "keep queued jobs from starting", " letters-n750"),
        CommandKind.RELEASE: JobCommand(
            frozenset({JobState.HELD}), "release", "let held jobs start again", " --all"
        ),
        CommandKind.CANCEL: JobCommand(
            frozenset(state for state in JobState if not state.is_final),
            "cancel",
            "cancel jobs, with all their processes where they run",
            " letters-n750-d0-s101",
        ),
        CommandKind.RETRY: JobCommand(
            frozenset({JobState.FAILED, JobState.CANCELLED, JobState.INTERRUPTED}),
            "retry",
            "queue failed, cancelled or interrupted jobs again",
            " letters --state failed",
        ),
        CommandKind.PRIORITY: JobCommand(
            _INACTIVE,
            "change the priority of",
            "raise or lower queued jobs",
            " letters-n12000 --by 10",
            Amount(1, "how much to raise, negative to lower"),
        ),
        CommandKind.MOVE: JobCommand(
            _INACTIVE,
            "move",
            "move queued jobs among those of their priority",
            " letters-n12000 --by -1",
            Amount(-1, "places, negative for up"),
        ),
    }
)
"""In the order of the help."""


def select_jobs(
    jobs: Iterable[Job],
    kind: CommandKind,
    *,
    experiment: str | None = None,
    states: Collection[JobState] = (),
) -> list[str]:
    """The runs of an experiment, or of the whole queue, that a command is for, in the given order.

    Only jobs in one of the `states`; empty for all that the command applies to.
    """
    return [
        job.run_id
        for job in jobs
        if (experiment is None or job.experiment == experiment)
        and job.state in JOB_COMMANDS[kind].applies_to
        and (not states or job.state in states)
    ]


def nothing_to(kind: CommandKind, found: Mapping[str, int], states: Collection[str] = ()) -> str:
    """Why a command is for none of the jobs that were `found`, how many in which state in words.

    >>> nothing_to(CommandKind.RELEASE, {"queued": 12})
    'nothing to release: 12 queued; that is for held jobs'
    """
    what = JOB_COMMANDS[kind]
    wanted = listed(sorted(states or what.applies_to), "or")
    return f"nothing to {what.verb}: {counted(found) or 'no jobs there'}; that is for {wanted} jobs"


def counted(found: Mapping[str, int]) -> str:
    """How many jobs are in which state, in words."""
    return ", ".join(f"{count:,} {word}" for word, count in sorted(found.items()))

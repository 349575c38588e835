"""Taking the last command back: what it was, and which command does that."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tui_datasize.errors import ConfigError
from tui_datasize.jobs.queue.commands import JOB_COMMANDS, PROMOTION, CommandKind
from tui_datasize.jobs.queue.requests import ChangeJobs, Drain
from tui_datasize.jobs.queue.schema import UNFINISHED
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.text import plural

UNDO = "undo "
"""What the name of a batch begins with that takes another back; the name of that one follows."""
_INVERSE: Mapping[CommandKind, CommandKind] = MappingProxyType(
    {
        CommandKind.ENQUEUE: CommandKind.CANCEL,
        CommandKind.HOLD: CommandKind.RELEASE,
        CommandKind.RELEASE: CommandKind.HOLD,
        CommandKind.CANCEL: CommandKind.RETRY,
        CommandKind.RETRY: CommandKind.CANCEL,
        CommandKind.PRIORITY: CommandKind.PRIORITY,
        CommandKind.MOVE: CommandKind.MOVE,
    }
)
_NOTHING = "nothing to undo: no command for jobs was given yet, or all were taken back"


@dataclass(frozen=True, slots=True)
class Done:
    """A command that was given, for one job or many."""

    batch: str
    kind: CommandKind
    amount: int
    run_ids: tuple[str, ...]
    """The jobs that it changed, in order."""

    @property
    def words(self) -> str:
        what = "queue" if self.kind is CommandKind.ENQUEUE else ""
        if self.kind is CommandKind.DRAIN:
            return "drain" if self.amount else "start jobs again"
        return f"{what or JOB_COMMANDS[self.kind].verb} {plural(len(self.run_ids), 'run')}"


def last_done(connection: sqlite3.Connection) -> Done:
    """The last command that was given and not taken back; each undo after another goes one further back.

    Raises ConfigError: there is none, or the scheduler has not done it yet.
    """
    undone: set[str] = set()
    batches = connection.execute(
        "SELECT batch, kind, amount, count(*) - count(applied_at), sum(ok) FROM commands WHERE kind != ? "
        "GROUP BY batch ORDER BY max(id) DESC",
        (CommandKind.STOP,),
    )
    for batch, kind, amount, pending, followed in batches:
        if batch.startswith(UNDO):
            # One that was refused has taken nothing back.
            undone.update({batch.removeprefix(UNDO)} if followed or pending else ())
            continue
        # What a search goes on with nobody has asked for by itself.
        if batch in undone or batch.startswith(PROMOTION):
            continue
        if pending:
            raise ConfigError("the last command is not applied yet", fix="undo it in a moment, once it is")
        rows = connection.execute(
            "SELECT run_id FROM commands WHERE batch = ? AND ok AND changed ORDER BY id", (batch,)
        )
        if changed := tuple(run_id for (run_id,) in rows):
            return Done(batch, CommandKind(kind), amount, changed)
    raise ConfigError(_NOTHING)


def being_cancelled(connection: sqlite3.Connection, done: Done) -> int:
    """How many of the jobs that a command cancelled have a worker still; none begins again before its end."""
    if done.kind is not CommandKind.CANCEL:
        return 0
    rows = connection.execute(f"SELECT run_id FROM jobs WHERE cancel_requested AND {UNFINISHED}")
    return len({run_id for (run_id,) in rows}.intersection(done.run_ids))


def taken_back(done: Done, states: Mapping[str, JobState]) -> ChangeJobs | Drain:
    """The command that takes another back, for the jobs that still are as it left them.

    Raises ConfigError: nothing of it can be taken back any more.
    """
    if done.kind is CommandKind.DRAIN:
        return Drain(draining=not done.amount)
    if done.kind is CommandKind.MOVE and abs(done.amount) > 1:
        raise ConfigError("moves by several places are not undone", fix="move the jobs where they belong")
    kind = _INVERSE[done.kind]
    # What runs by now goes on: an undo ends no work.
    applies = {s for s in JOB_COMMANDS[kind].applies_to if not s.is_active}
    chosen = tuple(run_id for run_id in done.run_ids if states.get(run_id) in applies)
    if not chosen:
        raise ConfigError(f"nothing to undo: {done.words}; none of them is as that left it")
    return ChangeJobs(kind, chosen, -done.amount if kind is done.kind else 0)

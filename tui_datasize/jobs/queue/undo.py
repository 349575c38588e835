"""Taking the last command back: what it changed, noted by the database itself, and what that was before."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tui_datasize.errors import ConfigError
from tui_datasize.jobs.queue.commands import JOB_COMMANDS, PROMOTION, UNDO, CommandKind
from tui_datasize.jobs.queue.schema import UNFINISHED
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.text import plural

_NOTHING = "nothing to undo: no command for jobs was given yet, or all were taken back"
_COLUMNS = (
    *("state", "priority", "position", "attempts", "max_attempts", "attempts_allowed", "alone"),
    *("cancel_requested", "reason", "device", "queued_at", "started_at", "finished_at"),
    *("place", "shape", "waits"),
)
"""What commands change of a job, the document aside, of which thousands would take much room."""


def _row(of: str) -> str:
    return f"json_array({', '.join(of + column for column in _COLUMNS)})"


_NOTED = f"""
WHEN batch_given() != '' BEGIN
    INSERT INTO changes (batch, run_id, was, became, document)
    VALUES (batch_given(), NEW.run_id, {{was}}, {_row("NEW.")}, {{document}})
    ON CONFLICT DO UPDATE SET became = excluded.became, document = coalesce(document, excluded.document);
END"""
_UPDATED = _NOTED.format(was=_row("OLD."), document="iif(OLD.document IS NEW.document, NULL, OLD.document)")
_TRIGGERS = (
    f"CREATE TEMP TRIGGER added AFTER INSERT ON jobs {_NOTED.format(was=chr(39) * 2, document='NULL')}",
    f"CREATE TEMP TRIGGER changed AFTER UPDATE OF {', '.join(_COLUMNS)}, document ON jobs {_UPDATED}",
)


@dataclass(frozen=True, slots=True)
class Change:
    """What a command changed of a job."""

    was: Mapping[str, Any]
    """By column, as it found the job; empty where it made it."""
    became: Mapping[str, Any]
    document: str | None
    """The one before; None where it is the same."""

    @property
    def ends_worker(self) -> bool:
        """Whether it asked the job's worker to end, so that the job itself changes later."""
        return bool(self.became["cancel_requested"] and not self.was["cancel_requested"])

    def before(self, now: Mapping[str, Any]) -> dict[str, Any]:
        """What it changed, as it was before; empty where the job is no longer as it was left."""
        changed = [name for name in _COLUMNS if self.was[name] != self.became[name]]
        values = {name: self.was[name] for name in changed}
        if self.ends_worker:
            if now["state"] != JobState.CANCELLED:
                return {}
            had_worker = JobState(self.was["state"]).is_active
            ended = {"reason": "", "device": "", "finished_at": ""}
            values |= ended | {"state": JobState.QUEUED if had_worker else self.was["state"]}
        elif any(now[name] != self.became[name] for name in changed):
            return {}
        # A number of an attempt is never given twice: what was used up meanwhile is allowed in addition.
        used_up = now["attempts"] - self.was["attempts"]
        if used_up or "max_attempts" in values:
            values["max_attempts"] = self.was["max_attempts"] + used_up
        values.pop("attempts", None)
        return values | ({} if self.document is None else {"document": self.document})


@dataclass(eq=False)
class Changes:
    """The table `changes` of one open database: every change of a job while a command is applied."""

    _connection: sqlite3.Connection
    _batch: str = field(default="", init=False)

    def __post_init__(self) -> None:
        self._connection.create_function("batch_given", 0, lambda: self._batch)
        for trigger in _TRIGGERS:
            self._connection.execute(trigger)

    @contextmanager
    def noted(self, batch: str) -> Iterator[None]:
        """Note what is changed meanwhile, but for undoing and for what a search goes on with."""
        # Nobody has asked for that by itself.
        self._batch = "" if batch.startswith((UNDO, PROMOTION)) else batch
        try:
            yield
        finally:
            self._batch = ""

    def note_drain(self, draining: bool) -> None:
        """Note that the whole queue is about to drain, or to start jobs again."""
        self._connection.execute(
            "INSERT INTO changes (batch, run_id, was, became) SELECT batch_given(), '', "
            "coalesce((SELECT value FROM settings WHERE name = 'draining'), 0), ? WHERE batch_given() != ''",
            (int(draining),),
        )

    def note_renewed(self, run_id: str) -> None:
        """Note that there is nothing that a job can go back to: its directory has made room."""
        self._connection.execute(f"UPDATE changes SET was = '' {_OF_RUN}", (self._batch, run_id))

    def was_draining(self, batch: str) -> bool:
        row = self._connection.execute(f"SELECT was FROM changes {_OF_RUN}", (batch, "")).fetchone()
        return row is not None and row[0] != "0"

    def of(self, batch: str, run_id: str) -> Change | None:
        """What a command changed of a job; None where nothing is known of it any more."""
        found = f"SELECT was, became, document FROM changes {_OF_RUN}"
        row = self._connection.execute(found, (batch, run_id)).fetchone()
        if row is None:
            return None
        was, became, document = row
        return Change(_named(was) if was else {}, _named(became), document)

    def now(self, run_id: str) -> Mapping[str, Any]:
        """What a job is now, by column."""
        found = f"SELECT {_row('')} FROM jobs WHERE run_id = ?"
        return _named(self._connection.execute(found, (run_id,)).fetchone()[0])

    def forget(self, batch: str, run_id: str) -> None:
        """Note that a change was taken back, or cannot be any more."""
        self._connection.execute(f"DELETE FROM changes {_OF_RUN}", (batch, run_id))


_OF_RUN = "WHERE batch = ? AND run_id = ?"


def _named(values: str) -> dict[str, Any]:
    return dict(zip(_COLUMNS, json.loads(values), strict=True))


@dataclass(frozen=True, slots=True)
class Done:
    """A command that was given, for one job or many."""

    batch: str
    words: str
    """What it did, of how many runs."""
    run_ids: tuple[str, ...]
    """The jobs that it changed, with it or for it, in order; empty for the whole queue."""


def last_done(connection: sqlite3.Connection) -> Done:
    """The last command that was given and not taken back; each undo after another goes one further back.

    Raises ConfigError: there is none, or the scheduler has not done it yet.
    """
    batches = connection.execute(
        "SELECT batch, kind, amount, max(id), count(*) - count(applied_at) FROM commands "
        "WHERE kind NOT IN (?, ?) "
        "AND ? || batch NOT IN (SELECT batch FROM commands WHERE applied_at IS NULL) "
        "GROUP BY batch ORDER BY max(id) DESC",
        (CommandKind.STOP, CommandKind.UNDO, UNDO),
    )
    for batch, kind, amount, _, pending in batches:
        if batch.startswith(PROMOTION):
            continue
        if pending:
            raise ConfigError("the last command is not applied yet", fix="undo it in a moment, once it is")
        # Those that others wait for come first, but of new ones last, since these go.
        rows = connection.execute(
            "SELECT run_id, run_id IN (SELECT run_id FROM commands WHERE batch = ?1) FROM changes "
            "LEFT JOIN jobs USING (run_id) WHERE batch = ?1 "
            "AND (was != became OR changes.document NOT NULL) "
            "ORDER BY iif(was = '', -changes.id, waits != 0), changes.id",
            (batch,),
        ).fetchall()
        if rows:
            words = _words(CommandKind(kind), amount, sum(is_named for _, is_named in rows))
            return Done(batch, words, tuple(run_id for run_id, _ in rows))
    raise ConfigError(_NOTHING)


def _words(kind: CommandKind, amount: int, n_runs: int) -> str:
    if kind is CommandKind.DRAIN:
        return "drain" if amount else "start jobs again"
    return f"{'queue' if kind is CommandKind.ENQUEUE else JOB_COMMANDS[kind].verb} {plural(n_runs, 'run')}"


def being_cancelled(connection: sqlite3.Connection, done: Done) -> bool:
    """Whether any of the jobs that a command changed is to end still; none begins again before its end."""
    rows = connection.execute(f"SELECT run_id FROM jobs WHERE cancel_requested AND {UNFINISHED}")
    return any(run_id in done.run_ids for (run_id,) in rows)

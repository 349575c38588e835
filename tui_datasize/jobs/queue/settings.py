"""What holds for the whole queue: kept in its database, whatever ends and begins again."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from tui_datasize.jobs.queue.commands import CommandKind

NOT_DRAINING = "NOT EXISTS (SELECT 1 FROM settings WHERE name = 'draining' AND value)"
"""Condition under which jobs are started."""


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """What holds for the whole queue, whatever ends and begins again."""

    draining: bool = False
    """Whether what runs is finished and nothing is started."""
    slots: int | None = None
    """Jobs that the devices took at once when a scheduler last looked; None before it did."""
    stopped: bool = False
    """Whether somebody asked the scheduler to end, and nobody for another since."""
    loading: bool = False
    """Whether the scheduler that runs, or ran last, loads what workers need before it starts any."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The table `settings` of one open database; its changes belong to the caller's transaction."""

    _connection: sqlite3.Connection

    def read(self) -> QueueSettings:
        """The settings as they stand, acknowledged but not yet applied changes included."""
        found = dict(self._connection.execute("SELECT name, value FROM settings").fetchall())
        pending = "SELECT kind, amount FROM commands WHERE applied_at IS NULL"
        drain = self._connection.execute(f"{pending} AND kind = ? ORDER BY id DESC", (CommandKind.DRAIN,))
        _, draining = drain.fetchone() or ("", found.get("draining", 0))
        # Only the last: whatever is asked after a stop asks for a scheduler.
        last, for_another = self._connection.execute(f"{pending} ORDER BY id DESC").fetchone() or ("", 0)
        asked_to_stop = last == CommandKind.STOP and not for_another
        stopped = asked_to_stop if last else bool(found.get("stopped", 0))
        return QueueSettings(bool(draining), found.get("slots"), stopped, bool(found.get("loading")))

    def is_asked_to_stop(self) -> bool:
        """Whether the last that was asked, and is not applied yet, is that the scheduler ends."""
        newest = "SELECT kind FROM commands WHERE applied_at IS NULL ORDER BY id DESC LIMIT 1"
        row = self._connection.execute(newest).fetchone()
        return row is not None and row[0] == CommandKind.STOP

    def write(self, **values: int) -> None:
        """Set `draining`, `loading`, `slots` or `stopped`."""
        self._connection.executemany("INSERT OR REPLACE INTO settings VALUES (?, ?)", values.items())

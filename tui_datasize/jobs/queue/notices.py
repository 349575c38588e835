"""What the notification command is still to be told: written with the change that it tells of."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.queue.schema import UNFINISHED
from tui_datasize.jobs.queue.state import JobState


class NoticeEvent(StrEnum):
    """What is told."""

    EXPERIMENT_ENDED = "experiment-ended"
    JOB_FAILED = "job-failed"


@dataclass(frozen=True, slots=True)
class Notice:
    """One event, with the facts at the time of its telling."""

    event: NoticeEvent
    experiment: str
    run_id: str
    """The job that failed; empty where an experiment ended."""
    reason: str
    counts: Mapping[JobState, int]
    """Jobs of the experiment in each state."""


@dataclass(frozen=True, slots=True)
class Notices:
    """The table `notices` of one open database; its changes belong to the caller's transaction."""

    _connection: sqlite3.Connection

    def job_failed(self, experiment: str, run_id: str, reason: str) -> None:
        self._connection.execute(
            "INSERT INTO notices (event, experiment, run_id, reason) VALUES (?, ?, ?, ?)",
            (NoticeEvent.JOB_FAILED, experiment, run_id, reason),
        )

    def job_ended(self, experiment: str) -> None:
        """Tell that an experiment ended, if this was the last of its jobs."""
        if not self._is_over(experiment):
            return
        told = (NoticeEvent.EXPERIMENT_ENDED, experiment)
        self._connection.execute("DELETE FROM notices WHERE event = ? AND experiment = ?", told)
        self._connection.execute("INSERT INTO notices (event, experiment) VALUES (?, ?)", told)

    def take(self, limit: int) -> list[Notice]:
        """Remove the oldest notices, to be told now; an experiment that has gone on is no longer told of."""
        rows = self._connection.execute("SELECT * FROM notices ORDER BY id LIMIT ?", (limit,)).fetchall()
        self._connection.executemany("DELETE FROM notices WHERE id = ?", [(row["id"],) for row in rows])
        return [
            Notice(NoticeEvent(event), experiment, run_id, reason, self._counts(experiment))
            for _, event, experiment, run_id, reason in rows
            if event == NoticeEvent.JOB_FAILED or self._is_over(experiment)
        ]

    def _is_over(self, experiment: str) -> bool:
        # Those of a search that go on are to be queued in a moment.
        left = self._connection.execute(
            f"SELECT 1 FROM jobs WHERE experiment = ?1 AND {UNFINISHED} UNION ALL SELECT 1 FROM commands "
            "WHERE applied_at IS NULL AND kind = ?2 AND instr(run_id, ?1 || '-n') = 1 LIMIT 1",
            (experiment, CommandKind.ENQUEUE),
        )
        return left.fetchone() is None

    def _counts(self, experiment: str) -> Mapping[JobState, int]:
        rows = self._connection.execute(
            "SELECT state, count(*) FROM jobs WHERE experiment = ? GROUP BY state", (experiment,)
        )
        return {JobState(state): count for state, count in rows}

"""Rows of the queue's database as the scheduler reads and writes them."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from typing import NamedTuple

from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.queue.state import MAX_ATTEMPTS, JobState


@dataclass(frozen=True, slots=True)
class ActiveJob:
    """A job that a worker has or may have, with its newest attempt."""

    run_id: str
    experiment: str
    workload: str
    state: JobState
    attempts: int
    max_attempts: int
    alone: bool
    cancel_requested: bool
    device: str
    reserved_bytes: int
    tag: str
    """The worker's; runs of one pack have it in common."""

    @classmethod
    def of(cls, row: sqlite3.Row) -> ActiveJob:
        """A row of the database, whose columns are the fields."""
        flags = {name: bool(row[name]) for name in ("alone", "cancel_requested")}
        return cls(**(dict(row) | flags | {"state": JobState(row["state"])}))


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """A job that waits for a device."""

    run_id: str
    experiment: str
    workload: str
    priority: int
    position: int
    attempts: int
    alone: bool
    document: str
    shape: int
    """Number of its specification without seeds, draw and source, in the table `shapes`."""
    has_vanished: bool
    """Whether the worker of the last attempt that began went without a word."""

    @classmethod
    def of(cls, row: sqlite3.Row) -> QueuedJob:
        """A row of the database, whose columns are the fields."""
        flags = {name: bool(row[name]) for name in ("alone", "has_vanished")}
        return cls(**(dict(row) | flags))

    @property
    def data_dir(self) -> str:
        """Where its worker finds data sets; empty where the document does not tell."""
        return json.loads(self.document).get("data_dir") or ""

    @property
    def train_size(self) -> int:
        """Training images; 0 where the document does not tell."""
        spec = json.loads(self.document).get("spec")
        size = spec.get("train_size") if isinstance(spec, dict) else None
        return size if isinstance(size, int) else 0


@dataclass(frozen=True, slots=True)
class PendingCommand:
    """An acknowledged command that is not applied yet."""

    id: int
    batch: str
    kind: CommandKind
    run_id: str
    amount: int
    force: bool
    document: str


class Verdict(NamedTuple):
    """What became of a command for one job."""

    ok: bool
    """Whether it was followed."""
    text: str
    """What to tell a person."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job as an enqueue command makes it."""

    run_id: str
    experiment: str
    workload: str
    state: JobState
    priority: int
    attempts: int
    max_attempts: int
    reason: str
    started_at: str
    finished_at: str
    document: str
    queued_at: str = ""
    """UTC, ISO 8601; empty for now."""
    place: str = ""
    """The cluster that makes it; empty for this machine."""
    attempts_allowed: int = MAX_ATTEMPTS
    """Attempts that an enqueue or a retry grants."""


@dataclass(frozen=True, slots=True)
class PastAttempt:
    """An attempt that another queue began, as its run's directory tells; without an outcome it goes on."""

    attempt: int
    tag: str
    started_at: str
    device: str = ""
    finished_at: str = ""
    outcome: str = ""
    reason: str = ""

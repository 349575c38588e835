"""Standing faults of the machine: what keeps the queue from working, kept in its database until it works.

A fault is no run's. It is told by every screen, said once in the log and counted, and goes with the first
time that the thing works again.
"""

from __future__ import annotations

import errno
import os
import re
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from tui_datasize.errors import StorageError
from tui_datasize.jobs.queue.database import storage_errors, transaction
from tui_datasize.jobs.queue.schema import ACTIVE, STARTABLE, WAITING
from tui_datasize.jobs.queue.settings import Settings
from tui_datasize.runlog.claim import utc_now
from tui_datasize.text import plural

if TYPE_CHECKING:
    from logging import Logger

RUNS = "runs"
"""The subject of a fault of the disk that has the runs directory."""
LEAST_FREE_BYTES = 2**18
"""With less on the disk of `runs/` a run cannot write its first checkpoint."""
_COUNT_INTERVAL_S = 30.0
"""How often a fault that goes on is counted in the database."""
_NUMBER = re.compile(r"\d+")


def _log() -> Logger:
    # Not above: who looks at the queue is counted in milliseconds.
    from logging import getLogger

    return getLogger(__name__)


class FaultKind(StrEnum):
    """What of the machine is at fault."""

    DISK = "disk"
    DATABASE = "database"
    SLOTS = "slots"
    PROCESSES = "processes"
    """Processes, memory or open files for a worker."""
    GPU = "card"
    """Stored as it was called first."""
    SCHEDULER = "scheduler"
    """Seen by clients alone: there is work, and nobody who starts it."""
    CLUSTER = "cluster"
    """The cluster does not answer, or does not take runs."""
    ALIKE = "alike"
    """Runs that end one after the other for the same reason, before their first update."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault that stands."""

    kind: FaultKind
    subject: str
    """What of its kind: a directory, a GPU; may be empty."""
    sentence: str
    """What is wrong and what to do, on one line."""
    since: str
    """UTC, ISO 8601."""
    count: int
    last: str
    """When it was met last, in UTC."""


def stops_everything(faults: Iterable[Fault]) -> bool:
    """Whether nothing moves until they are mended, not even what runs."""
    # A disk of no subject has ended one run, or kept one from starting: others go on.
    return any(
        bool(fault.subject) if fault.kind is FaultKind.DISK else fault.kind is FaultKind.DATABASE
        for fault in faults
    )


def stops_starts(faults: Iterable[Fault]) -> bool:
    """Whether they keep jobs waiting: without one of several GPUs, or a cluster, others begin."""
    return any(fault.kind not in (FaultKind.GPU, FaultKind.CLUSTER) for fault in faults)


def runs_to_do(connection: sqlite3.Connection) -> int:
    """How many jobs are at work, or wait for a scheduler that starts any; 0 where it has nothing to do."""
    # Each has an index of its own; to read thousands of jobs takes longer.
    parts = (ACTIVE, STARTABLE, f"waits != 0 AND blocked != 0 AND {WAITING}")
    counts = (f"(SELECT count(*) FROM jobs WHERE {part})" for part in parts)
    active, startable, blocked = connection.execute(f"SELECT {', '.join(counts)}").fetchone()
    if Settings(connection).read().draining:
        return int(active)
    return int(active + startable + blocked) if active or startable else 0


def scheduler_has_work(connection: sqlite3.Connection) -> bool:
    """Whether a scheduler would find anything to do, and not just end again."""
    asked = connection.execute("SELECT 1 FROM commands WHERE applied_at IS NULL LIMIT 1").fetchone()
    return asked is not None or runs_to_do(connection) > 0


def fault_of_scheduler(connection: sqlite3.Connection, count: int) -> Iterator[Fault]:
    """That so many runs have no scheduler, where nobody stopped it; asked only while none is alive."""
    if count and not Settings(connection).read().stopped:
        sentence = f"no scheduler for {plural(count, 'run')}; `datasize-tui scheduler start` starts one"
        yield new_fault(FaultKind.SCHEDULER, "", sentence)


def fault_of_halted(pid: int) -> Fault:
    """That the scheduler is there and does nothing."""
    # Whole, with what to do, in three lines of 40 columns.
    what = f"the scheduler (process {pid}) is stopped by a signal"
    return new_fault(FaultKind.SCHEDULER, "", f"{what}; `kill -CONT {pid}` lets it go on")


def read_faults(connection: sqlite3.Connection) -> list[Fault]:
    """The faults that stand in the queue's database, oldest first."""
    rows = connection.execute(
        "SELECT kind, subject, sentence, since, count, last FROM faults ORDER BY since, kind, subject"
    )
    return [Fault(FaultKind(row[0]), *row[1:]) for row in rows]


def faults_of_disk(runs: Path, *, tries: bool = True) -> Iterator[Fault]:
    """What the disk of an existing runs directory lacks now: space or inodes; seen without the database.

    A used-up quota is found where it `tries` to write, of which nothing is left.
    """
    try:
        disk = os.statvfs(runs)
    except OSError as error:
        sentence = f"{runs} cannot be read: {error.strerror}; fix that, then it goes on"
        yield new_fault(FaultKind.DISK, RUNS, sentence)
        return
    if disk.f_flag & os.ST_RDONLY:
        yield new_fault(FaultKind.DISK, RUNS, f"the disk of {runs} is read-only; make it writable again")
        return
    free_bytes = disk.f_bavail * disk.f_frsize
    # Some file systems count no inodes.
    without_inodes = disk.f_files > 0 and disk.f_favail == 0
    if free_bytes < LEAST_FREE_BYTES or without_inodes:
        what = f"{free_bytes // 1000} kB free" if free_bytes < LEAST_FREE_BYTES else "no inode free"
        sentence = f"{what} on the disk of {runs}: runs cannot be saved; free some space"
        yield new_fault(FaultKind.DISK, RUNS, sentence)
        return
    if tries and (why := _REFUSALS.get(_refused(runs), "")):
        yield new_fault(FaultKind.DISK, RUNS, f"{runs}: {why}")


_REFUSALS: Mapping[int, str] = MappingProxyType(
    {
        errno.EDQUOT: "your quota is used up, so that runs cannot be saved; free some space or ask for more",
        errno.ENOSPC: "its disk takes no more of it, so that runs cannot be saved; free some space",
        errno.EROFS: "its disk has become read-only; make it writable again",
        errno.EIO: "its disk fails (input/output error); look at the log of the kernel",
    }
)
"""What is said of a refusal to write, by its number; who may not write at all has no part in it."""


def _refused(directory: Path) -> int:
    """The number of the error by which room for a checkpoint is refused; 0 without one."""
    try:
        file = os.open(directory, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(file, 0, LEAST_FREE_BYTES)
        finally:
            os.close(file)
    except OSError as error:
        return error.errno or 0
    return 0


class Faults:
    """The faults of one open database; each change is a transaction of its own, and none raises.

    Where the database itself cannot be written the log has them, and the database once it can.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._counts: dict[tuple[FaultKind, str], int] = {}
        """Faults met since the database was last told of them."""
        self._told_s: dict[tuple[FaultKind, str], float] = {}
        with storage_errors(path):
            self._standing = {
                (fault.kind, fault.subject): fault.sentence for fault in read_faults(connection)
            }

    def list(self) -> list[Fault]:
        """The faults that stand, oldest first; raises StorageError: the database cannot be read."""
        with storage_errors(self._path):
            return read_faults(self._connection)

    def stands(self, kind: FaultKind, subject: str | None = None) -> bool:
        """Whether there is a fault of this kind, of this subject or of any."""
        return any(k is kind and subject in (None, s) for k, s in self._standing)

    def subjects(self, kind: FaultKind) -> set[str]:
        return {s for k, s in self._standing if k is kind}

    def report(self, kind: FaultKind, subject: str, sentence: str) -> None:
        """Note that a fault was met, as a `Fault` tells of it; one that stands already is counted."""
        key = (kind, subject)
        self._counts[key] = self._counts.get(key, 0) + 1
        # Amounts in it change from look to look.
        is_news = _NUMBER.sub("", self._standing.get(key, "")) != _NUMBER.sub("", sentence)
        self._standing[key] = sentence
        if is_news:
            _log().error("%s", sentence)
        elif time.monotonic() < self._told_s.get(key, float("-inf")) + _COUNT_INTERVAL_S:
            return
        self._told_s[key] = time.monotonic()
        now = utc_now()
        if self._write(
            "INSERT INTO faults VALUES (?1, ?2, ?3, ?4, ?5, ?4) ON CONFLICT (kind, subject) DO UPDATE "
            "SET sentence = ?3, count = count + ?5, last = ?4",
            *(kind, subject, sentence, now, self._counts[key]),
        ):
            self._counts[key] = 0

    def clear(self, kind: FaultKind, subject: str | None = None) -> None:
        """Note that the thing works: that its fault, or all of its kind, are over."""
        for key in [key for key in self._standing if key[0] is kind and subject in (None, key[1])]:
            if self._write("DELETE FROM faults WHERE kind = ? AND subject = ?", *key):
                _log().info("over: %s", self._standing.pop(key))
                self._counts.pop(key, None)
                self._told_s.pop(key, None)

    def _write(self, statement: str, *values: object) -> bool:
        try:
            with storage_errors(self._path), transaction(self._connection):
                self._connection.execute(statement, values)
        except StorageError:
            # A full disk, mostly; clients see that for themselves.
            return False
        return True


def new_fault(kind: FaultKind, subject: str, sentence: str) -> Fault:
    """A fault that is just met."""
    now = utc_now()
    return Fault(kind, subject, sentence, now, 1, now)

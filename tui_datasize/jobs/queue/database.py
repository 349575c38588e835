"""The queue's SQLite file: its tables, how it comes to be, and what can be wrong with it.

What is wrong is a `StorageError` that names the file and says what to do.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from tui_datasize.errors import (
    EXIT_BAD_INPUT,
    EXIT_TRY_AGAIN,
    SHORT_OF_DISK,
    SHORT_OF_HOST,
    StorageError,
)
from tui_datasize.experiments.project_tables import is_shared
from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.queue.file_systems import KEEP_LOCAL, check_file_system
from tui_datasize.jobs.queue.schema import SCHEMA_VERSION, statements
from tui_datasize.runlog.atomic import rename
from tui_datasize.runlog.claim import utc_now
from tui_datasize.runlog.locks import lock_file, make_private, make_runs, private_mode

_APPLICATION_ID = 0x64733162
_BUSY_TIMEOUT_S = 10.0

_REBUILD = "the file is left as it is; rebuild the queue with `datasize-tui doctor --repair`"


class DamagedQueueError(StorageError):
    """The database is no queue, or no whole one any more."""


class PassingStorageError(StorageError):
    """A fault that may pass by itself, such as a full disk: waiting and trying again is sensible."""


_PASSING_FAULTS: Mapping[int, tuple[str, str]] = MappingProxyType(
    {
        sqlite3.SQLITE_FULL: ("the disk is full", "free some space; nothing acknowledged is lost"),
        sqlite3.SQLITE_READONLY: ("cannot be written", "check the owner and permissions of the directory"),
        sqlite3.SQLITE_CANTOPEN: ("cannot be opened", "check the owner and permissions of the directory"),
        sqlite3.SQLITE_BUSY: ("is locked by another program", "close whatever has it open"),
        sqlite3.SQLITE_IOERR: ("reading or writing failed", "check the disk"),
    }
)
_TRY_AGAIN = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_IOERR})
_FOR_WRITING = "mount it for writing; nothing acknowledged is lost"
_READ_ONLY = ("is on a read-only file system", _FOR_WRITING)
PASSING_ERRNOS = SHORT_OF_DISK | SHORT_OF_HOST
"""Faults that concern a whole disk, or this process; others may be of one file or directory alone."""
_LASTING_FAULTS: Mapping[int, str] = MappingProxyType(
    {
        sqlite3.SQLITE_NOTADB: "is not a queue database",
        sqlite3.SQLITE_CORRUPT: "the queue database is damaged",
    }
)


def concerns_all(error: OSError, runs: Path) -> bool:
    """Whether a fault that one run directory showed is of all within `runs`, or of this process.

    Where it is in doubt, something is written to `runs`: a disk that has gone shows in many ways.
    """
    if error.errno in PASSING_ERRNOS:
        return True
    try:
        with tempfile.TemporaryFile(dir=runs) as file:
            file.write(b"1")
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        return True
    return False


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn faults of SQLite and of the file system into a `StorageError` that names `path`."""
    try:
        yield
    except sqlite3.Error as error:
        raise _explain(error, path) from error
    except OSError as error:
        where, fix = str(error.filename or path), "check owner and permissions of the directory"
        raise PassingStorageError.of(error, "cannot be written", where=where, fix=fix) from error


def _explain(error: sqlite3.Error, path: Path) -> StorageError:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in _PASSING_FAULTS:
        what, fix = _READ_ONLY if _is_read_only(path) else _PASSING_FAULTS[code]
        passing = PassingStorageError(what, where=str(path), fix=fix)
        passing.exit_status = EXIT_TRY_AGAIN if code in _TRY_AGAIN else EXIT_BAD_INPUT
        return passing
    what = _LASTING_FAULTS.get(code, f"the queue database cannot be used: {error}")
    return DamagedQueueError(what, where=str(path), fix=_REBUILD)


def not_mounted(path: Path) -> PassingStorageError:
    """What is said of a queue whose disk has gone from its place."""
    fix = "mount it again; nothing acknowledged is lost"
    return PassingStorageError("its disk is not mounted any more", where=str(path), fix=fix)


def status_of(path: Path) -> os.stat_result | None:
    """None where there is no such file."""
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _is_read_only(path: Path) -> bool:
    with suppress(OSError):
        return bool(os.statvfs(path.parent).f_flag & os.ST_RDONLY)
    return False


def open_database(path: Path) -> sqlite3.Connection:
    """Connect to an existing queue, every commit of which survives a power cut.

    A database of an earlier version is brought up to date first.

    Raises StorageError: the file is missing, damaged, truncated, or of a newer version.
    """
    with storage_errors(path):
        if path.stat().st_size == 0:
            # SQLite would take an empty file for a new database and hide the loss.
            what = "is empty: the queue database was truncated"
            raise DamagedQueueError(what, where=str(path), fix=_REBUILD)
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=_BUSY_TIMEOUT_S, isolation_level=None
        )
        connection.row_factory = sqlite3.Row
        try:
            connection.execute("PRAGMA synchronous = FULL")
            if _version(connection, path) < SCHEMA_VERSION:
                # Looked at again under the lock: another process may just have done it.
                with transaction(connection):
                    _bring_up_to_date(connection, _version(connection, path))
        except BaseException:
            connection.close()
            raise
        return connection


@dataclass(eq=False)
class QueueWatch:
    """Tells whether anything was committed to a queue, which may be missing, since the last look.

    It is not read. For one thread; a queue that is made, moved away or rebuilt in between is another one.
    """

    _path: Path
    _connection: sqlite3.Connection | None = field(default=None, init=False)
    _status: os.stat_result | None = field(default=None, init=False)
    _opened: int = field(default=0, init=False)

    def version(self) -> tuple[int, int]:
        """What is another value after each commit; the same while there is no database."""
        if (status := status_of(self._path)) is None:
            self.close()
            return self._opened, 0
        if self._connection is None or not (self._status and os.path.samestat(status, self._status)):
            self.close()
            self._connection, self._status = open_database(self._path), status
            self._opened += 1
        with storage_errors(self._path):
            row = self._connection.execute("PRAGMA data_version").fetchone()
        return self._opened, int(row[0])

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def create_database(path: Path) -> str:
    """Make an empty queue at `path` unless there is one; several processes may try at once.

    One sentence where it was made on a file system that may be one of a network; else empty.

    Raises StorageError: the directory cannot be written, or lies on a network file system.
    """
    if path.exists():
        return ""
    with storage_errors(path):
        make_runs(path.parent, shared=is_shared(path.parent.parent))
        doubt = check_file_system(path.parent)
        with directory_lock(path.parent):
            if not path.exists():
                _create(path)
    return doubt


@contextmanager
def directory_lock(runs: Path) -> Iterator[None]:
    """Keep others from making a queue; they may be able to open the directory, and keep its lock."""
    descriptor = os.open(runs, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if not lock_file(descriptor, _BUSY_TIMEOUT_S):
            what = "is locked by another program"
            raise PassingStorageError(what, where=str(runs), fix="end that program")
        yield
    finally:
        os.close(descriptor)


def protect(path: Path) -> None:
    """Let nobody open the queue who may not run jobs in it: whoever can may keep its locks for ever."""
    with storage_errors(path):
        make_runs(path.parent, shared=is_shared(path.parent.parent))
        mode = private_mode(path.parent)
    for suffix in ("", "-wal", "-shm"):
        make_private(path.with_name(path.name + suffix), mode)


def check_integrity(connection: sqlite3.Connection, path: Path) -> None:
    """Read the whole database once."""
    with storage_errors(path):
        answer = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if answer != "ok":
        raise DamagedQueueError(f"the queue database is damaged: {answer}", where=str(path), fix=_REBUILD)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """One transaction that holds the right to write from its first statement on."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


def _create(path: Path) -> None:
    temporary = path.with_name(f".{path.name}.{threading.get_native_id()}.tmp")
    temporary.unlink(missing_ok=True)
    # SQLite gives the files beside it the same mode.
    temporary.touch(0o600)
    make_private(temporary, private_mode(path.parent))
    with closing(sqlite3.connect(temporary, isolation_level=None)) as connection:
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            what = f"the file system allows no write-ahead log (journal mode {mode!r})"
            raise StorageError(what, where=str(path.parent), fix=KEEP_LOCAL)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        with transaction(connection):
            _bring_up_to_date(connection, version=0)
    # A log left by a deleted database would be replayed into the new one.
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    rename(temporary, path)


def _bring_up_to_date(connection: sqlite3.Connection, version: int) -> None:
    for statement in statements(version):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """The version of a database that this program can use, maybe after an upgrade."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if application != _APPLICATION_ID:
        raise DamagedQueueError("is not a queue database", where=str(path), fix=_REBUILD)
    if not 1 <= version <= SCHEMA_VERSION:
        what = f"is of version {version}, this program knows version {SCHEMA_VERSION}"
        fix = "use the version of datasize-tui that wrote it, or move the file away"
        raise StorageError(what, where=str(path), fix=fix)
    return version


def insert_commands(
    connection: sqlite3.Connection,
    kind: CommandKind,
    rows: Sequence[tuple[str, int, bool, str]],
    batch: str = "",
) -> tuple[int, ...]:
    """Add one command per (run id, amount, force, document) and return their ids."""
    if not rows:
        return ()
    batch, now = batch or os.urandom(16).hex(), utc_now()
    connection.executemany(
        "INSERT INTO commands (batch, kind, run_id, amount, force, document, created_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(batch, kind, *row, now) for row in rows],
    )
    last = connection.execute("SELECT max(id) FROM commands").fetchone()[0]
    # The transaction keeps others from inserting in between: the ids are consecutive.
    return tuple(range(last - len(rows) + 1, last + 1))

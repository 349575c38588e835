"""A disk that loses at a power cut what nobody has synced: watched by every process, cut by the harness.

Each `fsync` is noted in a ledger: of a file its size, of a directory the names in it; and each commit to a
database, with what its `synchronous` was. The cut takes away the rest, as a file system may.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LEDGER_VARIABLE = "DATASIZE_CHAOS_LEDGER"
_DATABASE_USERS = ("tui_datasize.jobs.scheduler.main", "tests.faults.chaos.client")
_NEVER_DURABLE = re.compile(r"executions\.jsonl|lock|.*\.log|.*\.lock|\..*|queue\.db.*")
"""What nothing relies on after a cut, what the checks themselves note, and the database, which has its own
way."""
_UNSYNCED = "unsynced"


def watch() -> None:
    """Note from now on what this process syncs, where a ledger is kept."""
    ledger = os.environ.get(LEDGER_VARIABLE)
    if not ledger:
        return
    descriptor = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fsync = os.fsync

    def noted_fsync(file: Any) -> None:
        fsync(file)
        status = os.fstat(file)
        known: Any = status.st_size
        if stat.S_ISDIR(status.st_mode):
            with os.scandir(file) as entries:
                known = {entry.name: entry.inode() for entry in entries}
        _append(descriptor, [status.st_ino, known])

    os.fsync = noted_fsync
    if set(_DATABASE_USERS) & set(sys.orig_argv):
        _watch_commits(descriptor)


def _watch_commits(ledger: int) -> None:
    import sqlite3

    connect = sqlite3.connect

    def watched_connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*arguments, **options)
        is_full = False

        def note(statement: str) -> None:
            nonlocal is_full
            if "synchronous" in statement:
                is_full = "FULL" in statement
            elif statement == "COMMIT" and not is_full:
                _append(ledger, _UNSYNCED)

        connection.set_trace_callback(note)
        return connection

    sqlite3.connect = watched_connect  # type: ignore[assignment]


def _append(ledger: int, row: object) -> None:
    os.write(ledger, json.dumps(row).encode() + b"\n")


@dataclass(slots=True)
class _Durable:
    """What is known to be on the disk."""

    sizes: dict[int, int] = field(default_factory=dict)
    """Bytes of files, by inode."""
    names: dict[int, Mapping[str, int]] = field(default_factory=dict)
    """Inodes by name, by the inode of the directory."""
    commits: bool = True
    """Whether all commits to databases are."""


def cut(runs: Path, ledger: Path) -> None:
    """Take away what a power cut may take; all processes are dead already."""
    durable = _read(ledger)
    if not durable.commits:
        for suffix in ("-wal", "-shm"):
            (runs / f"queue.db{suffix}").unlink(missing_ok=True)
    _lose(runs, durable)


def begin_anew(directories: list[Path], ledger: Path) -> None:
    """What is there after a cut is on the disk."""
    with ledger.open("w") as file:
        for top in directories:
            for name, _, files in os.walk(top):
                directory = Path(name)
                inodes = {entry.name: entry.stat().st_ino for entry in directory.iterdir()}
                print(json.dumps([directory.stat().st_ino, inodes]), file=file)
                for one in map(directory.joinpath, files):
                    print(json.dumps([one.stat().st_ino, one.stat().st_size]), file=file)


def _read(ledger: Path) -> _Durable:
    durable = _Durable()
    for line in ledger.read_text().splitlines() if ledger.exists() else ():
        row = json.loads(line)
        if row == _UNSYNCED:
            durable.commits = False
        elif isinstance(row[1], int):
            durable.sizes[row[0]] = row[1]
        else:
            durable.names[row[0]] = row[1]
    return durable


def _lose(directory: Path, durable: _Durable) -> None:
    names = durable.names.get(directory.stat().st_ino, {})
    for entry in list(os.scandir(directory)):
        if _NEVER_DURABLE.fullmatch(entry.name):
            continue
        is_directory = entry.is_dir(follow_symlinks=False)
        if entry.name not in names:
            # One that has taken the place of another may as well be there: then the other is not.
            shutil.rmtree(entry.path) if is_directory else Path(entry.path).unlink()
        elif is_directory:
            _lose(Path(entry.path), durable)
        elif entry.stat().st_size > (size := durable.sizes.get(entry.inode(), 0)):
            os.truncate(entry.path, size)

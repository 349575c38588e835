"""Files that are locked, and who may open them: whoever can may keep the lock for ever.

A file that cannot be opened, or is no regular one, is an `OSError`. Standard library only, as `claim` that
uses it.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from contextlib import suppress
from pathlib import Path

from tui_datasize.files import open_descriptor
from tui_datasize.runlog.atomic import sync_directory


def lock_file(descriptor: int, patience_s: float = 0.0) -> bool:
    """Take the `flock` of an open file, if need be within so many seconds; whether it was taken."""
    deadline_s = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline_s:
                return False
            time.sleep(0.01)
        else:
            return True


def is_held(descriptor: int) -> bool:
    """Whether another open file holds the `flock` of this one; nothing is kept from it meanwhile."""
    try:
        # Shared, so that two who look at once do not take each other for a holder.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def is_locked(file: Path) -> bool:
    """Whether somebody holds the `flock` of a file, see `is_held`.

    Nobody holds the lock of a file that does not exist.
    """
    try:
        descriptor = open_descriptor(file, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        return is_held(descriptor)
    finally:
        os.close(descriptor)


def is_named(descriptor: int, file: Path) -> bool:
    """Whether an open file still has a name."""
    try:
        return os.path.samestat(os.fstat(descriptor), file.lstat())
    except (FileNotFoundError, NotADirectoryError):
        return False


def private_mode(runs: Path) -> int:
    """The mode of files that only those may open who may run jobs: the owner, or the group of `runs/`."""
    return 0o660 if runs.stat().st_mode & stat.S_IWGRP else 0o600


def open_lock(file: Path, runs: Path) -> int:
    """Open a file of a runs directory to be locked, which is made if it is missing."""
    descriptor = open_descriptor(file, os.O_RDWR | os.O_CREAT, 0o600)
    make_private(descriptor, private_mode(runs))
    return descriptor


def make_private(file: int | Path, mode: int) -> None:
    """Give a file of this user the mode; those of others, and file systems that know no modes, stay."""
    with suppress(OSError):
        found = os.stat(file)  # noqa: PTH116 - or a descriptor
        if found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) != mode:
            os.chmod(file, mode)  # noqa: PTH101


def make_runs(runs: Path, *, shared: bool) -> None:
    """Make a runs directory, for its owner alone or for the owner's group, too.

    One that is there already is opened for the group where that is wanted, and never closed.
    """
    runs.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        runs.mkdir(mode=0o700)
    sync_directory(runs.parent)
    mode = stat.S_IMODE(runs.stat().st_mode)
    if shared:
        # Files that are made in it belong to its group.
        make_private(runs, mode | stat.S_ISGID | stat.S_IRWXG)

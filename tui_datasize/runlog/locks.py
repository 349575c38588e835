"""Whether somebody holds the lock of a file. Standard library only, as `claim` that asks it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from tui_datasize.files import open_descriptor


def is_locked(file: Path) -> bool:
    """Whether another open file holds the `flock` of this one; nothing is kept from it meanwhile.

    Nobody holds the lock of a file that does not exist.

    Raises:
        OSError: The file exists and cannot be opened, or is no regular one.
    """
    try:
        descriptor = open_descriptor(file, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        # Shared, so that two who look at once do not take each other for a holder.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False

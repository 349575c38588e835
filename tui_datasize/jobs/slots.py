"""Job slots of this machine, one locked file each, shared by all projects of a user.

A worker inherits the lock of its slot, so that the slot stays taken for as long as the worker lives,
whatever becomes of the scheduler that took it.
"""

from __future__ import annotations

import fcntl
import os
import warnings
from collections.abc import Mapping
from pathlib import Path

DIRECTORY_VARIABLE = "DATASIZE_SLOTS_DIR"


def slot_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """Where the slots of this machine are kept: `DATASIZE_SLOTS_DIR` or the user's runtime directory."""
    if environment.get(DIRECTORY_VARIABLE):
        return Path(environment[DIRECTORY_VARIABLE])
    import platformdirs

    with warnings.catch_warnings():
        # Without a login session platformdirs warns and names a directory below /tmp, which will do.
        warnings.simplefilter("ignore")
        return platformdirs.user_runtime_path("datasize-tui") / "slots"


def take_slots(directory: Path, device: str, capacity: int, wanted: int) -> list[int]:
    """Lock free slots of a device.

    Args:
        directory: Where the slots are kept; made if missing.
        device: GPU UUID or `cpu`.
        capacity: Number of slots the device has.
        wanted: Most slots to take.

    Returns:
        Up to `wanted` descriptors, each holding one slot until every copy of it is closed.

    Raises:
        OSError: The directory cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    taken: list[int] = []
    for index in range(capacity):
        if len(taken) >= wanted:
            break
        descriptor = os.open(directory / f"{device}.{index}", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
        else:
            taken.append(descriptor)
    return taken

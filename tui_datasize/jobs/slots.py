"""Job slots of this machine, one locked file each, shared by all projects of a user.

A worker inherits the lock of its slot, so that the slot stays taken for as long as the worker lives,
whatever becomes of the scheduler that took it. The lock alone decides; the text of the file says who took
it, for a person whose jobs wait.
"""

from __future__ import annotations

import fcntl
import json
import os
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tui_datasize.jobs.gpus import CPU
from tui_datasize.runlog.locks import is_locked

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


@dataclass(frozen=True, slots=True)
class SlotHolder:
    """A slot that is taken, and who took it as far as it is known."""

    device: str
    """GPU UUID or `cpu`."""
    project: str
    """Project directory; empty where the file does not tell."""
    pid: int
    """The scheduler that took it, which may have ended since; 0 where the file does not tell."""


def take_slots(directory: Path, device: str, capacity: int, wanted: int, project: Path) -> list[int]:
    """Lock free slots of a device.

    Args:
        directory: Where the slots are kept; made if missing.
        device: GPU UUID or `cpu`.
        capacity: Number of slots the device has.
        wanted: Most slots to take.
        project: The project directory that takes them.

    Returns:
        Up to `wanted` descriptors, each holding one slot until every copy of it is closed.

    Raises:
        OSError: The directory cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    words = json.dumps({"project": str(project), "pid": os.getpid()}).encode()
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
            if os.pread(descriptor, len(words) + 1, 0) != words:
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, words, 0)
    return taken


def read_holders(directory: Path) -> list[SlotHolder]:
    """Every slot of this machine that is taken now, with who took it."""
    holders = []
    for file in sorted(directory.glob("*.*")):
        # It may go at any moment.
        with suppress(OSError):
            if is_locked(file):
                holders.append(_holder(file))
    return holders


def _holder(file: Path) -> SlotHolder:
    device = file.name.rpartition(".")[0]
    with suppress(ValueError, KeyError, TypeError):
        words = json.loads(file.read_bytes())
        return SlotHolder(device, str(words["project"]), int(words["pid"]))
    return SlotHolder(device, "", 0)


def describe_holders(holders: Sequence[SlotHolder], project: Path, slots: int) -> str:
    """One line on the slots that other projects have; empty where they have none.

    Args:
        holders: All slots that are taken.
        project: The project directory whose jobs wait.
        slots: Slots that its devices have.

    >>> taken = [SlotHolder("cpu", "/a", 7), SlotHolder("cpu", "/a", 7)]
    >>> describe_holders(taken, Path("/b"), 2)
    'waiting: all 2 CPU slots are used by /a (2)'
    >>> describe_holders(taken[1:], Path("/b"), 2)
    '1 of 2 CPU slots is used by /a (1)'
    """
    others = Counter(holder.project or "?" for holder in holders if holder.project != str(project))
    count = others.total()
    if not count:
        return ""
    kind = "CPU" if all(holder.device == CPU for holder in holders) else "GPU"
    whose = ", ".join(f"{name} ({number})" for name, number in others.most_common())
    verb = "is" if count == 1 else "are"
    if count < slots:
        return f"{count} of {slots} {kind} slots {verb} used by {whose}"
    all_slots = "the only" if slots == 1 else f"all {slots}"
    return f"waiting: {all_slots} {kind} slot{'' if slots == 1 else 's'} {verb} used by {whose}"

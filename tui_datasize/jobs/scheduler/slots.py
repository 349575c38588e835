"""Job slots of this machine, one locked file each, shared by all projects of a user.

A worker inherits the lock of its slot, so that the slot stays taken for as long as the worker lives,
whatever becomes of the scheduler that took it. The lock alone decides; the text of the file says who took
it, for a person whose jobs wait. A directory that cannot be used is an `OSError`.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tui_datasize.jobs.queue.state import CPU
from tui_datasize.jobs.workers.slot_file import Place, lock, words_of_holder

DIRECTORY_VARIABLE = "DATASIZE_SLOTS_DIR"


def slot_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """Where the slots of this machine are kept: `DATASIZE_SLOTS_DIR` or below the user's state directory.

    It outlives logins, and nobody tidies it up. A home directory may be that of several machines.
    """
    if environment.get(DIRECTORY_VARIABLE):
        return Path(environment[DIRECTORY_VARIABLE]).absolute()
    import platformdirs

    return platformdirs.user_state_path("datasize-tui") / "slots" / _machine()


def _machine() -> str:
    """What tells this machine from others that share the home directory, as a file name."""
    # Not above: what only looks at the queue is counted in milliseconds.
    import uuid

    with suppress(OSError, ValueError):
        return uuid.UUID(Path("/etc/machine-id").read_text().strip()).hex
    return re.sub(r"[^\w-]", "_", os.uname().nodename) or "localhost"


def earlier_directories(environment: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """Where versions before this one kept the slots, which may still run; none where they are told where.

    They used the directory of the login session: of `XDG_RUNTIME_DIR`, or what stands for it.
    """
    if environment.get(DIRECTORY_VARIABLE):
        return ()
    user = os.getuid()
    usual = (f"/run/user/{user}", f"{tempfile.gettempdir()}/runtime-{user}")
    sessions = (environment.get("XDG_RUNTIME_DIR"), *usual)
    return tuple(dict.fromkeys(Path(session) / "datasize-tui" / "slots" for session in sessions if session))


@contextmanager
def open_private(directory: Path, *, make: bool = True) -> Iterator[int]:
    """Open a directory that belongs to this user, and that nobody else can write to; made if missing.

    Raises OSError: it is missing, or somebody else's; the message says what to do.
    """
    if make:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if found.st_uid != os.geteuid():
            what = f"belongs to user {found.st_uid}; set {DIRECTORY_VARIABLE} to a directory of your own"
            raise PermissionError(errno.EPERM, what, str(directory))
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            what = "others can write to it; run `chmod 700` on it"
            raise PermissionError(errno.EPERM, what, str(directory))
        yield descriptor
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot that was taken: it is free again when every copy of its descriptors is closed."""

    descriptors: tuple[int, ...]

    def close(self) -> None:
        for descriptor in self.descriptors:
            os.close(descriptor)


@dataclass(frozen=True, slots=True)
class SlotHolder:
    """A slot that is taken, and who took it as far as it is known."""

    device: str
    """GPU UUID or `cpu`."""
    project: str
    """Project directory; empty where the file does not tell."""
    pid: int
    """The scheduler that took it, which may have ended since; 0 where the file does not tell."""


def take_slots(
    directory: Path, device: str, capacity: int, wanted: int, project: Path, earlier: Sequence[Path] = ()
) -> list[Slot]:
    """Lock free slots of a device (GPU UUID or `cpu`) that has `capacity`, at most as many as `wanted`.

    The directory is made if missing. In `earlier` ones other schedulers may keep the same slots; those that
    cannot be used are left out, and none is made.
    """
    taken: list[Slot] = []
    if wanted < 1:
        return taken
    with open_private(directory) as descriptor, _those_there(earlier) as others:
        places = (Place(Path(os.path.realpath(directory)), descriptor), *others)
        try:
            names = iter([f"{device}.{index}" for index in range(capacity)])
            while some := list(islice(names, wanted - len(taken))):
                taken += _take(places, some, project)
        except BaseException:
            for slot in taken:
                slot.close()
            raise
    return taken


@contextmanager
def all_slots(device: str, capacity: int, project: Path) -> Iterator[tuple[int, ...]]:
    """The descriptors of all slots of a device while inside; none where somebody has one of them."""
    with ExitStack() as held:
        taken = take_slots(slot_directory(), device, capacity, capacity, project, earlier_directories())
        for slot in taken:
            held.callback(slot.close)
        is_all = len(taken) == capacity
        yield tuple(descriptor for slot in taken for descriptor in slot.descriptors) if is_all else ()


def _take(places: Sequence[Place], names: Sequence[str], project: Path) -> list[Slot]:
    """Take those of some slots that are free in every place."""
    words = {"project": str(project), "pid": os.getpid()}
    slots = {name: Slot(()) for name in names}
    try:
        for place in places:
            locked = lock(place, slots, words)
            for name in slots.keys() - locked.keys():
                slots.pop(name).close()
            slots |= {name: Slot((*slots[name].descriptors, one)) for name, one in locked.items()}
    except BaseException:
        for slot in slots.values():
            slot.close()
        raise
    return list(slots.values())


@contextmanager
def _those_there(directories: Sequence[Path]) -> Iterator[list[Place]]:
    """Open those of the directories that can be used."""
    with ExitStack() as opened:
        places = []
        for directory in directories:
            # A link in a place that all may write to leads where another user wants.
            with suppress(OSError):
                if os.path.realpath(directory) == str(directory):
                    descriptor = opened.enter_context(open_private(directory, make=False))
                    places.append(Place(directory, descriptor))
        yield places


def unusable(directory: Path, error: OSError) -> str:
    """Why the slots cannot be used, in one sentence."""
    # Names of files come without their directory.
    where = directory / error.filename if isinstance(error.filename, str) else directory
    return f"the slots of this machine cannot be used: {where}: {error.strerror or error}"


def read_holders(directory: Path) -> list[SlotHolder]:
    """Every slot of this machine that is taken now, with who took it."""
    holders: list[SlotHolder] = []
    with suppress(FileNotFoundError), open_private(directory, make=False) as place:
        for name in sorted(os.listdir(place)):  # noqa: PTH208 - of the open directory
            # It may go at any moment.
            with suppress(OSError):
                if "." in name and (holder := _holder(place, name)):
                    holders.append(holder)
    return holders


def _holder(place: int, name: str) -> SlotHolder | None:
    words = words_of_holder(name, place)
    if words is None:
        return None
    device = name.rpartition(".")[0]
    with suppress(ValueError, KeyError, TypeError):
        return SlotHolder(device, str(words["project"]), int(words["pid"]))
    return SlotHolder(device, "", 0)


def describe_holders(holders: Sequence[SlotHolder], project: Path, slots: int) -> str:
    """One line on the slots that other projects have, of all that there are; empty where they have none.

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

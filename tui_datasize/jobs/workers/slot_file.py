"""The file of one slot: who holds its lock has the slot, though the file be moved or deleted meanwhile.

The file says where it was when it was locked, and of which state its directory was. Whoever locks one that
nobody has written, or whose directory has changed since, looks for processes that have another one open
which was in the same place: those hold the slot. A process shows what it has open at any moment; what is on
its way through a socket it does not, so that whoever receives a slot looks whether the file still is where
it was (`is_lost`).
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from tui_datasize.files import parse_object
from tui_datasize.runlog.locks import is_held, is_named, lock_file

_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_MAKE = os.O_RDWR | os.O_CREAT | _FLAGS
_MOST_WORDS_BYTES = 8192
_FILE = "file"
"""The word that tells where a file was when it was locked."""
_DIRECTORY = "directory"
"""The word that tells the state of its directory then, and of those above: moving one changes that, and so
does whatever is made, moved or deleted in it."""
_DELETED = " (deleted)"
"""What follows the path of a file that has been deleted, see proc_pid_fd(5)."""


class Place(NamedTuple):
    """A directory of slots."""

    path: Path
    """Without links."""
    descriptor: int
    """It is open as this."""


def lock(place: Place, names: Iterable[str], words: Mapping[str, object]) -> dict[str, int]:
    """Lock the files of slots, which are made if they are missing, and have them tell a person these words.

    On a full disk they tell nothing. Descriptors that hold the locks, by name; those that somebody else has
    are left out. Processes are looked at once for all of them.
    """
    locked: dict[str, int] = {}
    ours: dict[str, int] = {}
    try:
        for name in names:
            descriptor = locked[name] = os.open(name, _MAKE, 0o600, dir_fd=place.descriptor)
            if not lock_file(descriptor):
                os.close(locked.pop(name))
        state = _state(place)
        unsure = {name for name, descriptor in locked.items() if _words(descriptor).get(_DIRECTORY) != state}
        # Left as they are, so that whoever locks them next looks, too.
        lost = _held_elsewhere(place, {name: locked[name] for name in unsure}) if unsure else set()
        for name in locked.keys() - lost:
            _write(locked[name], {**words, _FILE: str(place.path / name), _DIRECTORY: state})
        ours = {n: d for n, d in locked.items() if n not in lost and is_named(d, place.path / n)}
    finally:
        for name in locked.keys() - ours.keys():
            os.close(locked[name])
    return ours


def _state(place: Place) -> list[int]:
    found = [os.fstat(place.descriptor)]
    for above in place.path.parents:
        # One that is gone has taken the slot's file with it, which `is_named` sees.
        with suppress(OSError):
            found.append(above.stat())
    # What all may write to changes all the time, and is moved by nobody.
    kept = [one for one in found if not one.st_mode & stat.S_ISVTX]
    return [number for one in kept for number in (one.st_ino, one.st_ctime_ns)]


def _write(descriptor: int, words: Mapping[str, object]) -> None:
    """Have a locked file tell who has it and where it is."""
    if _words(descriptor) != words:
        data = json.dumps(words).encode()
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, data, 0)


def is_lost(descriptor: int) -> bool:
    """Whether the file of a slot is no longer where it was locked, so that others may take the slot."""
    link = Path(f"/proc/self/fd/{descriptor}").readlink()
    return not is_named(descriptor, _place_of(descriptor, str(link)))


def words_of_holder(name: str, place: int | None = None) -> Mapping[str, Any] | None:
    """What the file of a slot that is taken tells; None where it is free.

    `place` is the descriptor of its directory.
    """
    descriptor = os.open(name, os.O_RDONLY | _FLAGS, dir_fd=place)
    try:
        return _words(descriptor) if is_held(descriptor) else None
    finally:
        os.close(descriptor)


def _words(descriptor: int) -> Mapping[str, Any]:
    with suppress(ValueError, TypeError):
        return parse_object(os.pread(descriptor, _MOST_WORDS_BYTES, 0))
    return {}


def _place_of(descriptor: int, link: str) -> Path:
    """Where an open file was when it was locked, or, where it does not tell, where it was seen last."""
    return Path(str(_words(descriptor).get(_FILE) or link.removesuffix(_DELETED)))


def _held_elsewhere(place: Place, own: Mapping[str, int]) -> set[str]:
    """Slots that processes have by locked files that were in a place before those that are there now."""
    directory, held = str(place.path), set()
    for opened, link in _open_files():
        where, _, called = link.removesuffix(_DELETED).rpartition("/")
        # Any file may be opened, but most are none of these.
        if called in own or where == directory:
            # A worker that begins closes what it does not need: what is gone says nothing of the rest.
            with suppress(OSError):
                held.add(_slot_of(opened, link, place, own))
    return held


def _open_files() -> Iterator[tuple[str, str]]:
    """Every file that a process of this user has open: a path that leads to it, and the one it has."""
    seen: set[str] = set()
    # Twice, since a process that is yet to be looked at may hand on a file to a child that it forks.
    for _ in range(2):
        newcomers = {name for name in _list("/proc") if name.isdecimal()} - seen
        for process in newcomers:
            for number in _list(f"/proc/{process}/fd"):
                opened = f"/proc/{process}/fd/{number}"
                with suppress(OSError):
                    yield opened, os.readlink(opened)  # noqa: PTH115 - of thousands
        seen |= newcomers


def _list(directory: str) -> Sequence[str]:
    """Names in a directory of processes; these may end meanwhile, or be others' and have no slots here."""
    with suppress(OSError):
        return os.listdir(directory)  # noqa: PTH208 - of thousands
    return ()


def _slot_of(opened: str, link: str, place: Place, own: Mapping[str, int]) -> str:
    """The slot of a place that some process has by another file than these, locked; empty for none."""
    descriptor = os.open(opened, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        file = _place_of(descriptor, link)
        mine = own.get(file.name) if file.parent == place.path else None
        is_another = mine is not None and not os.path.samestat(os.fstat(descriptor), os.fstat(mine))
        return file.name if is_another and is_held(descriptor) else ""
    finally:
        os.close(descriptor)

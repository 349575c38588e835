"""Whose turn it is when several projects wait for the slots of one machine.

A scheduler that finds slots taken by others says so in a file of its own beside them, which it locks: the
lock tells that it still waits, the text how much it has. Whoever has more, or was served later, leaves the
next free slot to it for a moment. Nobody is ever kept from a slot for longer: a scheduler that hangs, or
cannot use the slot after all, costs the others that moment and no more.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from tui_datasize.files import parse, read_bounded
from tui_datasize.jobs.scheduler.slots import open_private
from tui_datasize.runlog.locks import is_locked, is_named, lock_file

_YIELD_S = 2.0
"""How long a free slot is left to others; they look for one several times a second."""
_FRESH_S = 5.0
"""A scheduler that has not renewed its words for so long is stopped or hangs."""


class Claimant(NamedTuple):
    """What a scheduler has had; the smaller goes first."""

    held: int
    """Slots that its jobs have now."""
    served_s: float
    """When it was last served, on the monotonic clock, which all processes share; 0 for never."""


class WaitingProjects:
    """One scheduler's place among those that wait; its project directory tells it from the others."""

    def __init__(self, directory: Path, project: Path) -> None:
        self._directory = directory / "waiting"
        self._own = self._directory / sha256(os.fsencode(project)).hexdigest()[:16]
        self._descriptor: int | None = None
        self._served_s = 0.0
        self._yields_since_s: float | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether the others have been told that this one waits."""
        return self._descriptor is not None

    def wait(self, held: int) -> None:
        """Tell the others that this scheduler waits for a slot."""
        if self._descriptor is not None and not is_named(self._descriptor, self._own):
            # Its directory was removed: nobody would see that it waits.
            self.leave()
        if self._descriptor is None:
            with open_private(self._directory) as place:
                flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
                self._descriptor = os.open(self._own.name, flags, 0o600, dir_fd=place)
        # Whoever just looks has it for an instant; the next round will do then.
        lock_file(self._descriptor)
        words = json.dumps([held, self._served_s, time.monotonic()]).encode()
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, words, 0)

    def leave(self) -> None:
        """Tell the others that this scheduler waits for nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def note_served(self) -> None:
        self._served_s = time.monotonic()
        self._yields_since_s = None

    def give_way(self, held: int, free: int) -> bool:
        """Leave the free slots to another scheduler for a moment where it is its turn; whether they are left.

        With none free, the moment for which the next one is left is yet to begin.
        """
        own = Claimant(held, self._served_s)
        if not free or not any(other < own for other in self._others()):
            self._yields_since_s = None
            return False
        if self._yields_since_s is None:
            self._yields_since_s = time.monotonic()
        return time.monotonic() < self._yields_since_s + _YIELD_S

    def _others(self) -> Iterator[Claimant]:
        with suppress(FileNotFoundError):
            for file in sorted(self._directory.iterdir()):
                if file != self._own and (claimant := _read(file)):
                    yield claimant


def _read(file: Path) -> Claimant | None:
    """What a waiting scheduler says of itself; None where nobody stands behind the words."""
    with suppress(OSError, ValueError, TypeError):
        held, served_s, renewed_s = parse(read_bounded(file))
        if time.monotonic() < renewed_s + _FRESH_S and is_locked(file):
            return Claimant(held, served_s)
    return None

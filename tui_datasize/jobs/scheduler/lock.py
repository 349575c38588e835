"""The right to schedule a project: a locked file, in which its holder says how it goes about it.

The lock alone decides who schedules. What stands in the file is for clients that want to show it, and
means something only while the lock is held.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from tui_datasize.errors import ConfigError
from tui_datasize.experiments.device_settings import DeviceOptions, DeviceSettings, read_options
from tui_datasize.experiments.toml import TomlTable
from tui_datasize.files import read_object
from tui_datasize.jobs.queue.database import storage_errors
from tui_datasize.runlog.locks import is_locked, is_named, lock_file, open_lock

_ROOM_BYTES = 4096
_LOCK_PATIENCE_S = 0.5
"""A client that looks whether a scheduler runs holds the lock for a moment."""


@dataclass(frozen=True, slots=True)
class SchedulerNotes:
    """What a scheduler says of itself."""

    pid: int
    options: DeviceOptions
    """What it was started with, which wins over the project's file."""
    devices: DeviceSettings
    """What holds, the file included."""
    fault: str = ""
    """Why it cannot use the queue's database, in one sentence; empty where it can."""


@dataclass(eq=False)
class SchedulerLock:
    """The right to schedule a project, held by `flock` until the process ends."""

    _path: Path
    _descriptor: int | None = field(default=None, init=False)
    _words: dict[str, object] = field(default_factory=dict, init=False)

    def take(self) -> bool:
        """Take the right; False where another scheduler has it.

        Raises StorageError: the runs directory cannot be written.
        """
        with storage_errors(self._path):
            descriptor = open_lock(self._path, self._path.parent)
        if not lock_file(descriptor, _LOCK_PATIENCE_S):
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        # What the holder before has said of itself does not hold any more.
        self._words = {}
        self._write()
        return True

    @property
    def is_taken(self) -> bool:
        return self._descriptor is not None

    def is_in_place(self) -> bool:
        """Whether the right is that of the file that has the name now: of another, another takes it.

        Raises StorageError: its disk does not tell.
        """
        with storage_errors(self._path):
            return self._descriptor is not None and is_named(self._descriptor, self._path)

    def note(self, options: DeviceOptions, devices: DeviceSettings) -> None:
        """Say how the holder goes about it, as `SchedulerNotes` do; nothing depends on it."""
        holding = DeviceOptions.of(devices).said
        self._words |= {"pid": os.getpid(), "options": options.said, "devices": holding}
        self._write()

    def tell_fault(self, sentence: str) -> None:
        """Say why the database cannot be used, where that itself cannot say it; empty where it can be."""
        self._words["fault"] = sentence
        self._write()

    def _write(self) -> None:
        # A full disk keeps nobody from scheduling.
        with suppress(OSError):
            if self._descriptor is not None:
                words = json.dumps(self._words).encode()
                # In one go, over all that stands there: somebody may be reading it. Room for more is taken
                # at first, while there is some.
                size = max(_ROOM_BYTES, os.fstat(self._descriptor).st_size)
                os.pwrite(self._descriptor, words.ljust(size), 0)

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def read_notes(path: Path) -> SchedulerNotes | None:
    """What the scheduler that runs says of itself in the locked file; None where none does."""
    # One of another version may write something else.
    with suppress(OSError, ValueError, KeyError, TypeError, ConfigError):
        if is_locked(path):
            words = read_object(path)
            options, devices = (read_options(TomlTable(words[part], "")) for part in ("options", "devices"))
            settings, fault = replace(DeviceSettings(), **devices.said), str(words.get("fault", ""))
            return SchedulerNotes(int(words["pid"]), options, settings, fault)
    return None

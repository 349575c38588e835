"""Faults of the machine: power cuts, exhausted limits, locks in other hands, slots that cannot be used."""

from __future__ import annotations

import fcntl
import os
import random
import resource
import signal
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path

from tests.disks import SmallDisk
from tests.faults.chaos import disk
from tests.faults.chaos.faults import TICK_S, Faults
from tests.faults.chaos.plan import Report
from tests.faults.chaos.processes import Kind, Process, find_processes
from tui_datasize.jobs.scheduler.slots import DIRECTORY_VARIABLE
from tui_datasize.runlog.paths import ProjectPaths

ENVIRONMENTS: Sequence[dict[str, str]] = (
    {},
    {"HOME": "/nonexistent", "XDG_RUNTIME_DIR": "/nonexistent", "TMPDIR": "/nonexistent"},
    {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"},
    {"TZ": "Pacific/Kiritimati", "PYTHONHASHSEED": "1", "COLUMNS": "1"},
)
"""What a scheduler may find around it."""
_LASTS_S = 0.8
"""The longest that any of it lasts."""
_LIMITS = (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE)


class Machine:
    """Whoever troubles the machine under the queues of some projects.

    Args:
        faults: Knows which processes there are, and which of them are stopped.
        generator: Decides what happens, and for how long.
        report: Where it is counted.
        projects: The projects on this machine.
        ledger: What is on the disk.
        disk: The directory of the disk that may be filled, if there is one.
    """

    def __init__(
        self,
        faults: Faults,
        generator: random.Random,
        report: Report,
        projects: Sequence[ProjectPaths],
        ledger: Path,
        disk: Path | None = None,
    ) -> None:
        self._faults = faults
        self._random = generator
        self._report = report
        self._projects = projects
        self._ledger = ledger
        self._disk = disk
        self._has_disk_trouble = False
        self._ends: list[tuple[float, Callable[[], object]]] = []
        """What ends a fault, and when, on the monotonic clock."""

    def look(self) -> None:
        """End what has lasted long enough."""
        now_s = time.monotonic()
        due = [end for at_s, end in self._ends if at_s <= now_s]
        self._ends = [(at_s, end) for at_s, end in self._ends if at_s > now_s]
        for end in due:
            end()

    def end(self) -> None:
        """End everything, and lift the limits that processes may have inherited."""
        for _, end in self._ends:
            end()
        self._ends.clear()
        for pid in find_processes():
            _lift(pid)

    def cut_power(self) -> bool:
        """End all processes at once, and lose what nobody has synced."""
        while processes := find_processes():
            for number in (signal.SIGSTOP, signal.SIGKILL):
                for pid in processes:
                    with suppress(ProcessLookupError):
                        os.kill(pid, number)
            time.sleep(TICK_S)
        self._faults.forget()
        self.end()
        present = [project.runs for project in self._projects if project.runs.exists()]
        for runs in present:
            disk.cut(runs, self._ledger)
        disk.begin_anew(present, self._ledger)
        self._report.cuts += 1
        return True

    def limit(self) -> bool:
        """Let a scheduler or a preloader open no more files, or write none, for a moment."""
        process = self._faults.choose(self._random.choice((Kind.SCHEDULER, Kind.PRELOADER)))
        if process is None or not self._has_begun(process):
            return False
        kind = self._random.choice(_LIMITS)
        with suppress(OSError):
            most = len(os.listdir(f"/proc/{process.pid}/fd")) if kind == resource.RLIMIT_NOFILE else 0  # noqa: PTH208
            resource.prlimit(process.pid, kind, (most, resource.prlimit(process.pid, kind)[1]))
            self._later(lambda: [_lift(pid) for pid in find_processes()])
            self._report.troubles["limits"] += 1
            return True
        return False

    def _has_begun(self, process: Process) -> bool:
        """Whether a scheduler has its queue; before that Python tells what it cannot import, at length."""
        locks = {str(project.scheduler_lock) for project in self._projects}
        with suppress(OSError):
            return process.kind is not Kind.SCHEDULER or any(
                str(file.readlink()) in locks for file in Path(f"/proc/{process.pid}/fd").iterdir()
            )
        return False

    def fill_disk(self) -> bool:
        """Let the disk of the projects be full for a moment."""
        if self._disk is None or self._has_disk_trouble:
            return False
        ballast = SmallDisk().fill(self._disk)

        def free() -> None:
            ballast.unlink(missing_ok=True)
            self._has_disk_trouble = False

        self._has_disk_trouble = True
        self._later(free)
        self._report.troubles["full disks"] += 1
        return True

    def freeze_disk(self) -> bool:
        """Let nothing on the disk of the projects be opened for writing for a moment."""
        if self._disk is None or self._has_disk_trouble:
            return False
        mounts, directory = SmallDisk(), self._disk
        mounts.freeze(directory)

        def thaw() -> None:
            mounts.thaw(directory)
            self._has_disk_trouble = False

        self._has_disk_trouble = True
        self._later(thaw)
        self._report.troubles["read-only disks"] += 1
        return True

    def seize(self) -> bool:
        """Have somebody else lock the database, a run or a slot for a moment."""
        project = self._random.choice(self._projects)
        choices = (project.queue, *project.runs.glob("*/*/lock"), *_slot_directory().glob("*.*"))
        file = self._random.choice(sorted(choices))
        hold = ExitStack()
        with suppress(OSError, sqlite3.Error):
            if file == project.queue:
                connection = hold.enter_context(
                    closing(sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True, timeout=0))
                )
                connection.execute("BEGIN IMMEDIATE")
            else:
                descriptor = os.open(file, os.O_RDONLY)
                hold.callback(os.close, descriptor)
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            self._later(hold.close)
            self._report.troubles["locks"] += 1
            return True
        hold.close()
        return False

    def hide_slots(self) -> bool:
        """Let the directory of the slots be unusable for a moment."""
        slots = _slot_directory()
        if not slots.is_dir():
            return False
        hidden = slots.with_name(f"{slots.name}.hidden{self._report.troubles['slots']}")
        slots.rename(hidden)
        # Somebody may have made another one at once; then this one has been moved away.
        with suppress(FileExistsError):
            slots.touch(exist_ok=False)

        def show() -> None:
            with suppress(OSError):
                slots.unlink()
                hidden.rename(slots)

        self._later(show)
        self._report.troubles["slots"] += 1
        return True

    def move_slots(self) -> bool:
        """Move the directory of the slots away, under the workers that have some."""
        slots = _slot_directory()
        if not slots.is_dir():
            return False
        slots.rename(slots.with_name(f"{slots.name}.moved{self._report.troubles['moved slots']}"))
        self._report.troubles["moved slots"] += 1
        return True

    def remove_slot(self) -> bool:
        """Remove the file of a slot, as whoever tidies up does, whether a worker has it or not."""
        files = sorted(_slot_directory().glob("*.*")) if _slot_directory().is_dir() else []
        if files:
            self._random.choice(files).unlink()
            self._report.troubles["removed slots"] += 1
        return bool(files)

    def _later(self, end: Callable[[], object]) -> None:
        self._ends.append((time.monotonic() + self._random.uniform(0.05, _LASTS_S), end))


def _slot_directory() -> Path:
    return Path(os.environ[DIRECTORY_VARIABLE])


def _lift(pid: int) -> None:
    with suppress(OSError):
        for kind in _LIMITS:
            most = resource.prlimit(pid, kind)[1]
            resource.prlimit(pid, kind, (most, most))

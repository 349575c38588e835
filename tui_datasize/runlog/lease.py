"""The claim of a worker on a cluster, where the lock of a file may not be seen by other hosts.

`lease.N` is made by exclusive creation for attempt N and renewed for as long as its worker has the run.
Nobody takes over the lease of another host: whoever writes the end of attempt N frees the run, which is right
only once the lease `is_stale` and the cluster does not know the job any more. Standard library only.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tui_datasize.files import open_regular, read_object
from tui_datasize.runlog.atomic import sync_directory
from tui_datasize.runlog.identity import ProcessIdentity
from tui_datasize.runlog.paths import RunPaths

FIRST_VARIABLE = "DATASIZE_FIRST_ATTEMPT"
"""Environment variable of a worker on a cluster: the first attempt since its run was handed over."""
RENEW_S = 10.0
GIVE_UP_S = 60.0
"""A worker that could not renew its lease for as long ends at once, and writes nothing more."""
STALE_S = 180.0
"""Age by the clock of the file system from which a lease may be of a worker that has ended unseen: it has
given up two minutes before."""
EXIT_LOST = 75
"""Exit status of a worker that lost its lease."""
_MOST_BYTES = 2**16


@dataclass(frozen=True, slots=True)
class Holder:
    """Who made a lease."""

    attempt: int
    host: str
    job: str
    """Slurm's name of it, such as `4711_3`."""
    pid: int
    start_ticks: int
    boot_id: str

    @classmethod
    def current(cls, attempt: int) -> Holder:
        me = ProcessIdentity.current()
        return cls(attempt, os.uname().nodename, job_name(), me.pid, me.start_ticks, me.boot_id)

    @property
    def process(self) -> ProcessIdentity:
        return ProcessIdentity(self.pid, self.start_ticks, self.boot_id)


def is_wanted() -> bool:
    """Whether this process is a worker of a cluster."""
    return bool(os.environ.get(FIRST_VARIABLE))


def job_name() -> str:
    """Slurm's name of the job that this process is of; empty outside of Slurm."""
    array, task = (os.environ.get(f"SLURM_ARRAY_{part}_ID", "") for part in ("JOB", "TASK"))
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID", "")


def newest(paths: RunPaths) -> int:
    """The highest attempt for which a lease was made; 0 where there is none, or no such directory."""
    try:
        names = os.listdir(paths.directory)  # noqa: PTH208 - asked of each run that is looked at
    except (FileNotFoundError, NotADirectoryError):
        return 0
    numbers = (name.removeprefix("lease.") for name in names if name.startswith("lease."))
    return max((int(number) for number in numbers if number.isdecimal() and len(number) < 10), default=0)


def read_holder(paths: RunPaths, attempt: int) -> Holder | None:
    """Who made the lease of an attempt; None where it is gone, or torn."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        data = read_object(paths.lease(attempt), _MOST_BYTES)
        return Holder(**{name: data[name] for name in Holder.__slots__})
    return None


def is_dead(holder: Holder | None) -> bool:
    """Whether a lease is surely of a process that has ended: one of this very host since it was started."""
    return (
        holder is not None and holder.boot_id == ProcessIdentity.current().boot_id
    ) and not holder.process.is_alive()


def is_stale(paths: RunPaths, attempt: int) -> bool:
    """Whether the worker of a lease has ended: it is dead, or its lease is old by the file system's clock.

    Looking makes a file in the run's directory, which also has other hosts' files seen as they are now.

    Raises OSError: the directory cannot be written: nothing is known.
    """
    now_s = file_system_time(paths.directory)
    try:
        # Opened, so that a client of a network file system asks for its time anew.
        with open_regular(paths.lease(attempt)) as file:
            age_s = now_s - os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:
        return True
    holder = read_holder(paths, attempt)
    if holder is not None and holder.boot_id == ProcessIdentity.current().boot_id:
        return not holder.process.is_alive()
    return age_s > STALE_S


def file_system_time(directory: Path) -> float:
    """The time of the clock by which files of a directory are dated, in seconds."""
    file = directory / f".clock.{os.uname().nodename}.{threading.get_native_id()}"
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        # Without times given, a server of files takes its own.
        os.utime(descriptor)
        os.fsync(descriptor)
        return os.fstat(descriptor).st_mtime
    finally:
        os.close(descriptor)
        file.unlink(missing_ok=True)


@dataclass(eq=False)
class Lease:
    """The lease of one attempt, renewed by a thread until it is given back or lost."""

    paths: RunPaths
    attempt: int
    give_up: Callable[[int], object] = os._exit
    renew_s: float = RENEW_S
    give_up_s: float = GIVE_UP_S
    _over: threading.Event = field(default_factory=threading.Event, init=False)
    _renewed_s: float = field(default=0.0, init=False)

    @classmethod
    def take(cls, paths: RunPaths, attempt: int) -> Lease | None:
        """Make the lease of an attempt; None where somebody else did, or made that of a later one."""
        file = paths.lease(attempt)
        try:
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return None
        with os.fdopen(descriptor, "w") as made:
            json.dump(asdict(Holder.current(attempt)), made)
            made.flush()
            os.fsync(made.fileno())
        sync_directory(paths.directory)
        if newest(paths) > attempt:
            file.unlink(missing_ok=True)
            return None
        for number in range(max(1, attempt - 3), attempt):
            paths.lease(number).unlink(missing_ok=True)
        return cls(paths, attempt)

    def keep(self) -> None:
        """Renew it from now on; where that fails for too long the process ends, wherever it stands."""
        self._renewed_s = _clock_s()
        for work in (self._renew, self._watch):
            threading.Thread(target=work, daemon=True, name="lease").start()

    def holds(self) -> bool:
        """Whether it was renewed lately, and no later attempt has begun."""
        is_kept = _clock_s() < self._renewed_s + self.give_up_s
        return is_kept and newest(self.paths) == self.attempt

    def give_back(self) -> None:
        """Free it: the end of its attempt is written."""
        self._over.set()
        with suppress(OSError):
            self.paths.lease(self.attempt).unlink(missing_ok=True)

    def _renew(self) -> None:
        while not self._over.wait(self.renew_s):
            # A file system that does not answer keeps this thread alone: the other one looks at the clock.
            with suppress(OSError):
                os.utime(self.paths.lease(self.attempt))
                if newest(self.paths) != self.attempt and not self._over.is_set():
                    self.give_up(EXIT_LOST)
                self._renewed_s = _clock_s()

    def _watch(self) -> None:
        while not self._over.wait(min(1.0, self.give_up_s / 4)):
            if _clock_s() > self._renewed_s + self.give_up_s and not self._over.is_set():
                self.give_up(EXIT_LOST)


def _clock_s() -> float:
    """Seconds that go on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)

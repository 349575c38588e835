"""The claim of a worker on a cluster, where the lock of a file may not be seen by other hosts.

`lease.N` is made by exclusive creation for attempt N and renewed for as long as its worker has the run.
Nobody takes over the lease of another host: whoever writes the end of attempt N frees the run, which is right
only once the lease `is_stale` and the cluster does not know the job any more. Standard library only.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tui_datasize.files import open_regular, read_object
from tui_datasize.runlog.atomic import sync_directory
from tui_datasize.runlog.identity import ProcessIdentity
from tui_datasize.runlog.locks import make_private, private_mode
from tui_datasize.runlog.paths import RunPaths

FIRST_VARIABLE = "DATASIZE_FIRST_ATTEMPT"
"""Environment variable of a worker on a cluster: the first attempt since its run was handed over."""
RENEW_S = 10.0
GIVE_UP_S = 60.0
"""A worker that could not renew its lease for as long is ended by the kernel, and writes nothing more."""
STALE_S = 180.0
"""Age by the clock of the file system from which a lease may be of a worker that has ended unseen: it has
given up two minutes before."""
EXIT_LOST = 75
"""Exit status of a worker whose lease is somebody else's, or gone."""
_MOST_BYTES = 2**16


@dataclass(frozen=True, slots=True)
class Holder:
    """Who made a lease."""

    attempt: int
    host: str
    job: str
    """Slurm's name of it, such as `4711_3`; empty of a scheduler that changes the directory."""
    pid: int
    start_ticks: int
    boot_id: str
    namespace: int
    """In which the process has its number: containers of one host have their own."""
    token: str
    """Drawn for this lease: all else may be the same in a directory that was begun afresh."""

    @classmethod
    def current(cls, attempt: int) -> Holder:
        me, host = ProcessIdentity.current(), os.uname().nodename
        own = (me.pid, me.start_ticks, me.boot_id, _namespace(), secrets.token_hex(16))
        return cls(attempt, host, job_name(), *own)

    def is_dead(self) -> bool:
        """Whether the process has surely ended: it was one of this very host since that was started."""
        process = ProcessIdentity(self.pid, self.start_ticks, self.boot_id)
        is_seen = self.boot_id == ProcessIdentity.current().boot_id and self.namespace == _namespace()
        return is_seen and not process.is_alive()


def is_wanted() -> bool:
    """Whether this process is a worker of a cluster."""
    return bool(os.environ.get(FIRST_VARIABLE))


def job_name() -> str:
    """Slurm's name of the job that this process is of; empty outside of Slurm."""
    array, task = (os.environ.get(f"SLURM_ARRAY_{part}_ID", "") for part in ("JOB", "TASK"))
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID", "")


def attempts(paths: RunPaths) -> Iterator[int]:
    """The attempts for which there are leases; none where there is no such directory."""
    try:
        names = os.listdir(paths.directory)  # noqa: PTH208 - asked of each run that is looked at
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        number = name.removeprefix("lease.")
        if number != name and number.isdecimal() and len(number) < 10:
            yield int(number)


def newest(paths: RunPaths) -> int:
    """The highest attempt for which there is a lease; 0 where there is none."""
    return max(attempts(paths), default=0)


def read_holder(paths: RunPaths, attempt: int) -> Holder | None:
    """Who made the lease of an attempt; None where it is gone, torn, or cannot be read."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        data = read_object(paths.lease(attempt), _MOST_BYTES)
        return Holder(**{name: data[name] for name in Holder.__slots__})
    return None


def is_stale(paths: RunPaths, attempt: int) -> bool:
    """Whether the worker of a lease has ended: it is dead, or its lease is old by the file system's clock.

    For whoever may end the attempt: it makes a file in the run's directory, which also has other hosts' files
    seen as they are now.

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
    return age_s > STALE_S or (holder is not None and holder.is_dead())


def file_system_time(directory: Path) -> float:
    """The time of the clock by which files of a directory are dated, in seconds: of a file made there."""
    file = directory / f".clock.{os.uname().nodename}.{threading.get_native_id()}"
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        _date(descriptor)
        os.fsync(descriptor)
        return os.fstat(descriptor).st_mtime
    finally:
        os.close(descriptor)
        file.unlink(missing_ok=True)


def boot_clock_s() -> float:
    """Seconds that go on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def end_within(seconds: float) -> None:
    """Have the kernel end this process in so many seconds, unless it is asked again; 0 takes it back.

    A process that is stopped then, or waits for a disk, ends before it does anything else.
    """
    signal.setitimer(signal.ITIMER_REAL, seconds)


@dataclass(eq=False)
class Lease:
    """The lease of one attempt, renewed by a thread once it is kept, until it is given back or lost."""

    paths: RunPaths
    holder: Holder
    renewed_s: float
    """By `clock`, before it was asked for."""
    clock: Callable[[], float] = boot_clock_s
    end_within: Callable[[float], object] = end_within
    give_up: Callable[[int], object] = os._exit
    _over: threading.Event = field(default_factory=threading.Event, init=False)
    _turn: threading.Lock = field(default_factory=threading.Lock, init=False)
    _is_kept: bool = field(default=False, init=False)

    @classmethod
    def take(cls, paths: RunPaths, attempt: int) -> Lease | None:
        """Make the lease of an attempt; None where somebody else did."""
        file, renewed_s, holder = paths.lease(attempt), boot_clock_s(), Holder.current(attempt)
        try:
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return None
        with os.fdopen(descriptor, "w") as made:
            make_private(descriptor, private_mode(paths.directory.parent.parent))
            json.dump(asdict(holder), made)
            made.flush()
            os.fsync(descriptor)
        sync_directory(paths.directory)
        return cls(paths, holder, renewed_s)

    def keep(self) -> None:
        """Renew it from now on; where that fails for too long the process ends, wherever it stands."""
        if threading.current_thread() is threading.main_thread():
            # Whoever started the process may have it ignored.
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
        self._is_kept = True
        self._live_on_from(self.renewed_s)
        threading.Thread(target=self._renew, daemon=True, name="lease").start()

    def renew(self) -> None:
        """Renew it once; whose it is not any more ends.

        Raises OSError: it could not be renewed now.
        """
        # From before it is asked for: by when it was done, only the file system knows.
        asked_s = self.clock()
        if not self.holds():
            self._lose()
            return
        _date(self.paths.lease(self.holder.attempt))
        self._live_on_from(asked_s)

    def holds(self) -> bool:
        """Whether it is still there, was renewed lately, and is this one and no other of the same attempt.

        Raises OSError: it cannot be read now.
        """
        file = self.paths.lease(self.holder.attempt)
        try:
            told = read_object(file, _MOST_BYTES)
        except (FileNotFoundError, ValueError):
            return False
        return told == asdict(self.holder) and self.clock() < self.renewed_s + GIVE_UP_S

    def give_back(self) -> None:
        """Free it: the end of its attempt is written, or will not be by this process."""
        with self._turn:
            self._over.set()
            if self._is_kept:
                self.end_within(0.0)
        with suppress(OSError):
            if read_holder(self.paths, self.holder.attempt) == self.holder:
                self.paths.lease(self.holder.attempt).unlink(missing_ok=True)

    def _live_on_from(self, renewed_s: float) -> None:
        self.renewed_s = renewed_s
        left_s = renewed_s + GIVE_UP_S - self.clock()
        if left_s <= 0:
            self._lose()
        else:
            with self._turn:
                if not self._over.is_set():
                    self.end_within(left_s)

    def _lose(self) -> None:
        if not self._over.is_set():
            self.give_up(EXIT_LOST)

    def _renew(self) -> None:
        while not self._over.wait(RENEW_S):
            # A file system that does not answer keeps this thread alone; the kernel looks at the clock.
            with suppress(OSError):
                self.renew()


def _date(file: int | Path) -> None:
    # Without times given, a server of files takes its own.
    os.utime(file)


def _namespace() -> int:
    return os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116 - of a link that leads nowhere

"""The claim on a run directory: at most one worker executes a run, and no end is reported falsely.

A worker holds `flock(lock)` from its claim to the end of its process, or, where the process goes on with
other runs of its pack, to the end of this run; `claim.json` says who it is and `exit.json` how its attempt
ended. Whoever looks decides from these three alone. What cannot be read or written is an `OSError`. Standard
library only: a worker claims before it imports anything heavy.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from tui_datasize.files import known_object, read_object
from tui_datasize.runlog import lease as leases
from tui_datasize.runlog.atomic import sync_directory, write_json
from tui_datasize.runlog.identity import ProcessIdentity
from tui_datasize.runlog.locks import is_locked, is_named, lock_file, open_lock
from tui_datasize.runlog.paths import RunPaths

TAG_VARIABLE = "DATASIZE_TAG"
"""Environment variable that marks a worker and all its descendants."""

ATTEMPT_VARIABLE = "DATASIZE_ATTEMPT"
"""Environment variable that tells a worker which attempt it is."""

LEFT = "asked to leave"
"""The reason of a run alone in its worker that left in order."""

LEFT_WITH_PACK = "the worker that it shared with other runs was asked to leave"
"""The reason of a run that was interrupted in a pack of two or more: another run of it may have been the
cause. The queue knows whether it was, and counts no attempt then."""

_PATIENCE_S = 2.0
"""How long a claim waits for the lock: someone may be probing it, a worker that ended may be leaving."""
_RETRY_INTERVAL_S = 0.01
_MOST_BYTES = 2**20
"""Of a claim or an end, whose reason is a sentence."""
_MOST_ATTEMPTS = 10**9
_MOST_PROCESSES = 2**22
"""The kernel's own limit of process numbers, see proc_sys_kernel(5)."""
_MOST_TICKS = 2**62
_LOCKED = "another worker executes this run, or its directory is gone"
_NO_LOCKS = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS})
"""What locking a file ends with where the file system knows no locks."""


class RunOutcome(StrEnum):
    """How an attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    """Asked to stop, or its device cannot be used; the checkpoint lets a later attempt continue."""


class Lack(StrEnum):
    """What an attempt ended for the want of."""

    NOTHING = ""
    DEVICE_MEMORY = "device memory"
    """The queue answers with one attempt alone on the GPU."""
    DISK = "disk"
    HOST = "host"
    """Memory, processes or open files of the machine."""
    LIBRARIES = "libraries"
    """What a worker imports could not be imported."""


@dataclass(frozen=True, slots=True)
class ExitRecord:
    """`exit.json`: the end of one attempt."""

    attempt: int
    outcome: RunOutcome
    reason: str
    """What a person can act on; empty after success."""
    finished_at: str
    """UTC, ISO 8601."""
    device_fault: str = ""
    """Why the device could not be used, where that ended the attempt: no fault of the run."""
    lack: Lack = Lack.NOTHING


@dataclass(frozen=True, slots=True)
class ClaimRecord:
    """`claim.json`: who executes, or last executed, the run."""

    attempt: int
    pid: int
    start_ticks: int
    boot_id: str
    tag: str
    """Value of `DATASIZE_TAG` in the environment of the worker and its descendants; may be empty."""
    started_at: str
    """UTC, ISO 8601."""
    lock_device: int = 0
    lock_inode: int = 0
    """Device and number of the locked file: a copy of the directory has another; 0 where it is not told."""
    host: str = ""
    job: str = ""
    """Where it is executed, and the name of the job there; empty of a worker that no cluster started."""

    @property
    def process(self) -> ProcessIdentity:
        return ProcessIdentity(self.pid, self.start_ticks, self.boot_id)

    def is_of(self, lock: Path) -> bool:
        """Whether the claim was made with this very file, as far as it tells."""
        if not self.lock_inode:
            return True
        try:
            found = lock.stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        return (self.lock_device, self.lock_inode) == (found.st_dev, found.st_ino)


@dataclass(frozen=True, slots=True)
class Observation:
    """What a run directory tells about its execution at one moment."""

    exit: ExitRecord | None
    claim: ClaimRecord | None
    lock_held: bool
    claimant_alive: bool

    @property
    def newest_attempt(self) -> int:
        """The highest attempt that left a trace; 0 where none did."""
        return max(self.exit.attempt if self.exit else 0, self.claim.attempt if self.claim else 0)

    @property
    def final_exit(self) -> ExitRecord | None:
        """The end of the newest attempt; None while it runs, vanished, or none has begun."""
        return self.exit if self.exit and self.exit.attempt == self.newest_attempt else None

    @property
    def is_running(self) -> bool:
        """Whether a worker executes the run: its claimant lives and has written no end."""
        # `lock_held` adds nothing: the claimant has the lock, though maybe only since it was probed.
        return self.claimant_alive and self.final_exit is None


class ClaimRefused(Exception):  # noqa: N818 - an orderly answer, not an error
    """The run is not this worker's to execute, for this reason; it should leave quietly, exit status 0."""


@dataclass(eq=False)
class Claim:
    """The right to execute one attempt of a run, held until it is released or the process ends."""

    paths: RunPaths
    attempt: int
    # Never unlocked: a child forked from this worker would free the run for others.
    _lock: int | None
    _lease: leases.Lease | None = None
    _finished: bool = field(default=False, init=False)

    def finish(
        self, outcome: RunOutcome, reason: str = "", device_fault: str = "", lack: Lack = Lack.NOTHING
    ) -> None:
        """Write `exit.json`; the first call decides, later ones change nothing.

        Raises OSError: the disk is full or the directory gone, or another attempt has the run by now; the
            attempt will count as interrupted.
        """
        if not self._finished:
            if self._lease and not self._lease.holds():
                raise OSError(errno.ESTALE, "another attempt may have the run", str(self.paths.exit))
            end = ExitRecord(self.attempt, outcome, reason, utc_now(), device_fault, lack)
            write_json(self.paths.exit, asdict(end))
            self._finished = True
            if self._lease:
                self._lease.give_back()

    def release(self) -> None:
        """Free the run while the process goes on with others; children that it forked still keep it.

        Raises RuntimeError: the end of the attempt is not written: somebody else would begin the run anew.
        """
        if not self._finished:
            raise RuntimeError(f"{self.paths.run_id}: released before its end was written")
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def acquire(paths: RunPaths, attempt: int) -> Claim:
    """Claim `attempt` of a run for the calling process, waiting up to two seconds for the lock.

    Raises ClaimRefused: another worker has the run, a later attempt began, this one has ended, or the run has
        succeeded.
    """
    lock = take_lock(paths, _PATIENCE_S)
    if lock is None:
        raise ClaimRefused(_LOCKED)
    lease = None
    try:
        refusal = who_has(paths)
        if leases.is_wanted() and not refusal:
            lease, refusal = _take_lease(paths, attempt)
        # Behind the lease: who had it before may just have ended.
        if refusal := refusal or _refusal(read_exit(paths), read_claim(paths), attempt):
            raise ClaimRefused(refusal)
    except BaseException:
        if lease:
            lease.give_back()
        os.close(lock)
        raise
    me = ProcessIdentity.current()
    tag, locked = os.environ.get(TAG_VARIABLE, ""), os.fstat(lock)
    record = ClaimRecord(
        *(attempt, me.pid, me.start_ticks, me.boot_id, tag, utc_now()),
        lock_device=locked.st_dev,
        lock_inode=locked.st_ino,
        host=os.uname().nodename if lease else "",
        job=leases.job_name() if lease else "",
    )
    write_json(paths.claim, asdict(record))
    if lease:
        remove_leases(paths, attempt - 1)
        lease.keep()
    return Claim(paths, attempt, lock, lease)


def next_attempt(paths: RunPaths) -> int:
    """The number of the attempt that a worker makes which was given none: one more than the newest.

    Raises ClaimRefused: the cluster's worker comes too late: the run has ended since it was handed over.
    """
    seen, first = observe(paths), int(os.environ.get(leases.FIRST_VARIABLE) or 0)
    end = seen.final_exit
    if first and end and end.attempt >= first and end.outcome is not RunOutcome.INTERRUPTED:
        raise ClaimRefused(
            f"the run was handed over for attempt {first}, and attempt {end.attempt} ended as {end.outcome}"
        )
    return max(first, seen.newest_attempt + 1, leases.newest(paths) + 1 if first else 0)


def who_has(paths: RunPaths, but: Collection[int] = ()) -> str:
    """Who has a run by a lease that no end was written for, in words; empty where nobody has.

    A lease of another host counts however old it is, and none of an attempt in `but`. Nothing is written.
    """
    ended = read_exit(paths)
    over = ended.attempt if ended else 0
    for attempt in sorted(set(leases.attempts(paths)).difference(but, range(over + 1))):
        holder = leases.read_holder(paths, attempt)
        if not (holder and holder.is_dead()):
            job = holder.job and f"job {holder.job}" if holder else "another worker"
            who = f"{job or 'a scheduler'} on {holder.host}" if holder else job
            return f"{who} has attempt {attempt} and has not ended it"
    return ""


def _take_lease(paths: RunPaths, attempt: int, but: Collection[int] = ()) -> tuple[leases.Lease | None, str]:
    """The lease of an attempt, or who has the run."""
    lease = leases.Lease.take(paths, attempt)
    if lease is None:
        return None, f"another worker makes attempt {attempt}"
    # Looked at behind its making: of two who make leases at once, one at least sees the other's.
    if who := who_has(paths, [attempt, *but]):
        lease.give_back()
        return None, who
    return lease, ""


def remove_leases(paths: RunPaths, newest: int = _MOST_ATTEMPTS) -> None:
    """Remove those of attempts that are over, up to the `newest`: who only slept loses its own by this."""
    for attempt in leases.attempts(paths):
        if attempt <= newest:
            paths.lease(attempt).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Withheld:
    """A run whose directory somebody wants to change."""

    who: str
    """Who has it, in words; empty where nobody has: until it is left, no worker can claim it."""
    newest: int = 0
    """The highest attempt that has left a trace."""


@contextmanager
def withheld(paths: RunPaths, *, is_gone: bool = False) -> Iterator[Withheld]:
    """Keep workers from a run while its directory is changed, unless one has it.

    The cluster that was asked since, and does not have its worker's job any more, makes that one `is_gone`:
    then a lease counts that is not old.

    Raises OSError: the directory cannot be read or written.
    """
    lock = take_lock(paths, patience_s=0.1)
    if lock is None:
        yield Withheld(_LOCKED)
        return
    lease, leased = None, leases.newest(paths)
    try:
        but = [one for one in leases.attempts(paths) if is_gone and leases.is_stale(paths, one)]
        who = who_has(paths, but) if leased else ""
        traces = (read_claim(paths), read_exit(paths))
        newest = max(leased, *(trace.attempt if trace else 0 for trace in traces))
        if not who and _is_of_cluster(paths):
            # Between hosts a lock may keep nobody out.
            lease, who = _take_lease(paths, newest + 1, but)
        yield Withheld(who, newest)
    finally:
        if lease:
            lease.give_back()
        os.close(lock)


def observe(paths: RunPaths) -> Observation:
    """Look at a run directory without changing it; a missing one looks like a run not begun.

    Raises OSError: the directory or one of the three files cannot be read, or is something else.
    """
    # The lock is probed first: a worker that ends between the two looks has then already written
    # `exit.json`, whereas the other order would show neither an exit nor a held lock. It is probed again
    # behind an end: one that was claimed and ended in between may still have its lock.
    held = _is_locked(paths)
    claim, ended = read_claim(paths), read_exit(paths)
    return Observation(
        exit=ended,
        claim=claim,
        lock_held=held or (ended is not None and _is_locked(paths)),
        claimant_alive=claim is not None and _is_alive(paths, claim),
    )


def _is_locked(paths: RunPaths) -> bool:
    try:
        return is_locked(paths.lock)
    except OSError as error:
        if error.errno in _NO_LOCKS and _is_of_cluster(paths):
            return False
        raise


def _is_of_cluster(paths: RunPaths) -> bool:
    """Whether a run may be made by a cluster: then files may know no locks, and its claim is a lease."""
    # A worker of a cluster is given the directory itself, not the link to it.
    return (
        leases.is_wanted() or paths.directory.parent.is_symlink() or bool(known_object(paths.spec).get("on"))
    )


def _is_alive(paths: RunPaths, claim: ClaimRecord) -> bool:
    """Whether a claimant lives, or may live on another host of a cluster: has a lease, however old."""
    if not claim.job:
        return claim.is_of(paths.lock) and claim.process.is_alive()
    holder = leases.read_holder(paths, claim.attempt)
    return not holder.is_dead() if holder else paths.lease(claim.attempt).exists()


def make_end_durable(paths: RunPaths, seen: Observation) -> None:
    """Have an end that was seen survive a power cut: to be called before anything durable relies on it.

    A worker that is killed between the renaming of its end and the syncing of the name leaves one that is
    there for everybody, and gone after a power cut.

    Raises OSError: the disk does not take it; the end must not be relied on.
    """
    if seen.exit:
        sync_directory(paths.directory)


def conclude(
    paths: RunPaths, attempt: int, outcome: RunOutcome, reason: str, *, is_gone: bool = False
) -> bool:
    """Write the end of an attempt whose worker will not: it vanished, never came, or was cancelled.

    No worker can claim the attempt afterwards. What `is_gone` means, see `withheld`.

    Returns:
        False where a worker has the run, a later attempt has begun, the run has succeeded, or
        the directory does not exist.
    """
    with withheld(paths, is_gone=is_gone) as run:
        ended = read_exit(paths)
        if run.who or run.newest > attempt or (ended and ended.outcome is RunOutcome.SUCCEEDED):
            return False
        write_json(paths.exit, asdict(ExitRecord(attempt, outcome, reason, utc_now())))
        remove_leases(paths, attempt)
        return True


def conclude_if_there(
    paths: RunPaths, attempt: int, outcome: RunOutcome, reason: str, *, is_gone: bool = False
) -> bool | None:
    """Write the end of an attempt as `conclude` does; None of a run that has no directory to write to.

    Raises OSError: it cannot be written now, as where the disk has gone that has its directory.
    """
    if paths.directory.parent.is_symlink():
        paths.directory.parent.stat()
    if not paths.directory.exists():
        return None
    return conclude(paths, attempt, outcome, reason, is_gone=is_gone)


def take_lock(paths: RunPaths, patience_s: float) -> int | None:
    """Take the run's lock for the calling process: the descriptor that holds it, to be closed to free it.

    None where it stays taken for `patience_s` seconds or the directory does not exist. Of a run of a cluster,
    where the file system may know no locks, the descriptor then holds nothing.
    """
    deadline = time.monotonic() + patience_s
    while True:
        try:
            descriptor = open_lock(paths.lock, paths.directory.parent.parent)
        except (FileNotFoundError, NotADirectoryError):
            return None
        # A forced rerun may have moved its directory away.
        try:
            is_taken = lock_file(descriptor)
        except OSError as error:
            if error.errno in _NO_LOCKS and _is_of_cluster(paths):
                return descriptor
            os.close(descriptor)
            raise
        if is_taken and is_named(descriptor, paths.lock):
            return descriptor
        os.close(descriptor)
        if time.monotonic() >= deadline:
            return None
        time.sleep(_RETRY_INTERVAL_S)


def read_exit(paths: RunPaths) -> ExitRecord | None:
    """`exit.json`; None where it is missing, torn or not ours."""
    data = _read_object(paths.exit)
    with suppress(KeyError, TypeError, ValueError):
        return ExitRecord(
            _whole(data["attempt"], _MOST_ATTEMPTS),
            RunOutcome(data["outcome"]),
            str(data["reason"]),
            str(data["finished_at"]),
            str(data.get("device_fault", "")),
            # Another version may know other words.
            next((lack for lack in Lack if lack == data.get("lack")), Lack.NOTHING),
        )
    return None


def read_claim(paths: RunPaths) -> ClaimRecord | None:
    """`claim.json`; None where it is missing, torn or not ours."""
    data = _read_object(paths.claim)
    with suppress(KeyError, TypeError, ValueError):
        return ClaimRecord(
            _whole(data["attempt"], _MOST_ATTEMPTS),
            _whole(data["pid"], _MOST_PROCESSES),
            _whole(data["start_ticks"], _MOST_TICKS),
            str(data["boot_id"]),
            str(data["tag"]),
            str(data["started_at"]),
            _whole(data.get("lock_device", 0), _MOST_TICKS),
            _whole(data.get("lock_inode", 0), _MOST_TICKS),
            str(data.get("host", "")),
            str(data.get("job", "")),
        )
    return None


def utc_now() -> str:
    """The present time, UTC, ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _refusal(ended: ExitRecord | None, claim: ClaimRecord | None, attempt: int) -> str:
    if ended and ended.outcome is RunOutcome.SUCCEEDED:
        return "the run has succeeded already"
    if ended and ended.attempt >= attempt:
        return f"attempt {attempt} is over: attempt {ended.attempt} ended as {ended.outcome}"
    if claim and claim.attempt > attempt:
        return f"attempt {attempt} is outdated: attempt {claim.attempt} has begun"
    return ""


def _read_object(path: Path) -> dict[str, Any]:
    with suppress(FileNotFoundError, NotADirectoryError, ValueError):
        return read_object(path, _MOST_BYTES)
    return {}


def _whole(value: object, most: int) -> int:
    if not isinstance(value, int) or not 0 <= value <= most:
        raise ValueError(f"expected a whole number of at most {most}, got {value!r}")
    return value

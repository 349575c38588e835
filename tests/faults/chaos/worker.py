"""A worker without torch that lives for milliseconds: the real claim, and a record of every moment of it.

It executes one run, or those of a pack side by side; how each goes follows from its seed, or from the options
of its model. Each execution appends rows to `executions.jsonl`: `begin`, with the slots that the process has,
a `beat` every millisecond or two, `asked` when it is told to leave, `done` when its work is done, and
`finished` once `exit.json` stands. The first and the last row of an execution bound the time in which it
certainly had the run. Its results are a chain: whoever resumes from anything but the checkpoint that belongs
to the evaluations so far goes on with other values than `results_of` tells.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tests.faults.chaos.mutants import MUTANT_VARIABLE, WITHOUT_CLAIM
from tui_datasize.jobs.scheduler.slots import DIRECTORY_VARIABLE
from tui_datasize.runlog.atomic import sync_directory, write_bytes, write_json
from tui_datasize.runlog.claim import (
    ATTEMPT_VARIABLE,
    LEFT_WITH_PACK,
    ClaimRefused,
    RunOutcome,
    acquire,
    utc_now,
)
from tui_datasize.runlog.identity import ProcessIdentity
from tui_datasize.runlog.paths import RunPaths

EXECUTIONS = "executions.jsonl"
EVALUATIONS = 3
_BEAT_S = 0.002
_LEFTOVER_S = 20.0
_SHORT = 0.9
"""Share of the runs that end before another scheduler could have taken over."""


@dataclass(frozen=True, slots=True)
class Traits:
    """How a run goes: most work for a few milliseconds, some outlive a scheduler, some are awkward."""

    work_s: float
    failures: int = 0
    """First attempts that fail."""
    leaves_child: bool = False
    is_stubborn: bool = False
    """Whether it goes on when it is asked to leave."""
    dies: bool = False
    """Whether every attempt is killed as soon as it has the run."""

    @classmethod
    def of(cls, seed: int, options: Mapping[str, Any]) -> Traits:
        """The traits of the run of a seed, or those that its options name."""
        if options:
            return cls(**options)
        kind = random.Random(seed)
        return cls(
            work_s=round(kind.uniform(0.002, 0.2) if kind.random() < _SHORT else kind.uniform(0.4, 1.2), 3),
            failures=kind.choices((0, 1, 4), (90, 8, 2))[0],
            leaves_child=kind.random() < 0.02,
        )


def results_of(seed: int) -> Iterator[tuple[int, float]]:
    """The update and the accuracy of each evaluation of a run, in order, whatever has befallen it."""
    state = b""
    for update in range(1, EVALUATIONS + 1):
        state = _next_state(state, seed)
        yield update, _accuracy(state)


def _next_state(state: bytes, seed: int) -> bytes:
    return hashlib.blake2b(state + str(seed).encode(), digest_size=8).digest()


def _accuracy(state: bytes) -> float:
    return round(state[0] / 255, 4)


class _Claim(Protocol):
    attempt: int

    def finish(self, outcome: RunOutcome, reason: str = "") -> None:
        """Write the end of the attempt."""

    def release(self) -> None:
        """Free the run."""


class _NoClaim:
    """What a worker would have that claims nothing and writes its end all the same."""

    def __init__(self, paths: RunPaths, attempt: int) -> None:
        self.attempt = attempt
        self._paths = paths

    def finish(self, outcome: RunOutcome, reason: str = "") -> None:
        """Write the end of the attempt, whatever stands there."""
        end = {"attempt": self.attempt, "outcome": outcome, "reason": reason, "finished_at": utc_now()}
        write_json(self._paths.exit, end)

    def release(self) -> None:
        """Nothing is held."""


class _Record:
    """Appends what this execution does."""

    def __init__(self, paths: RunPaths, attempt: int) -> None:
        me = ProcessIdentity.current()
        self._row = {"attempt": attempt, "pid": me.pid, "ticks": me.start_ticks}
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._file = os.open(paths.directory / EXECUTIONS, flags, 0o666)
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            # The disk was full for the one before.
            self._append(b"\n")

    def note(self, event: str, **facts: object) -> None:
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        row = self._row | {"event": event, "at_ns": now_ns} | facts
        self._append(json.dumps(row).encode() + b"\n")

    def _append(self, data: bytes) -> None:
        if os.write(self._file, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class _Results:
    """Evaluations and a checkpoint behind each, as the run directory's contract wants them."""

    def __init__(self, paths: RunPaths, seed: int) -> None:
        self._paths = paths
        self._seed = seed
        self._state = b""
        self.updates = 0
        is_new = not paths.metrics.exists()
        self._file = paths.metrics.open("ab+", buffering=0)
        if is_new:
            sync_directory(paths.directory)
        elif size := self._file.seek(0, os.SEEK_END):
            self._resume(size)

    def _resume(self, size: int) -> None:
        with suppress(FileNotFoundError):
            saved = json.loads(self._paths.checkpoint.read_bytes())
            self.updates, self._state = saved["updates"], bytes.fromhex(saved["state"])
        self._file.seek(size - 1)
        torn = b"" if self._file.read(1) == b"\n" else b"\n"
        self._append({"event": "resume", "update": self.updates}, torn)

    def go_on(self) -> None:
        """One more update, and its evaluation."""
        self.updates += 1
        self._state = _next_state(self._state, self._seed)
        accuracy = _accuracy(self._state)
        row = {"event": "evaluation", "update": self.updates, "split": "test", "accuracy": accuracy}
        self._append(row | {"time": utc_now()})
        # Nothing durable may count what is not.
        os.fsync(self._file.fileno())
        saved = {"updates": self.updates, "state": self._state.hex()}
        write_bytes(self._paths.checkpoint, json.dumps(saved).encode())

    def _append(self, row: Mapping[str, object], before: bytes = b"") -> None:
        data = before + json.dumps(row).encode() + b"\n"
        if self._file.write(data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class _Lane:
    """One run that this process executes."""

    def __init__(self, claim: _Claim, paths: RunPaths, lanes: int) -> None:
        self._claim = claim
        self._record = _Record(paths, claim.attempt)
        spec = json.loads(paths.spec.read_text())["spec"]
        self._traits = Traits.of(spec["seed"], spec["model"]["options"])
        self._left = LEFT_WITH_PACK if lanes > 1 else "asked to leave"
        self._record.note("begin", slots=_slots())
        self._results = _Results(paths, spec["seed"])
        if self._traits.dies:
            # What ends before its first update may be the machine's fault.
            self._results.go_on()
            os.kill(os.getpid(), signal.SIGKILL)
        self._begins_s = time.monotonic()
        self._begins_at = self._results.updates
        self._was_asked = False

    def has_ended(self, asked_to_leave: bool) -> bool:
        """Go on for a moment, and tell whether that was the last."""
        if asked_to_leave and not self._was_asked:
            self._was_asked = True
            self._record.note("asked")
        if self._claim.attempt <= self._traits.failures:
            self._claim.finish(RunOutcome.FAILED, "NaN loss at update 7")
        elif self._results.updates == EVALUATIONS:
            if self._traits.leaves_child:
                _leave_child()
            self._record.note("done")
            self._claim.finish(RunOutcome.SUCCEEDED)
            self._record.note("finished")
        elif asked_to_leave and not self._traits.is_stubborn:
            self._claim.finish(RunOutcome.INTERRUPTED, self._left)
        else:
            done = self._results.updates - self._begins_at
            if time.monotonic() >= self._begins_s + self._traits.work_s * (done + 1) / EVALUATIONS:
                self._results.go_on()
            self._record.note("beat")
            return False
        return True

    def release(self) -> None:
        """Free the run for others."""
        self._claim.release()


def main(argv: Sequence[str]) -> int:
    """Execute one run, or those of a pack; a disk or a limit that keeps it from that is no traceback."""
    runs = [RunPaths(Path(directory)) for directory in argv if directory != "--pack"]
    try:
        _execute(runs)
    except OSError as error:
        # The limit may be on the log, too.
        with suppress(OSError):
            print(f"cannot go on: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


def _execute(runs: Sequence[RunPaths]) -> None:
    attempts = os.environ[ATTEMPT_VARIABLE].split(",")
    asked_to_leave: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: asked_to_leave.append(number))
    lanes = []
    for paths, attempt in zip(runs, map(int, attempts), strict=True):
        with suppress(ClaimRefused):
            lanes.append(_Lane(_claim(paths, attempt), paths, len(runs)))
    while lanes:
        time.sleep(_BEAT_S)
        for lane in [lane for lane in lanes if lane.has_ended(bool(asked_to_leave))]:
            lanes.remove(lane)
            if len(runs) > 1:
                lane.release()


def _claim(paths: RunPaths, attempt: int) -> _Claim:
    is_broken = os.environ.get(MUTANT_VARIABLE) == WITHOUT_CLAIM
    return _NoClaim(paths, attempt) if is_broken else acquire(paths, attempt)


def _slots() -> list[str]:
    """The files of the slots that this process has, by name: the directory may have another just now."""
    files = []
    for link in Path("/proc/self/fd").iterdir():
        # The one that lists them is gone by now.
        with suppress(FileNotFoundError):
            files.append(link.readlink())
    return sorted(
        file.name.removesuffix(" (deleted)")
        for file in files
        if str(file).startswith(os.environ[DIRECTORY_VARIABLE])
    )


def _leave_child() -> None:
    """Fork a process that outlives this one with its lock, as a stuck loader of data does."""
    if os.fork() == 0:
        time.sleep(_LEFTOVER_S)
        os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""A worker without torch that lives for milliseconds: the real claim, and a record of every moment of it.

It executes one run, or those of a pack side by side; how each goes follows from its seed. Each execution
appends rows to `executions.jsonl`: `begin`, a `beat` every millisecond or two, `done` when its work is
done, and `finished` once `exit.json` stands. The first and the last row of an execution bound the time in
which it certainly had the run.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tui_datasize.runlog.atomic import write_json
from tui_datasize.runlog.claim import (
    ATTEMPT_VARIABLE,
    LEFT_WITH_PACK,
    ClaimRefused,
    Outcome,
    acquire,
    utc_now,
)
from tui_datasize.runlog.identity import ProcessIdentity
from tui_datasize.runlog.paths import RunPaths

EXECUTIONS = "executions.jsonl"
WITHOUT_CLAIM = "DATASIZE_CHAOS_WITHOUT_CLAIM"
"""Set in the environment of a worker that is broken on purpose."""
_BEAT_S = 0.002
_LEFTOVER_S = 20.0
_SHORT = 0.9
"""Share of the runs that end before another scheduler could have taken over."""


@dataclass(frozen=True, slots=True)
class Traits:
    """How a run goes: most work for a few milliseconds, some outlive a scheduler, some are awkward."""

    work_s: float
    failures: int
    """First attempts that fail."""
    leaves_child: bool

    @classmethod
    def of(cls, seed: int) -> Traits:
        """The traits of the run of a seed."""
        kind = random.Random(seed)
        return cls(
            work_s=round(kind.uniform(0.002, 0.2) if kind.random() < _SHORT else kind.uniform(0.4, 1.2), 3),
            failures=kind.choices((0, 1, 4), (90, 8, 2))[0],
            leaves_child=kind.random() < 0.02,
        )


class _Claim(Protocol):
    attempt: int

    def finish(self, outcome: Outcome, reason: str = "") -> None:
        """Write the end of the attempt."""

    def release(self) -> None:
        """Free the run."""


class _NoClaim:
    """What a worker would have that claims nothing and writes its end all the same."""

    def __init__(self, paths: RunPaths, attempt: int) -> None:
        self.attempt = attempt
        self._paths = paths

    def finish(self, outcome: Outcome, reason: str = "") -> None:
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
        self._file = os.open(
            paths.directory / EXECUTIONS, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666
        )

    def note(self, event: str) -> None:
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        os.write(self._file, json.dumps(self._row | {"event": event, "at_ns": now_ns}).encode() + b"\n")


class _Lane:
    """One run that this process executes."""

    def __init__(self, claim: _Claim, paths: RunPaths, lanes: int) -> None:
        self._claim = claim
        self._record = _Record(paths, claim.attempt)
        self._traits = Traits.of(json.loads(paths.spec.read_text())["spec"]["seed"])
        self._left = LEFT_WITH_PACK if lanes > 1 else "asked to leave"
        self._ends_s = time.monotonic() + self._traits.work_s
        self._record.note("begin")

    def has_ended(self, asked_to_leave: bool) -> bool:
        """Go on for a moment, and tell whether that was the last."""
        if self._claim.attempt <= self._traits.failures:
            self._claim.finish(Outcome.FAILED, "NaN loss at update 7")
        elif time.monotonic() >= self._ends_s:
            if self._traits.leaves_child:
                _leave_child()
            self._record.note("done")
            self._claim.finish(Outcome.SUCCEEDED)
            self._record.note("finished")
        elif asked_to_leave:
            self._claim.finish(Outcome.INTERRUPTED, self._left)
        else:
            self._record.note("beat")
            return False
        return True

    def release(self) -> None:
        """Free the run for others."""
        self._claim.release()


def main(argv: Sequence[str]) -> int:
    """Execute one run, or those of a pack."""
    runs = [RunPaths(Path(directory)) for directory in argv if directory != "--pack"]
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
    return 0


def _claim(paths: RunPaths, attempt: int) -> _Claim:
    return _NoClaim(paths, attempt) if os.environ.get(WITHOUT_CLAIM) else acquire(paths, attempt)


def _leave_child() -> None:
    """Fork a process that outlives this one with its lock, as a stuck loader of data does."""
    if os.fork() == 0:
        time.sleep(_LEFTOVER_S)
        os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

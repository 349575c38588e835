"""A worker without torch that lives for milliseconds: the real claim, and a record of every moment of it.

Each execution appends rows to `executions.jsonl`: `begin`, a `beat` every millisecond or two, `done`
when its work is done, and `finished` once `exit.json` stands. The first and the last row of an execution
bound the time in which it certainly had the run.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from tui_datasize.runlog.atomic import write_json
from tui_datasize.runlog.claim import ATTEMPT_VARIABLE, ClaimRefused, Outcome, acquire, utc_now
from tui_datasize.runlog.identity import ProcessIdentity
from tui_datasize.runlog.paths import RunPaths

EXECUTIONS = "executions.jsonl"
WITHOUT_CLAIM = "DATASIZE_CHAOS_WITHOUT_CLAIM"
"""Set in the environment of a worker that is broken on purpose."""
_BEAT_S = 0.002
_LEFTOVER_S = 20.0


class _Claim(Protocol):
    attempt: int

    def finish(self, outcome: Outcome, reason: str = "") -> None:
        """Write the end of the attempt."""


class _NoClaim:
    """What a worker would have that claims nothing and writes its end all the same."""

    def __init__(self, paths: RunPaths, attempt: int) -> None:
        self.attempt = attempt
        self._paths = paths

    def finish(self, outcome: Outcome, reason: str = "") -> None:
        """Write the end of the attempt, whatever stands there."""
        end = {"attempt": self.attempt, "outcome": outcome, "reason": reason, "finished_at": utc_now()}
        write_json(self._paths.exit, end)


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


def main(argv: Sequence[str]) -> int:
    """Execute one run."""
    paths = RunPaths(Path(argv[0]))
    options = json.loads(paths.spec.read_text())["spec"]["model"]["options"]
    attempt = int(os.environ[ATTEMPT_VARIABLE])
    asked_to_leave: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: asked_to_leave.append(number))
    try:
        claim: _Claim = _NoClaim(paths, attempt) if os.environ.get(WITHOUT_CLAIM) else acquire(paths, attempt)
    except ClaimRefused:
        return 0
    _execute(claim, _Record(paths, attempt), options, asked_to_leave)
    return 0


def _execute(claim: _Claim, record: _Record, options: Mapping[str, Any], asked_to_leave: list[int]) -> None:
    record.note("begin")
    if claim.attempt <= options["failures"]:
        claim.finish(Outcome.FAILED, "NaN loss at update 7")
        return
    ends_s = time.monotonic() + options["work_s"]
    while time.monotonic() < ends_s:
        time.sleep(_BEAT_S)
        record.note("beat")
        if asked_to_leave:
            claim.finish(Outcome.INTERRUPTED, "asked to leave")
            return
    if options["leaves_child"]:
        _leave_child()
    record.note("done")
    claim.finish(Outcome.SUCCEEDED)
    record.note("finished")


def _leave_child() -> None:
    """Fork a process that outlives this one with its lock, as a stuck loader of data does."""
    if os.fork() == 0:
        time.sleep(_LEFTOVER_S)
        os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

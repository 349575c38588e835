"""A step in a process of its own, forked from one that has imported torch; ended with all that it started."""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias

import tui_datasize
from tui_datasize.files import known_object, read_end
from tui_datasize.programs import python_module
from tui_datasize.training.selftest.catalogue import ENDED, Step

Verdict: TypeAlias = Literal["ok", "fail", "left out"]

NOT_ON_A_CPU = "not on a CPU"
_CHILD = "tui_datasize.training.selftest.child"
_PR_SET_CHILD_SUBREAPER = 36
_PR_GET_CHILD_SUBREAPER = 37
_LONGEST_TAIL = 2000
_END_PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class StepResult:
    """What came of a step."""

    name: str
    verdict: Verdict
    told: str
    """One line: what it found, what is wrong, or why it was left out."""
    took_s: float = 0.0
    figures: Mapping[str, Any] = field(default_factory=dict)
    checks: tuple[Mapping[str, Any], ...] = ()
    output: str = ""
    """The end of what its process printed, where it failed."""

    def to_dict(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict,
            "told": self.told,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "took_s": round(self.took_s, 1),
            "checks": list(self.checks),
            "figures": dict(self.figures),
            "output": self.output,
        }


class StepHost:
    """The process that steps are forked from, begun when it is first needed and anew where it has died."""

    _process: subprocess.Popen[bytes] | None = None
    _answered: bytes = b""
    _step: int | None = None

    def begin(self, environment: Mapping[str, str], log: Path) -> None:
        """Have it there, with this environment and this log where it is begun."""
        if self._process and self._process.poll() is None:
            return
        self.close()
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                python_module(_CHILD),
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                start_new_session=True,
            )

    def fork(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        """Begin the process of a step, whose output goes to a file that is there."""
        assert self._process
        assert self._process.stdin
        asked = {"arguments": list(arguments), "environment": dict(environment), "log": str(log)}
        self._step = None
        # A host that has died is noticed by whoever waits.
        with suppress(BrokenPipeError):
            self._process.stdin.write(f"{json.dumps(asked)}\n".encode())
            self._process.stdin.flush()

    def wait(self, limit_s: float) -> int | None:
        """How the step's process ended, as `subprocess` tells it; None where it goes on after so long."""
        assert self._process
        assert self._process.stdout
        until_s = time.monotonic() + limit_s
        while (left_s := until_s - time.monotonic()) > 0:
            if select.select([self._process.stdout], [], [], left_s)[0]:
                said = os.read(self._process.stdout.fileno(), 4096)
                if not said:
                    return self._process.wait()
                *lines, self._answered = (self._answered + said).split(b"\n")
                for word, number in (line.split() for line in lines):
                    if word == ENDED.encode():
                        return int(number)
                    self._step = int(number)
        return None

    def kill(self, *, is_over: bool) -> None:
        """End what is left of the step's group; with the host, unless the step is known to be over."""
        if self._step is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._step, signal.SIGKILL)
        if not is_over:
            self.close()

    def close(self) -> None:
        """End it."""
        if self._process:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                assert stream
                with suppress(BrokenPipeError):
                    stream.close()
        self._process, self._answered = None, b""


def run_step(
    step: Step, environment: Mapping[str, str], host: StepHost, folder: Path, patience: float = 1.0
) -> StepResult:
    """Make a step, within its limit times `patience`; its file and its log go into the folder."""
    file, log = folder / f"{step.name}.json", folder / f"{step.name}.log"
    limit_s = patience * step.limit_s
    started_s = time.monotonic()
    # This very code, for machines on which it is not installed, and what there was.
    places = (str(Path(tui_datasize.__file__).resolve().parents[1]), environment.get("PYTHONPATH"))
    environment = {**environment, "PYTHONPATH": os.pathsep.join(filter(None, places))}
    log.touch()
    host.begin(environment, log)
    status: int | None = None
    with _ending_leftovers():
        try:
            host.fork((step.name, str(file), f"{limit_s:.0f}"), environment, log)
            status = host.wait(limit_s)
        finally:
            host.kill(is_over=status is not None)
    took_s = time.monotonic() - started_s
    late = f"not done after {limit_s:g} s" if status is None else ""
    return _judged(step, known_object(file), took_s, status or 0, late=late, log=log)


def _judged(
    step: Step, found: Mapping[str, Any], took_s: float, status: int, *, late: str, log: Path
) -> StepResult:
    checks = tuple(found.get("checks", ()))
    wrong = [_words(check) for check in checks if not check.get("good")]
    if late:
        wrong.append(late)
    elif status < 0:
        wrong.append(f"its process was ended by signal {-status}")
    elif status > 0:
        wrong.append(f"its process ended with exit status {status}")
    wrong += [str(found["error"])] if "error" in found else []
    why_not = str(found.get("not_here", ""))
    if not wrong and not why_not and not checks:
        wrong.append("it checked nothing")
    verdict: Verdict = "fail" if wrong else "left out" if why_not else "ok"
    told = "; ".join(wrong) or why_not or str(found.get("said", ""))
    output = _tail(log) if wrong else ""
    return StepResult(step.name, verdict, told, took_s, found.get("figures", {}), checks, output)


def _words(check: Mapping[str, Any]) -> str:
    told = str(check.get("told", ""))
    return f"{check['name']}: {told}" if told else f"not so: {check['name']}"


def _tail(log: Path) -> str:
    try:
        return read_end(log, _LONGEST_TAIL)[0].decode(errors="replace")
    except OSError:
        return ""


@contextmanager
def _ending_leftovers() -> Iterator[None]:
    """End what was started inside and left behind, in whatever session: a scheduler, workers.

    Orphans become children of this process while inside.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    before = ctypes.c_int(0)
    libc.prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(before), 0, 0, 0)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    others = _children()
    try:
        yield
    finally:
        deadline_s = time.monotonic() + _END_PATIENCE_S
        while (left := _children() - others) and time.monotonic() < deadline_s:
            for pid in left:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
                with suppress(ChildProcessError):
                    os.waitpid(pid, 0)
        libc.prctl(_PR_SET_CHILD_SUBREAPER, before.value, 0, 0, 0)


def _children() -> set[int]:
    own, found = os.getpid(), set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError, IndexError, ValueError):
                # The name, in brackets, may hold anything.
                behind = (entry / "stat").read_text(errors="replace").rpartition(")")[2]
                if int(behind.split()[1]) == own:
                    found.add(int(entry.name))
    return found

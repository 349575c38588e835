"""Schedulers by fork: one interpreter imports what they need, and each that is asked for starts at once.

`python -m tests.faults.forked` reads a request a line from stdin and answers each with a line: the process
number of a new scheduler, or the exit status of one (`null` while it runs). Schedulers end with it only where
they are killed.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tui_datasize.jobs.scheduler.slots import DIRECTORY_VARIABLE
from tui_datasize.programs import python_module

_REPOSITORY = Path(__file__).parents[2]
_SCHEDULER = "tui_datasize.jobs.scheduler.main"


class Scheduler(Protocol):
    """What a test does with a scheduler's process; a `Popen` is one."""

    pid: int

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the exit status."""

    def kill(self) -> None:
        """kill -9."""


class Server:
    """The interpreter that is forked."""

    def __init__(self) -> None:
        # It is of no lab, each of which ends whatever has its slots.
        environment = {name: value for name, value in os.environ.items() if name != DIRECTORY_VARIABLE}
        self._process = subprocess.Popen(
            python_module("tests.faults.forked"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment | {"PYTHONPATH": str(_REPOSITORY)},
        )

    def ask(self, **request: Any) -> Any:
        """What it answers."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def start(
        self, arguments: Sequence[str], directory: Path, log: Path, through: Sequence[str] = ()
    ) -> Scheduler:
        """Start a scheduler in the environment that the test has now; the modules of `through` run it."""
        pid = self.ask(
            arguments=list(arguments),
            directory=str(directory),
            log=str(log),
            environment=dict(os.environ),
            through=list(through),
        )
        return _Forked(self, pid)

    def close(self) -> None:
        """End it."""
        self._process.communicate()


@dataclass
class _Forked:
    server: Server
    pid: int
    status: int | None = field(default=None)

    def poll(self) -> int | None:
        if self.status is None:
            self.status = self.server.ask(status_of=self.pid)
        return self.status

    def wait(self, timeout: float | None = None) -> int:
        deadline = time.monotonic() + (timeout or 60.0)
        while (status := self.poll()) is None:
            if time.monotonic() >= deadline:
                raise subprocess.TimeoutExpired("a scheduler", timeout or 60.0)
            time.sleep(0.01)
        return status

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            if self.poll() is None:
                os.kill(self.pid, signal.SIGKILL)


def _main() -> None:
    import ctypes  # noqa: F401 - by each scheduler that looks for GPUs

    from tui_datasize.jobs.scheduler import device_file, main

    # They look at what a test has changed as often as the test looks at what they make of it.
    main._TICK_S, main._DISPATCH_INTERVAL_S, device_file._LOOK_INTERVAL_S = 0.02, 0.2, 0.1
    # Looking for garbage would have each scheduler copy what it shares with this process.
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        request = json.loads(line)
        if pid := request.get("status_of"):
            ended, status = os.waitpid(pid, os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if ended else None
        else:
            answer = os.fork()
            if not answer:
                _become(request)
                _end_with(
                    _through(request["through"]) if request["through"] else main.main, request["arguments"]
                )
        print(json.dumps(answer), flush=True)


def _become(request: dict[str, Any]) -> None:
    """Have nothing of the server: a session, an environment and files of its own."""
    os.setsid()
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environment"])
    log = os.open(request["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, number in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(descriptor, number)
    os.closerange(3, 64)


def _through(modules: Sequence[str]) -> Callable[[Sequence[str]], int]:
    """What runs a scheduler as its command line would that names these modules first."""

    def run(arguments: Sequence[str]) -> int:
        # It is to run anew, by what these modules have put in place.
        del sys.modules[_SCHEDULER]
        sys.argv = [modules[0], *modules[1:], _SCHEDULER, *arguments]
        runpy.run_module(modules[0], run_name="__main__", alter_sys=True)
        return 0

    return run


def _end_with(main: Any, arguments: Sequence[str]) -> None:
    status = 1
    try:
        status = main(arguments)
    except SystemExit as leave:
        status = int(leave.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _main()

"""Looking at, signalling and finding worker processes. Linux only."""

from __future__ import annotations

import os
import pwd
import signal
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tui_datasize.runlog.claim import TAG_VARIABLE
from tui_datasize.runlog.identity import ProcessIdentity

ROOT_VARIABLE = "DATASIZE_ROOT"
"""Environment variable by which a worker and its descendants tell their project from a copy of it."""


def root_mark(root: Path) -> str:
    """What `DATASIZE_ROOT` holds for a project directory, wherever it is moved."""
    found = root.stat()
    return f"{found.st_dev}:{found.st_ino}"


@dataclass(frozen=True, slots=True)
class ProjectProcesses:
    """The workers of one project, and none of a copy of it, whose files tell the same of them."""

    _root: Path

    def signal_group(self, worker: ProcessIdentity, number: signal.Signals) -> None:
        """Signal a worker and its process group, if it is still that very process and this project's."""
        if not worker.is_alive() or not self._is_ours(worker.pid):
            return
        try:
            # Workers lead their own session, so the group's number is the worker's.
            os.killpg(worker.pid, number)
        except ProcessLookupError:
            # Just forked: its session comes with its first steps.
            with suppress(ProcessLookupError):
                os.kill(worker.pid, number)

    def find_tagged(self, tag: str) -> Iterator[ProcessIdentity]:
        """All processes whose environment carries the tag: a worker and its descendants."""
        for pid, found in _tags():
            if found == tag and self._is_ours(pid):
                with suppress(ProcessLookupError):
                    yield ProcessIdentity.of(pid)

    def find_workers(self) -> Iterator[tuple[ProcessIdentity, str]]:
        """All workers of the project, and descendants of workers, with their tags."""
        for pid, tag in _tags():
            # A preloader's is all zeros.
            if tag.strip("0") and self._is_ours(pid):
                with suppress(ProcessLookupError):
                    yield ProcessIdentity.of(pid), tag

    def kill_tagged(self, tag: str) -> int:
        """Kill every process that carries the tag, and return how many there were."""
        if not tag:  # a worker started by hand carries none, and so does everything else
            return 0
        killed = 0
        for process in self.find_tagged(tag):
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
                killed += 1
        return killed

    def _is_ours(self, pid: int) -> bool:
        """Whether a process belongs to this project; of one that was started by hand its claim tells."""
        try:
            variables = _environment(pid)
            if ROOT_VARIABLE in variables:
                return variables[ROOT_VARIABLE] == root_mark(self._root)
            if not variables.get(TAG_VARIABLE):
                return True
            # Of an earlier version, whose workers stay in the project directory.
            return Path(f"/proc/{pid}/cwd").samefile(self._root)
        except OSError:
            return False


def _tags() -> Iterator[tuple[int, str]]:
    """Every process that carries a tag."""
    for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))):  # noqa: PTH208 - of hundreds
        # A process may end, or belong to someone else.
        with suppress(OSError):
            if tag := _environment(pid).get(TAG_VARIABLE, ""):
                yield pid, tag


def _environment(pid: int) -> Mapping[str, str]:
    """The environment that a process was started with, as far as this program wrote it."""
    own = f"{TAG_VARIABLE}=".encode(), f"{ROOT_VARIABLE}=".encode()
    with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:  # noqa: PTH123 - of hundreds
        block = file.read()
    # Most have neither.
    lines = block.split(b"\0") if any(name in block for name in own) else ()
    return dict(line.decode(errors="replace").split("=", 1) for line in lines if line.startswith(own))


def describe_process(pid: int) -> str:
    """A process for a person: its program, number and user, as far as this machine shows them."""
    try:
        directory = Path(f"/proc/{pid}")
        program = (directory / "comm").read_text().strip()
        owner = directory.stat().st_uid
    except OSError:
        # In a container the driver tells numbers of the world outside.
        return f"process {pid}"
    try:
        user = pwd.getpwuid(owner).pw_name
    except KeyError:
        user = str(owner)
    return f"{program} (process {pid} of {user})"


def describe_status(status: int) -> str:
    """How a process ended, in words, from its exit code (negative for a signal).

    >>> describe_status(-9)
    'killed by signal 9 (SIGKILL)'
    >>> describe_status(1)
    'ended with status 1'
    """
    if status >= 0:
        return f"ended with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        return f"killed by signal {-status}"
    return f"killed by signal {-status} ({name})"

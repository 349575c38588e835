"""Looking at, signalling and finding worker processes. Linux only."""

from __future__ import annotations

import os
import pwd
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tui_datasize.runlog.claim import TAG_VARIABLE
from tui_datasize.runlog.identity import ProcessIdentity


def signal_group(worker: ProcessIdentity, number: signal.Signals) -> None:
    """Signal a worker and its process group, if it is still that very process."""
    if not worker.is_alive():
        return
    try:
        # Workers lead their own session, so the group's number is the worker's.
        os.killpg(worker.pid, number)
    except ProcessLookupError:
        # Just forked: its session comes with its first steps.
        with suppress(ProcessLookupError):
            os.kill(worker.pid, number)


def find_tagged(tag: str) -> Iterator[ProcessIdentity]:
    """All processes whose environment carries the tag: a worker and its descendants."""
    entry = f"{TAG_VARIABLE}={tag}".encode()
    for directory in Path("/proc").glob("[0-9]*"):
        # A process may end, or belong to someone else.
        with suppress(OSError):
            if entry in (directory / "environ").read_bytes().split(b"\0"):
                yield ProcessIdentity.of(int(directory.name))


def find_workers(directory: Path) -> Iterator[tuple[ProcessIdentity, str]]:
    """All workers, and descendants of workers, that work in a project's directory, with their tags."""
    mark = f"{TAG_VARIABLE}=".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (entry / "cwd").readlink() != directory.resolve():
                continue
            variables = (entry / "environ").read_bytes().split(b"\0")
            tag = next((v.removeprefix(mark).decode() for v in variables if v.startswith(mark)), "")
            if tag.strip("0"):  # a preloader's is all zeros
                yield ProcessIdentity.of(int(entry.name)), tag


def kill_tagged(tag: str) -> int:
    """Kill every process that carries the tag, and return how many there were."""
    if not tag:  # a worker started by hand carries none, and so does everything else
        return 0
    killed = 0
    for process in find_tagged(tag):
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
    return killed


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

"""Starting workers: what a start needs, and plain processes as the simplest way.

Whoever starts a process raises `OSError` where none can be started now.
"""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from tui_datasize.errors import SHORT_OF_DISK, SHORT_OF_HOST
from tui_datasize.files import open_regular
from tui_datasize.programs import python_module
from tui_datasize.runlog.identity import ProcessIdentity
from tui_datasize.runlog.paths import RunPaths

ONE_THREAD: Mapping[str, str] = MappingProxyType(
    {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS", "NUMEXPR")}
    | {"POLARS_MAX_THREADS": "1"}
)
"""What keeps numerical libraries to one thread; they read it when they are imported."""


SCARCITIES = SHORT_OF_HOST | SHORT_OF_DISK | {errno.EIO}
"""What may keep a worker from being started that has nothing to do with its runs, and passes."""


@dataclass(frozen=True, slots=True)
class SpawnRequest:
    """One process to start: a worker, or what executes no run and has a `module`."""

    runs: tuple[RunPaths, ...]
    """What a worker executes: one run, or the lanes of a pack."""
    environment: Mapping[str, str]
    """What differs from the scheduler's own environment."""
    tag: str
    """By which it is told of; a worker's is `DATASIZE_TAG` in its environment."""
    slots: tuple[int, ...]
    """Descriptors that it inherits and never closes."""
    directory: Path
    module: str = ""
    """Whose `main` is called, with `words`; empty for a worker."""
    words: tuple[str, ...] = ()
    output: Path | None = None
    """Where all goes that it says; None for the logs of a worker's first run."""

    @property
    def arguments(self) -> tuple[str, ...]:
        """What its command ends with."""
        directories = tuple(str(run.directory) for run in self.runs)
        return self.words or (directories if len(directories) == 1 else ("--pack", *directories))

    @property
    def logs(self) -> tuple[Path, Path]:
        """Where its output goes, and its errors."""
        return (self.output, self.output) if self.output else (self.runs[0].stdout, self.runs[0].stderr)


@dataclass(slots=True)
class Worker:
    """What its spawner knows of a worker; filled in as it is learned. Runs of one pack share it."""

    process: ProcessIdentity | None = None
    """None until the start is confirmed, and for good where `is_gone` without it."""
    status: int | None = None
    """Exit code, negative for a signal; None while it lives or where nobody could tell."""
    status_expected: bool = True
    """Whether `status` may still come: its parent lives."""
    is_gone: bool = False
    """Whether it has ended, or was never started and never will be."""
    was_never_begun: bool = False
    """Whether its start was asked for and not followed, through no fault of the job."""
    has_lost_slots: bool = False
    """Whether that is because others may have its slots."""
    run_ids: tuple[str, ...] = ()
    """Runs that it was started for, as far as they are known; the first one's logs have its output."""
    error: OSError | None = None
    """Why it could not be started, as far as its spawner knows."""

    @classmethod
    def unstarted(cls, error: OSError) -> Worker:
        """A worker that could not be started; where the machine is short of something, no job is to blame."""
        is_scarcity = error.errno in SCARCITIES
        return cls(is_gone=True, status_expected=False, was_never_begun=is_scarcity, error=error)

    @property
    def lanes(self) -> int:
        """How many runs it was started for."""
        return max(1, len(self.run_ids))

    def is_alive(self) -> bool:
        """Whether it lives, or may live because its start is under way."""
        if self.is_gone:
            return False
        return self.process is None or self.process.is_alive()


def cannot_start(error: OSError) -> str:
    """Why a worker could not be started, in words.

    >>> cannot_start(FileNotFoundError(2, "No such file or directory", "/opt/python"))
    'no worker could be started: /opt/python: No such file or directory'
    """
    where = f"{error.filename}: " if error.filename else ""
    return f"no worker could be started: {where}{error.strerror or error}"


@dataclass(eq=False)
class ColdSpawner:
    """Starts every worker as a new process: a command with the run directories, `--pack` before several."""

    _command: Sequence[str]
    _children: list[tuple[subprocess.Popen[bytes], Worker]] = field(default_factory=list, init=False)

    def make_ready(self) -> bool:
        """Nothing needs to be made ready: `start` is followed at once."""
        return True

    def start(self, request: SpawnRequest) -> Worker:
        """Start a process in its own session, its output appended to its log files."""
        command = python_module(request.module) if request.module else self._command
        with ExitStack() as files:
            stdout, stderr = (files.enter_context(open_regular(log, "ab")) for log in request.logs)
            child = subprocess.Popen(
                [*command, *request.arguments],
                cwd=request.directory,
                env=os.environ | request.environment,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                pass_fds=request.slots,
                start_new_session=True,
            )
        worker = Worker()
        try:
            worker.process = ProcessIdentity.of(child.pid)
        except ProcessLookupError:
            worker.is_gone = True
        self._children.append((child, worker))
        return worker

    def poll(self) -> None:
        """Bring all workers up to date, without waiting."""
        for child, worker in self._children:
            worker.status = child.poll()
            worker.is_gone = worker.status is not None
        self._children = [(child, worker) for child, worker in self._children if not worker.is_gone]

    def descriptors(self) -> Sequence[int]:
        """Those to poll at: none, since the ends of processes are watched by whoever needs them."""
        return ()

    def close(self) -> None:
        """Forget the children; they are nobody's to wait for any more."""
        for child, _ in self._children:
            # Otherwise Popen would warn of a child that still runs.
            child.returncode = 0
        self._children.clear()

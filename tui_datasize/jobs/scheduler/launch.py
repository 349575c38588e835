"""Starting a scheduler that outlives its starter, and telling whether one runs."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from tui_datasize.errors import StorageError
from tui_datasize.files import read_end
from tui_datasize.jobs.queue.database import create_database, storage_errors
from tui_datasize.programs import python_module
from tui_datasize.runlog.locks import is_locked
from tui_datasize.runlog.paths import ProjectPaths

_START_TIMEOUT_S = 30.0
_POLL_INTERVAL_S = 0.02
LONGEST_LOG_BYTES = 2 * 2**20
"""A log that is longer is put aside, in place of the one before."""
_MODULE = "tui_datasize.jobs.scheduler.main"
_LOCKS = Path("/proc/locks")
_LINGER_DIRECTORY = Path("/var/lib/systemd/linger")


def scheduler_alive(project: ProjectPaths) -> bool:
    """Whether some process holds the scheduler's lock."""
    with storage_errors(project.scheduler_lock):
        return is_locked(project.scheduler_lock)


def is_halted(pid: int, project: ProjectPaths) -> bool:
    """Whether the project's scheduler has that number and is stopped, by a signal or a debugger."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    state = stat[stat.rindex(b")") + 1 :].split()[0]
    return state in (b"T", b"t") and _is_scheduler(pid, project)


def ensure_scheduler(project: ProjectPaths, options: Sequence[str] = ()) -> int | None:
    """Start a detached scheduler unless one runs, and wait until the queue has one.

    The process that was started, though another may have been first; None where one ran already.

    Raises StorageError: it ended, or took too long; the message carries the last line of its log.
    """
    if scheduler_alive(project):
        return None
    create_database(project.queue)
    process = _spawn(project, options)
    ended = False
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not scheduler_alive(project):
        # Its end is seen one look before it is believed: another starter's scheduler may have won.
        if ended or time.monotonic() >= deadline:
            what = f"the scheduler did not start: {_last_line(project.scheduler_log)}"
            raise StorageError(what, where=str(project.scheduler_log))
        ended = process.poll() is not None
        time.sleep(_POLL_INTERVAL_S)
    return process.pid


def terminate_scheduler(project: ProjectPaths) -> None:
    """Send TERM to the scheduler, for when its queue is too damaged to carry a request to stop."""
    try:
        inode = project.scheduler_lock.stat().st_ino
    except FileNotFoundError:
        return
    for line in _LOCKS.read_text().splitlines():
        # As in "1: FLOCK ADVISORY WRITE 4711 fe:00:1234 0 EOF", see proc_locks(5).
        _, kind, _, _, pid, file, *_ = line.replace("-> ", "").split()
        if kind == "FLOCK" and file.endswith(f":{inode}") and _is_scheduler(int(pid), project):
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGTERM)


def open_log(path: Path) -> BinaryIO:
    """Open the scheduler's log to append to; one that has grown long begins anew."""
    with suppress(FileNotFoundError):
        if path.stat().st_size > LONGEST_LOG_BYTES:
            path.rename(path.with_name(f"{path.name}.1"))
    return path.open("ab")


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Look every few milliseconds until `condition` holds; whether it did within `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_INTERVAL_S)
    return True


def survives_logout() -> bool:
    """Whether systemd keeps this user's services when the last session ends ("lingering")."""
    try:
        return (_LINGER_DIRECTORY / pwd.getpwuid(os.getuid()).pw_name).exists()
    except KeyError:  # a container may run under a number without a name
        return False


def _spawn(project: ProjectPaths, options: Sequence[str]) -> subprocess.Popen[bytes]:
    command = python_module(_MODULE, "--project", str(project.root.absolute()))
    systemd_run = shutil.which("systemd-run")
    if systemd_run and os.environ.get("XDG_RUNTIME_DIR") and survives_logout():
        # Out of the login session. Without lingering the user's own scopes end with the last login, sooner
        # than a plain process.
        command = (systemd_run, "--user", "--scope", "--quiet", "--collect", "--", *command)
    with storage_errors(project.scheduler_log), open_log(project.scheduler_log) as log:
        return subprocess.Popen(
            [*command, *options],
            cwd=project.root,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _is_scheduler(pid: int, project: ProjectPaths) -> bool:
    """Whether a process is a scheduler of this project: files of two devices may have one number."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return False
    return {_MODULE, str(project.root.absolute())} <= set(command)


def _last_line(log: Path) -> str:
    try:
        end, _ = read_end(log, 2**16)
    except OSError:
        end = b""
    lines = [line for line in end.decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"

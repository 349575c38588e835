"""Who a process is: its number alone is reused, its number with start time and boot is not. Linux only."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_STATE_FIELD, _START_FIELD = 0, 19
"""Positions in `/proc/PID/stat` behind the command's closing bracket, see proc_pid_stat(5)."""


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process of one boot of the machine."""

    pid: int
    start_ticks: int
    """Clock ticks from boot to the start of the process."""
    boot_id: str

    @classmethod
    def current(cls) -> ProcessIdentity:
        return cls.of(os.getpid())

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity:
        """The process that has the number `pid` now.

        Raises ProcessLookupError: there is none, or it has ended and waits to be reaped.
        """
        ticks = start_ticks(pid)
        if ticks is None:
            raise ProcessLookupError(f"no process {pid}")
        return cls(pid, ticks, boot_id())

    def is_alive(self) -> bool:
        """Whether this very process still runs; a zombie does not."""
        return self.boot_id == boot_id() and self.start_ticks == start_ticks(self.pid)


def boot_id() -> str:
    """The random name of the machine's present boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_ticks(pid: int) -> int | None:
    """Clock ticks from boot to the start of process `pid`; None where no such process runs."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command's name may itself hold spaces and brackets.
    fields = stat[stat.rindex(b")") + 1 :].split()
    if fields[_STATE_FIELD] in (b"Z", b"X", b"x"):
        return None
    return int(fields[_START_FIELD])

"""The processes of a queue, by what they are to it."""

from __future__ import annotations

import os
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from tui_datasize.jobs.scheduler.slots import DIRECTORY_VARIABLE
from tui_datasize.runlog.claim import TAG_VARIABLE

_TAG = f"{TAG_VARIABLE}=".encode()


class Kind(StrEnum):
    """What a process is to the queue."""

    SCHEDULER = "scheduler"
    PRELOADER = "preloader"
    NEWBORN = "newborn"
    """Forked to become a worker, and not to be known as one yet."""
    WORKER = "worker"
    CLIENT = "client"


@dataclass(frozen=True, slots=True)
class Process:
    """One process at one moment."""

    pid: int
    parent: int
    kind: Kind
    tag: str
    """A worker's own; empty for others."""


def find_processes(but: Container[int] = ()) -> Mapping[int, Process]:
    """The processes on this test's own slots, by number; those of some numbers are not looked at."""
    found = {process.pid: process for process in _find(but)}
    for process in list(found.values()):
        parent = found.get(process.parent)
        # It looks like what it was forked from until it has a tag or a program of its own.
        if parent and parent.kind is process.kind and process.kind in (Kind.SCHEDULER, Kind.PRELOADER):
            found[process.pid] = replace(process, kind=Kind.NEWBORN)
    return found


def numbers() -> Iterator[int]:
    """The numbers of all processes."""
    return map(int, filter(str.isdecimal, os.listdir("/proc")))  # noqa: PTH208 - many times a second


def _find(but: Container[int]) -> Iterator[Process]:
    mark = f"{DIRECTORY_VARIABLE}={os.environ[DIRECTORY_VARIABLE]}".encode()
    for pid in numbers():
        # A process may end at any moment, or belong to someone else.
        with suppress(OSError):
            if pid not in but:
                environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
                if mark in environment and (process := _read(pid, environment)):
                    yield process


def _read(pid: int, environment: Sequence[bytes]) -> Process | None:
    command = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    # Behind the name in parentheses: state, parent, see proc_pid_stat(5).
    parent = int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].split()[1])
    tag = next((entry.removeprefix(_TAG).decode() for entry in environment if entry.startswith(_TAG)), "")
    # A preloader's is all zeros.
    own_tag = tag if tag.strip("0") else ""
    kind = _kind_of(command, is_tagged=bool(own_tag))
    return Process(pid, parent, kind, own_tag) if kind else None


def _kind_of(command: Sequence[str], *, is_tagged: bool) -> Kind | None:
    if "tests.faults.chaos.client" in command:
        return Kind.CLIENT
    # A forked worker has its preloader's command line, and a tag of its own.
    if is_tagged:
        return Kind.WORKER
    if "tui_datasize.jobs.workers.preloader" in command:
        return Kind.PRELOADER
    return Kind.SCHEDULER if "tui_datasize.jobs.scheduler.main" in command else None

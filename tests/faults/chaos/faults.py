"""Kills and stops of a queue's processes, and what is waited for between two of them."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable, Container, Mapping
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

from tests.faults.chaos.plan import Report
from tests.faults.chaos.processes import Kind, Process, find_processes, numbers
from tui_datasize.jobs.client import QueueClient
from tui_datasize.runlog.claim import utc_now

LOG = "faults.log"
"""What was done to which process, and when, in the project's directory."""
TICK_S = 0.01
_PAUSE_S = 1.0
_REQUEST_S = 1.0
"""How long a stopped preloader may take to be asked for a worker."""
_FORK_S = 0.2
"""How long a preloader may take to fork a worker."""
_GIVEN_UP = 0.7
"""Share of the workers that come when they have been given up."""
_TAKE_OVER_S = 6.0
"""The longest that another scheduler is waited for."""


class Faults:
    """Whoever kills and stops processes.

    Args:
        client: Tells whether a scheduler is at work.
        generator: Decides whom it hits.
        report: Where it counts.
        root: The project's directory.
    """

    def __init__(self, client: QueueClient, generator: random.Random, report: Report, root: Path) -> None:
        self.pace = 1.0
        """How much slower this machine is now than an idle one."""
        self._client = client
        self._random = generator
        self._report = report
        self._queue = client.project.queue
        self._processes: Mapping[int, Process] = {}
        self._strangers = frozenset(numbers())
        """Processes that were there before, which take long to look at many times a second."""
        self._paused: dict[int, float] = {}
        """When to let a stopped process go on, on the monotonic clock, by its number."""
        self._awaited: set[int] = set()
        """Those of them that a worker is to come of, and that nobody else kills until then."""
        self._later: list[tuple[float, Callable[[], bool]]] = []
        """What is done from a certain time on as soon as it can be, on the monotonic clock."""
        self._log = os.open(root / LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)

    def end(self) -> None:
        """Let everything go on that is stopped."""
        self._let_go_on(float("inf"))
        self._later.clear()

    def forget(self) -> None:
        """Everything that ran has ended at once."""
        self._processes = {}
        self._paused.clear()
        self._awaited.clear()
        self._later.clear()

    def close(self) -> None:
        """End, and note no more."""
        self.end()
        os.close(self._log)

    def look(self) -> None:
        """See which processes there are, and do what is due to those that faults are under way with."""
        now_s = time.monotonic()
        self._let_go_on(now_s)
        self._processes = find_processes(but=self._strangers)
        due, self._later = self._later, []
        self._later += [entry for entry in due if now_s < entry[0] or not entry[1]()]

    def has(self, kind: Kind) -> bool:
        """Whether there was a process of a kind at the last look."""
        return any(process.kind is kind for process in self._processes.values())

    def kill(self, kind: Kind) -> bool:
        """Kill one process of a kind; False where there is none."""
        return self._kill(self.choose(kind, among=self._processes.keys() - self._awaited))

    def pause(self, kind: Kind) -> bool:
        """Stop a process, as a machine does that swaps or hangs; others act meanwhile."""
        return self._stop(self.choose(kind), self._random.uniform(0.05, _PAUSE_S))

    def strand(self) -> bool:
        """Stop a preloader, kill its scheduler once that waits for a worker of it; another takes over."""
        preloader, newest = self._busy_preloader(), self._newest_attempt()
        return self._orphan(preloader, preloader, lambda: self._unfollowed(since=newest))

    def strand_newborn(self) -> bool:
        """Stop a worker before it can be known as one, and kill its scheduler; another takes over."""
        preloader = self._busy_preloader()
        return self._orphan(preloader, preloader and _await_fork(preloader), self._unfollowed)

    def _busy_preloader(self) -> Process | None:
        """One that has a worker now, and so will be asked for the next one as soon as that has ended."""
        parents = {process.parent for process in self._processes.values() if process.kind is Kind.WORKER}
        return self.choose(Kind.PRELOADER, among=parents)

    def _orphan(
        self, preloader: Process | None, process: Process | None, asked_for: Callable[[], set[str]]
    ) -> bool:
        """Stop a process that is to bring a worker about, and have its scheduler's successor act meanwhile.

        Args:
            preloader: Tells which scheduler that is.
            process: The preloader itself, or what it has forked.
            asked_for: Tags of the workers that are still to come of it.
        """
        if not preloader or not process or not self._stop(process, self.pace * _TAKE_OVER_S):
            return False
        self._awaited.add(process.pid)
        kill_at_s = time.monotonic() + self.pace * _REQUEST_S

        def take_over() -> bool:
            tags = asked_for()
            if not tags and time.monotonic() < kill_at_s:
                return False
            self._kill(self._processes.get(preloader.parent))
            # Either it comes while its successor begins to look, or once that has given it up.
            is_given_up = self._random.random() < _GIVEN_UP
            go_on = partial(self._go_on_soon, process.pid, tags if is_given_up else set())
            self._later.append((time.monotonic() + 5 * TICK_S, go_on))
            return True

        self._later.append((time.monotonic() + TICK_S, take_over))
        return True

    def _go_on_soon(self, pid: int, tags: set[str]) -> bool:
        """Let a stopped process go on a moment after another scheduler has taken its workers back."""
        if pid in self._paused:
            if not self._client.scheduler_alive() or self._open_tags() & tags:
                return False
            self._paused[pid] = time.monotonic() + self.pace * self._random.uniform(0, _PAUSE_S / 2)
            self._report.late += bool(tags)
        return True

    def _newest_attempt(self) -> int:
        ((newest,),) = self._read("SELECT coalesce(max(rowid), 0) FROM attempts") or [(0,)]
        return int(newest)

    def _open_tags(self, since: int = 0) -> set[str]:
        """Tags of workers that the queue counts on, of those asked for after some attempt."""
        return {
            tag for (tag,) in self._read("SELECT tag FROM attempts WHERE outcome = '' AND rowid > ?", since)
        }

    def _read(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """What the queue says; nothing on a full disk."""
        with suppress(sqlite3.Error), closing(sqlite3.connect(self._queue)) as connection:
            return connection.execute(statement, values).fetchall()
        return []

    def _unfollowed(self, since: int = 0) -> set[str]:
        """Those of them whose tag nobody carries."""
        return self._open_tags(since) - {process.tag for process in self._processes.values()}

    def _kill(self, process: Process | None) -> bool:
        if process is None:
            return False
        self._signal(process.pid, signal.SIGKILL, process.kind)
        self._report.kills[process.kind] += 1
        return True

    def _stop(self, process: Process | None, lasts_s: float) -> bool:
        if process is None or process.pid in self._paused:
            return False
        self._signal(process.pid, signal.SIGSTOP, process.kind)
        self._report.pauses[process.kind] += 1
        self._paused[process.pid] = time.monotonic() + lasts_s
        return True

    def _let_go_on(self, now_s: float) -> None:
        for pid in [pid for pid, until_s in self._paused.items() if until_s <= now_s]:
            del self._paused[pid]
            self._awaited.discard(pid)
            self._signal(pid, signal.SIGCONT, "")

    def _signal(self, pid: int, number: signal.Signals, kind: str) -> None:
        os.write(self._log, f"{utc_now()} {number.name} {kind} {pid}\n".encode())
        # It may have ended since it was found.
        with suppress(ProcessLookupError):
            os.kill(pid, number)

    def choose(self, kind: Kind, among: Container[int] | None = None) -> Process | None:
        """One process of a kind, as of the last look; None where there is none."""
        found = [
            process
            for pid, process in sorted(self._processes.items())
            if process.kind is kind and (among is None or pid in among)
        ]
        return self._random.choice(found) if found else None


def _await_fork(preloader: Process) -> Process | None:
    """The next worker that a preloader forks, a fraction of a millisecond old; None where none comes soon."""
    file = Path(f"/proc/{preloader.pid}/task/{preloader.pid}/children")
    with suppress(OSError):
        before = set(file.read_text().split())
        deadline_s = time.monotonic() + _FORK_S
        while time.monotonic() < deadline_s:
            for pid in set(file.read_text().split()) - before:
                return Process(int(pid), preloader.pid, Kind.NEWBORN, "")
    return None

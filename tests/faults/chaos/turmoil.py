"""Schedulers, workers, preloaders and clients at work, and someone who kills and stops them at random."""

from __future__ import annotations

import os
import random
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Literal

from tests.faults.chaos.client import EXPERIMENT, spec_of
from tests.faults.chaos.findings import find_violations, read_commands, read_notes
from tests.faults.chaos.worker import WITHOUT_CLAIM
from tests.faults.lab import Lab
from tui_datasize.errors import StorageError
from tui_datasize.jobs.commands import CommandKind
from tui_datasize.jobs.slots import DIRECTORY_VARIABLE
from tui_datasize.jobs.state import Job, JobState
from tui_datasize.runlog.claim import TAG_VARIABLE

_WORKER = shlex.join([sys.executable, "-P", "-m", "tests.faults.chaos.worker"])
_CALL = "tests.faults.chaos.worker:main"
_TAG = f"{TAG_VARIABLE}=".encode()
_CLIENTS = 2
_PAUSE_S = 1.0
_TAKE_OVER_S = 6.0
"""The longest that another scheduler is waited for."""
_SETTLE_S = 120.0
_START_S = 0.5
"""What a scheduler takes to begin on an idle machine."""
_SLOWEST = 4.0
_TICK_S = 0.01
_COUNT_INTERVAL_S = 0.5


class Kind(StrEnum):
    """What a process is to the queue."""

    SCHEDULER = "scheduler"
    PRELOADER = "preloader"
    WORKER = "worker"
    CLIENT = "client"


@dataclass(frozen=True, slots=True)
class Plan:
    """One bounded round of faults."""

    seed: int
    jobs: int = 300
    limit_s: float = 20.0
    """Seconds after which the faults end, however many jobs are left; longer on a busy machine."""
    claim: bool = True
    """False for workers that are broken on purpose: they claim nothing."""
    packs: Literal["off", "always", "mixed"] = "off"
    """Which schedulers let runs share workers: none, all, or the first and most of the later ones."""


@dataclass(slots=True)
class Report:
    """What happened, and what should not have."""

    seed: int
    kills: Counter[str] = field(default_factory=Counter)
    pauses: Counter[str] = field(default_factory=Counter)
    duration_s: float = 0.0
    states: Mapping[str, int] = field(default_factory=dict)
    commands: int = 0
    executions: int = 0
    packs: int = 0
    """Workers that were started for several runs."""
    violations: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        killed = ", ".join(f"{count} {kind}s" for kind, count in sorted(self.kills.items()))
        states = ", ".join(f"{count} {state}" for state, count in sorted(self.states.items()))
        return (
            f"seed {self.seed}: {self.duration_s:.0f} s, killed {killed or 'nothing'}, "
            f"stopped {self.pauses.total()} for a while; {self.commands} acknowledged commands, "
            f"{self.executions} executions, {self.packs} packs; {states}; {len(self.violations)} violations"
        )


class Turmoil:
    """One project under faults.

    Args:
        plan: What to do.
        root: An empty directory for the project.
    """

    def __init__(self, plan: Plan, root: Path) -> None:
        self.report = Report(plan.seed)
        self._plan = plan
        self._random = random.Random(plan.seed)
        self._notes = root / "acknowledged.jsonl"
        self._client_log = root / "clients.log"
        self._lab = Lab(root, options=("--worker", _WORKER, "--call", _CALL))
        self._clients: list[subprocess.Popen[bytes]] = []
        self._processes: Mapping[Kind, list[int]] = {}
        self._paused: dict[int, float] = {}
        """When to let a stopped process go on, on the monotonic clock, by its number."""
        self._actions: Mapping[Callable[[], bool], float] = {
            partial(self._kill, Kind.WORKER): 0.2,
            partial(self._kill, Kind.SCHEDULER): 2.0,
            self._strand: 2.5,
            partial(self._kill, Kind.PRELOADER): 2.5,
            partial(self._kill, Kind.CLIENT): 1.5,
            partial(self._pause, Kind.WORKER): 2.0,
            partial(self._pause, Kind.PRELOADER): 4.0,
            partial(self._pause, Kind.SCHEDULER): 4.0,
            self._start_rival: 2.0,
            self._undrain: 3.0,
        }
        """What is done at random moments, with the mean time between two of them in seconds."""
        self._pace = 1.0
        """How much slower this machine is now than an idle one."""
        self._later: list[tuple[float, Callable[[], bool]]] = []
        """What is done at a certain time, on the monotonic clock."""
        if not plan.claim:
            os.environ[WITHOUT_CLAIM] = "1"

    def run(self) -> Report:
        """Let everything happen, then wait until nothing is left to do, and look."""
        started_s = time.monotonic()
        try:
            self._lab.start_scheduler("--packs", "off" if self._plan.packs == "off" else "always")
            self._pace = min(max(1.0, (time.monotonic() - started_s) / _START_S), _SLOWEST)
            self._disturb(time.monotonic() + self._pace * self._plan.limit_s)
            self._settle()
            self.report.violations.extend(self._look())
        except AssertionError as error:
            self.report.violations.append(str(error))
        finally:
            os.environ.pop(WITHOUT_CLAIM, None)
            self._let_go_on(float("inf"))
            self._lab.close()
        self._count()
        self.report.duration_s = time.monotonic() - started_s
        return self.report

    def _look(self) -> Iterator[str]:
        project = self._lab.project
        logs = (project.scheduler_log, self._client_log)
        return find_violations(self._lab.client.jobs(), project, self._notes, logs)

    def _disturb(self, until_s: float) -> None:
        """Do random things until most of the jobs are done or the time is up."""
        due_s = {action: self._next_s(mean_s) for action, mean_s in self._actions.items()}
        count_at_s = 0.0
        while (now_s := time.monotonic()) < until_s:
            if now_s >= count_at_s:
                if self._unfinished() <= self._plan.jobs // 10:
                    break
                count_at_s = now_s + _COUNT_INTERVAL_S
            self._keep_clients()
            self._let_go_on(now_s)
            self._processes = find_processes()
            self._keep_scheduler()
            due, self._later = self._later, []
            self._later += [entry for entry in due if now_s < entry[0] or not entry[1]()]
            for action in [action for action, at_s in due_s.items() if now_s >= at_s]:
                # What finds nobody to act on stays due.
                if action():
                    due_s[action] = self._next_s(self._actions[action])
            time.sleep(_TICK_S)

    def _next_s(self, mean_s: float) -> float:
        return time.monotonic() + self._pace * self._random.expovariate(1 / mean_s)

    def _unfinished(self) -> int:
        """Jobs of the plan that are not done, those included that nobody has queued yet."""
        counts = self._lab.client.counts()
        done = sum(counts[state] for state in JobState if state.is_final or state is JobState.HELD)
        return self._plan.jobs - done

    def _keep_clients(self) -> None:
        self._clients = [client for client in self._clients if client.poll() is None]
        while len(self._clients) < _CLIENTS:
            command = [sys.executable, "-P", "-m", "tests.faults.chaos.client"]
            options = {
                "--project": self._lab.project.root,
                "--jobs": self._plan.jobs,
                "--seed": self._random.getrandbits(32),
                "--notes": self._notes,
                "--scheduler": shlex.join([*self._lab.options, *self._ways()]),
            }
            arguments = [f"{name}={value}" for name, value in options.items()]
            with self._client_log.open("ab") as log:
                self._clients.append(subprocess.Popen([*command, *arguments], stdout=log, stderr=log))

    def _ways(self) -> tuple[str, ...]:
        """How a scheduler starts workers: warm or cold, and with several runs each or with one."""
        mixed = self._random.choice(("always", "always", "off"))
        packs = mixed if self._plan.packs == "mixed" else self._plan.packs
        return ("--packs", packs, *self._random.choice(((), (), ("--cold",))))

    def _strand(self) -> bool:
        """Kill a scheduler that may have asked a stopped preloader for a worker; another takes over."""
        pid = self._choose(Kind.PRELOADER)
        if pid is None:
            return False
        self._signal(pid, signal.SIGSTOP)
        self.report.pauses[Kind.PRELOADER] += 1
        self._paused[pid] = time.monotonic() + self._pace * _TAKE_OVER_S
        self._later.append((time.monotonic() + _TICK_S, partial(self._take_over_from, pid)))
        return True

    def _take_over_from(self, pid: int) -> bool:
        """Kill the scheduler once it waits for a worker of the stopped preloader, or none is to come."""
        if pid in self._paused and not self._lab.client.counts()[JobState.STARTING]:
            return False
        self._kill(Kind.SCHEDULER)
        at_s = time.monotonic() + 5 * _TICK_S
        self._later.append((at_s, partial(self._go_on_soon, pid)))
        return True

    def _go_on_soon(self, pid: int) -> bool:
        """Let a stopped process go on a moment after another scheduler has taken over."""
        if pid in self._paused and not self._lab.client.scheduler_alive():
            return False
        self._paused[pid] = time.monotonic() + self._pace * self._random.uniform(0, _PAUSE_S)
        return True

    def _keep_scheduler(self) -> None:
        if not self._processes.get(Kind.SCHEDULER):
            self._start_rival()

    def _start_rival(self) -> bool:
        if self._lab.project.queue.exists():
            self._lab.spawn_scheduler(*self._ways())
        return True

    def _undrain(self) -> bool:
        """Let the queue go on, which a client may have drained that was killed then."""
        if self._lab.project.queue.exists():
            # A process that was stopped in the middle of a transaction may have the database.
            with suppress(StorageError):
                self._lab.client.drain(False)
        return True

    def _kill(self, kind: Kind) -> bool:
        """Kill one process of a kind; False where there is none."""
        pid = self._choose(kind)
        if pid is None:
            return False
        self._signal(pid, signal.SIGKILL)
        self.report.kills[kind] += 1
        return True

    def _pause(self, kind: Kind) -> bool:
        """Stop a process, as a machine does that swaps or hangs; others act meanwhile."""
        pid = self._choose(kind)
        if pid is None:
            return False
        self._signal(pid, signal.SIGSTOP)
        self.report.pauses[kind] += 1
        self._paused[pid] = time.monotonic() + self._random.uniform(0.05, _PAUSE_S)
        return True

    def _let_go_on(self, now_s: float) -> None:
        for pid in [pid for pid, until_s in self._paused.items() if until_s <= now_s]:
            del self._paused[pid]
            self._signal(pid, signal.SIGCONT)

    def _signal(self, pid: int, number: signal.Signals) -> None:
        # It may have ended since it was found.
        with suppress(ProcessLookupError):
            os.kill(pid, number)

    def _choose(self, kind: Kind) -> int | None:
        found = sorted(self._processes.get(kind, ()))
        return self._random.choice(found) if found else None

    def _settle(self) -> None:
        """No more faults: queue what nobody has queued, retry what failed, and wait for the end."""
        for process in self._clients:
            self._lab.kill(process)
        self._let_go_on(float("inf"))
        client = self._lab.client
        known = {job.run_id for job in client.jobs()}
        missing = [spec for spec in map(spec_of, range(self._plan.jobs)) if spec.run_id not in known]
        client.enqueue(missing)
        client.drain(False)
        deadline_s = time.monotonic() + _SETTLE_S
        while not self._is_settled():
            assert time.monotonic() < deadline_s, f"did not come to rest: {self._lab.states()}"
            with suppress(StorageError):
                client.ensure_scheduler()
            for kind, run_ids in what_to_ask(client.jobs()).items():
                client.wait(client.send(kind, run_ids), timeout_s=5)
            time.sleep(0.1)
        client.stop_scheduler()
        self._lab.wait(lambda: not find_processes())

    def _is_settled(self) -> bool:
        at_rest = (JobState.SUCCEEDED, JobState.CANCELLED, JobState.HELD)
        pending = [c for c in read_commands(self._lab.project.queue).values() if not c.is_applied]
        return not pending and all(job.state in at_rest for job in self._lab.client.jobs())

    def _count(self) -> None:
        notes = read_notes(self._notes)
        self.report.commands = sum(len(note["command_ids"]) for note in notes)
        with suppress(StorageError):
            self.report.states = {state: count for state, count in self._lab.client.counts().items() if count}
        with closing(sqlite3.connect(self._lab.project.queue)) as connection:
            packs = connection.execute("SELECT tag FROM attempts GROUP BY tag HAVING count(*) > 1")
            self.report.packs = len(packs.fetchall())
        directory = self._lab.project.runs / EXPERIMENT
        self.report.executions = sum(
            file.read_bytes().count(b'"begin"') for file in directory.rglob("executions.jsonl")
        )


def what_to_ask(jobs: Sequence[Job]) -> Mapping[CommandKind, list[str]]:
    """What brings a queue to rest: a retry of what failed, and of what it waits for; no held sources."""
    by_id = {job.run_id: job for job in jobs}
    failed = [job.run_id for job in jobs if job.state is JobState.FAILED]
    for run_id in failed:
        failed += [
            source
            for source in by_id[run_id].after
            if by_id[source].state in (JobState.FAILED, JobState.CANCELLED) and source not in failed
        ]
    sources = {source for job in jobs for source in job.waits_for}
    held = [source for source in sources if by_id[source].state is JobState.HELD]
    return {CommandKind.RETRY: failed, CommandKind.RELEASE: held}


def find_processes() -> Mapping[Kind, list[int]]:
    """The processes on this test's own slots, by what they are to the queue."""
    found: dict[Kind, list[int]] = defaultdict(list)
    mark = f"{DIRECTORY_VARIABLE}={os.environ[DIRECTORY_VARIABLE]}".encode()
    for name in filter(str.isdecimal, os.listdir("/proc")):  # noqa: PTH208 - many times a second
        # A process may end at any moment, or belong to someone else.
        with suppress(OSError):
            environment = Path(f"/proc/{name}/environ").read_bytes().split(b"\0")
            if mark in environment:
                command = Path(f"/proc/{name}/cmdline").read_bytes().decode().split("\0")
                if kind := _kind_of(command, environment):
                    found[kind].append(int(name))
    return found


def _kind_of(command: Sequence[str], environment: Sequence[bytes]) -> Kind | None:
    if "tests.faults.chaos.client" in command:
        return Kind.CLIENT
    tag = next((entry for entry in environment if entry.startswith(_TAG)), _TAG)
    # A forked worker has its preloader's command line, and a tag of its own.
    if tag.removeprefix(_TAG).strip(b"0"):
        return Kind.WORKER
    if "tui_datasize.jobs.preloader" in command:
        return Kind.PRELOADER
    return Kind.SCHEDULER if "tui_datasize.jobs.scheduler" in command else None

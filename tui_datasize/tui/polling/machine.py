"""What the machine does now and did in the last minutes, and which processes take it."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tui_datasize.jobs.queue.state import Job
from tui_datasize.jobs.scheduler.device_history import DeviceHistory, Sample, merged, read_history
from tui_datasize.jobs.scheduler.devices import DeviceReport
from tui_datasize.jobs.workers.process import describe_process
from tui_datasize.runlog.claim import read_claim
from tui_datasize.runlog.paths import ProjectPaths

_LEAST_PERCENT = 20.0
"""Of one core, from which on a process of others is named."""
_MOST_OTHERS = 5
_SESSION, _USER_TICKS, _RESIDENT_PAGES = 3, 11, 21
"""Positions in `/proc/PID/stat` behind the command's closing bracket, see proc_pid_stat(5)."""


@dataclass(frozen=True, slots=True)
class ProcessUse:
    """What a worker and its helpers take, or a process of others."""

    name: str
    """The runs that it trains, or program, number and user."""
    is_ours: bool
    devices: tuple[str, ...]
    """UUIDs of GPUs, or `cpu`."""
    cpu_percent: float | None
    """Of one core; None until it was seen twice."""
    memory_bytes: int
    gpu_bytes: int | None
    """None where the driver does not tell, or there is none."""


@dataclass(frozen=True, slots=True)
class Machine:
    """One look."""

    samples: tuple[Sample, ...] = ()
    """Of the last minutes, oldest first."""
    processes: tuple[ProcessUse, ...] = ()
    """Ours in the order of the queue, then those of others, the busiest first."""
    memory_bytes: int = 0
    """That the machine has."""


@dataclass(frozen=True, slots=True)
class _Running:
    session: int
    ticks: int
    memory_bytes: int


@dataclass(eq=False)
class MachineWatch:
    """Keeps what was seen since it was made, and reads what the scheduler has kept."""

    _project: ProjectPaths
    _history: DeviceHistory = field(default_factory=DeviceHistory)
    _seen: tuple[float, Mapping[int, _Running]] = field(default_factory=lambda: (time.monotonic(), {}))

    def note(self, report: DeviceReport) -> None:
        """Take a sample where it is time for one."""
        self._history.note(report)

    def look(self, report: DeviceReport | None, jobs: Iterable[Job]) -> Machine:
        """All there is to show; `jobs` are those at work."""
        filed = read_history(self._project.device_history, time.time())
        before_s, before = self._seen
        self._seen = now_s, running = time.monotonic(), dict(_running())
        shares = {
            pid: 100 * (one.ticks - before[pid].ticks) / os.sysconf("SC_CLK_TCK") / max(now_s - before_s, 0.1)
            for pid, one in running.items()
            if pid in before and before[pid].session == one.session
        }
        workers = self._workers(jobs)
        processes = (*_ours(workers, running, shares, report), *_others(workers, running, shares, report))
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return Machine(merged(filed, self._history.samples), processes, total)

    def _workers(self, jobs: Iterable[Job]) -> Mapping[int, list[Job]]:
        """The jobs of each worker of this machine that is alive, by its number."""
        workers: defaultdict[int, list[Job]] = defaultdict(list)
        for job in jobs:
            with suppress(OSError):
                claim = read_claim(self._project.run(job.experiment, job.run_id))
                if claim and claim.process.is_alive():
                    workers[claim.process.pid].append(job)
        return workers


def _running() -> Iterator[tuple[int, _Running]]:
    page = os.sysconf("SC_PAGE_SIZE")
    for entry in Path("/proc").glob("[0-9]*/stat"):
        # A process may end at any moment.
        with suppress(OSError, ValueError, IndexError):
            text = entry.read_bytes()
            fields = text[text.rindex(b")") + 1 :].split()
            ticks = int(fields[_USER_TICKS]) + int(fields[_USER_TICKS + 1])
            memory = int(fields[_RESIDENT_PAGES]) * page
            yield int(entry.parent.name), _Running(int(fields[_SESSION]), ticks, memory)


def _ours(
    workers: Mapping[int, list[Job]],
    running: Mapping[int, _Running],
    shares: Mapping[int, float],
    report: DeviceReport | None,
) -> Iterator[ProcessUse]:
    on_gpus = _on_gpus(report)
    for pid, jobs in workers.items():
        # A worker leads a session of its own, in which its helpers are.
        own = [number for number, one in running.items() if one.session == pid]
        known = [shares[number] for number in own if number in shares]
        memory = sum(running[number].memory_bytes for number in own)
        name = jobs[0].run_id if len(jobs) == 1 else f"{jobs[0].run_id} and {len(jobs) - 1} more"
        devices, gpus = tuple(dict.fromkeys(job.device for job in jobs)), on_gpus.get(pid, {})
        yield ProcessUse(name, True, devices, sum(known) if known else None, memory, _sum(gpus))


def _others(
    workers: Mapping[int, list[Job]],
    running: Mapping[int, _Running],
    shares: Mapping[int, float],
    report: DeviceReport | None,
) -> Iterator[ProcessUse]:
    on_gpus = _on_gpus(report)
    busy = {pid for pid, share in shares.items() if share >= _LEAST_PERCENT} | on_gpus.keys()
    ours = {pid for pid, one in running.items() if one.session in workers} | workers.keys() | {os.getpid()}
    found = sorted(busy - ours, key=lambda pid: (pid in on_gpus, shares.get(pid, 0.0)), reverse=True)
    for pid in found[: _MOST_OTHERS + len(on_gpus)]:
        memory = running[pid].memory_bytes if pid in running else 0
        gpus = on_gpus.get(pid, {})
        yield ProcessUse(describe_process(pid), False, tuple(gpus), shares.get(pid), memory, _sum(gpus))


def _on_gpus(report: DeviceReport | None) -> Mapping[int, Mapping[str, int | None]]:
    """By process that computes, the bytes that it has of each GPU."""
    found: defaultdict[int, dict[str, int | None]] = defaultdict(dict)
    for gpu in report.gpus if report else ():
        for process in gpu.processes:
            if process.computes:
                found[process.pid][gpu.uuid] = process.used_bytes
    return found


def _sum(parts: Mapping[str, int | None]) -> int | None:
    known = [part for part in parts.values() if part is not None]
    return sum(known) if known else None

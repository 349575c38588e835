"""What the queue costs with many jobs in it: queueing, asking, placing, and waiting.

`python -m benchmarks.scheduler [--jobs 10000] [--placements 200] [--rest-s 60] [--repeats 5] [--packs]`
fills a queue in a temporary directory and prints a table. "Placement" is everything from a free slot to the
request for a worker: reading the queue, deciding, writing `spec.json`, two commits to disk. "At rest"
is a real scheduler whose slots are all taken by workers that wait, its share of one core from
/proc/PID/stat; the preloader's beside it.
"""

from __future__ import annotations

import argparse
import os
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from statistics import median, quantiles
from types import MappingProxyType
from typing import cast
from unittest.mock import patch

from tests.stand_ins import FakeSpawner
from tui_datasize.experiments.device_settings import DeviceSettings, Packs
from tui_datasize.experiments.spec import Budget, ModelSpec, RunSpec
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.jobs.queue.store import Store
from tui_datasize.jobs.scheduler.apply_commands import CommandApplier
from tui_datasize.jobs.scheduler.devices import VISIBLE_VARIABLE
from tui_datasize.jobs.scheduler.dispatch import Dispatcher
from tui_datasize.jobs.scheduler.main import (
    DatabaseTrouble,
    Scheduler,
    SchedulerLock,
    SchedulerSettings,
    SchedulerStop,
)
from tui_datasize.jobs.workers.spawn import SpawnRequest, Worker
from tui_datasize.jobs.workers.warm import Spawner
from tui_datasize.runlog.claim import ATTEMPT_VARIABLE, RunOutcome, conclude
from tui_datasize.runlog.paths import ProjectPaths

SLOTS = 2
DEADLINE_S = 300.0
_REPOSITORY = Path(__file__).parents[1]


def main() -> None:
    """Measure and print the table."""
    arguments = _parser().parse_args()
    print(f"{arguments.jobs} jobs, load {os.getloadavg()[0]:.1f} before", flush=True)
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        os.environ |= {
            "DATASIZE_SLOTS_DIR": str(root / "slots"),
            VISIBLE_VARIABLE: "",
            "PYTHONPATH": str(_REPOSITORY),
        }
        # An installed program has its bytecode.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        project = ProjectPaths(root / "project")
        project.root.mkdir()
        specs = [_spec(seed, root / "gate") for seed in range(arguments.jobs)]
        _measure_after(ProjectPaths(root / "after"), root / "gate")
        _measure_queueing(project, specs)
        _measure_rest(project, arguments.rest_s, root / "gate", arguments.repeats)
        _measure_placement(project, arguments.placements, "always" if arguments.packs else "off")
    print(f"load {os.getloadavg()[0]:.1f} after")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scheduler")
    parser.add_argument("--jobs", type=int, default=10_000, help="jobs in the queue")
    parser.add_argument("--placements", type=int, default=200, help="jobs to start")
    parser.add_argument("--rest-s", type=float, default=60.0, help="seconds to watch the scheduler at rest")
    parser.add_argument("--packs", action="store_true", help="jobs are placed as packs of up to 8")
    parser.add_argument("--repeats", type=int, default=5, help="calls of each command")
    return parser


def _spec(seed: int, gate: Path) -> RunSpec:
    """A run for the torch-free worker of the tests, which waits for the gate."""
    return RunSpec(
        experiment="bench",
        dataset="digits",
        model=ModelSpec("mlp", MappingProxyType({"gate": str(gate)})),
        train_size=40,
        seed=seed,
        budget=Budget("updates", 1),
    )


def _report(what: str, goal: str, *measured: str) -> None:
    print(f"{what:44} {goal:>10}   {', '.join(measured)}", flush=True)


def _timed(call: Callable[[], object]) -> float:
    started_s = time.perf_counter()
    call()
    return time.perf_counter() - started_s


def _measure_after(project: ProjectPaths, gate: Path) -> None:
    """600 runs behind 600 others, of which 20 then succeed; in processor time of this process alone."""
    project.root.mkdir()
    client, specs = QueueClient(project), [_spec(seed, gate) for seed in range(1200)]
    first, second = specs[:600], specs[600:]
    before = [spec.run_id for spec in first]

    def apply() -> None:
        while CommandApplier(store, project).apply_pending():
            pass

    def succeed() -> None:
        with store.transaction():
            for run_id in before[:20]:
                for state in (JobState.STARTING, JobState.RUNNING, JobState.SUCCEEDED):
                    store.change(run_id, state)

    client.enqueue(first)
    with closing(Store(project.queue)) as store:
        apply()
        steps = (
            (lambda: client.enqueue(second, after=dict.fromkeys([s.run_id for s in second], before))),
            apply,
            succeed,
        )
        spent = []
        for step in steps:
            begun_s = time.process_time()
            step()
            spent.append(time.process_time() - begun_s)
    _report("600 runs after 600: asked, applied", "< 1 s", *(f"{one:.2f} s" for one in spent[:2]))
    _report("20 of the 600 start, run, succeed", "", f"{spent[2]:.2f} s")


def _measure_queueing(project: ProjectPaths, specs: Sequence[RunSpec]) -> None:
    client = QueueClient(project)
    _report("queueing, until acknowledged", "< 5 s", f"{_timed(lambda: client.enqueue(specs)):.2f} s")
    again_s = _timed(lambda: client.enqueue(specs))
    _report("queueing again, before it is applied", "", f"{again_s:.2f} s")


def _measure_rest(project: ProjectPaths, rest_s: float, gate: Path, repeats: int) -> None:
    worker = shlex.join([sys.executable, "-P", "-m", "tests.faults.fake_worker"])
    options = ("--call", "tests.faults.fake_worker:main", "--preload", "", "--cpu", "--cpu-slots", str(SLOTS))
    command = (sys.executable, "-P", "-m", "tui_datasize.jobs.scheduler.main", "--project", str(project.root))
    client = QueueClient(project)
    started_s = time.perf_counter()
    with project.scheduler_log.open("ab") as log:
        scheduler = subprocess.Popen([*command, "--worker", worker, *options], stderr=log)
    try:
        _wait_until(lambda: sum(job.state.is_active for job in client.jobs()) == SLOTS)
        _report("a new scheduler, until its slots are taken", "", f"{time.perf_counter() - started_s:.2f} s")
        _wait_until(lambda: _is_applied(client))
        time.sleep(2)
        processes = {"scheduler": scheduler.pid, "preloader": _children(scheduler.pid)[0]}
        before = {name: _cpu_s(pid) for name, pid in processes.items()}
        time.sleep(rest_s)
        shares = {name: (_cpu_s(pid) - before[name]) / rest_s for name, pid in processes.items()}
        shown = [f"{name} {100 * share:.2f} %" for name, share in shares.items()]
        _report(f"at rest for {rest_s:.0f} s, of one core", "< 2 %", *shown)
        _measure_asking(project, repeats)
    finally:
        gate.touch()
        scheduler.terminate()
        scheduler.wait()
    _wait_until(lambda: not gate.exists() or not client.scheduler_alive())


def _is_applied(client: QueueClient) -> bool:
    """Whether the scheduler has taken in all that was queued: a further request is answered after it."""
    answer = client.send("priority", [client.jobs()[-1].run_id], 0)  # type: ignore[arg-type]
    return client.wait(answer, DEADLINE_S) is not None


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _cpu_s(pid: int) -> float:
    """User and system time of a process, proc_pid_stat(5) fields 14 and 15."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > deadline:
            sys.exit("the queue took too long")
        time.sleep(0.05)


def _measure_asking(project: ProjectPaths, repeats: int) -> None:
    client = QueueClient(project)
    _report("all jobs, in this process", "", _seconds([_timed(client.jobs) for _ in range(repeats)]))
    for name, options in (("status --json", ["--json"]), ("status", [])):
        command = [sys.executable, "-m", "tui_datasize", "status", *options, "--project", str(project.root)]
        goal = "< 0.3 s" if options else ""
        _report(f"datasize-tui {name}, of CPU", goal, _seconds([_spent_s(command) for _ in range(repeats)]))


def _spent_s(command: Sequence[str]) -> float:
    """Processor time of a command, which other work on the machine changes less than its duration."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _seconds(times: Sequence[float]) -> str:
    return f"{median(times):.3f} s [{min(times):.3f} {max(times):.3f}]"


class _InstantSpawner(FakeSpawner):
    """Stands for workers that end at once, so that nothing but the scheduler is measured."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.stop = SchedulerStop()
        self._left = most

    def worker_of(self, request: SpawnRequest) -> Worker:
        attempts = map(int, request.environment[ATTEMPT_VARIABLE].split(","))
        for run, attempt in zip(request.runs, attempts, strict=True):
            conclude(run, attempt, RunOutcome.SUCCEEDED, "")
            self._left -= 1
        self.stop.requested = self._left <= 0
        return Worker(status=0, is_gone=True)


def _measure_placement(project: ProjectPaths, placements: int, packs: Packs) -> None:
    settings = SchedulerSettings(project, devices=DeviceSettings(cpu_slots=SLOTS, cpu=True, packs=packs))
    authority = SchedulerLock(project.scheduler_lock)
    if not authority.take():
        sys.exit("another scheduler has the queue")
    spawner = _InstantSpawner(placements)
    scheduler = Scheduler(settings, authority, cast("Spawner", spawner))
    times: list[float] = []
    cpu_times: list[float] = []
    dispatch = Dispatcher.dispatch

    def timed(self: Dispatcher) -> int:
        started_s, cpu_started_s = time.perf_counter(), time.process_time()
        count = dispatch(self)
        if count:
            times.extend([(time.perf_counter() - started_s) / count] * count)
            cpu_times.extend([(time.process_time() - cpu_started_s) / count] * count)
        return count

    with patch.object(Dispatcher, "dispatch", timed):
        whole_s = _timed(lambda: scheduler.run(spawner.stop, DatabaseTrouble(authority)))
    scheduler.close()
    authority.release()
    low, middle, high = (1000 * value for value in quantiles(times, n=4, method="inclusive"))
    spread = f"{middle:.1f} ms [{low:.1f} {high:.1f}], slowest {1000 * max(times):.1f} ms"
    spread += f"; CPU {1000 * median(cpu_times):.1f} ms"
    _report(f"placement, {len(times)} of them", "< 10 ms", spread)
    _report("jobs that end at once, one after the other", "", f"{len(times) / whole_s:.0f} jobs/s")


if __name__ == "__main__":
    main()

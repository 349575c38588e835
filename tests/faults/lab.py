"""A project whose queue can be put through faults: real schedulers and workers, no torch."""

from __future__ import annotations

import itertools
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests.faults.fake_worker import EXECUTIONS
from tests.faults.forked import Scheduler, Server
from tui_datasize.experiments.spec import Budget, ModelSpec, RunSpec
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.queue.requests import Acknowledgement
from tui_datasize.jobs.queue.state import Job, JobState
from tui_datasize.runlog.paths import ProjectPaths, RunPaths

DEADLINE_S = 60.0
_LOOKS_A_READING = 10
WORKER = shlex.join([sys.executable, "-P", "-m", "tests.faults.fake_worker"])
CALL = "tests.faults.fake_worker:main"
PROBE = "tests.faults.fake_worker:probe"
FINAL = frozenset(state for state in JobState if state.is_final)


class Lab:
    """One project, its client and its schedulers."""

    def __init__(
        self, root: Path, options: Sequence[str] = ("--cold",), server: Server | None = None
    ) -> None:
        self.project = ProjectPaths(root)
        self.options = (
            *("--worker", WORKER, "--call", CALL, "--probe", PROBE, "--preload", "", "--idle-s", "60"),
            *("--grace-s", "1", "--pause-s", "0.01", "--cpu", "--cpu-slots", "4", *options),
        )
        self.client = QueueClient(self.project, scheduler_options=self.options)
        self._databases = (self.project.queue, self.project.queue.with_name(f"{self.project.queue.name}-wal"))
        self._server = server
        self._schedulers: list[Scheduler] = []

    def gate(self, name: str = "gate") -> Path:
        """A file that gated runs wait for."""
        return self.project.root / name

    def spec(self, seed: int = 0, **options: Any) -> RunSpec:
        """A run whose worker behaves as `options` say."""
        return RunSpec(
            experiment="lab",
            dataset="digits",
            model=ModelSpec("fake", MappingProxyType(options)),
            train_size=40,
            seed=seed,
            budget=Budget("updates", 1),
        )

    def lanes(self, count: int, **options: Any) -> list[RunSpec]:
        """Runs that may share a worker; each ends with its own gate, see `open_lane`."""
        model = ModelSpec("mlp", MappingProxyType({"gate": str(self.gate("gate{seed}")), **options}))
        return [replace(self.spec(seed), model=model) for seed in range(count)]

    def open_lanes(self, *seeds: int, reason: str = "") -> None:
        """Let those of `lanes` end that have these seeds: with success, or failing for a reason."""
        for seed in seeds:
            written = self.gate("written")
            written.write_text(reason)
            written.rename(self.gate(f"gate{seed}"))

    def enqueue(self, *specs: RunSpec, **options: Any) -> list[RunPaths]:
        """Queue runs and return where they will be."""
        self.client.enqueue(specs, **options)
        return [self.project.run(spec.experiment, spec.run_id) for spec in specs]

    def ask(self, kind: CommandKind, *paths: RunPaths, amount: int = 0) -> list[tuple[bool, str]]:
        """Send a command and return the answers."""
        acknowledgement = self.client.send(kind, [path.run_id for path in paths], amount)
        return self.answers(acknowledgement)

    def answers(self, acknowledgement: Acknowledgement) -> list[tuple[bool, str]]:
        results = self.client.wait(acknowledgement, DEADLINE_S)
        assert results is not None, self.log()
        return [(result.ok, result.message) for result in results]

    def start_scheduler(
        self, *options: str, through: Sequence[str] = (), is_forked: bool = True
    ) -> Scheduler:
        """Start a scheduler that the test can kill, and wait until it has the queue.

        It is forked where the lab has a server; its command line is then the server's. Not where modules of
        `through` change what others import by name.
        """
        if self._server and is_forked:
            process = self.fork_scheduler((*self.options, *options), through)
        else:
            process = self.spawn_scheduler(*options, through=through)
        self.wait(lambda: self.client.scheduler_alive() or process.poll() is not None)
        assert process.poll() is None, self.log()
        return process

    def fork_scheduler(self, options: Sequence[str], through: Sequence[str] = ()) -> Scheduler:
        """Have the lab's server start a scheduler with these options."""
        assert self._server
        self.project.runs.mkdir(exist_ok=True)
        arguments = ["--project", str(self.project.root), *options]
        process = self._server.start(arguments, self.project.root, self.project.scheduler_log, through)
        self._schedulers.append(process)
        return process

    def spawn_scheduler(
        self,
        *options: str,
        through: Sequence[str] = (),
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> Scheduler:
        """Start a scheduler as a program; the modules of `through` run it, each the next."""
        self.project.runs.mkdir(exist_ok=True)
        command = [sys.executable, "-P", "-m", *through, "tui_datasize.jobs.scheduler.main"]
        with self.project.scheduler_log.open("ab") as log:
            process = subprocess.Popen(
                [*command, "--project", str(self.project.root), *self.options, *options],
                cwd=self.project.root,
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._schedulers.append(process)
        return process

    def kill(self, process: Scheduler) -> None:
        """kill -9."""
        process.kill()
        process.wait()

    def wait(self, condition: Callable[[], object], timeout_s: float = DEADLINE_S) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"timed out; {self.states()}\n{self.log()}"
            time.sleep(0.02)

    def jobs(self) -> Mapping[str, Job]:
        return {job.run_id: job for job in self.client.jobs()}

    def states(self) -> dict[str, str]:
        return {job.run_id: f"{job.state} {job.attempts} {job.reason}" for job in self.client.jobs()}

    def job(self, paths: RunPaths) -> Job:
        return self.jobs()[paths.run_id]

    def wait_for(self, paths: RunPaths, *states: JobState) -> Job:
        """Wait until a job is in one of the states."""
        return self._wait_for_jobs(lambda jobs: jobs[paths.run_id].state in states)[paths.run_id]

    def wait_until_over(self, timeout_s: float = DEADLINE_S) -> None:
        self._wait_for_jobs(lambda jobs: all(job.state in FINAL for job in jobs.values()), timeout_s)

    def _wait_for_jobs(
        self, condition: Callable[[Mapping[str, Job]], object], timeout_s: float = DEADLINE_S
    ) -> Mapping[str, Job]:
        """Read them when the database was written to, and now and then: two writes may have one time."""
        looks = itertools.count()
        stamp, jobs = None, self.jobs()

        def is_met() -> object:
            nonlocal stamp, jobs
            now = [file.stat().st_mtime_ns for file in self._databases if file.exists()]
            if now != stamp or next(looks) % _LOOKS_A_READING == 0:
                stamp, jobs = now, self.jobs()
            return condition(jobs)

        self.wait(is_met, timeout_s)
        return jobs

    def executions(self, paths: RunPaths) -> list[dict[str, Any]]:
        """What the run's workers have noted."""
        try:
            lines = (paths.directory / EXECUTIONS).read_text().splitlines()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines]

    def assert_ran_once(self, paths: RunPaths) -> None:
        """Exactly one execution reached its end, and no two were under way together."""
        rows = self.executions(paths)
        assert [row["event"] for row in rows].count("end") == 1, (paths.run_id, rows, self.log())
        assert not any(row.get("overlaps") for row in rows), (paths.run_id, rows)

    def worker_pid(self, paths: RunPaths) -> int:
        """The process that executes a run, once it has begun."""
        self.wait(lambda: self.executions(paths))
        return int(self.executions(paths)[-1]["pid"])

    def log(self) -> str:
        try:
            return self.project.scheduler_log.read_text()
        except FileNotFoundError:
            return ""

    def processes(self, pattern: str = "") -> list[int]:
        """Every process that was started by this lab and whose command line holds `pattern`."""
        mark = f"DATASIZE_SLOTS_DIR={os.environ['DATASIZE_SLOTS_DIR']}".encode()
        found = []
        others = {name for name in os.listdir("/proc") if name.isdecimal()} - {str(os.getpid())}  # noqa: PTH208
        for pid in map(int, others):
            with suppress(OSError):
                if mark in _of_process(pid, "environ"):
                    command = _of_process(pid, "cmdline").replace(b"\0", b" ").decode()
                    if pattern in command:
                        found.append(pid)
        return found

    def close(self) -> None:
        """Kill everything that was started."""
        for process in self._schedulers:
            process.kill()
        while pids := self.processes():
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for process in self._schedulers:
                process.poll()
            time.sleep(0.01)


def _of_process(pid: int, name: str) -> bytes:
    with open(f"/proc/{pid}/{name}", "rb", buffering=0) as file:  # noqa: PTH123 - of hundreds
        return file.read()


def is_alive(pid: int) -> bool:
    """Whether a process of this number runs (a zombie does not)."""
    try:
        return b") Z" not in Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False

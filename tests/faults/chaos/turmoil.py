"""Schedulers, workers, preloaders and clients at work, and someone who kills and stops them at random."""

from __future__ import annotations

import os
import random
import shlex
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

from tests.faults.chaos import probes
from tests.faults.chaos.client import PROJECT_FILE, spec_of
from tests.faults.chaos.disk import LEDGER_VARIABLE
from tests.faults.chaos.faults import TICK_S, Faults
from tests.faults.chaos.findings import (
    find_violations,
    read_commands,
    read_notes,
    shared_slots,
)
from tests.faults.chaos.machine import ENVIRONMENTS, Machine
from tests.faults.chaos.mutants import MUTANT_VARIABLE
from tests.faults.chaos.neighbours import Copy, Second, executions_of
from tests.faults.chaos.plan import DISK, Plan, Report
from tests.faults.chaos.processes import Kind, find_processes
from tests.faults.lab import Lab
from tui_datasize.errors import DatasizeError, StorageError
from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.queue.schema import NEVER_BEGAN
from tui_datasize.jobs.queue.state import Job, JobState

WORKER = shlex.join([sys.executable, "-P", "-m", "tests.faults.chaos.worker"])
CALL = "tests.faults.chaos.worker:main"
_CLIENTS = 2
_FIRST_JOBS = 12
_SETTLE_S = 120.0
_PATIENCE_S = 0.5
"""The longest that the end of a scheduler is waited for before more is asked of the queue."""
_START_S = 1.0
"""What the first scheduler and the first client take to begin on an idle machine."""
_SLOWEST = 4.0
KILLED = (Kind.SCHEDULER, Kind.WORKER, Kind.PRELOADER, Kind.CLIENT)
"""Of each of these a round waits for a kill beyond its time, too."""
_LACKING_S = 60.0
"""How much longer than planned a round waits for them, and for a power cut."""
_COUNT_INTERVAL_S = 0.5
_RETRY_S = 0.1
SITE = Path(__file__).parent / "site"
"""Has what every interpreter of a round imports first."""
_FIRST = 0.25
"""Share of a round's time within which everything is done for the first time, so that none is without it."""


class Turmoil:
    """One project under faults.

    Args:
        plan: What to do.
        root: An empty directory for the projects.
    """

    def __init__(self, plan: Plan, root: Path) -> None:
        self.report = Report(plan.seed)
        self._plan = plan
        self._random = random.Random(plan.seed)
        self._notes = root / "acknowledged.jsonl"
        self._client_log = root / "clients.log"
        self._ledger = root / "ledger.jsonl"
        workers = ("--worker", WORKER, "--call", CALL)
        disk = root / DISK if plan.disk else None
        self._lab, second = (Lab((disk or root) / name, workers) for name in ("project", "second"))
        copy = Lab(root / "copy", workers)
        for lab in (self._lab, second):
            lab.project.root.mkdir()
        self._lab.project.experiments.write_text(PROJECT_FILE)
        self._second, self._copy = Second(second), Copy(self._lab.project, copy)
        self._clients: list[subprocess.Popen[bytes]] = []
        self._app: subprocess.Popen[bytes] | None = None
        """That one of them that is the app."""
        self._faults = faults = Faults(self._lab.client, self._random, self.report, root)
        projects = (self._lab.project, second.project)
        self._machine = machine = Machine(faults, self._random, self.report, projects, self._ledger, disk)
        self._owner = ThreadPoolExecutor(1)
        """Whoever asks the queues for something, and may wait for what only this thread brings to an end."""
        self._errand: Future[bool] | None = None
        self._actions: Mapping[Callable[[], bool], float] = {
            partial(faults.kill, Kind.WORKER): 0.2,
            partial(faults.kill, Kind.SCHEDULER): 2.0,
            faults.strand: 1.0,
            faults.strand_newborn: 1.0,
            partial(faults.kill, Kind.PRELOADER): 2.5,
            partial(faults.kill, Kind.CLIENT): 1.5,
            partial(faults.pause, Kind.WORKER): 2.0,
            partial(faults.pause, Kind.PRELOADER): 4.0,
            partial(faults.pause, Kind.SCHEDULER): 4.0,
            self._start_rival: 2.0,
            partial(self._ask_for, self._undrain): 3.0,
            partial(self._ask_for, self._second.tend): 3.0,
            partial(self._ask_for, self._copy.make): 6.0,
            self._cut_power: 8.0,
            machine.limit: 2.5,
            machine.fill_disk: 3.0,
            machine.freeze_disk: 3.0,
            machine.seize: 1.5,
            machine.hide_slots: 4.0,
            machine.remove_slot: 3.0,
            machine.move_slots: 4.0,
        }
        """What is done at random moments, with the mean time between two of them in seconds."""

    def run(self) -> Report:
        """Let everything happen, then wait until nothing is left to do, and look."""
        started_s = time.monotonic()
        around = dict(os.environ)
        os.environ |= {
            MUTANT_VARIABLE: self._plan.mutant,
            LEDGER_VARIABLE: str(self._ledger),
            "PYTHONPATH": f"{SITE}:{os.environ['PYTHONPATH']}",
        }
        try:
            # Faults would be wasted on a queue that has nothing to do yet.
            self._lab.client.enqueue([spec_of(number) for number in range(_FIRST_JOBS)])
            self._lab.start_scheduler("--packs", "off" if self._plan.packs == "off" else "always")
            self._keep_clients()
            self._lab.wait(lambda: read_notes(self._notes))
            self._faults.pace = min(max(1.0, (time.monotonic() - started_s) / _START_S), _SLOWEST)
            self._disturb()
            self._settle()
            self.report.violations.extend(self._look())
        except (AssertionError, DatasizeError) as error:
            self.report.violations.append(str(error))
        finally:
            self._machine.end()
            self._faults.close()
            self._owner.shutdown()
            self._lab.close()
            os.environ.clear()
            os.environ.update(around)
        self._count()
        self.report.duration_s = time.monotonic() - started_s
        return self.report

    def _look(self) -> Iterator[str]:
        project = self._lab.project
        logs = (project.scheduler_log, self._client_log)
        jobs = self._lab.client.jobs()
        own = [job for job in jobs if job.experiment != probes.EXPERIMENT]
        yield from find_violations(own, project, self._notes, logs)
        yield from self._second.violations()
        executions = []
        for lab in (self._lab, self._second.lab, self._copy.lab):
            known = lab.project.runs.glob("*/*/spec.json")
            runs = [(spec.parent.parent.name, spec.parent.name) for spec in known]
            executions += executions_of(lab.project, runs)
        yield from shared_slots(executions)

    def _disturb(self) -> None:
        """Do random things until most of the jobs are done or the time is up."""
        limit_s = self._faults.pace * self._plan.limit_s
        until_s = time.monotonic() + limit_s
        first_s = time.monotonic() + _FIRST * limit_s
        due_s = {
            action: min(self._next_s(mean_s), self._random.uniform(time.monotonic(), first_s))
            for action, mean_s in self._actions.items()
        }
        count_at_s = 0.0
        while (now_s := time.monotonic()) < until_s + self._more_s(limit_s):
            if now_s >= count_at_s:
                if self._unfinished() <= self._plan.jobs // 10 and not self._more_s(limit_s):
                    break
                count_at_s = now_s + _COUNT_INTERVAL_S
            self._keep_clients()
            self._faults.look()
            self._machine.look()
            if not self._faults.has(Kind.SCHEDULER):
                self._start_rival()
            for action in [action for action, at_s in due_s.items() if now_s >= at_s]:
                # What finds nobody is tried again, though not on whoever comes next as soon as that begins.
                was_done = action()
                due_s[action] = self._next_s(self._actions[action] if was_done else _RETRY_S)
            time.sleep(TICK_S)

    def _more_s(self, limit_s: float) -> float:
        """How much longer than planned the faults go on, for those that there were none of yet."""
        if not self.report.cuts or not all(self.report.kills[kind] for kind in KILLED):
            return _LACKING_S
        return limit_s * (self.report.late < self._plan.late)

    def _ask_for(self, errand: Callable[[], bool]) -> bool:
        """Have the owner of the queues do something, unless he still waits for the last."""
        if self._is_waited_for():
            return False
        self._end_errand()
        self._errand = self._owner.submit(errand)
        return True

    def _end_errand(self) -> None:
        """Wait for it, and raise what it raised."""
        if self._errand:
            self._errand.result()

    def _is_waited_for(self) -> bool:
        return self._errand is not None and not self._errand.done()

    def _cut_power(self) -> bool:
        # The owner is a thread of this process, which no cut ends: what he writes would be half kept.
        return not self._is_waited_for() and self._machine.cut_power()

    def _next_s(self, mean_s: float) -> float:
        return time.monotonic() + self._faults.pace * self._random.expovariate(1 / mean_s)

    def _unfinished(self) -> int:
        """Jobs of the plan that are not done, those included that nobody has queued yet."""
        try:
            counts = self._lab.client.counts()
        except StorageError:
            # On a full disk nobody can tell.
            return self._plan.jobs
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
            if self._plan.app and (self._app is None or self._app.poll() is not None):
                arguments.append("--app")
            with self._client_log.open("ab") as log:
                client = subprocess.Popen([*command, *arguments], stdout=log, stderr=log)
            self._clients.append(client)
            self._app = client if "--app" in arguments else self._app

    def _ways(self) -> tuple[str, ...]:
        """How a scheduler starts workers: warm or cold, and with several runs each or with one."""
        mixed = self._random.choice(("always", "always", "off"))
        packs = mixed if self._plan.packs == "mixed" else self._plan.packs
        return ("--packs", packs, *self._random.choice(((), (), (), ("--cold",))))

    def _start_rival(self) -> bool:
        if self._lab.project.queue.exists():
            around = self._random.choice(ENVIRONMENTS)
            # Its log may be on a disk that is read-only just now.
            with suppress(OSError):
                self._lab.spawn_scheduler(*self._ways(), environment=around)
        return True

    def _undrain(self) -> bool:
        """Let the queue go on, which a client may have drained that was killed then."""
        if self._lab.project.queue.exists():
            # A process that was stopped in the middle of a transaction may have the database.
            with suppress(StorageError):
                self._lab.client.drain(False)
        return True

    def _settle(self) -> None:
        """No more faults: queue what nobody has queued, retry what failed, and wait for the end.

        In every other round the scheduler ends once more, and the open app is all that starts another.
        """
        for process in self._clients:
            self._lab.kill(process)
        self._faults.end()
        self._machine.end()
        self._end_errand()
        self._copy.lab.client.stop_scheduler()
        client = self._lab.client
        known = {job.run_id for job in client.jobs()}
        missing = [spec for spec in map(spec_of, range(self._plan.jobs)) if spec.run_id not in known]
        client.enqueue(missing)
        see_to_scheduler = client.ensure_scheduler
        if self._plan.seed % 2:
            self._end_scheduler()
            see_to_scheduler = client.keep_scheduler
        else:
            client.drain(False)
        deadline_s = time.monotonic() + _SETTLE_S
        while not self._is_settled():
            assert time.monotonic() < deadline_s, self._unrest()
            with suppress(StorageError):
                see_to_scheduler()
            for kind, run_ids in what_to_ask(client.jobs()).items():
                client.wait(client.send(kind, run_ids), timeout_s=5)
            time.sleep(0.1)
        self._second.lab.client.stop_scheduler()
        if self._plan.probes:
            asked = probes.Probes(self._lab, WORKER, self._plan.seed, self._faults.pace)
            self.report.violations.extend(asked.find_violations())
        if not client.stop_scheduler():
            self.report.violations.append("a scheduler that was asked to end goes on")
        self._lab.wait(lambda: not find_processes())

    def _end_scheduler(self) -> None:
        """Let the queue go on, and the scheduler end, so that another one is wanted nevertheless."""
        client, patience_s = self._lab.client, self._random.uniform(0, _PATIENCE_S)
        if self._random.random() < 0.5:
            # As whoever is killed during a restart.
            client.drain(False)
            client.stop_scheduler(patience_s, for_another=True)
        else:
            client.stop_scheduler(patience_s)
            client.drain(False)

    def _unrest(self) -> str:
        client = self._lab.client
        scheduler = "a scheduler" if client.scheduler_alive() else "no scheduler"
        stopped = ", which somebody stopped" if client.settings().stopped else ""
        return f"did not come to rest with {scheduler}{stopped}: {self._lab.states()}"

    def _is_settled(self) -> bool:
        at_rest = (JobState.SUCCEEDED, JobState.CANCELLED, JobState.HELD)
        pending = [c for c in read_commands(self._lab.project.queue).values() if not c.is_applied]
        own = not pending and all(job.state in at_rest for job in self._lab.client.jobs())
        return self._second.is_settled() and own

    def _count(self) -> None:
        notes = read_notes(self._notes)
        self.report.commands = sum(len(note["command_ids"]) for note in notes)
        with suppress(StorageError):
            self.report.states = {state: count for state, count in self._lab.client.counts().items() if count}
        with closing(sqlite3.connect(self._lab.project.queue)) as connection:
            packs = connection.execute("SELECT tag FROM attempts GROUP BY tag HAVING count(*) > 1")
            self.report.packs = len(packs.fetchall())
            statement = "SELECT count(*) FROM attempts WHERE outcome = ?"
            (self.report.taken_back,) = connection.execute(statement, [NEVER_BEGAN]).fetchone()
        self.report.executions = sum(
            file.read_bytes().count(b'"begin"') for file in self._lab.project.runs.rglob("executions.jsonl")
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

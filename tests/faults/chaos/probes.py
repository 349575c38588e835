"""One command of each kind asked of a queue at rest, and what must come of it."""

from __future__ import annotations

import os
import random
import shlex
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

from tests.faults.chaos.client import spec_of
from tests.faults.chaos.processes import Kind, find_processes
from tests.faults.lab import Lab
from tui_datasize.experiments.device_settings import DeviceOptions
from tui_datasize.experiments.spec import ModelSpec, RunSpec
from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.queue.requests import Acknowledgement
from tui_datasize.jobs.queue.schema import NEVER_BEGAN
from tui_datasize.jobs.queue.state import MAX_ATTEMPTS, JobState
from tui_datasize.runlog.claim import ATTEMPT_VARIABLE, TAG_VARIABLE
from tui_datasize.runlog.paths import RunPaths

EXPERIMENT = "probes"
_PATIENCE_S = 10.0
_TICK_S = 0.02
_LONG_S = 600.0
_IN_LINE = 6
_WORK_S = 0.01


class Probes:
    """Asks for one thing after the other.

    Args:
        lab: A project whose jobs are at rest.
        worker: Command of a cold worker.
        seed: Some of what is asked for follows from this.
        pace: How much slower this machine is now than an idle one.
    """

    def __init__(self, lab: Lab, worker: str, seed: int, pace: float) -> None:
        self._lab = lab
        self._client = lab.client
        self._worker = shlex.split(worker)
        self._random = random.Random(seed)
        self._patience_s = _PATIENCE_S * pace
        self._number = 0

    def find_violations(self) -> Iterator[str]:
        """What was answered and not done, one line each; ends where something was not."""
        self._client.restart_scheduler(DeviceOptions(cpu_slots=1, packs="off"))
        for ask in (self._order, self._endings, self._attempts):
            is_kept = True
            for violation in ask():
                is_kept = False
                yield violation
            if not is_kept:
                return

    def _order(self) -> Iterator[str]:
        """Priorities, moves, holds, cancels and releases of runs that wait in a drained queue."""
        yield from self._ask(self._client.drain())
        line = [self._spec(work_s=_WORK_S) for _ in range(_IN_LINE)]
        held, cancelled, *_ = others = [self._spec(work_s=_WORK_S) for _ in range(2)]
        yield from self._ask(self._client.enqueue([*line, *others]))
        order = list(range(_IN_LINE))
        up, down = self._random.sample(range(_IN_LINE), 2)
        yield from self._send(CommandKind.PRIORITY, line[up], self._random.choice((1, 2)))
        yield from self._send(CommandKind.PRIORITY, line[down], self._random.choice((-1, -2)))
        order = [one for one in order if one not in (up, down)]
        # The same one twice, so that the second does not undo the first.
        moved = order[-1]
        for amount in (1, self._random.randint(1, len(order) - 2)):
            place = order.index(moved)
            order.insert(place - amount, order.pop(place))
            yield from self._send(CommandKind.MOVE, line[moved], -amount)
        yield from self._send(CommandKind.HOLD, held)
        yield from self._send(CommandKind.CANCEL, cancelled)
        yield from self._started(line, [up, *order, down], others)
        yield from self._send(CommandKind.RELEASE, held)
        yield from self._send(CommandKind.RETRY, cancelled)
        for one in others:
            yield from self._becomes(one, JobState.SUCCEEDED, "though it was released or retried")

    def _started(
        self, line: Sequence[RunSpec], order: Sequence[int], others: Sequence[RunSpec]
    ) -> Iterator[str]:
        if begun := [one.run_id for one in line if self._executions(one)]:
            yield f"{begun}: started in a drained queue"
        yield from self._ask(self._client.drain(False))
        for one in line:
            yield from self._becomes(one, JobState.SUCCEEDED, "though the queue was let go on")
        wanted = [line[place].run_id for place in order]
        with closing(sqlite3.connect(self._lab.project.queue)) as connection:
            statement = "SELECT run_id FROM attempts WHERE outcome != ? ORDER BY rowid"
            begun = [run_id for (run_id,) in connection.execute(statement, [NEVER_BEGAN])]
        seen = list(dict.fromkeys(run_id for run_id in begun if run_id in wanted))
        if seen != wanted:
            yield f"started in the order {seen}, asked for was {wanted}"
        for one, state in zip(others, (JobState.HELD, JobState.CANCELLED), strict=True):
            yield from self._becomes(one, state, "as it was asked for")
            if self._executions(one):
                yield f"{one.run_id}: was executed, though it was {state}"

    def _endings(self) -> Iterator[str]:
        """Cancels of runs under way, one of which does not listen; a second worker for one; a forced run."""
        for is_stubborn in (False, True):
            one = self._spec(work_s=_LONG_S, is_stubborn=is_stubborn)
            yield from self._ask(self._client.enqueue([one]))
            yield from self._becomes(one, JobState.RUNNING, "though a slot is free")
            if is_stubborn:
                yield from self._second_worker(one)
            acknowledgement = self._client.send(CommandKind.CANCEL, [one.run_id])
            if is_stubborn:
                self._kill_scheduler()
            yield from self._ask(acknowledgement)
            yield from self._becomes(one, JobState.CANCELLED, "though it was cancelled")
            if self._lab.jobs()[one.run_id].state is not JobState.CANCELLED:
                return
            if not self._until(lambda: all(p.kind is not Kind.WORKER for p in find_processes().values())):
                yield f"{one.run_id}: is cancelled, and its worker goes on"
        one = self._spec(work_s=_WORK_S)
        for force, lives in ((False, 1), (True, 2)):
            yield from self._ask(self._client.enqueue([one], force=force))
            yield from self._becomes(one, JobState.SUCCEEDED, "though it was queued")
            kept = list(self._lab.project.superseded(EXPERIMENT).glob(f"{one.run_id}.*"))
            if len(kept) != lives - 1 or len(self._executions(one)) != 1:
                yield f"{one.run_id}: {len(kept)} directories are kept aside after {lives} queueings"

    def _second_worker(self, one: RunSpec) -> Iterator[str]:
        """A worker that comes late must find the run taken."""
        paths = self._paths(one)
        self._until(lambda: self._executions(one))
        environment = {ATTEMPT_VARIABLE: "1", TAG_VARIABLE: "f" * 32}
        with subprocess.Popen(
            [*self._worker, str(paths.directory)],
            env=os.environ | environment,
            stderr=subprocess.DEVNULL,
        ) as late:
            if not self._until(lambda: late.poll() is not None or len(self._executions(one)) > 1):
                yield f"{one.run_id}: a second worker does not leave"
            late.kill()
        if len(self._executions(one)) != 1:
            yield f"{one.run_id}: a second worker executed it beside the first"

    def _attempts(self) -> Iterator[str]:
        """A run whose workers vanish, all of them, and once more after a retry."""
        one = self._spec(work_s=_WORK_S, dies=True)
        for tries, ask in (
            (MAX_ATTEMPTS, lambda: self._client.enqueue([one])),
            (2 * MAX_ATTEMPTS, lambda: self._client.send(CommandKind.RETRY, [one.run_id])),
        ):
            yield from self._ask(ask())
            self._until(partial(self._is_over, one, tries))
            if self._lab.jobs()[one.run_id].state is not JobState.FAILED:
                yield f"{one.run_id}: does not end: {self._lab.states()[one.run_id]}"
            if (count := len(self._executions(one))) != tries:
                yield f"{one.run_id}: {count} workers vanished, expected {tries}"
                return

    def _is_over(self, one: RunSpec, tries: int) -> bool:
        return self._lab.jobs()[one.run_id].state is JobState.FAILED or len(self._executions(one)) > tries

    def _spec(self, **options: Any) -> RunSpec:
        """A run of its own, whose worker does as `options` say."""
        self._number += 1
        model = ModelSpec("fake", MappingProxyType(options))
        return replace(spec_of(self._number), experiment=EXPERIMENT, model=model)

    def _paths(self, one: RunSpec) -> RunPaths:
        return self._lab.project.run(EXPERIMENT, one.run_id)

    def _executions(self, one: RunSpec) -> list[dict[str, Any]]:
        return [row for row in self._lab.executions(self._paths(one)) if row["event"] == "begin"]

    def _kill_scheduler(self) -> None:
        """Kill all there are, and wait until the queue has none."""
        for pid, process in find_processes().items():
            if process.kind is Kind.SCHEDULER:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._until(lambda: not self._client.scheduler_alive())

    def _send(self, kind: CommandKind, one: RunSpec, amount: int = 0) -> Iterator[str]:
        yield from self._ask(self._client.send(kind, [one.run_id], amount))

    def _ask(self, acknowledgement: Acknowledgement) -> Iterator[str]:
        """Wait for the answer; whatever has become of the scheduler meanwhile."""
        self._client.ensure_scheduler()
        results = self._client.wait(acknowledgement, self._patience_s)
        if results is None:
            yield f"commands {acknowledgement.command_ids} of a quiet queue have no answer"
        refused = [result.message for result in results or () if not result.ok]
        yield from (f"refused in a quiet queue: {message}" for message in refused)

    def _becomes(self, one: RunSpec, state: JobState, why: str) -> Iterator[str]:
        if not self._until(lambda: self._lab.jobs()[one.run_id].state is state):
            yield f"{one.run_id}: is {self._lab.states()[one.run_id]}, not {state}, {why}"

    def _until(self, condition: Callable[[], object]) -> bool:
        deadline_s = time.monotonic() + self._patience_s
        while not condition():
            if time.monotonic() > deadline_s:
                return False
            time.sleep(_TICK_S)
        return True

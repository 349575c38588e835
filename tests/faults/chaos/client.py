"""A client that asks the queue for random things and notes what was acknowledged, until it is killed.

It asks through the library and through the command line in turn, or, as the app, by pressing its keys.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import shlex
import time
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tui_datasize.errors import StorageError, UnknownRunError
from tui_datasize.experiments.device_settings import DeviceOptions
from tui_datasize.experiments.spec import Budget, ModelSpec, RunSpec
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.queue.requests import Acknowledgement
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.runlog.paths import ProjectPaths

EXPERIMENT = "chaos"
TYPED = "typed"
"""The experiment that is queued by the command line and the app."""
PROJECT_FILE = f"""
[experiments.{TYPED}]
dataset = "digits"
model = {{ name = "mlp" }}
sizes = [40]
seeds = {{ count = 8 }}
budget = {{ updates = 1 }}
batch_size = 32
"""
_DRAINED_S = 0.5
_BY_COMMAND = 0.3
"""Share of the changes that are asked for on the command line."""
_CHANGES = (
    CommandKind.CANCEL,
    CommandKind.HOLD,
    CommandKind.RELEASE,
    CommandKind.RETRY,
    CommandKind.PRIORITY,
    CommandKind.MOVE,
)


def spec_of(number: int) -> RunSpec:
    """One of the runs that clients may queue: of two kinds that share workers, and one that does not."""
    return RunSpec(
        experiment=EXPERIMENT,
        dataset="digits",
        model=ModelSpec(("mlp", "mlp", "mlp", "mlp", "fake")[number % 5], MappingProxyType({})),
        train_size=40,
        seed=number,
        budget=Budget("updates", 1),
        batch_size=32 if number % 3 else 64,
    )


class RandomClient:
    """One client with its own generator and its own list of acknowledgements.

    Args:
        client: The client's side of the queue.
        jobs: Number of runs that may be queued.
        seed: What it asks for follows from this, and from what it sees.
    """

    def __init__(self, client: QueueClient, jobs: int, seed: int) -> None:
        self._client = client
        self._jobs = jobs
        self._random = random.Random(seed)

    def act(self) -> None:
        """Ask for one random thing.

        Raises:
            StorageError: The queue cannot be used now, or a scheduler does not end or start.
        """
        action = self._random.choices(
            (
                *(self._enqueue, self._chain, self._change, self._drain),
                *(self._start_scheduler, self._stop_scheduler, self._restart_scheduler, self._look),
                self._type,
            ),
            (26, 6, 43, 3, 13, 1, 1, 8, 3),
        )[0]
        action()

    def _enqueue(self) -> None:
        start = self._random.randrange(self._jobs)
        count = self._random.randint(1, 12)
        numbers = [number % self._jobs for number in range(start, start + count)]
        force = self._random.random() < 0.05
        specs = [spec_of(number) for number in numbers[: 2 if force else None]]
        acknowledgement = self._client.enqueue(
            specs, force=force, priority=self._random.choice((0, 0, 0, 1)), data_dir=None
        )
        self._wait(acknowledgement)

    def _chain(self) -> None:
        """Queue runs that wait for another each, as a transfer waits for its source."""
        start = self._random.randrange(self._jobs)
        length = self._random.randint(2, 4)
        specs = [spec_of(number % self._jobs) for number in range(start, start + length)]
        after = {later.run_id: [earlier.run_id] for earlier, later in pairwise(specs)}
        try:
            acknowledgement = self._client.enqueue(specs, after=after)
        except UnknownRunError:
            # A source that failed or was cancelled meanwhile, or that waits for its dependant.
            return
        self._wait(acknowledgement)

    def _drain(self) -> None:
        """Drain the queue for a moment; whoever drained it and is killed leaves it so for another."""
        self._client.drain()
        time.sleep(self._random.uniform(0, _DRAINED_S))
        self._wait(self._client.drain(False))

    def _change(self) -> None:
        jobs = self._client.jobs()
        if not jobs:
            return
        kind = self._random.choice(_CHANGES)
        active = [job for job in jobs if job.state.is_active]
        # What runs is the smallest part of the queue, and the part where most can go wrong.
        among = active if active and self._random.random() < 0.3 else jobs
        chosen = self._random.sample(among, min(len(among), self._random.randint(1, 4)))
        amount = self._random.choice((-2, -1, 1, 2))
        run_ids = [job.run_id for job in chosen]
        if self._random.random() < _BY_COMMAND:
            by = ("--by", str(amount)) if kind in (CommandKind.PRIORITY, CommandKind.MOVE) else ()
            self._command(kind, *run_ids, *by)
        else:
            self._wait(self._client.send(kind, run_ids, amount))

    def _start_scheduler(self) -> None:
        self._client.ensure_scheduler()

    def _stop_scheduler(self) -> None:
        self._client.stop_scheduler(timeout_s=1)

    def _restart_scheduler(self) -> None:
        """Let another scheduler take over; whoever is killed in between leaves the queue without one."""
        options = DeviceOptions(
            cpu=True,
            cpu_slots=self._random.randint(2, 5),
            cold=self._random.choice((None, None, True, False)),
        )
        self._client.restart_scheduler(options)

    def _look(self) -> None:
        """Retry what has failed, as a person does who looks at the queue."""
        failed = [job.run_id for job in self._client.jobs() if job.state is JobState.FAILED]
        self._wait(self._client.send(CommandKind.RETRY, failed))

    def _type(self) -> None:
        """Queue what is missing of an experiment, and look at all of it."""
        self._command("queue", TYPED, "--seeds", str(self._random.randrange(8)))
        self._command("status", "--json")

    def _command(self, *words: str) -> None:
        """As `datasize-tui WORDS` does; what it says is of no interest, and what it refuses is its right."""
        from tui_datasize.cli.dispatch import main

        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            main([*words, "--project", str(self._client.project.root)])

    def _wait(self, acknowledgement: Acknowledgement) -> None:
        if self._random.random() < 0.3:
            self._client.wait(acknowledgement, timeout_s=0.3)


def note_acknowledgements(notes: Path, scheduler_options: Sequence[str]) -> None:
    """From now on note whatever a queue acknowledges to this process, whichever part of it asks.

    Args:
        notes: Where to, one JSON object a line.
        scheduler_options: Of the schedulers that any part of it starts.
    """
    file = os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    begin, send, enqueue = QueueClient.__init__, QueueClient.send, QueueClient.enqueue

    def noted_begin(self: QueueClient, project: ProjectPaths, **_: Any) -> None:
        begin(self, project, scheduler_options=scheduler_options)

    def note(acknowledgement: Acknowledgement, kind: CommandKind, run_ids: Sequence[str]) -> Acknowledgement:
        queued = run_ids if kind is CommandKind.ENQUEUE else ()
        row = {"command_ids": acknowledgement.command_ids, "kind": kind, "runs": run_ids, "queued": queued}
        os.write(file, json.dumps(row).encode() + b"\n")
        return acknowledgement

    def noted_send(
        self: QueueClient, kind: CommandKind, run_ids: Sequence[str], amount: int = 0
    ) -> Acknowledgement:
        return note(send(self, kind, run_ids, amount), kind, run_ids)

    def noted_enqueue(self: QueueClient, specs: Sequence[RunSpec], **options: Any) -> Acknowledgement:
        run_ids = [spec.run_id for spec in (*options.get("sources", ()), *specs)]
        return note(enqueue(self, specs, **options), CommandKind.ENQUEUE, run_ids)

    QueueClient.__init__ = noted_begin  # type: ignore[assignment,method-assign]
    QueueClient.send = noted_send  # type: ignore[method-assign]
    QueueClient.enqueue = noted_enqueue  # type: ignore[assignment]


def main(argv: Sequence[str] | None = None) -> int:
    """Act until everything that was asked of this client is done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument("--jobs", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--notes", type=Path, required=True)
    parser.add_argument("--actions", type=int, default=40)
    parser.add_argument("--app", action="store_true", help="be the app")
    parser.add_argument("--scheduler", default="", help="options of a scheduler that it starts")
    arguments = parser.parse_args(argv)
    note_acknowledgements(arguments.notes, shlex.split(arguments.scheduler))
    queue = QueueClient(ProjectPaths(arguments.project))
    if arguments.app:
        from tests.faults.chaos.fingers import press_keys

        press_keys(queue, arguments.seed, arguments.actions)
        return 0
    client = RandomClient(queue, arguments.jobs, arguments.seed)
    for _ in range(arguments.actions):
        try:
            client.act()
        except StorageError as error:
            # A scheduler that was killed while it started is told in one line; the next will do.
            print(error.line, flush=True)
        time.sleep(0.01)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

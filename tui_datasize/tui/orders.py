"""What the screens ask of the queue, and the task that passes it on, in order, off the screen's thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from tui_datasize.errors import DatasizeError
from tui_datasize.experiments.device_settings import DeviceOptions
from tui_datasize.experiments.load import Order as SweepOrder
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.jobs.queue.commands import Acknowledgement, CommandKind, CommandResult
from tui_datasize.jobs.queue.reading import Usage
from tui_datasize.jobs.queue.state import MAX_ATTEMPTS
from tui_datasize.jobs.scheduler_look import SchedulerLook
from tui_datasize.text import lost_evaluations, plural, there_already
from tui_datasize.tui.polling.collect import QueueView

ANSWER_S = 5.0
"""Seconds that an answer of the scheduler is waited for."""

_DONE = {
    CommandKind.HOLD: "held {}",
    CommandKind.RELEASE: "released {}",
    CommandKind.CANCEL: "cancelling {}",
    CommandKind.RETRY: "queued {} again",
    CommandKind.PRIORITY: "changed the priority of {}",
    CommandKind.MOVE: "moved {}",
}

_DRAINED = {
    True: "Draining: running jobs finish, no new ones start. D resumes.",
    False: "the queue starts jobs again",
}


class Queue(QueueView, Protocol):
    """What the app asks of the queue: `jobs.client.QueueClient` or a fake."""

    def enqueue(
        self,
        specs: Sequence[RunSpec],
        *,
        force: bool = False,
        priority: int = 0,
        data_dir: Path | None = None,
        max_attempts: int = MAX_ATTEMPTS,
        after: Mapping[str, Sequence[str]] | None = None,
        sources: Sequence[RunSpec] = (),
        incomplete: Collection[str] = (),
    ) -> Acknowledgement:
        """Queue the runs that are missing, and before them those that they take weights from."""

    def resolve_all(self, word: str) -> list[str]:
        """The runs that a run id, a prefix or an experiment names."""

    def send(self, kind: CommandKind, run_ids: Sequence[str], amount: int = 0) -> Acknowledgement:
        """Ask for a change of jobs."""

    def drain(self, draining: bool = True) -> Acknowledgement:
        """Finish running jobs and start no others, or start again."""

    def usage(self) -> list[Usage]:
        """The time that each experiment has had of the devices."""

    def wait(self, acknowledgement: Acknowledgement, timeout_s: float) -> list[CommandResult] | None:
        """The answers, or None where they take longer."""

    def ensure_scheduler(self) -> None:
        """Start a scheduler unless one runs."""

    def look_at_scheduler(self) -> SchedulerLook:
        """Whether a scheduler runs, and what holds for the devices."""

    def restart_scheduler(self, options: DeviceOptions) -> None:
        """End the scheduler and start another with these options; later ones have them, too."""

    def stop_scheduler(self) -> bool:
        """Ask the scheduler to end; whether none runs any more."""


@dataclass(frozen=True, slots=True)
class QueueTerms:
    """On what terms runs are queued."""

    after: tuple[str, ...] = ()
    """Runs, prefixes of runs or experiments that must succeed before."""
    max_attempts: int = MAX_ATTEMPTS
    """Attempts that each run is allowed before a vanishing worker fails it."""
    order: SweepOrder | None = None
    """In which the runs of a sweep are queued; None: as they stand, which is the experiment's own."""


@dataclass(frozen=True, slots=True)
class Enqueue:
    """Queue these runs."""

    specs: tuple[RunSpec, ...]
    data_dir: Path | None
    sources: tuple[RunSpec, ...] = ()
    """Runs that those take weights from."""
    terms: QueueTerms = QueueTerms()
    incomplete: tuple[str, ...] = ()
    """Runs among them that had succeeded, and whose evaluations were lost."""


@dataclass(frozen=True, slots=True)
class Change:
    """Change these jobs."""

    kind: CommandKind
    run_ids: tuple[str, ...]
    amount: int = 0
    left_alone: str = ""
    """Those of the chosen jobs that the change is not for, in words."""


@dataclass(frozen=True, slots=True)
class Drain:
    """Finish running jobs and start no others, or start again."""

    draining: bool


@dataclass(frozen=True, slots=True)
class Reschedule:
    """End the scheduler, and start another with other options; the runs go on."""

    options: DeviceOptions | None
    """Of the other one; None to start none."""


Order: TypeAlias = Enqueue | Change | Drain | Reschedule


class OrderDesk:
    """Passes orders on one after the other and says what became of each.

    Args:
        queue: Who executes them.
        say: Receives one line per order, and whether it tells of an error; called on the app's loop.
    """

    def __init__(self, queue: Queue, say: Callable[[str, bool], object]) -> None:
        self._queue = queue
        self._say = say
        self._orders: asyncio.Queue[Order] = asyncio.Queue()

    def take(self, order: Order) -> None:
        """Accept an order; returns at once."""
        self._orders.put_nowait(order)

    async def work(self) -> None:
        """Execute orders until cancelled."""
        while True:
            order = await self._orders.get()
            try:
                text, error = await asyncio.to_thread(self._execute, order)
                self._say(text, error)
            finally:
                self._orders.task_done()

    async def finish(self, timeout_s: float = ANSWER_S) -> None:
        """Wait until all accepted orders are executed, so that leaving loses none."""
        await asyncio.wait_for(self._orders.join(), timeout_s)

    def _execute(self, order: Order) -> tuple[str, bool]:
        try:
            if isinstance(order, Enqueue):
                return self._enqueue(order)
            if isinstance(order, Drain):
                return self._drain(order)
            if isinstance(order, Reschedule):
                return self._reschedule(order)
            return self._change(order)
        except DatasizeError as error:
            return error.line, True

    def _enqueue(self, order: Enqueue) -> tuple[str, bool]:
        waited_for = [run_id for word in order.terms.after for run_id in self._queue.resolve_all(word)]
        acknowledgement = self._queue.enqueue(
            order.specs,
            data_dir=order.data_dir,
            sources=order.sources,
            max_attempts=order.terms.max_attempts,
            after={spec.run_id: waited_for for spec in order.specs},
            incomplete=order.incomplete,
        )
        text = f"queued {plural(acknowledgement.new, 'run')}{lost_evaluations(acknowledgement.incomplete)}"
        if acknowledgement.present:
            keep_terms = order.terms != QueueTerms()
            text += f", {there_already(acknowledgement.present, keep_terms=keep_terms)}"
        if acknowledgement.failed:
            text += f" ({acknowledgement.failed:,} of them failed: r retries)"
        if acknowledgement.doubt:
            text += f"; {acknowledgement.doubt}"
        return self._answer(acknowledgement, text)

    def _change(self, order: Change) -> tuple[str, bool]:
        acknowledgement = self._queue.send(order.kind, order.run_ids, order.amount)
        what = _DONE[order.kind].format(plural(len(order.run_ids), "run"))
        what += f"; left alone: {order.left_alone}" if order.left_alone else ""
        return self._answer(acknowledgement, what)

    def _drain(self, order: Drain) -> tuple[str, bool]:
        return self._answer(self._queue.drain(order.draining), _DRAINED[order.draining])

    def _reschedule(self, order: Reschedule) -> tuple[str, bool]:
        if order.options is None:
            if not self._queue.stop_scheduler():
                return "the scheduler has not ended yet; it does so as soon as it can", True
            return "stopped the scheduler; running jobs go on. s or any change of a job starts it", False
        self._queue.restart_scheduler(order.options)
        if not order.options.said:
            return "the scheduler runs with the settings of experiments.toml; running jobs go on", False
        options = order.options.describe()
        kept = "this app starts others with the same"
        return f"the scheduler runs with {options}; running jobs go on; {kept}", False

    def _answer(self, acknowledgement: Acknowledgement, what: str) -> tuple[str, bool]:
        self._queue.ensure_scheduler()
        results = self._queue.wait(acknowledgement, ANSWER_S)
        if results is None:
            return f"{what}: saved; waiting for the scheduler", False
        refused = [result for result in results if not result.ok]
        if refused:
            more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
            return refused[0].message + more, True
        return what, False

"""How commands of the app get to the queue, one after the other, and when it needs a scheduler."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING

from tui_datasize.tui.polling.snapshot import EMPTY, Snapshot

if TYPE_CHECKING:
    from tui_datasize.jobs.client import QueueClient
    from tui_datasize.jobs.queue.requests import Command, Outcome

_WAKE_AGAIN_S = 10.0
"""How often a scheduler is started while jobs wait for one that does not come."""


@dataclass(eq=False)
class Requests:
    """Passes commands on in order, off the screen's thread, and tells what came of each."""

    _queue: QueueClient
    _tell: Callable[[Outcome], object]
    _commands: asyncio.Queue[Command] = field(default_factory=asyncio.Queue, init=False)

    def add(self, command: Command) -> None:
        """Accept a command; returns at once."""
        self._commands.put_nowait(command)

    async def work(self) -> None:
        while True:
            command = await self._commands.get()
            try:
                self._tell(await asyncio.to_thread(self._queue.request, command))
            finally:
                self._commands.task_done()

    async def finish(self, timeout_s: float | None = None) -> None:
        """Wait until all accepted commands are answered, so that leaving loses none.

        Raises TimeoutError: that takes longer than `timeout_s`, or than an answer may take.
        """
        from tui_datasize.jobs.queue.requests import ANSWER_WITHIN_S

        await asyncio.wait_for(self._commands.join(), timeout_s or ANSWER_WITHIN_S)


@dataclass(eq=False)
class SchedulerKeeper:
    """Sees that a scheduler runs where jobs wait for one, unless somebody stopped it."""

    _woken_s: float = field(default_factory=monotonic)

    def needs_scheduler(self, before: Snapshot, snapshot: Snapshot) -> bool:
        """Whether to see to one: at first, when it has gone, and again where it did not come."""
        # Those that ended come last.
        waiting = any(not row.state.is_final for row in snapshot.jobs[:1])
        if snapshot.scheduler_alive or snapshot.stopped or not waiting:
            return False
        # And again now and then: what kept it from starting, such as a mistake in the file, may be mended.
        is_first = before is EMPTY
        return before.scheduler_alive or is_first or monotonic() - self._woken_s >= _WAKE_AGAIN_S

    def note_wake(self) -> None:
        self._woken_s = monotonic()

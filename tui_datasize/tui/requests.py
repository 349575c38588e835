"""What the app asks of the queue: and how commands get there: one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from tui_datasize.jobs.queue.reading import Usage
from tui_datasize.jobs.queue.requests import ANSWER_WITHIN_S, Command, Outcome
from tui_datasize.jobs.scheduler_client import SchedulerLook
from tui_datasize.tui.polling.collect import QueueView


class Queue(QueueView, Protocol):
    """What the app asks of the queue: `jobs.client.QueueClient` or a fake."""

    def request(self, command: Command) -> Outcome:
        """Ask, and say what came of it."""

    def usage(self) -> list[Usage]:
        """The time that each experiment has had of the devices."""

    def ensure_scheduler(self) -> None:
        """Start a scheduler unless one runs."""

    def look_at_scheduler(self) -> SchedulerLook:
        """Whether a scheduler runs, and what holds for the devices."""


class Requests:
    """Passes commands on in order, off the screen's thread, and tells what came of each."""

    def __init__(self, queue: Queue, tell: Callable[[Outcome], object]) -> None:
        self._queue = queue
        self._tell = tell
        self._commands: asyncio.Queue[Command] = asyncio.Queue()

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

    async def finish(self, timeout_s: float = ANSWER_WITHIN_S) -> None:
        """Wait until all accepted commands are answered, so that leaving loses none.

        Raises:
            TimeoutError: That takes longer than `timeout_s`.
        """
        await asyncio.wait_for(self._commands.join(), timeout_s)

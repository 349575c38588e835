"""How commands of the app get to the queue: one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tui_datasize.jobs.queue.requests import ANSWER_WITHIN_S, Command, Outcome

if TYPE_CHECKING:
    from tui_datasize.jobs.client import QueueClient


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

    async def finish(self, timeout_s: float = ANSWER_WITHIN_S) -> None:
        """Wait until all accepted commands are answered, so that leaving loses none.

        Raises:
            TimeoutError: That takes longer than `timeout_s`.
        """
        await asyncio.wait_for(self._commands.join(), timeout_s)

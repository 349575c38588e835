"""The app as a client: its keys are pressed at random, as by somebody who leaves it open."""

from __future__ import annotations

import asyncio
import random

from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.scheduler.devices import DeviceReport
from tui_datasize.tui.app import DatasizeApp
from tui_datasize.tui.polling.record import ProjectRecord

_KEYS = {"j": 20, "k": 6, "space": 6, "h": 6, "u": 6, "r": 6, "c": 2, "y": 4, "plus": 5, "minus": 5} | {
    **{"left_square_bracket": 5, "right_square_bracket": 5, "tab": 4, "1": 3, "2": 2, "3": 1},
    **{"escape": 6, "enter": 2, "question_mark": 1, "a": 1, "l": 1},
}
_PAUSE_S = 0.05


def press_keys(queue: QueueClient, seed: int, presses: int) -> None:
    """Open the app on a project without a terminal, and press keys.

    Args:
        queue: The project's.
        seed: Which keys follows from this.
        presses: How many.
    """
    asyncio.run(_press_keys(queue, random.Random(seed), presses))


async def _press_keys(queue: QueueClient, generator: random.Random, presses: int) -> None:
    project = queue.project
    no_gpus = DeviceReport((), 2, "")
    app = DatasizeApp(project, queue, lambda: ProjectRecord(project), lambda: no_gpus)
    async with app.run_test(size=(100, 30)) as pilot:
        for key in generator.choices(list(_KEYS), list(_KEYS.values()), k=presses):
            await pilot.press(key)
            await asyncio.sleep(_PAUSE_S)

"""What the app and the commands ask of the searches in the queue; nothing of it is imported before."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from tui_datasize.jobs.scheduler_client import SchedulerClient

if TYPE_CHECKING:
    from tui_datasize.experiments.search import Rung
    from tui_datasize.experiments.spec import RunSpec


class SearchClient(SchedulerClient):
    """Reads where searches stand."""

    def searches(self) -> dict[str, str]:
        """By experiment, where its searches stand and what they wait for, one line; of ended ones nothing."""
        if not self._read(_has_any, without=False):
            return {}
        from tui_datasize.jobs.queue.searches import told_of_searches

        return self._read(told_of_searches, {})

    def promoted(self, experiment: str) -> list[RunSpec]:
        """The runs that searches of an experiment have gone on with."""
        from tui_datasize.jobs.queue.searches import read_promoted

        return self._read(lambda connection: read_promoted(connection, experiment), [])

    def promotions(self) -> dict[str, Rung]:
        """By run id, where runs stand that were promoted."""
        from tui_datasize.jobs.queue.searches import promotions

        return self._read(promotions, {})


def _has_any(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM rungs LIMIT 1").fetchone() is not None

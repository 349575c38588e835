"""What the queue remembers of GPUs: which ones runs have used, which work, and who keeps them taken."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from tui_datasize.jobs.faults import FaultKind


class Cards:
    """The table `cards` of one open database; its changes belong to the caller's transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def used(self) -> list[str]:
        """UUIDs of GPUs that runs have used and nobody has forgotten since."""
        return [uuid for (uuid,) in self._connection.execute("SELECT uuid FROM cards WHERE used")]

    def note_use(self, uuid: str) -> None:
        """Remember that a run uses a GPU."""
        self._connection.execute(
            "INSERT INTO cards (uuid, used) VALUES (?, 1) ON CONFLICT (uuid) DO UPDATE SET used = 1", (uuid,)
        )

    def proven(self) -> dict[str, str]:
        """By UUID, the circumstances in which a GPU was found to work: driver, torch and boot."""
        return dict(self._connection.execute("SELECT uuid, proven FROM cards WHERE proven != ''"))

    def note_proven(self, uuid: str, circumstances: str) -> None:
        """Note in what circumstances a GPU was found to work; empty where it does not any more."""
        self._connection.execute(
            "INSERT INTO cards (uuid, proven) VALUES (?1, ?2) ON CONFLICT (uuid) DO UPDATE SET proven = ?2",
            (uuid, circumstances),
        )

    def forget(self) -> list[str]:
        """Forget all GPUs and their faults, and return those that runs had used."""
        used = self.used()
        self._connection.execute("DELETE FROM cards")
        self._connection.execute("DELETE FROM faults WHERE kind = ?", (FaultKind.CARD,))
        return used

    def taken(self) -> list[str]:
        """For each GPU that the jobs of others keep from taking ours: the GPU, and by whom."""
        rows = self._connection.execute("SELECT taken FROM cards WHERE taken != '' ORDER BY taken")
        return [sentence for (sentence,) in rows]

    def note_taken(self, sentences: Mapping[str, str]) -> None:
        """Note by UUID who keeps GPUs taken; the others are not."""
        self._connection.execute("UPDATE cards SET taken = ''")
        self._connection.executemany(
            "INSERT INTO cards (uuid, taken) VALUES (?, ?) "
            "ON CONFLICT (uuid) DO UPDATE SET taken = excluded.taken",
            sentences.items(),
        )

"""What the queue remembers of GPUs: which ones runs have used, which work, and who keeps them taken."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from tui_datasize.jobs.queue.faults import FaultKind
from tui_datasize.jobs.queue.state import CPU, SLURM
from tui_datasize.programs import installed_version

_FORGETTINGS = "gpus_forgotten"
"""A setting of the queue: how often."""


def software(driver_version: str) -> str:
    """With what a GPU is used: driver and torch; empty where no driver answers."""
    return driver_version and f"{driver_version} {installed_version('torch')}".rstrip()


@dataclass(frozen=True, slots=True)
class KnownGpus:
    """The table `cards` of one open database; its changes belong to the caller's transaction."""

    _connection: sqlite3.Connection

    def used(self) -> list[str]:
        """UUIDs of GPUs that runs have used and nobody has forgotten since."""
        return [uuid for (uuid,) in self._connection.execute("SELECT uuid FROM cards WHERE used")]

    def note_use(self, device: str) -> None:
        if device not in ("", CPU, SLURM):
            use = "INSERT INTO cards (uuid, used) VALUES (?, 1) ON CONFLICT (uuid) DO UPDATE SET used = 1"
            self._connection.execute(use, (device,))

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
        self._connection.execute("DELETE FROM faults WHERE kind = ?", (FaultKind.GPU,))
        self._connection.execute(
            "INSERT INTO settings (name, value) VALUES (?, 1) "
            "ON CONFLICT (name) DO UPDATE SET value = value + 1",
            (_FORGETTINGS,),
        )
        return used

    def forgettings(self) -> int:
        """How often GPUs were forgotten: a scheduler that has seen them forgets them with us."""
        row = self._connection.execute("SELECT value FROM settings WHERE name = ?", (_FORGETTINGS,))
        (times,) = row.fetchone() or (0,)
        return int(times)

    def contexts(self, used_with: str) -> dict[str, int]:
        """By UUID, the most bytes that a process had beyond its tensors with this `software`."""
        rows = self._connection.execute(
            "SELECT uuid, context_bytes FROM cards WHERE context_bytes > 0 AND context_with = ?", (used_with,)
        )
        return dict(rows)

    def note_context(self, uuid: str, context_bytes: int, used_with: str) -> None:
        """Note what a process had beyond its tensors; with the same software only more counts."""
        self._connection.execute(
            "INSERT INTO cards (uuid, context_bytes, context_with) VALUES (?1, ?2, ?3) "
            "ON CONFLICT (uuid) DO UPDATE SET context_with = ?3, "
            "context_bytes = iif(context_with = ?3, max(context_bytes, ?2), ?2)",
            (uuid, context_bytes, used_with),
        )

    def taken(self) -> list[str]:
        """What keeps GPUs from taking our jobs: those of others and whose they are, or images to decode."""
        rows = self._connection.execute("SELECT taken FROM cards WHERE taken != '' ORDER BY taken")
        return [sentence for (sentence,) in rows]

    def note_taken(self, sentences: Mapping[str, str]) -> None:
        """Note what keeps them, by UUID or data set; nothing else does."""
        self._connection.execute("UPDATE cards SET taken = ''")
        self._connection.executemany(
            "INSERT INTO cards (uuid, taken) VALUES (?, ?) "
            "ON CONFLICT (uuid) DO UPDATE SET taken = excluded.taken",
            sentences.items(),
        )

"""When the app starts a scheduler by itself. Pure but for the clock."""

from __future__ import annotations

from time import monotonic

from tui_datasize.tui.look.snapshot import Snapshot

_WAKE_AGAIN_S = 10.0
"""How often a scheduler is started while jobs wait for one that does not come."""


class SchedulerKeeper:
    """Sees that a scheduler runs where jobs wait for one, unless somebody stopped it."""

    def __init__(self) -> None:
        self._woken_s = monotonic()

    def finds_none(self, before: Snapshot, snapshot: Snapshot) -> bool:
        """Whether one is to be started: at first, when it has gone, and again where it did not come.

        Args:
            before: The moment before.
            snapshot: This moment.
        """
        waiting = any(not state.is_final for state in snapshot.states.values())
        if snapshot.scheduler_alive or snapshot.stopped or not waiting:
            return False
        # And again now and then: what kept it from starting, such as a mistake in the file, may be mended.
        now_s = monotonic()
        if before.scheduler_alive or not before.is_ready or now_s - self._woken_s >= _WAKE_AGAIN_S:
            self._woken_s = now_s
            return True
        return False

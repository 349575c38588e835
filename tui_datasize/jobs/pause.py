"""Waiting while the machine lacks what runs need: processes, memory, files, room on the disk."""

from __future__ import annotations

import time

from tui_datasize.jobs.faults import FaultKind
from tui_datasize.jobs.spawn import Worker, cannot_start
from tui_datasize.jobs.store import Store

_FIRST_S = 5.0
_LONGEST_S = 60.0
_KINDS = (FaultKind.PROCESSES, FaultKind.DISK)


class StartPause:
    """Keeps jobs from being started for a while after a start that failed through no fault of theirs.

    The pause is longer each time, up to a minute; one start is tried between two. What keeps the queue
    waiting is noted for clients.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._asked: list[Worker] = []
        """Workers of which nobody knows yet whether they were started."""
        # What an earlier scheduler has met is tried with one run first, and at once.
        self._length_s = _FIRST_S if any(store.faults.stands(kind, "") for kind in _KINDS) else 0.0
        self._until_s = 0.0

    @property
    def is_probing(self) -> bool:
        """Whether the last start failed, so that only one is to be tried."""
        return self._length_s > 0

    def watch(self, worker: Worker) -> None:
        """Learn from a worker that was asked for whether starts succeed."""
        self._asked.append(worker)

    def lasts(self) -> bool:
        """Whether nothing is to be started now."""
        settled = [worker for worker in self._asked if worker.process or worker.is_gone]
        self._asked = [worker for worker in self._asked if not (worker.process or worker.is_gone)]
        errors = [worker.error for worker in settled if worker.was_never_begun and worker.error]
        if errors:
            self.begin(FaultKind.PROCESSES, cannot_start(errors[0]))
        elif any(not worker.was_never_begun for worker in settled):
            self.end()
        if not self.is_probing:
            return False
        return bool(self._asked) or time.monotonic() < self._until_s

    def end(self) -> None:
        """Note that workers start again, or that nobody needs one."""
        self._length_s = 0.0
        for kind in _KINDS:
            self._store.faults.clear(kind, "")

    def begin(self, kind: FaultKind, why: str) -> None:
        """Start nothing for a while.

        Args:
            kind: What the machine lacks.
            why: What keeps workers from being started, or from their work.
        """
        self._length_s = min(max(_FIRST_S, 2 * self._length_s), _LONGEST_S)
        self._until_s = time.monotonic() + self._length_s
        self._store.faults.report(kind, "", f"{why}; mend that, it is tried again by itself")

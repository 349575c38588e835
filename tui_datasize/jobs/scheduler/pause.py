"""Waiting while the machine lacks what runs need, and telling that from what is wrong with a run.

Attempts that end early are the machine's fault until another run gets further than they did: what ends the
same run again after that is its own. Pure but for the clock and the faults that it reports.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from tui_datasize.jobs.queue.faults import FaultKind
from tui_datasize.jobs.queue.records import QueuedJob
from tui_datasize.jobs.queue.store import Store
from tui_datasize.jobs.workers.spawn import Worker, cannot_start

FIRST_PAUSE_S = 5.0
_LONGEST_S = 60.0
_KINDS = (FaultKind.PROCESSES, FaultKind.DISK, FaultKind.ALIKE)
_ALIKE = 3
"""So many workers in a row whose runs fail in the same words before their first update are no coincidence."""
_MOST_REMEMBERED = 100


@dataclass(frozen=True, slots=True)
class EarlyEnd:
    """An attempt that ended for what the machine lacks, or before its first update."""

    run_id: str
    experiment: str
    tag: str
    """The worker's: runs of one pack end together."""
    kind: FaultKind
    why: str
    is_told: bool
    """Whether its worker has said what the machine lacks."""
    has_failed: bool
    """Whether its worker has said what is wrong with the run."""

    @property
    def pattern(self) -> str:
        """What it has in common with those that ended alike."""
        return re.sub(r"\d+", "", self.why.replace(self.run_id, ""))


class StartPause:
    """Keeps jobs from being started for a while after a fault of the machine has met one.

    The pause is longer each time, up to a minute. Between two, one worker is started; where runs have ended
    early, others wait until it gets further. What keeps the queue waiting is noted for clients.
    """

    def __init__(self, store: Store, first_s: float = FIRST_PAUSE_S) -> None:
        self._store = store
        self._first_s = first_s
        self._asked: list[Worker] = []
        """Workers of which nobody knows yet whether they were started."""
        standing = [kind for kind in _KINDS if store.faults.stands(kind, "")]
        # What an earlier scheduler has met is tried with one run first, and at once.
        self._length_s = first_s if standing else 0.0
        self._until_s = 0.0
        self._kind: FaultKind | None = standing[0] if standing else None
        self._waits_for_update = any(kind is not FaultKind.PROCESSES for kind in standing)
        """Whether a worker that starts is not enough to end the pause."""
        self._trying: set[str] = set()
        """Runs that are to show whether the fault is over."""
        self._row: deque[EarlyEnd] = deque(maxlen=_MOST_REMEMBERED)
        """Early ends since a run has got further, the latest last."""
        self._suspects: set[str] = set()
        """Runs whose early ends were forgiven since a run has got further."""
        self._blamed: set[str] = set()
        """Runs that ended early while others got further afterwards."""

    @property
    def is_probing(self) -> bool:
        """Whether the machine was at fault last, so that only one worker is to be tried."""
        return self._length_s > 0

    def watch(self, worker: Worker) -> None:
        """Learn from a worker that was asked for whether starts succeed."""
        self._asked.append(worker)
        if self.is_probing and self._waits_for_update:
            self._trying.update(worker.run_ids)

    def poll(self) -> None:
        """Take in what is known by now of the workers that were asked for."""
        settled = [worker for worker in self._asked if worker.process or worker.is_gone]
        self._asked = [worker for worker in self._asked if not (worker.process or worker.is_gone)]
        errors = [worker.error for worker in settled if worker.was_never_begun and worker.error]
        if errors:
            self.begin(FaultKind.PROCESSES, cannot_start(errors[0]))
        elif any(not worker.was_never_begun for worker in settled) and not self._waits_for_update:
            self.end()

    def lasts(self) -> bool:
        """Whether nothing is to be started now."""
        is_awaited = bool(self._asked or self._trying) or time.monotonic() < self._until_s
        return self.is_probing and is_awaited

    def left_s(self) -> float:
        """Seconds until the time is over for which nothing is started."""
        return max(0.0, self._until_s - time.monotonic())

    def first_to_try(self, jobs: Sequence[QueuedJob]) -> list[QueuedJob]:
        """Those of the waiting jobs that tell most of the machine: others than those that ended early."""
        experiments = {end.experiment for end in self._row}
        others = [job for job in jobs if job.run_id not in self._suspects]
        of_others = [job for job in others if job.experiment not in experiments]
        return of_others or others or list(jobs)

    def forgive(self, end: EarlyEnd) -> bool:
        """Take in an early end: whether it is the machine's fault, and nothing is started for a while."""
        if end.run_id in self._blamed:
            return False
        self._row.append(end)
        alike = takewhile(lambda earlier: earlier.pattern == end.pattern, reversed(self._row))
        workers = len({earlier.tag for earlier in alike})
        if end.has_failed and workers < _ALIKE:
            return False
        self._suspects.add(end.run_id)
        self._waits_for_update = True
        if end.is_told:
            self.begin(end.kind, f"{end.run_id}: {end.why}")
        elif workers == 1:
            self.begin(end.kind, f"{end.run_id} ended before its first update: {end.why}")
        else:
            how = f"{workers} workers in a row ended alike before their first update"
            self.begin(end.kind, f"{how}, the last with {end.run_id}: {end.why}")
        return True

    def note_progress(self, run_id: str, *, has_saved: bool) -> None:
        """Note that a run has made an update, or, where the disk was full, has saved something."""
        if self._kind is FaultKind.DISK and not has_saved:
            return
        self._blamed |= self._suspects - {run_id}
        self._suspects.clear()
        self._row.clear()
        if self.is_probing:
            self.end()

    def note_end(self, run_id: str) -> None:
        self._trying.discard(run_id)

    def end(self) -> None:
        """Note that workers start again, or that nobody needs one."""
        self._length_s = 0.0
        self._kind = None
        self._waits_for_update = False
        self._trying.clear()
        for kind in _KINDS:
            self._store.faults.clear(kind, "")

    def begin(self, kind: FaultKind, why: str) -> None:
        """Start nothing for a while, for what keeps workers from being started, or from their work."""
        if self._kind is not None and self._kind is not kind:
            self._store.faults.clear(self._kind, "")
        self._kind = kind
        # Several that were started together end together.
        if time.monotonic() >= self._until_s:
            self._length_s = min(max(self._first_s, 2 * self._length_s), _LONGEST_S)
            self._until_s = time.monotonic() + self._length_s
        self._store.faults.report(kind, "", f"{why}; it is tried again by itself")

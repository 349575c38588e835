"""Looks at a project whose runs lie on a disk that may not answer: the queue is shown at any rate."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

from tui_datasize.text import duration
from tui_datasize.tui.polling.collect import Collector
from tui_datasize.tui.polling.snapshot import EMPTY, Interest, Snapshot

_PATIENCE_S = 3.0
"""For which a look at the directories of runs is waited for before the queue alone is told."""


class PatientLook:
    """Looks once each time it is called, in a thread of its own: that may have to wait for ever."""

    def __init__(self, open_collector: Callable[[], Collector]) -> None:
        self._open_collector = open_collector
        self._beside: Collector | None = None
        self._asked: queue.SimpleQueue[Interest] = queue.SimpleQueue()
        self._seen: queue.SimpleQueue[Snapshot | Exception] = queue.SimpleQueue()
        self._last, self._asked_s = EMPTY, 0.0
        self._is_under_way = False
        threading.Thread(target=self._run, name="runs", daemon=True).start()

    def __call__(self, interest: Interest) -> Snapshot:
        """What is seen now; of the runs what was seen last, where their disk does not answer in time."""
        if not self._is_under_way:
            self._is_under_way, self._asked_s = True, time.monotonic()
            self._asked.put(interest)
        try:
            seen = self._seen.get(timeout=_PATIENCE_S)
        except queue.Empty:
            self._beside = self._beside or self._open_collector()
            waited = duration(time.monotonic() - self._asked_s)
            problem = f"the disk of the runs has not answered for {waited}: they are shown as last seen"
            return self._beside.look_at_queue(interest, self._last, problem)
        self._is_under_way = False
        if isinstance(seen, Exception):
            raise seen
        self._last = seen
        return seen

    def _run(self) -> None:
        collector: Collector | None = None
        while True:
            interest = self._asked.get()
            try:
                collector = collector or self._open_collector()
                self._seen.put(collector.look(interest))
            except Exception as error:
                self._seen.put(error)

"""The one thread that looks at the project while the screen stays free."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from tui_datasize.errors import ConfigError
from tui_datasize.experiments.load import cluster_settings
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.tui.polling.snapshot import Interest, Snapshot

if TYPE_CHECKING:
    from tui_datasize.jobs.client import QueueClient
    from tui_datasize.jobs.scheduler.devices import DeviceReport
    from tui_datasize.tui.polling.record import ProjectRecord

INTERVAL_S = 1.0
_JOIN_S = 0.2
_DRAWN_WITHIN_S = 0.5
_REST = 3.0
"""Least pause after a look, in durations of that look."""


class Poller:
    """Collects about once a second and hands on what changed; at once where something is still unread.

    Args:
        open_collector: Gives what looks once; both are called on the polling thread alone.
        on_snapshot: Receives a snapshot that differs from the one before; must be safe to call from
            another thread.
        on_failure: Receives one line when one of them raises; the next look follows all the same.
        interval_s: Seconds between two looks.
    """

    def __init__(
        self,
        open_collector: Callable[[], Callable[[Interest], Snapshot]],
        on_snapshot: Callable[[Snapshot], object],
        on_failure: Callable[[str], object],
        interval_s: float = INTERVAL_S,
    ) -> None:
        self._open_collector = open_collector
        self._on_snapshot = on_snapshot
        self._on_failure = on_failure
        self.interval_s = interval_s
        self._interest = Interest()
        self._wake = threading.Event()
        self._shown = threading.Event()
        self._stopped = threading.Event()
        # A daemon, so that a look at a slow disk never keeps the terminal from coming back.
        self._thread = threading.Thread(target=self._run, name="snapshot", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Look no more; waits a moment for the look in progress."""
        self._stopped.set()
        self._wake.set()
        self._shown.set()
        if self._thread.is_alive():
            self._thread.join(_JOIN_S)

    def look_at(self, interest: Interest) -> None:
        """Say what the screen shows in depth; looks at once where that is new."""
        if interest != self._interest:
            self._interest = interest
            self._wake.set()

    def look_now(self) -> None:
        """Look without waiting for the next second, e.g. after a command."""
        self._wake.set()

    def read_on(self) -> None:
        """Say that the screen shows what was read: until then the next step would only slow it down."""
        self._shown.set()

    def _run(self) -> None:
        last: Snapshot | None = None
        collect: Callable[[Interest], Snapshot] | None = None
        while not self._stopped.is_set():
            self._wake.clear()
            self._shown.clear()
            began_s = time.monotonic()
            try:
                collect = collect or self._open_collector()
                snapshot = collect(self._interest)
            except Exception as error:
                # Whatever it was, the screen says so and the next look may succeed.
                last = None
                self._on_failure(f"looking at the project failed: {type(error).__name__}: {error}")
            else:
                if snapshot != last and not self._stopped.is_set():
                    last = snapshot
                    self._on_snapshot(snapshot)
                if snapshot.unread:
                    self._shown.wait(_DRAWN_WITHIN_S)
                    continue
            # A large project on a slow disk: looking must stay a small part of what this machine does.
            self._wake.wait(max(self.interval_s, _REST * (time.monotonic() - began_s)))


def open_look(
    project: ProjectPaths,
    queue: QueueClient,
    open_record: Callable[[], ProjectRecord],
    read_devices: Callable[[], DeviceReport],
) -> Callable[[Interest], Snapshot]:
    """What looks at a project; where a cluster makes its runs, it does not wait for their disk."""
    # On the polling thread: meanwhile the screen is drawn.
    from tui_datasize.tui.polling.collect import Collector

    collector = partial(Collector, project, queue, open_record, read_devices)
    with suppress(ConfigError):
        if cluster_settings(project.root) is not None:
            from tui_datasize.tui.polling.patient import PatientLook

            return PatientLook(collector)
    return collector().look

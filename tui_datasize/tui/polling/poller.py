"""The one thread that looks at the project while the screen stays free."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tui_datasize.errors import ConfigError
from tui_datasize.experiments.project_tables import cluster_settings
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.text import duration
from tui_datasize.tui.polling.snapshot import EMPTY, Interest, Snapshot

if TYPE_CHECKING:
    from tui_datasize.jobs.client import QueueClient
    from tui_datasize.jobs.scheduler.devices import DeviceReport
    from tui_datasize.tui.polling.record import ProjectRecord

INTERVAL_S = 1.0
_JOIN_S = 0.2
_DRAWN_WITHIN_S = 0.5
_REST = 3.0
"""Least pause after a look, in durations of that look."""
_LONGEST_REST_S = 10.0
"""Nobody is to wait longer for what follows a look that had to wait for a disk."""
_PATIENCE_S = 3.0
"""For which a disk is waited for before it is told."""


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
        self._last: Snapshot | None = None
        self._began_s: float | None = None
        """When the look in progress began, on the monotonic clock."""
        self._wake = threading.Event()
        self._shown = threading.Event()
        self._stopped = threading.Event()
        # A daemon, so that a look at a slow disk never keeps the terminal from coming back.
        self._thread = threading.Thread(target=self._run, name="snapshot", daemon=True)
        self._beside = threading.Thread(target=self._watch, name="hung-disk", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._beside.start()

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
        collect: Callable[[Interest], Snapshot] | None = None
        while not self._stopped.is_set():
            self._wake.clear()
            self._shown.clear()
            began_s = self._began_s = time.monotonic()
            try:
                collect = collect or self._open_collector()
                snapshot = collect(self._interest)
            except Exception as error:
                # Whatever it was, the screen says so and the next look may succeed.
                self._last = None
                self._on_failure(f"looking at the project failed: {type(error).__name__}: {error}")
            else:
                if snapshot != self._last:
                    self._tell(snapshot)
                if snapshot.unread:
                    self._shown.wait(_DRAWN_WITHIN_S)
                    continue
            finally:
                self._began_s = None
            # A large project on a slow disk: looking must stay a small part of what this machine does.
            rest_s = min(_REST * (time.monotonic() - began_s), _LONGEST_REST_S)
            self._wake.wait(max(self.interval_s, rest_s))

    def _tell(self, snapshot: Snapshot) -> None:
        if not self._stopped.is_set():
            self._last = snapshot
            self._on_snapshot(snapshot)

    def _watch(self) -> None:
        """Tell of a disk that does not answer a look, which shows no other way."""
        while not self._stopped.wait(INTERVAL_S):
            began_s = self._began_s
            if began_s is None or time.monotonic() < began_s + _PATIENCE_S:
                continue
            if waits_for_disk(self._thread.native_id):
                self._tell(_unanswered(self._last or EMPTY, time.monotonic() - began_s))


def waits_for_disk(thread: int | None) -> bool:
    """Whether a thread of this process is in a wait that no signal ends, as for a disk or a network's."""
    with suppress(OSError):
        stat = Path(f"/proc/self/task/{thread}/stat").read_bytes()
        return stat[stat.rindex(b")") + 1 :].split()[0] == b"D"
    return False


def _unanswered(last: Snapshot, waited_s: float) -> Snapshot:
    """What was seen last, and that its disk does not answer."""
    # Not above: until the first frame nothing else needs it.
    from tui_datasize.jobs.queue.faults import RUNS, FaultKind, new_fault
    from tui_datasize.jobs.queue.time_left import NOTHING_MOVES

    what = f"its disk has not answered for {duration(waited_s)}; all is shown as last seen"
    fault = new_fault(FaultKind.DISK, RUNS, f"{what}: look at the log of the kernel")
    return replace(last, faults=(fault,), time_left=last.time_left.while_held_up(NOTHING_MOVES))


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

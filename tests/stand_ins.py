"""What stands for the clock and for the processes of a scheduler, in tests and benchmarks."""

from __future__ import annotations

from collections.abc import Sequence

from tui_datasize.jobs.workers.spawn import SpawnRequest, Worker
from tui_datasize.runlog.identity import ProcessIdentity


class FakeClock:
    """Stands for the module `time` of whoever measures pauses; it moves when it is told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        """As `time.monotonic`."""
        return self.now_s


class FakeSpawner:
    """A `Spawner` that starts nothing and notes what it is asked for: workers do not end, probes succeed.

    Others say in `worker_of` and `call` what becomes of what they are asked for.
    """

    def __init__(self) -> None:
        self.started: list[SpawnRequest] = []
        self.workers: list[Worker] = []
        """Those of `started`."""

    def worker_of(self, _request: SpawnRequest) -> Worker:
        """The worker that answers a request: this process."""
        return Worker(ProcessIdentity.current())

    def start(self, request: SpawnRequest) -> Worker:
        """See `Spawner.start`."""
        if request.module:
            return self.call(request)
        self.started.append(request)
        self.workers.append(self.worker_of(request))
        return self.workers[-1]

    def call(self, _request: SpawnRequest, /) -> Worker:
        """What answers a request for a process that executes no run: one that has ended."""
        return Worker(status=0, is_gone=True)

    def make_ready(self) -> bool:
        """Always."""
        return True

    def poll(self) -> None:
        """Nothing changes by itself."""

    def descriptors(self) -> Sequence[int]:
        """None."""
        return ()

    def close(self) -> None:
        """Nothing is held."""

"""The project's worker with a stopwatch: what a job's time goes into, told in `phases.json`.

`main` is a worker as the scheduler starts it, warm or, as `python -m benchmarks.timed_worker RUN_DIR`,
cold. Only durations are added; what is trained and written stays the same.
"""

from __future__ import annotations

import functools
import importlib
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tui_datasize.runlog.claim import Claim
from tui_datasize.training import worker

FILE = "phases.json"
PHASES = (
    "claim",
    "imports",
    "data",
    "model build",
    "first update",
    "updates",
    "evaluations",
    "checkpoints",
    "tables",
    "exit record",
    "other",
)
TRAINING = ("updates", "evaluations")


class Stopwatch:
    """Seconds per phase; time in an inner phase does not count for the outer one."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.began_s = self._since_s = time.monotonic()
        self.first_update_s = self.first_update_cpu_s = 0.0
        self._phases = ["other"]

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """While inside, time counts for this phase."""
        self.lap()
        self._phases.append(name)
        try:
            yield
        finally:
            self.lap()
            self._phases.pop()

    def lap(self) -> None:
        """Book the time since the last lap."""
        now_s = time.monotonic()
        self.seconds[self._phases[-1]] += now_s - self._since_s
        self._since_s = now_s

    def wrap(self, owner: Any, name: str, phase: str) -> None:
        """Have all calls of a function count for a phase."""
        function = getattr(owner, name)

        @functools.wraps(function)
        def timed(*arguments: Any, **options: Any) -> Any:
            with self.phase(phase):
                return function(*arguments, **options)

        setattr(owner, name, timed)


def main(argv: Sequence[str]) -> int:
    """Execute one run as the project's worker does, and write its `phases.json`."""
    stopwatch = Stopwatch()
    acquire: Callable[..., Claim] = vars(worker)["acquire"]

    def acquire_and_import(*arguments: Any) -> Claim:
        with stopwatch.phase("claim"):
            claim = acquire(*arguments)
        with stopwatch.phase("imports"):
            importlib.import_module("tui_datasize.training.packs.training")
        _instrument(stopwatch)
        return claim

    # The name that the worker calls; the claim comes before the imports, as it always does.
    vars(worker)["acquire"] = acquire_and_import
    return worker.main(argv)


def _instrument(stopwatch: Stopwatch) -> None:
    rooms = ("packs.training", "prepare", "session")
    packs, prepare, session = (importlib.import_module(f"tui_datasize.training.{room}") for room in rooms)
    # By the name under which it is called.
    stopwatch.wrap(packs, "prepare", "data")
    stopwatch.wrap(prepare, "write_table", "tables")
    stopwatch.wrap(prepare.Session, "__init__", "model build")
    stopwatch.wrap(prepare.Session, "_evaluate", "evaluations")
    stopwatch.wrap(session, "write_results", "tables")
    stopwatch.wrap(session.checkpoint, "save", "checkpoints")
    _time_steps(stopwatch, session.Trainer)
    _write_at_the_end(stopwatch)


def _time_steps(stopwatch: Stopwatch, trainer: Any) -> None:
    step = trainer.step

    def first_step(self: Any) -> None:
        with stopwatch.phase("first update"):
            step(self)
        stopwatch.first_update_s = time.monotonic()
        stopwatch.first_update_cpu_s = time.process_time()
        trainer.step = step
        stopwatch.wrap(trainer, "step", "updates")

    trainer.step = first_step


def _write_at_the_end(stopwatch: Stopwatch) -> None:
    finish = Claim.finish

    def finish_and_tell(self: Claim, *arguments: Any) -> None:
        with stopwatch.phase("exit record"):
            finish(self, *arguments)
        ended_s = time.monotonic()
        facts = {
            "began_s": stopwatch.began_s,
            "first_update_s": stopwatch.first_update_s,
            "first_update_cpu_s": stopwatch.first_update_cpu_s,
            "ended_s": ended_s,
            "phases": stopwatch.seconds,
        }
        (self.paths.directory / FILE).write_text(json.dumps(facts))

    Claim.finish = finish_and_tell  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

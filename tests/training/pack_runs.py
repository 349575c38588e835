"""Runs of a pack, how a worker is given them, and what disturbs it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from tests.training.helpers import small_spec
from tui_datasize.experiments.spec import Budget, ModelSpec, OptimizerSpec, RunSpec
from tui_datasize.runlog.claim import Claim, RunOutcome, acquire, read_exit
from tui_datasize.runlog.paths import RunPaths
from tui_datasize.training import session, worker
from tui_datasize.training.packs.fused import Fused
from tui_datasize.training.packs.implementations import PutTogether, SideBySide
from tui_datasize.training.worker import main

SPEC = small_spec(budget=Budget("updates", 12), evaluations=2)
CNN = replace(SPEC, model=ModelSpec("cnn3", {"width": 4}))


def specs_of(spec: RunSpec, count: int = 4) -> list[RunSpec]:
    return [replace(spec, seed=lane, train_size=50 + 9 * lane) for lane in range(count)]


def diverging(spec: RunSpec) -> RunSpec:
    """The same run, with a loss that soon is no number."""
    return replace(spec, optimizer=OptimizerSpec(lr=1e30), clip_grad_norm=None)


def work(runs: Sequence[RunPaths]) -> int:
    """Execute runs as one pack, in this process."""
    return main(["--pack", *(str(paths.directory) for paths in runs)])


def ends(runs: Sequence[RunPaths]) -> list[tuple[RunOutcome, str] | None]:
    return [(end.outcome, end.reason) if (end := read_exit(paths)) else None for paths in runs]


def after(
    updates: int, happen: Callable[[], object], together: type[Fused | SideBySide] = Fused
) -> PutTogether:
    """An implementation in which something happens in the middle of an update."""

    class Disturbed(together):  # type: ignore[misc, valid-type]
        steps = 0

        def step(self, lanes: Sequence[int]) -> None:
            super().step(lanes)
            Disturbed.steps += 1
            if Disturbed.steps == updates:
                happen()

    return Disturbed


def ask_to_leave() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


class Died(BaseException):
    """Nothing of the process runs any more."""


def die() -> None:
    raise Died


def work_until_death(runs: Sequence[RunPaths], monkeypatch: pytest.MonkeyPatch) -> None:
    """Execute runs as one pack until it dies, with a checkpoint after each update."""
    claims: list[Claim] = []

    def take(paths: RunPaths, attempt: int) -> Claim:
        claims.append(acquire(paths, attempt))
        return claims[-1]

    with monkeypatch.context() as patch:
        patch.setattr(worker, "acquire", take)
        patch.setattr(session, "_READING_INTERVAL_S", 0.0)
        patch.setattr(session, "save_interval_s", lambda _: 0.0)
        with pytest.raises(Died):
            work(runs)
    for claim in claims:
        if claim._lock is not None:
            os.close(claim._lock)

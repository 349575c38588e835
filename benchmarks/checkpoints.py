"""What checkpoints cost a run, and what a kill takes from it.

`python -m benchmarks.checkpoints [--models mlp cnn3 torchvision:resnet18] [--runs 2]` trains each model on
digits in a worker of its own, kills it (-9) at random 25 to 60 s after its first update, lets another worker
go on, and prints how long one checkpoint took, which share of the time all took, and how many seconds of work
were lost: from the state that the second worker went on from to the last row that the first one had written.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.training.helpers import small_spec, write_queued
from tui_datasize.experiments.spec import Budget, ModelSpec
from tui_datasize.runlog.paths import RunPaths

_EARLIEST_S, _LATEST_S = 25.0, 60.0
_PATIENCE_S = 600.0
_COSTS = "costs"


def main() -> int:
    """Measure each model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["mlp", "cnn3", "torchvision:resnet18"])
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        return _work(RunPaths(arguments.worker))
    chance = random.Random(0)
    for model in arguments.models:
        for seed in range(arguments.runs):
            with tempfile.TemporaryDirectory() as directory:
                _measure(Path(directory), model, seed, chance.uniform(_EARLIEST_S, _LATEST_S))
    print(f"load {os.getloadavg()[0]:.1f}")
    return 0


def _work(run: RunPaths) -> int:
    """A worker that notes how long each of its checkpoints takes."""
    from tui_datasize.training import session, worker

    save = session.Session._save

    def timed(self: session.Session) -> None:
        save(self)
        with (run.directory / _COSTS).open("a") as file:
            file.write(f"{self._saving_s}\n")

    session.Session._save = timed  # type: ignore[method-assign]
    return worker.main([str(run.directory)])


def _measure(root: Path, model: str, seed: int, lasts_s: float) -> None:
    spec = small_spec(
        model=ModelSpec(model, {}), seed=seed, train_size=640, batch_size=32, budget=Budget("updates", 10**6)
    )
    run = write_queued(root, spec)
    first = _start(run)
    _wait_for(lambda: any(row["event"] == "train" for row in _rows(run)))
    time.sleep(lasts_s)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    noted = run.directory / _COSTS
    # The first may be due later than that.
    costs = [float(line) for line in noted.read_text().split()] if noted.exists() else []
    rows = _rows(run)
    second = _start(run)
    _wait_for(lambda: any(row["event"] == "resume" for row in _rows(run)))
    second.kill()
    second.wait()
    update = next(row["update"] for row in _rows(run) if row["event"] == "resume")
    reached = [row for row in rows if row["event"] == "train"]
    kept_s = max((row["wall_s"] for row in reached if row["update"] <= update), default=0.0)
    lived_s = reached[-1]["wall_s"]
    print(
        f"{model}: {len(costs)} checkpoints of {[round(1000 * one) for one in costs]} ms, "
        f"{100 * sum(costs) / lived_s:.2f} % of {lived_s:.0f} s; lost {lived_s - kept_s:.1f} s",
        flush=True,
    )


def _start(run: RunPaths) -> subprocess.Popen[bytes]:
    command = (sys.executable, "-m", "benchmarks.checkpoints", "--worker", str(run.directory))
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)


def _rows(run: RunPaths) -> list[dict[str, Any]]:
    lines = run.metrics.read_bytes().splitlines(keepends=True) if run.metrics.exists() else []
    return [json.loads(line) for line in lines if line.endswith(b"\n")]


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + _PATIENCE_S
    while not condition():
        if time.monotonic() > deadline_s:
            raise TimeoutError("a worker is too slow")
        time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main())

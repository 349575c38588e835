"""What checkpoints cost a run, and what a kill takes from it.

`python -m benchmarks.checkpoints [--models cnn3 resnet:8 torchvision:resnet18] [--runs 2] [--lasts-s 25 60]`
trains each model on digits in a worker of its own, kills it (-9) at random so many seconds after its first
update, lets another worker go on, and prints when and for how long a part was tried and each checkpoint was
written, which share of the time all took, and how many seconds of work were lost: from the state that the
second worker went on from to the last row that the first one had written.
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

_PATIENCE_S = 600.0
_COSTS = "costs"


def main() -> int:
    """Measure each model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["cnn3", "resnet:8", "torchvision:resnet18"])
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--lasts-s", nargs=2, type=float, default=(25.0, 60.0), help="least and most")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        return _work(RunPaths(arguments.worker))
    chance = random.Random(0)
    for model in arguments.models:
        for seed in range(arguments.runs):
            with tempfile.TemporaryDirectory() as directory:
                _measure(Path(directory), model, seed, chance.uniform(*arguments.lasts_s))
    print(f"load {os.getloadavg()[0]:.1f}")
    return 0


def _work(run: RunPaths) -> int:
    """A worker that notes when it writes a checkpoint or a part of one, and for how long."""
    from tui_datasize.training import checkpoint, worker

    save = checkpoint.save

    def timed(path: Path, *arguments: Any) -> None:
        begun_s = time.monotonic()
        save(path, *arguments)
        with (run.directory / _COSTS).open("a") as file:
            file.write(f"{json.dumps([path.name, begun_s, time.monotonic() - begun_s])}\n")

    checkpoint.save = timed  # type: ignore[assignment]
    return worker.main([str(run.directory)])


def _measure(root: Path, model: str, seed: int, lasts_s: float) -> None:
    name, _, depth = model.partition(":") if model.startswith("resnet") else (model, "", "")
    options = {"depth": int(depth)} if depth else {}
    spec = small_spec(
        model=ModelSpec(name, options),
        seed=seed,
        train_size=640,
        batch_size=32,
        budget=Budget("updates", 10**6),
    )
    run = write_queued(root, spec)
    first = _start(run)
    _wait_for(lambda: any(row["event"] == "train" for row in _rows(run)))
    begun_s = time.monotonic() - _rows(run)[0]["wall_s"]
    time.sleep(lasts_s)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    noted = run.directory / _COSTS
    # The first may be due later than that.
    costs = [json.loads(line) for line in noted.read_text().splitlines()] if noted.exists() else []
    rows = _rows(run)
    second = _start(run)
    _wait_for(lambda: any(row["event"] == "resume" for row in _rows(run)))
    second.kill()
    second.wait()
    update = next(row["update"] for row in _rows(run) if row["event"] == "resume")
    reached = [row for row in rows if row["event"] == "train"]
    kept_s = max((row["wall_s"] for row in reached if row["update"] <= update), default=0.0)
    lived_s = reached[-1]["wall_s"]
    told = [
        f"{'part' if name.startswith('.') else 'whole'} at {at_s - begun_s:.1f} s {1000 * took_s:.0f} ms"
        for name, at_s, took_s in costs
    ]
    share = sum(took_s for *_, took_s in costs) / lived_s
    print(
        f"{model}: {', '.join(told)}; {share:.2%} of {lived_s:.0f} s; lost {lived_s - kept_s:.1f} s",
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

"""A sweep whose scheduler, preloader and workers are killed at random, against the same sweep undisturbed.

`python -m benchmarks.killed_sweep PROJECT EXPERIMENT [--seed S] [--every-s 8]` runs the experiment of a
project twice, with the runs that its runs start from, in two directories of its own, and compares all
evaluations, row by row and bit for bit.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import polars as pl

from tui_datasize.experiments.load import load_project
from tui_datasize.experiments.rungs import rungs_of
from tui_datasize.experiments.sweep import plan_runs, source_runs
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.queue.state import MAX_ATTEMPTS, JobState
from tui_datasize.runlog.claim import observe
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.runlog.reader import RunLog
from tui_datasize.runlog.schema import TIME_COLUMNS

MODULES = {
    "scheduler": "tui_datasize.jobs.scheduler.main",
    "preloader": "tui_datasize.jobs.workers.preloader",
}

_ENDLESS = 1_000


def main() -> int:
    """Run both sweeps and compare them; exit status 1 where they differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("project", type=Path)
    parser.add_argument("experiment")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every-s", type=float, default=8.0, help="mean time between two kills")
    arguments = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="killed-sweep-"))
    sweeps = [_copy(arguments.project, root / name) for name in ("undisturbed", "killed")]
    whole_s, _ = run_sweep(sweeps[0], arguments.experiment, None, 0)
    killed_s, kills = run_sweep(
        sweeps[1], arguments.experiment, random.Random(arguments.seed), arguments.every_s
    )
    rows, equal = compare(*sweeps)
    attempts = [job.attempts for job in QueueClient(sweeps[1]).jobs()]
    print(
        f"undisturbed {whole_s:.0f} s; killed {killed_s:.0f} s, kills: {dict(kills)}, seed {arguments.seed}"
    )
    verdict = "equal" if equal else "DIFFERENT"
    print(f"{len(attempts)} runs, {sum(attempts)} attempts, {rows} evaluations: {verdict}")
    print(f"directories: {root}")
    return 0 if equal else 1


def run_sweep(
    paths: ProjectPaths, experiment: str, dice: random.Random | None, every_s: float
) -> tuple[float, Counter[str]]:
    """Run a sweep to its end; with dice, kill something about every `every_s` seconds.

    Returns:
        Seconds it took, and what was killed how often.
    """
    project = load_project(paths.experiments)
    client = QueueClient(paths)
    started = time.monotonic()
    asked = project.experiment(experiment)
    specs = plan_runs(asked, project)
    rungs = rungs_of(asked, specs)
    client.enqueue(
        specs,
        sources=source_runs(specs, project),
        data_dir=project.data_dir,
        # A candidate that failed would not be promoted, whoever retries it later.
        max_attempts=_ENDLESS if rungs else MAX_ATTEMPTS,
        rungs=rungs,
    )
    kills: Counter[str] = Counter()
    next_kill = started + every_s
    while any(job.state is not JobState.SUCCEEDED for job in client.jobs()):
        client.ensure_scheduler()
        if dice and time.monotonic() >= next_kill:
            kills[_kill_something(paths, client, dice)] += 1
            next_kill = time.monotonic() + dice.expovariate(1 / every_s)
        # A run killed three times has failed; a person would retry it.
        failed = [job.run_id for job in client.jobs() if job.state is JobState.FAILED]
        if failed:
            client.send(CommandKind.RETRY, failed)
        time.sleep(0.2)
    client.stop_scheduler()
    return time.monotonic() - started, kills


def compare(one: ProjectPaths, other: ProjectPaths) -> tuple[int, bool]:
    """Number of evaluations of the first sweep, and whether the other has the same, bit for bit.

    So must be the images that its runs learned from, with why they were chosen, and what they predict.
    """
    first, second = ([_evaluations(paths), *_tables(paths)] for paths in (one, other))
    alike = [mine.equals(theirs) for mine, theirs in zip(first, second, strict=True)]
    return first[0].height, all(alike)


def _copy(project: Path, root: Path) -> ProjectPaths:
    root.mkdir()
    shutil.copy(project / "experiments.toml", root)
    return ProjectPaths(root)


def _kill_something(paths: ProjectPaths, client: QueueClient, dice: random.Random) -> str:
    victims = [(name, pid) for name, module in MODULES.items() for pid in _pids(module, paths)]
    for job in client.jobs():
        claim = observe(paths.run(job.experiment, job.run_id)).claim if job.state.is_active else None
        if claim is not None and claim.process.is_alive():
            victims.append(("worker", claim.pid))
    if not victims:
        return "nothing"
    name, pid = dice.choice(victims)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return name


def _pids(module: str, paths: ProjectPaths) -> list[int]:
    """Processes that run a module for this project, or were started in its directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            here = str(paths.root) in command or (process / "cwd").resolve() == paths.root.resolve()
            if module in command and here:
                found.append(int(process.name))
    return found


def _evaluations(paths: ProjectPaths) -> pl.DataFrame:
    """Rows of evaluations, and of epochs of generators."""
    rows = RunLog(paths).metrics().filter(pl.col("event") != "train")
    return rows.drop(*TIME_COLUMNS).sort("run_id", "event", "update", "split", "epoch")


def _tables(paths: ProjectPaths) -> list[pl.DataFrame]:
    files = (file for run in paths.all_runs() for file in (run.subset, run.predictions))
    # A run without labels predicts no test image.
    return [pl.read_parquet(file) for file in files if file.exists()]


if __name__ == "__main__":
    sys.exit(main())

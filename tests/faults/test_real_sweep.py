"""Real trainings, real kills: a sweep killed at every level measures what an undisturbed one does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tui_datasize.cli.dispatch import main
from tui_datasize.experiments.load import load_project
from tui_datasize.experiments.sweep import plan_runs
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.runlog.claim import read_claim
from tui_datasize.runlog.paths import ProjectPaths, RunPaths
from tui_datasize.runlog.reader import RunLog
from tui_datasize.runlog.schema import TIME_COLUMNS

DEADLINE_S = 600.0
EXPERIMENT = """
[devices]
cpu = true
[experiments.small]
dataset    = "digits"
model      = { name = "mlp", dropout = 0.2 }
sizes      = [40, 160]
seeds      = [0, 1]
budget     = { updates = 240 }
batch_size = 32
evaluate   = { times = 5 }
"""

pytestmark = [pytest.mark.faults, pytest.mark.long]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A project with a data directory and CPU slots of its own, where others can take names in `/tmp`."""
    shared = tmp_path / "shared"
    shared.mkdir()
    for user in {os.environ.get("USER", "root"), "root"}:
        (shared / f"torchinductor_{user}").touch()
    monkeypatch.setenv("TMPDIR", str(shared))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for variable in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "POLARS_TEMP_DIR"):
        monkeypatch.delenv(variable, raising=False)
    before = sorted(shared.iterdir())
    monkeypatch.setenv("DATASIZE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("DATASIZE_SLOTS_DIR", str(tmp_path / "slots"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    paths = ProjectPaths(tmp_path / "project")
    paths.root.mkdir()
    paths.experiments.write_text(EXPERIMENT)
    yield paths
    client = QueueClient(paths)
    client.send("cancel", [job.run_id for job in client.jobs() if not job.state.is_final])
    wait(lambda: not any(job.state.is_active for job in client.jobs()))
    client.stop_scheduler()
    wait(lambda: not client.scheduler_alive())
    assert sorted(shared.iterdir()) == before


def wait(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.02)


def scheduler_pid(paths: ProjectPaths) -> int:
    """The process that holds the scheduler's lock, as the kernel lists it."""
    inode = paths.scheduler_lock.stat().st_ino
    locks = Path("/proc/locks").read_text().splitlines()
    return next(int(line.split()[4]) for line in locks if line.split()[5].endswith(f":{inode}"))


def measured(paths: ProjectPaths) -> pl.DataFrame:
    rows = RunLog(paths).metrics().filter(pl.col("event") == "evaluation")
    return rows.drop(*TIME_COLUMNS).sort("run_id", "update", "split")


def test_kills_change_no_number_and_every_run_ends_once(project):
    run = [sys.executable, "-m", "tui_datasize", "run", "small", "--project", str(project.root)]
    done = subprocess.run(run, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    assert done.returncode == 0, done.stderr
    # All were forked from a preloader: nothing that real workers import keeps it from serving.
    assert {forked_by(run) for run in project.all_runs()} == {"preloader.py"}
    undisturbed = measured(project)

    client = QueueClient(project)
    assert main(["queue", "small", "--force", "--project", str(project.root)]) == 0
    wait(lambda: kill_worker(project))
    wait(lambda: run_under_way(project))
    os.kill(scheduler_pid(project), signal.SIGKILL)
    wait(lambda: not client.scheduler_alive())
    assert main(["run", "small", "--project", str(project.root)]) == 0

    jobs = client.jobs()
    assert [job.state for job in jobs] == [JobState.SUCCEEDED] * 4
    assert all((project.root / "runs/small/.superseded").iterdir())
    assert sum(job.attempts for job in jobs) >= 5
    assert_frame_equal(measured(project), undisturbed)
    assert undisturbed.group_by("run_id", "split").len()["len"].unique().to_list() == [5]

    loaded = load_project(project.experiments)
    specs = plan_runs(loaded.experiment("small"), loaded)
    again = client.enqueue(specs, data_dir=loaded.data_dir)
    assert (again.new, again.present) == (0, 4)


def forked_by(run: RunPaths) -> str:
    """File name of the program that became the worker."""
    return Path(json.loads(run.provenance.read_text())["argv"][0]).name


def run_under_way(paths: ProjectPaths) -> RunPaths | None:
    """A run whose worker has written metrics and not ended."""
    return next(
        (
            run
            for run in paths.all_runs()
            if run.metrics.exists() and run.metrics.stat().st_size and not run.exit.exists()
        ),
        None,
    )


def kill_worker(paths: ProjectPaths) -> bool:
    """Whether a worker could be killed in the middle of its run."""
    run = run_under_way(paths)
    claim = run and read_claim(run)
    if not run or not claim:
        return False
    with suppress(ProcessLookupError):
        # It cannot end between the look and the kill.
        os.kill(claim.pid, signal.SIGSTOP)
        is_under_way = not run.exit.exists()
        os.kill(claim.pid, signal.SIGKILL if is_under_way else signal.SIGCONT)
        return is_under_way
    return False

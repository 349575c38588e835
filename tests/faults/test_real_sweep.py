"""Real trainings, real kills: a sweep killed at every level measures what an undisturbed one does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tui_datasize.experiments.load import load_project
from tui_datasize.experiments.sweep import plan_runs
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.state import JobState
from tui_datasize.runlog.claim import read_claim
from tui_datasize.runlog.paths import ProjectPaths, RunPaths
from tui_datasize.runlog.reader import RunLog
from tui_datasize.runlog.schema import TIME_COLUMNS

DEADLINE_S = 240.0
EXPERIMENT = """
[devices]
cpu = true
[experiments.small]
dataset    = "digits"
model      = { name = "mlp", dropout = 0.2 }
sizes      = [40, 160]
seeds      = [0, 1]
budget     = { updates = 1500 }
batch_size = 32
evaluate   = { times = 5 }
"""

pytestmark = pytest.mark.faults


@pytest.fixture
def make_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Projects that share a data directory and CPU slots of their own."""
    monkeypatch.setenv("DATASIZE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("DATASIZE_SLOTS_DIR", str(tmp_path / "slots"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    made = []

    def make(name: str) -> ProjectPaths:
        paths = ProjectPaths(tmp_path / name)
        paths.root.mkdir()
        paths.experiments.write_text(EXPERIMENT)
        made.append(paths)
        return paths

    yield make
    for paths in made:
        client = QueueClient(paths)
        client.send("cancel", [job.run_id for job in client.jobs() if not job.state.is_final])
        wait(lambda client=client: not any(job.state.is_active for job in client.jobs()))
        client.stop_scheduler()


def wait(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.02)


def command(paths: ProjectPaths, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tui_datasize", *arguments, "--project", str(paths.root)],
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )


def scheduler_pid(paths: ProjectPaths) -> int:
    """The process that holds the scheduler's lock, as the kernel lists it."""
    inode = paths.scheduler_lock.stat().st_ino
    locks = Path("/proc/locks").read_text().splitlines()
    return next(int(line.split()[4]) for line in locks if line.split()[5].endswith(f":{inode}"))


def measured(paths: ProjectPaths) -> pl.DataFrame:
    rows = RunLog(paths).metrics().filter(pl.col("event") == "evaluation")
    return rows.drop(*TIME_COLUMNS).sort("run_id", "update", "split")


def test_kills_change_no_number_and_every_run_ends_once(make_project):
    undisturbed = make_project("undisturbed")
    done = command(undisturbed, "run", "small")
    assert done.returncode == 0, done.stderr
    # All were forked from a preloader: nothing that real workers import keeps it from serving.
    assert {forked_by(run) for run in undisturbed.all_runs()} == {"preloader.py"}

    killed = make_project("killed")
    assert command(killed, "queue", "small").returncode == 0
    client = QueueClient(killed)
    # Between the kills the next scheduler is started, as the app does whenever it finds none.
    for find_process in (scheduler_pid, claimant_of_a_run_under_way, scheduler_pid):
        client.ensure_scheduler()
        wait(lambda: client.scheduler_alive() and run_under_way(killed))
        os.kill(find_process(killed), signal.SIGKILL)
    wait(lambda: not client.scheduler_alive())
    done = command(killed, "run", "small")
    assert done.returncode == 0, done.stderr

    jobs = client.jobs()
    assert [job.state for job in jobs] == [JobState.SUCCEEDED] * 4
    assert sum(job.attempts for job in jobs) >= 5
    assert_frame_equal(measured(killed), measured(undisturbed))
    assert measured(killed).group_by("run_id", "split").len()["len"].unique().to_list() == [5]

    project = load_project(killed.experiments)
    specs = plan_runs(project.experiment("small"), project)
    again = client.enqueue(specs, data_dir=project.data_dir)
    assert (again.new, again.present) == (0, 4)


def forked_by(run: RunPaths) -> str:
    """File name of the program that became the worker."""
    return Path(json.loads(run.provenance.read_text())["argv"][0]).name


def run_under_way(paths: ProjectPaths) -> Path | None:
    """A run directory whose worker has written metrics and not ended."""
    return next(
        (
            run.directory
            for run in paths.all_runs()
            if run.metrics.exists() and run.metrics.stat().st_size and not run.exit.exists()
        ),
        None,
    )


def claimant_of_a_run_under_way(paths: ProjectPaths) -> int:
    wait(lambda: run_under_way(paths))
    claim = next(read_claim(run) for run in paths.all_runs() if run.directory == run_under_way(paths))
    assert claim is not None
    return claim.pid

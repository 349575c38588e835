"""Real trainings by a real Slurm: bit for bit what this machine makes of the same runs."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tests.cluster.slurm import Slurm
from tui_datasize.experiments.load import load_project
from tui_datasize.experiments.sweep import plan_runs
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.runlog.reader import RunLog
from tui_datasize.runlog.schema import TIME_COLUMNS

EXPERIMENT = """
[devices]
cpu = true
cpu_slots = 2
packs = "off"
[cluster]
gpus = 0
cpus = 1
mem = "900M"
[experiments.small]
dataset    = "digits"
model      = { name = "mlp", dropout = 0.2 }
sizes      = [40, 80, 160]
seeds      = [0, 1, 2, 3]
subset     = { seeds = [0, 1] }
budget     = { updates = 60 }
batch_size = 32
evaluate   = { times = 3 }
"""


def test_24_runs_are_bit_for_bit_those_of_this_machine(
    slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("cache", "slots", "data"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("DATASIZE_SLOTS_DIR", str(tmp_path / "slots"))
    monkeypatch.setenv("DATASIZE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:/usr/sbin")
    made = {}
    for on in ("slurm", "local"):
        paths = ProjectPaths(tmp_path / on)
        paths.root.mkdir()
        paths.experiments.write_text(EXPERIMENT)
        project = load_project(paths.experiments)
        specs = plan_runs(project.experiment("small"), project)
        assert len(specs) == 24
        client = QueueClient(paths)
        client.enqueue(specs, on=on, data_dir=project.data_dir)
        client.ensure_scheduler()
        slurm.wait(lambda client=client: all(job.state.is_final for job in client.jobs()), 900.0)
        assert {job.state for job in client.jobs()} == {JobState.SUCCEEDED}, client.jobs()
        assert client.stop_scheduler()
        made[on] = paths
    assert_frame_equal(*(measured(paths) for paths in made.values()), check_exact=True)
    runs = [RunLog(paths).runs() for paths in made.values()]
    for run_id in runs[0]["run_id"]:
        tables = [pl.read_parquet(paths.run("small", run_id).predictions) for paths in made.values()]
        assert_frame_equal(*tables, check_exact=True)


def measured(paths: ProjectPaths) -> pl.DataFrame:
    rows = RunLog(paths).metrics().drop(*TIME_COLUMNS)
    return rows.filter(pl.col("event") == "evaluation").sort("run_id", "update", "split")

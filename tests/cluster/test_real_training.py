"""Real trainings by a real Slurm: bit for bit what this machine makes of the same runs."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tests.cluster.slurm import Slurm
from tui_datasize.experiments.cluster_settings import Place
from tui_datasize.experiments.load import load_project
from tui_datasize.experiments.sweep import plan_runs
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.runlog.claim import read_claim
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


def make(text: str, root: Path, on: Place, slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> ProjectPaths:
    """Have all runs of the experiment made, those of Slurm begin anew once where there is only one."""
    for name in ("cache", "slots", "data"):
        (root / name).mkdir(exist_ok=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(root / "cache"))
    monkeypatch.setenv("DATASIZE_SLOTS_DIR", str(root / "slots"))
    monkeypatch.setenv("DATASIZE_DATA", str(root / "data"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    paths = ProjectPaths(root / on)
    paths.root.mkdir()
    paths.experiments.write_text(text)
    project = load_project(paths.experiments)
    specs = plan_runs(project.experiment("small"), project)
    client = QueueClient(paths)
    client.enqueue(specs, on=on, data_dir=project.data_dir)
    client.ensure_scheduler()
    if on == "slurm" and len(specs) == 1:
        run = paths.run("small", specs[0].run_id)
        slurm.wait(run.checkpoint.exists)
        claim = read_claim(run)
        assert claim is not None
        slurm.ask("scontrol", "requeue", claim.job)
    slurm.wait(lambda: all(job.state.is_final for job in client.jobs()), 900.0)
    assert {job.state for job in client.jobs()} == {JobState.SUCCEEDED}, client.jobs()
    assert client.stop_scheduler()
    return paths


def test_24_runs_are_bit_for_bit_those_of_this_machine(
    slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {on: make(EXPERIMENT, tmp_path, on, slurm, monkeypatch) for on in ("slurm", "local")}
    assert_frame_equal(*(measured(paths) for paths in made.values()), check_exact=True)
    run_ids = RunLog(made["slurm"]).runs()["run_id"].to_list()
    assert len(run_ids) == 24
    for run_id in run_ids:
        tables = [pl.read_parquet(paths.run("small", run_id).predictions) for paths in made.values()]
        assert_frame_equal(*tables, check_exact=True)


def test_a_requeued_run_has_the_same_curve(
    slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lone = EXPERIMENT.replace("[40, 80, 160]", "[160]").replace("[0, 1, 2, 3]", "[0]")
    lone = lone.replace("seeds = [0, 1]", "seeds = [0]").replace("updates = 60", "updates = 15_000")
    made = {on: make(lone, tmp_path, on, slurm, monkeypatch) for on in ("slurm", "local")}
    (run,) = made["slurm"].all_runs()
    assert '"resume"' in run.metrics.read_text()
    assert_frame_equal(*(measured(paths) for paths in made.values()), check_exact=True)


def measured(paths: ProjectPaths) -> pl.DataFrame:
    rows = RunLog(paths).metrics().drop(*TIME_COLUMNS)
    return rows.filter(pl.col("event") == "evaluation").sort("run_id", "update", "split")

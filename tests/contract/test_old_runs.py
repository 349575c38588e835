"""Run directories of schema version 1 stay readable: `runs_v1/` is never changed, only read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from tui_datasize.experiments.spec import RunSpec
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.runlog.reader import RunLog
from tui_datasize.stats.overlap import find_draws, find_leaks, find_overlaps

FROZEN = Path(__file__).with_name("runs_v1")
SUCCEEDED = "shapes-n4-d0-s101-5343bed6"
INTERRUPTED = "shapes-n4-d1-s202-86e33cb4"
FAILED = "shapes-n6-d0-s101-0531608f"
QUEUED = "shapes-n6-d1-s202-1d98490f"


@pytest.fixture
def log(tmp_path):
    shutil.copytree(FROZEN, tmp_path / "runs")
    return RunLog(ProjectPaths(tmp_path))


@pytest.mark.parametrize("run_id", [SUCCEEDED, INTERRUPTED, FAILED, QUEUED])
def test_a_finished_run_is_never_renamed(run_id):
    document = json.loads((FROZEN / "shapes" / run_id / "spec.json").read_text())
    assert document["schema_version"] == 1
    assert RunSpec.from_dict(document["spec"]).run_id == document["run_id"] == run_id


def test_states(log):
    assert log.runs().select("run_id", "state", "attempt", "reason", "updates").rows() == [
        (SUCCEEDED, "succeeded", 2, "", 8),
        (INTERRUPTED, "interrupted", 1, "", 4),
        (FAILED, "failed", 1, "loss is NaN after update 2", 2),
        (QUEUED, "queued", 0, "", None),
    ]


def test_the_row_of_a_finished_run(log):
    row = log.runs().row(by_predicate=pl.col("run_id") == SUCCEEDED, named=True)
    assert row.pop("path").endswith(f"runs/shapes/{SUCCEEDED}")
    expected = {
        "run_id": SUCCEEDED,
        "experiment": "shapes",
        "variant": "",
        "dataset": "imagefolder:/data/shapes",
        "model": "cnn3(width=4)",
        "train_size": 4,
        "subset_strategy": "stratified",
        "subset_nested": True,
        "subset_seed": 0,
        "repeat": None,
        "seed": 101,
        "state": "succeeded",
        "reason": "",
        "attempt": 2,
        "updates": 8,
        "total_updates": 8,
        "missing_evaluations": 0,
        "samples_seen": 64,
        "test_accuracy": 0.5,
        "test_loss": 0.9,
        "test_f1_macro": 0.45,
        "test_top5": 1.0,
        "test_ece": 0.125,
        "test_margin_correct": 0.75,
        "test_margin_wrong": 0.25,
        "train_accuracy": 1.0,
        "train_loss": 0.2,
        "train_f1_macro": 0.95,
        "train_top5": 1.0,
        "train_ece": 0.125,
        "train_margin_correct": 0.75,
        "train_margin_wrong": 0.25,
        "best_test_accuracy": 0.75,
        "best_test_loss": 0.7,
        "best_update": 4,
        "batch_size": 8,
        "optimizer": "sgd",
        "lr": 0.05,
        "weight_decay": 0.0,
        "schedule": "constant",
        "augmentation": "none",
        "label_smoothing": 0.0,
        "label_noise": 0.0,
        "imbalance": 1.0,
        "classes": "all",
        "validation": 0.0,
        "stop": "none",
        "refit": False,
        "unlabelled": "none",
        "synthetic": "none",
        "transfer": "base",
        "transfer_source": None,
        "as_published": False,
        "task": "classification",
        "parameters": None,
        "flops_per_image": None,
        "wall_s": 2.0,
        "images_per_s": 400.0,
        "device": "NVIDIA H100",
        "threads": 1,
        "precision": "tf32",
        "pack_width": None,
        "pack_implementation": None,
        "peak_memory_bytes": None,
        "hostname": "lab1",
        "torch": "2.9.1",
        "queued_at": "2026-01-02T10:00:00.000+00:00",
        "started_at": "2026-01-02T10:00:05.000+00:00",
        "finished_at": "2026-01-02T10:01:00.000+00:00",
        "git_commit": "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
        "git_dirty": True,
        "broken_lines": 1,
    }
    assert {name: row[name] for name in expected} == expected
    # Columns that came later are empty.
    assert not any(row[name] is not None for name in row.keys() - expected.keys())


def test_metrics(log):
    metrics = log.metrics()
    # The second attempt resumed from update 4; the row of update 6 was done again and is void.
    assert metrics.select("run_id", "event", "split", "update", "loss").rows() == [
        (SUCCEEDED, "train", "train", 4, 1.0),
        (SUCCEEDED, "evaluation", "train", 4, 0.6),
        (SUCCEEDED, "evaluation", "test", 4, 0.7),
        (SUCCEEDED, "train", "train", 8, 0.5),
        (SUCCEEDED, "evaluation", "train", 8, 0.2),
        (SUCCEEDED, "evaluation", "test", 8, 0.9),
        (INTERRUPTED, "train", "train", 4, 1.0),
        (INTERRUPTED, "evaluation", "train", 4, 1.1),
        (FAILED, "train", "train", 2, None),
    ]


def test_tables(log):
    assert log.table("per_class").filter(split="test", evaluation="last").select(
        "class_name", "images", "accuracy"
    ).rows() == [("disc", 2, 1.0), ("square", 2, 0.0)]
    assert log.table("confusion").filter(evaluation="best").select("label", "predicted", "images").rows() == [
        (0, 0, 2),
        (1, 0, 1),
        (1, 1, 1),
    ]
    predictions = log.table("predictions").filter(evaluation="last")
    assert predictions["classes"].to_list() == [[0, 1]] * 4
    assert predictions["probabilities"].to_list()[3] == [0.875, 0.125]
    assert log.datasets([QUEUED]).is_empty()
    assert log.datasets([FAILED])["train_images"].to_list() == [4, 2]
    assert [problem.what for problem in log.problems] == ["1 broken line left out"]


def test_overlap_and_leaks(log):
    draws = find_draws(log.runs())
    overlaps = find_overlaps(draws, log.table("subsets"), log.datasets())
    assert [overlap.draws for overlap in overlaps] == [("d0", "d1"), ("d0",)]
    assert overlaps[0].fraction.tolist() == [[1.0, 0.5], [0.5, 1.0]]
    assert find_leaks(log.table("subsets"), log.table("predictions")).rows() == [(SUCCEEDED, 1, 0, 2, 1, 12)]

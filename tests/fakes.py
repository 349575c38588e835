"""Realistic run directories in milliseconds, without torch: for tests and benchmarks of what reads them."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tui_datasize.experiments.budget import epochs_at, evaluation_updates, total_updates
from tui_datasize.experiments.catalogue import DATASETS
from tui_datasize.experiments.spec import (
    SCHEMA_VERSION,
    Budget,
    ModelSpec,
    OptimizerSpec,
    RunSpec,
    SubsetSpec,
)
from tui_datasize.experiments.subsets import draw
from tui_datasize.runlog import claim, schema, writer
from tui_datasize.runlog.paths import ProjectPaths, RunPaths

State = Literal["queued", "running", "succeeded", "failed", "cancelled", "interrupted"]

EPOCH = "2025-01-02T03:04:05.000+00:00"
WALL_S_PER_UPDATE = 0.01
_HASH_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_TEST_HASH_OFFSET = np.uint64(1 << 40)


@dataclass(frozen=True)
class FakeDataset:
    """Labels of a data set whose images nobody ever looks at."""

    name: str
    train_labels: NDArray[np.int64]
    test_labels: NDArray[np.int64]

    @property
    def class_names(self) -> list[str]:
        """One name per class: `0`, `1`, ..."""
        return [str(label) for label in range(int(self.train_labels.max()) + 1)]


@cache
def fake_dataset(name: str) -> FakeDataset:
    """A data set with the size and the classes that the catalogue gives, or 10 classes of 200 images."""
    info = DATASETS.get(name)
    classes, train, test = (info.classes, info.train_images, info.test_images) if info else (10, 2000, 500)
    return FakeDataset(name, np.arange(train) % classes, np.arange(test) % classes)


def fake_spec(
    experiment: str = "digits",
    *,
    train_size: int = 40,
    seed: int = 0,
    subset_seed: int = 0,
    **changes: Any,
) -> RunSpec:
    """A specification like those of the demo; `changes` are further fields of `RunSpec`."""
    values: dict[str, Any] = {
        "dataset": "digits",
        "model": ModelSpec("mlp"),
        "budget": Budget("samples", 6400),
        "batch_size": 32,
        "evaluations": 4,
        "subset": SubsetSpec(seed=subset_seed),
        "optimizer": OptimizerSpec(),
    }
    return RunSpec(experiment=experiment, train_size=train_size, seed=seed, **(values | changes))


def fake_sweep(
    experiment: str = "digits",
    *,
    sizes: Iterable[int] = (40, 80, 160, 320, 640, 1280),
    seeds: Iterable[int] = (0, 101, 202),
    subset_seeds: Iterable[int] = (0, 1),
    **changes: Any,
) -> list[RunSpec]:
    """The specifications of a whole sweep, by default the 36 runs of the demo."""
    return [
        fake_spec(experiment, train_size=size, seed=seed, subset_seed=subset_seed, **changes)
        for size in sizes
        for seed in seeds
        for subset_seed in subset_seeds
    ]


def write_run(
    project: ProjectPaths,
    spec: RunSpec,
    *,
    state: State = "succeeded",
    accuracy: float | None = None,
    evaluations: int | None = None,
    reason: str = "",
    tables: bool = True,
) -> RunPaths:
    """Write the directory of one run as queue and worker would.

    Args:
        project: Where to.
        spec: Which run.
        state: What its directory shall tell. A "running" run is claimed by this process, until it ends.
        accuracy: Last test accuracy; by default log-linear in the train size with a spread over seeds.
        evaluations: How many evaluations have been made; by default all, or half of them where the run
            has not succeeded.
        reason: Why it failed or was cancelled.
        tables: Whether to write the Parquet files too; without them 10,000 runs take ten seconds.
    """
    paths = project.run(spec.experiment, spec.run_id)
    paths.directory.mkdir(parents=True, exist_ok=True)
    _write_json(paths.spec, _queued(spec))
    if state == "queued":
        return paths
    data = fake_dataset(spec.dataset)
    _write_json(paths.provenance, _provenance())
    _write_json(paths.dataset, _dataset(data))
    planned = evaluation_updates(total_updates(spec), spec.evaluations)
    made = len(planned) // (1 if state == "succeeded" else 2) if evaluations is None else evaluations
    level = fake_accuracy(spec) if accuracy is None else accuracy
    write_lines(paths.metrics, metric_rows(spec, planned[:made], level))
    if tables:
        tables_of_run = _tables(
            spec.dataset, spec.train_size, spec.subset, spec.seed, planned[max(made - 1, 0)], level
        )
        for name, content in tables_of_run.items():
            (paths.directory / name).write_bytes(content)
    _write_end(paths, state, reason)
    return paths


def write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Append rows to a JSON-lines file."""
    with path.open("a", encoding="utf-8") as file:
        file.writelines(f"{json.dumps(row)}\n" for row in rows)


def fake_accuracy(spec: RunSpec) -> float:
    """Log-linear in the train size, as in the main study, spread by about 0.01 over seeds and draws."""
    wobble = math.sin(12.9898 * spec.seed + 78.233 * spec.subset.seed + spec.train_size)
    return min(0.999, 0.4344 + 0.1188 * math.log10(spec.train_size) + 0.01 * wobble)


def metric_rows(spec: RunSpec, updates: Sequence[int], accuracy: float) -> list[dict[str, Any]]:
    """Lines of `metrics.jsonl`: per evaluation one of training, then both splits; the last has `accuracy`."""
    rows = []
    last = total_updates(spec)
    for update in updates:
        share = (1 - math.exp(-3 * update / last)) / (1 - math.exp(-3))
        now = accuracy * share
        rows.append(_row(spec, "train", "train", update, min(1.0, now + 0.05)))
        rows.append(_row(spec, "evaluation", "train", update, min(1.0, now + 0.05)))
        rows.append(_row(spec, "evaluation", "test", update, now))
    return rows


def _row(spec: RunSpec, event: str, split: str, update: int, accuracy: float) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(schema.METRICS)
    row |= {
        "event": event,
        "update": update,
        "epoch": epochs_at(spec, update),
        "samples_seen": update * spec.batch_size,
        "split": split,
        "loss": -math.log(max(accuracy, 1e-3)),
        "accuracy": accuracy,
        "wall_s": update * WALL_S_PER_UPDATE,
        "time": EPOCH,
    }
    if event == "train":
        return row | {
            "lr": spec.optimizer.lr,
            "grad_norm": 1.0,
            "images_per_s": 3200.0,
            "memory_bytes": 2**29,
        }
    return row | {
        "top5": min(1.0, accuracy + 0.2),
        "f1_macro": accuracy * 0.99,
        "ece": 0.05,
        "margin_correct": 0.9,
        "margin_wrong": 0.4,
        "images_per_s": 9000.0,
    }


def _queued(spec: RunSpec) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": spec.run_id,
        "package_version": "0.1.0",
        "git_commit": "0123456789abcdef0123456789abcdef01234567",
        "git_dirty": False,
        "queued_at": EPOCH,
        "data_dir": "/data",
        "spec": spec.to_dict(),
    }


def _provenance() -> dict[str, Any]:
    return {
        "python": "3.11.9",
        "torch": "2.9.0",
        "cuda": None,
        "device": "cpu",
        "device_uuid": "",
        "hostname": "workstation",
        "threads": 1,
        "precision": "float32",
        "dataset_fingerprint": "fake",
        "argv": ["python", "-m", "tui_datasize.training"],
        "started_at": EPOCH,
    }


def _dataset(data: FakeDataset) -> dict[str, Any]:
    return {
        "name": data.name,
        "class_names": data.class_names,
        "train_images_per_class": np.bincount(data.train_labels).tolist(),
        "test_images_per_class": np.bincount(data.test_labels).tolist(),
        "channels": 1,
        "size_px": 8,
        "mean": [0.3],
        "std": [0.4],
        "fingerprint": "fake",
    }


@lru_cache(512)
def _tables(
    dataset: str, train_size: int, subset: SubsetSpec, seed: int, update: int, accuracy: float
) -> Mapping[str, bytes]:
    """File names of a run's tables and what the files hold: the same for the same run of any project."""
    data = fake_dataset(dataset)
    chosen = draw(
        data.train_labels, train_size, replace(subset, strategy="random") if subset.path else subset
    )
    hashes = chosen.astype(np.uint64) * _HASH_FACTOR
    confusion = _confusion(data, accuracy, seed)
    both = ("last", "best")
    paths = RunPaths(Path())
    frames = {
        paths.subset: writer.subset_frame(chosen, data.train_labels[chosen], hashes),
        paths.per_class: pl.concat(
            writer.per_class_frame(evaluation, update, split, confusion, data.class_names)
            for evaluation in both
            for split in ("train", "test")
        ),
        paths.confusion: pl.concat(
            writer.confusion_frame(evaluation, update, confusion) for evaluation in both
        ),
        paths.predictions: pl.concat(_predictions(evaluation, data, accuracy) for evaluation in both),
    }
    return {path.name: _parquet(frame) for path, frame in frames.items()}


def _parquet(frame: pl.DataFrame) -> bytes:
    file = io.BytesIO()
    frame.write_parquet(file)
    return file.getvalue()


def _confusion(data: FakeDataset, accuracy: float, seed: int) -> NDArray[np.int64]:
    """Every mistake is for the next class; classes differ a little in accuracy."""
    images = np.bincount(data.test_labels)
    per_class = np.clip(accuracy + 0.05 * np.sin(np.arange(len(images)) + seed), 0, 1)
    hits = np.round(images * per_class).astype(np.int64)
    return np.diag(hits) + np.roll(np.diag(images - hits), 1, axis=1)


def _predictions(evaluation: str, data: FakeDataset, accuracy: float) -> pl.DataFrame:
    """The true class gets `accuracy`, the others share the rest."""
    images, classes = len(data.test_labels), len(data.class_names)
    probabilities = np.full((images, classes), (1 - accuracy) / (classes - 1), dtype=np.float16)
    probabilities[np.arange(images), data.test_labels] = accuracy
    hashes = (np.arange(images, dtype=np.uint64) + _TEST_HASH_OFFSET) * _HASH_FACTOR
    every_class = np.tile(np.arange(classes), (images, 1))
    index = np.arange(len(hashes))
    return writer.predictions_frame(evaluation, index, data.test_labels, hashes, every_class, probabilities)


def _write_end(paths: RunPaths, state: State, reason: str) -> None:
    if state == "running":
        claim.acquire(paths, 1)
        return
    dead = {"attempt": 1, "pid": 2**22, "start_ticks": 0, "boot_id": "gone", "tag": "", "started_at": EPOCH}
    _write_json(paths.claim, dead)
    paths.lock.touch()
    if state != "interrupted":
        _write_json(paths.exit, {"attempt": 1, "outcome": state, "reason": reason, "finished_at": EPOCH})


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")

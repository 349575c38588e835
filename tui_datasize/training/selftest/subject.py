"""What is tested: the device of this process, and small runs on it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor

from tui_datasize.experiments.spec import SCHEMA_VERSION, Budget, ModelSpec, OptimizerSpec, Precision, RunSpec
from tui_datasize.runlog.atomic import write_json
from tui_datasize.runlog.paths import ProjectPaths, RunPaths
from tui_datasize.training.accelerator.device import chosen, set_up
from tui_datasize.training.accelerator.interface import Accelerator, Capture
from tui_datasize.training.arrays import ImageSplit, LoadedDataset
from tui_datasize.training.engine import Readings, Trainer
from tui_datasize.training.evaluate import Tally, predict, score
from tui_datasize.training.graph import CaptureOn, capture_on
from tui_datasize.training.placement import ImageBatches, place_images
from tui_datasize.training.selftest.record import Findings

Shape: TypeAlias = tuple[int, int, int]

CLASSES = 10
_IMAGES = {True: 512, False: 96}
"""By whether it is a GPU."""


@dataclass(frozen=True, slots=True)
class Subject:
    """The device that `CUDA_VISIBLE_DEVICES` names, not yet opened."""

    accelerator: Accelerator
    is_gpu: bool

    @classmethod
    def chosen(cls) -> Subject:
        accelerator = chosen()
        return cls(accelerator, is_gpu=accelerator.is_gpu)

    @property
    def device(self) -> torch.device:
        return self.accelerator.device

    def open(self, precision: Precision = "auto") -> None:
        """Set it up as a worker does; raises DeviceUnavailable: it cannot be used."""
        set_up(self.device, precision)

    def trainer(self, spec: RunSpec, dataset: LoadedDataset, capture: CaptureOn = capture_on) -> Trainer:
        """A run of the first images, as a worker makes it, set up for its precision."""
        self.open(spec.precision)
        return Trainer(spec, dataset, np.arange(spec.train_size), self.device, capture=capture)

    def seconds_per_step(self, step: Callable[[], object], longest_s: float = 3.0) -> float:
        """What a step takes on the device, the median of as many as are made in so long, at least three."""
        return median(self.accelerator.times_s(step, longest_s, least=3, most=sys.maxsize))


@dataclass(frozen=True, slots=True)
class SubjectResult:
    """All that two runs must have in common to be equal bit for bit."""

    weights: Mapping[str, Tensor]
    readings: Readings
    scores: Mapping[str, float | None] = field(default_factory=dict)
    """Of both splits, `train ece` and the like."""

    def differences(self, other: SubjectResult) -> list[str]:
        """What differs, by name; empty where nothing does."""
        found = [name for name in self.weights if not torch.equal(self.weights[name], other.weights[name])]
        told = [f"{len(found)} of {len(self.weights)} weights"] if found else []
        told += ["losses"] if self.readings.losses != other.readings.losses else []
        told += ["gradient norms"] if self.readings.gradient_norms != other.readings.gradient_norms else []
        return told + [name for name in self.scores if self.scores[name] != other.scores[name]]


def check_equal(findings: Findings, name: str, found: SubjectResult, expected: SubjectResult) -> None:
    """Check that two runs are equal bit for bit."""
    differing = found.differences(expected)
    findings.check(name, not differing, f"not equal: {', '.join(differing)}")


def outcome(trainer: Trainer, dataset: LoadedDataset, readings: Readings | None = None) -> SubjectResult:
    """Of a run as it is now: its weights and averages, what its updates measured, and all scores."""
    splits: dict[str, ImageBatches] = {
        "train": trainer.subset,
        "test": place_images(dataset.test, slice(None), trainer.device),
    }
    scores = {
        f"{name} {key}": value for name, s in splits.items() for key, value in _scores(trainer, s).items()
    }
    weights = {
        f"{kind}.{name}": value.detach().cpu().clone()
        for kind, model in (("model", trainer.model), ("evaluated", trainer.evaluated_model))
        for name, value in model.state_dict().items()
    }
    return SubjectResult(weights, readings or trainer.read(), scores)


def _scores(trainer: Trainer, split: ImageBatches) -> Mapping[str, float | None]:
    outputs = predict(
        trainer.evaluated_model,
        split,
        trainer.view,
        Tally(CLASSES, keep_all=True),
        batch_size=128,
        autocast=trainer.autocast,
        check=lambda: None,
    )
    return score(outputs).scores


def make(trainer: Trainer, updates: int) -> Trainer:
    """Make so many updates."""
    for _ in range(updates):
        trainer.step()
    return trainer


def recording_by(own: Capture, record: Callable[..., Any]) -> Capture:
    """The device's own way to record, but for what records."""
    return cast(Capture, SimpleNamespace(prepare=own.prepare, forget=own.forget, record=record))


def dataset(images: int, shape: Shape, seed: int = 0) -> LoadedDataset:
    """Random images with a pattern of their class in them, which a model can learn; half as many to test."""
    numbers = np.random.default_rng(seed)
    patterns = numbers.integers(0, 128, (CLASSES, *shape), dtype=np.uint8)

    def split(count: int) -> ImageSplit:
        labels = numbers.integers(0, CLASSES, count)
        noise = numbers.integers(0, 128, (count, *shape), dtype=np.uint8)
        return ImageSplit(patterns[labels] + noise, labels, np.arange(count, dtype=np.uint64))

    return LoadedDataset(
        name="synthetic",
        train=split(images),
        test=split(max(CLASSES, images // 2)),
        class_names=tuple(map(str, range(CLASSES))),
        mean=(0.5,) * shape[0],
        std=(0.25,) * shape[0],
        fingerprint=f"synthetic{images}",
    )


def spec(model: ModelSpec, **changes: Any) -> RunSpec:
    """A run of this model without an end."""
    common = RunSpec(
        experiment="selftest",
        dataset="synthetic",
        model=model,
        train_size=512,
        seed=11,
        budget=Budget("updates", 100_000),
        batch_size=64,
        optimizer=OptimizerSpec("adamw", lr=1e-3, weight_decay=0.01),
        clip_grad_norm=1.0,
    )
    return replace(common, **changes)


def queued(folder: Path, run: RunSpec) -> RunPaths:
    """The directory of a run in a project there, as the queue writes it."""
    paths = ProjectPaths(folder).run(run.experiment, run.run_id)
    paths.directory.mkdir(parents=True)
    document = {"schema_version": SCHEMA_VERSION, "run_id": run.run_id, "spec": run.to_dict()}
    write_json(paths.spec, document)
    return paths


def images(*, is_gpu: bool) -> LoadedDataset:
    """Those that `kinds` are trained on."""
    return dataset(_IMAGES[is_gpu], (1, 28, 28))


def kinds(*, is_gpu: bool) -> Mapping[str, RunSpec]:
    """Runs whose bits are compared: between them they have all that draws, keeps or rounds."""
    width, depth = (64, 20) if is_gpu else (8, 8)
    size: dict[str, Any] = {"train_size": _IMAGES[is_gpu], "batch_size": 64 if is_gpu else 32}
    cnn = ModelSpec("cnn3", {"width": width, "dropout": 0.5})
    sgd = OptimizerSpec("sgd", lr=0.05, momentum=0.9, weight_decay=1e-4)
    return {
        "cnn3 with dropout and clipping": spec(cnn, **size),
        "ResNet with an average of weights": spec(
            ModelSpec("resnet", {"depth": depth, "width": 16 if is_gpu else 8}),
            optimizer=sgd,
            clip_grad_norm=None,
            ema_decay=0.99,
            **size,
        ),
        "cnn3 in bf16": spec(cnn, precision="bf16", **size),
    }

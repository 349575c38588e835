"""A data directory with the digits decoded once, and run directories as the queue would write them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from torch import nn

from tests.training.helpers import write_queued
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.runlog.paths import RunPaths
from tui_datasize.training import prepare
from tui_datasize.training.arrays import LoadedDataset
from tui_datasize.training.datasets import load_dataset
from tui_datasize.training.models import build
from tui_datasize.training.models.parts import Blueprint, ImageShape
from tui_datasize.training.packs import training
from tui_datasize.training.packs.implementations import PutTogether

Rows: TypeAlias = list[dict[str, Any]]
QueueRun: TypeAlias = Callable[[RunSpec], RunPaths]
Compute: TypeAlias = Callable[[PutTogether], None]


@pytest.fixture(scope="session")
def digits_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory that holds the decoded digits."""
    directory = tmp_path_factory.mktemp("data")
    load_dataset("digits", directory)
    return directory


@pytest.fixture(scope="session")
def digits(digits_dir: Path) -> LoadedDataset:
    return load_dataset("digits", digits_dir)


@pytest.fixture(autouse=True, scope="session")
def _costs_known() -> Iterator[None]:
    """What a model costs, and that images suit it, is found once: hundreds of runs ask for a few models."""
    costs: dict[object, dict[str, int]] = {}
    suited: set[object] = set()
    describe, check = prepare.describe_cost, build._check_shape

    def known_cost(model: nn.Module, image_shape: ImageShape) -> dict[str, int]:
        asked = repr(model), image_shape, tuple(p.requires_grad for p in model.parameters())
        if asked not in costs:
            costs[asked] = describe(model, image_shape)
        return costs[asked]

    def check_once(model: nn.Module, plan: Blueprint) -> None:
        asked = repr(model), plan.image_shape
        if asked not in suited:
            check(model, plan)
            suited.add(asked)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare, "describe_cost", known_cost)
        patch.setattr(build, "_check_shape", check_once)
        yield


@pytest.fixture
def worker_environment(digits_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the scheduler sets for a worker on a CPU slot."""
    monkeypatch.setenv("DATASIZE_DATA", str(digits_dir))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("DATASIZE_ATTEMPT", raising=False)


@pytest.fixture
def queue_run(tmp_path: Path, worker_environment: None) -> QueueRun:
    """Write the directory of a queued run into a project of its own."""

    def queue(spec: RunSpec) -> RunPaths:
        count = len(list(tmp_path.glob("project*")))
        return write_queued(tmp_path / f"project{count}", spec)

    return queue


@pytest.fixture
def compute(monkeypatch: pytest.MonkeyPatch) -> Compute:
    """Have packs computed in a given way."""

    def choose(together: PutTogether) -> None:
        monkeypatch.setattr(training, "choose", lambda *_: "fused")
        monkeypatch.setattr(training, "IMPLEMENTATIONS", {"fused": together})

    return choose

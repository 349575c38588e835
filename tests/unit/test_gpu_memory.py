"""Runs whose memory on a GPU is alike share what is learned of it; images are added for each."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tui_datasize.experiments.augmentation import AugmentationSpec
from tui_datasize.experiments.packing import memory_key
from tui_datasize.experiments.spec import Budget, ModelSpec, OptimizerSpec, RunSpec, SubsetSpec
from tui_datasize.jobs.queue.gpu_memory import CONTEXT_BYTES, Learned, PlacedImages, learn, need

MIB = 2**20
SPEC = RunSpec(
    experiment="letters",
    dataset="emnist-letters",
    model=ModelSpec("cnn3"),
    train_size=750,
    seed=0,
    budget=Budget("samples", 144_000),
    batch_size=72,
    optimizer=OptimizerSpec("adamw", lr=4e-4),
)
ON_DEVICE = Learned(in_file=False, work_bytes=900 * MIB, image_bytes=MIB, test_bytes=100 * MIB)
IN_FILE = Learned(in_file=True, work_bytes=950 * MIB, image_bytes=MIB, test_bytes=0)


@pytest.mark.parametrize(
    "other",
    [
        {"batch_size": 73},
        {"image_px": 64},
        {"precision": "bf16"},
        {"augmentation": AugmentationSpec(crop_px=24)},
        {"ema_decay": 0.9},
        {"optimizer": OptimizerSpec("sgd")},
        {"model": ModelSpec("mlp")},
        {"model": ModelSpec("resnet", {"depth": 32})},
        {"model": ModelSpec("resnet50")},
        {"dataset": "digits"},
    ],
)
def test_what_decides_memory_sets_workloads_apart(other):
    assert memory_key(replace(SPEC, **other)) != memory_key(SPEC)


@pytest.mark.parametrize("model", [ModelSpec("cnn3"), ModelSpec("resnet"), ModelSpec("resnet50")])
@pytest.mark.parametrize(
    "other",
    [
        {"seed": 9},
        {"train_size": 12_000},
        {"experiment": "again"},
        {"budget": Budget("updates", 5)},
        {"subset": SubsetSpec(seed=3)},
        {"optimizer": OptimizerSpec("adamw", lr=1e-3)},
    ],
)
def test_seeds_sizes_and_rates_do_not(model, other):
    spec = replace(SPEC, model=model)
    assert memory_key(replace(spec, **other)) == memory_key(spec)


def test_what_a_process_takes_is_divided_among_its_lanes_without_images():
    lanes = [PlacedImages(MIB, train_mib * MIB, 100 * MIB) for train_mib in (50, 150)]
    assert learn(2100 * MIB, lanes) == ON_DEVICE
    assert learn(950 * MIB, [PlacedImages(MIB, 0, 0)]) == IN_FILE
    # One on the device, one in its file: neither is what the other takes.
    assert learn(2100 * MIB, [lanes[0], PlacedImages(MIB, 0, 100 * MIB)]) is None


def test_a_run_needs_what_its_kind_took_and_its_own_images():
    gpu_bytes = 24 * 2**30
    shared = CONTEXT_BYTES + 100 * MIB
    for size in (10, 12_000):
        assert need([ON_DEVICE, IN_FILE], size, gpu_bytes) == (shared, (900 + size) * MIB)
    # More than half of the card: a worker leaves them in their file.
    assert need([ON_DEVICE, IN_FILE], 12_289, gpu_bytes) == (CONTEXT_BYTES, 950 * MIB)
    # What was not seen is told from what was.
    assert need([IN_FILE], 10, gpu_bytes) == (CONTEXT_BYTES, 960 * MIB)
    assert need([ON_DEVICE], 12_289, gpu_bytes) == (shared, 900 * MIB)
    assert need([], 10, gpu_bytes) is None

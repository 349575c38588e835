"""Which runs may share a pack."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.fakes import fake_spec
from tui_datasize.experiments.augmentation import AugmentationSpec
from tui_datasize.experiments.packing import pack_key
from tui_datasize.experiments.schedule import ScheduleSpec
from tui_datasize.experiments.spec import (
    Budget,
    ClassSplit,
    LabelNoise,
    ModelSpec,
    OptimizerSpec,
    Protocol,
    SubsetSpec,
    Transfer,
)

CNN = fake_spec(model=ModelSpec("cnn3", {"width": 8}))
RESNET = fake_spec(model=ModelSpec("resnet", {"depth": 8}))

FREE = {
    "experiment": "other",
    "seed": 9,
    "subset": SubsetSpec("random", nested=False, seed=3, imbalance=10.0),
    "optimizer": OptimizerSpec(lr=0.5, weight_decay=0.1, momentum=0.9),
    "clip_grad_norm": 2.0,
    "evaluations": 1,
    "label_noise": LabelNoise(0.2),
    "schedule": ScheduleSpec("cosine"),
}
LENGTH = {"train_size": 750, "budget": Budget("epochs", 3.0)}
BOUND = {
    "dataset": "mnist",
    "model": ModelSpec("cnn3", {"width": 9}),
    "batch_size": 33,
    "optimizer": OptimizerSpec("sgd"),
    "precision": "bf16",
    "augmentation": AugmentationSpec(flip=0.5),
    "label_smoothing": 0.1,
    "ema_decay": 0.99,
    "classes": ClassSplit("source"),
    "image_px": 16,
    "protocol": Protocol(partial_batches=True),
    "transfer": Transfer("digits-1", None, freeze=True),
}


@pytest.mark.parametrize("field", [*FREE, *LENGTH])
def test_what_lanes_may_differ_in(field):
    assert pack_key(replace(CNN, **{field: (FREE | LENGTH)[field]})) == pack_key(CNN)


@pytest.mark.parametrize("field", BOUND)
def test_what_lanes_must_have_in_common(field):
    assert pack_key(replace(CNN, **{field: BOUND[field]})) not in (pack_key(CNN), "")


def test_batch_normalisation_wants_equal_lengths():
    assert pack_key(replace(RESNET, **FREE)) == pack_key(RESNET)
    for field, value in LENGTH.items():
        assert pack_key(replace(RESNET, **{field: value})) != pack_key(RESNET)


def test_options_at_their_defaults_are_those_left_out():
    assert pack_key(replace(CNN, model=ModelSpec("cnn3", {"width": 8, "dropout": 0.5}))) == pack_key(CNN)


def test_averaged_and_transferred_runs_go_together_whatever_their_numbers():
    averaged = [pack_key(replace(CNN, ema_decay=decay)) for decay in (0.9, 0.99)]
    moved = [pack_key(replace(CNN, transfer=Transfer(source, 2, freeze=False))) for source in ("a", "b")]
    for first, second in (averaged, moved):
        assert first == second != pack_key(CNN)


@pytest.mark.parametrize(
    "alone",
    [replace(CNN, model=ModelSpec("torchvision:swin_t")), replace(CNN, imported="0123456789abcdef")],
    ids=["library", "imported"],
)
def test_some_runs_are_trained_alone(alone):
    assert pack_key(alone) == ""

"""Recorded updates are the updates themselves, bit for bit, whatever comes between them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.training.graph_trainers import (
    UPDATES,
    NeverRecorded,
    equal,
    evaluate,
    make,
    on_recordings,
    trainer,
)
from tui_datasize.experiments.augmentation import AugmentationSpec
from tui_datasize.experiments.spec import Budget, ModelSpec, OptimizerSpec, Protocol
from tui_datasize.training.descent import LearningRate
from tui_datasize.training.engine import Trainer
from tui_datasize.training.graph import capture_on

MLP = ModelSpec("mlp", {"hidden": 16})
CNN = ModelSpec("cnn3", {"width": 4})
SGD = OptimizerSpec("sgd", lr=0.05, momentum=0.9, weight_decay=1e-4)
PUBLISHED = Protocol("last-batch", "micro", partial_batches=True)

CASES: dict[str, tuple[dict[str, Any], int]] = {
    "adamw": ({"model": MLP, "ema_decay": 0.9}, 27),
    "sgd and batch normalisation": (
        {
            "model": ModelSpec("resnet", {"depth": 8, "width": 4}),
            "optimizer": SGD,
            "clip_grad_norm": None,
            "ema_decay": 0.9,
        },
        27,
    ),
    "dropout": ({"model": CNN}, 27),
    "bf16": ({"model": CNN, "precision": "bf16"}, 27),
    "augmentation": ({"augmentation": AugmentationSpec(crop_padding_px=1, flip=0.5)}, 27),
    # Batches of 16, 16, 16 and 2: 23 and 7 of 30.
    "epochs that end with a smaller batch": ({"protocol": PUBLISHED, "budget": Budget("epochs", 7.5)}, 24),
    "mixed targets": ({"augmentation": AugmentationSpec(mixup=0.4, cutmix=0.4)}, 27),
}
"""What is trained, and how many of its 30 updates are replays: three of each shape are not."""


@pytest.mark.parametrize("name", CASES)
def test_replayed_updates_equal_those_made_one_by_one(name, digits):
    changes, replays = CASES[name]
    plain, recorded = trainer(digits, **changes), trainer(digits, capture=on_recordings, **changes)
    for update in range(1, UPDATES + 1):
        for one in (plain, recorded):
            one.step()
            if update % 7 == 0:
                evaluate(one)
    assert recorded.replayed == replays
    assert plain.read() == recorded.read()
    assert equal(plain.state_dict(), recorded.state_dict())


def test_a_checkpoint_continues_whether_updates_are_recorded_or_not(digits):
    changes = {"model": CNN, "ema_decay": 0.9}
    whole, recorded = trainer(digits, **changes), trainer(digits, capture=on_recordings, **changes)
    make(whole, UPDATES)
    make(recorded, 12)
    state = copy.deepcopy(recorded.state_dict())
    (group,) = state["optimizer"]["param_groups"]
    assert (type(group["lr"]), group["lr"]) == (float, recorded.learning_rate)
    assert not group["capturable"]
    # On from there, and back again: the recording is of tensors that are the optimiser's no more.
    make(recorded, 5)
    recorded.load_state_dict(copy.deepcopy(state))
    plain = trainer(digits, **changes)
    plain.load_state_dict(copy.deepcopy(state))
    for one in (recorded, plain):
        make(one, UPDATES - 12)
        assert equal(one.state_dict(), whole.state_dict())
    assert recorded.replayed == (12 - 3) + 5 + (18 - 3)


def test_a_learning_rate_that_is_a_number_would_stay_that_of_the_recording(digits, monkeypatch):
    monkeypatch.setattr(LearningRate, "step", lambda rate: rate._optimizer.step())
    plain, recorded = trainer(digits, model=MLP), trainer(digits, model=MLP, capture=on_recordings)
    for one in (plain, recorded):
        make(one, 5)
    assert not equal(plain.state_dict()["model"], recorded.state_dict()["model"])


def test_what_cannot_be_recorded_is_done_as_it_is_and_said_once(digits, capsys):
    class Waits(nn.Module):
        def forward(self, values: Tensor) -> Tensor:
            return values * (2 if values.sum().item() > 0 else 3)

    def waiting(**options: Any) -> Trainer:
        one = trainer(digits, model=CNN, **options)
        one.model = nn.Sequential(Waits(), one.model)
        return one

    plain, recorded = waiting(), waiting(capture=on_recordings)
    for one in (plain, recorded):
        make(one, UPDATES)
    assert recorded.replayed == 0
    assert equal(plain.state_dict(), recorded.state_dict())
    said = capsys.readouterr().out.splitlines()
    assert said == ["updates are not recorded as a graph: operation not permitted when stream is capturing"]


def test_readings_hold_while_further_updates_are_replayed(digits):
    plain, recorded = trainer(digits), trainer(digits, capture=on_recordings)
    for one in (plain, recorded):
        make(one, 10)
    first = recorded.read()
    assert first == plain.read()
    assert len(set(first.losses)) == len(set(first.gradient_norms)) == 10


@pytest.mark.gpu
@pytest.mark.parametrize("name", CASES)
def test_on_a_gpu_replays_equal_updates_made_one_by_one(name, digits):
    changes, replays = CASES[name]
    gpu = torch.device("cuda", 0)
    recorded = trainer(digits, device=gpu, capture=capture_on, **changes)
    plain = trainer(digits, device=gpu, capture=NeverRecorded, **changes)
    for update in range(1, UPDATES + 1):
        for one in (plain, recorded):
            one.step()
            if update % 7 == 0:
                evaluate(one)
    assert recorded.replayed == replays
    assert plain.read() == recorded.read()
    assert equal(plain.state_dict(), recorded.state_dict())

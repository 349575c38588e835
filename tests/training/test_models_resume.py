"""Every kind of model continues its curve bit for bit: all its random masks come from saved streams."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from tests.training.helpers import small_spec
from tui_datasize.experiments.spec import ModelSpec
from tui_datasize.training.engine import Trainer


@pytest.mark.parametrize(
    "model",
    [
        ModelSpec("cnn3", {"width": 2, "published": True}),
        ModelSpec("resnet", {"depth": 8, "width": 4}),
        ModelSpec("alexnet", {"width": 4, "input_px": 39, "initialisation": "kaiming-normal"}),
        ModelSpec("torchvision:squeezenet1_1", {"input_px": 32}),
    ],
    ids=lambda model: model.name,
)
def test_a_resumed_trainer_makes_the_same_updates(digits, model):
    def trainer():
        spec = small_spec(model=model, batch_size=8)
        return Trainer(spec, digits, np.arange(20), torch.device("cpu"))

    calm = trainer()
    calm.step()
    resumed = trainer()
    # As from a file: loading an optimiser's state shares its tensors.
    resumed.load_state_dict(copy.deepcopy(calm.state_dict()))
    calm.read()
    for one in (calm, resumed):
        torch.rand(3)
        one.step()
        one.step()
    assert calm.read() == resumed.read()

"""Small trainers whose updates are recorded, and how they are compared."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.training.graph_recorder import RecordedGraphs
from tests.training.helpers import small_spec
from tui_datasize.experiments.schedule import ScheduleSpec
from tui_datasize.experiments.spec import Budget
from tui_datasize.experiments.subsets import draw
from tui_datasize.training.accelerator.cuda import CudaCapture
from tui_datasize.training.accelerator.device import set_up
from tui_datasize.training.engine import Trainer
from tui_datasize.training.evaluate import Tally, predict

CPU = torch.device("cpu")
UPDATES = 30
COSINE = ScheduleSpec("cosine", warmup=0.2)


class NeverRecorded(CudaCapture):
    """A GPU whose updates have learning rates in tensors, as recorded ones do, and are not recorded."""

    def record(self, work):
        raise RuntimeError("not recorded")


def trainer(digits, *, device=CPU, capture=lambda *_: None, **changes):
    spec = small_spec(**({"budget": Budget("updates", UPDATES), "schedule": COSINE} | changes))
    subset = draw(np.asarray(digits.train.labels), spec.train_size, spec.subset)
    # As for a worker's run: on a GPU its arithmetic follows from the precision.
    set_up(device, spec.precision)
    return Trainer(spec, digits, subset, device, capture=capture)


def on_recordings(device, generators):
    return RecordedGraphs(generators)


def make(trainer: Trainer, updates: int) -> None:
    for _ in range(updates):
        trainer.step()


def evaluate(trainer: Trainer) -> None:
    """As a session does, between updates."""
    predict(
        trainer.evaluated_model,
        trainer.subset,
        trainer.view,
        Tally(10),
        batch_size=32,
        autocast=trainer.autocast,
        check=lambda: None,
    )


def equal(one: Any, other: Any) -> bool:
    """Whether two states are the same, tensor by tensor and bit for bit."""
    if type(one) is not type(other):
        return False
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)

"""Which device a process has, and the object that asks it."""

from __future__ import annotations

import os

import torch

from tui_datasize.training.accelerator.card import Card
from tui_datasize.training.accelerator.host import Host
from tui_datasize.training.accelerator.interface import Accelerator


def chosen() -> Accelerator:
    """The GPU that `CUDA_VISIBLE_DEVICES` names, not yet opened; the CPU where it names none.

    Whether torch sees that GPU shows when it is initialised: a sweep must not drift onto the CPU unnoticed.
    """
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return accelerator_of(torch.device("cuda", 0) if named else torch.device("cpu"))


def accelerator_of(device: torch.device) -> Accelerator:
    """Whoever asks this device."""
    return Card(device) if device.type == "cuda" else Host(device)

"""The moving average of a model's weights, which is evaluated in its place."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn


class WeightAverage:
    """Exponential moving average of all weights and of the statistics of normalisation layers.

    The average after the first update is the model then, as torch's `AveragedModel` has it. Whole
    numbers, such as the batches a normalisation layer has seen, are those of the model.

    Args:
        model: What is averaged, on its device.
        decay: Share of the average that stays at each update, in [0, 1).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        """Holds the averages; never trained."""
        self._decay = decay
        self._averages, self._counts = _split(self.model)
        self._values, self._model_counts = _split(model)

    @torch.no_grad()
    def update(self, *, is_first: bool) -> None:
        """Take in the model as it is now."""
        weight = 1.0 if is_first else 1 - self._decay
        torch._foreach_lerp_(self._averages, self._values, weight)
        for count, value in zip(self._counts, self._model_counts, strict=True):
            count.copy_(value)

    def state_dict(self) -> dict[str, Any]:
        """The averages, by the names of the model's own state."""
        return self.model.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self.model.load_state_dict(state)


def _split(model: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """What is averaged, and what is counted: the tensors themselves, since a pack moves their values."""
    tensors: Iterator[Tensor] = chain(model.parameters(), model.buffers())
    floating: list[Tensor] = []
    counted: list[Tensor] = []
    for tensor in tensors:
        (floating if tensor.is_floating_point() else counted).append(tensor)
    return floating, counted

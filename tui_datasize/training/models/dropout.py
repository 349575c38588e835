"""Random masks while training, from a stream that is an input of the model."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

Unit: TypeAlias = Literal["value", "channel", "image", "batch"]

_MASKED_DIMENSIONS: Mapping[Unit, int | None] = MappingProxyType(
    {"value": None, "channel": 2, "image": 1, "batch": 0}
)
"""How many leading dimensions of the values have masks of their own; None for all."""


class Dropout(nn.Module):
    """Zeroes each unit with a given probability while training, from a stream of its own.

    The library's layers draw from the process-wide generator, which other code may move.

    Args:
        probability: Of zeroing a unit, below 1 or exactly 1 where all go.
        generator: The stream, on the device of the values.
        unit: What is zeroed together: single values, the map of a channel (Dropout2d), all that
            belongs to an image (stochastic depth, and Dropout1d on a matrix), or the whole batch.
    """

    def __init__(self, probability: float, generator: torch.Generator, unit: Unit = "value") -> None:
        super().__init__()
        self._keep = 1.0 - probability
        self._generator = generator
        self._unit: Unit = unit

    def forward(self, values: Tensor) -> Tensor:
        """Values of shape (B, ...); the kept ones scaled so that the mean stays."""
        if not self.training or self._keep == 1.0:
            return values
        masked = _MASKED_DIMENSIONS[self._unit]
        shape = [size if masked is None or axis < masked else 1 for axis, size in enumerate(values.shape)]
        mask = torch.empty_like(values) if masked is None else values.new_empty(shape)
        mask.bernoulli_(self._keep, generator=self._generator)
        return values * (mask.div_(self._keep) if self._keep else mask)

    def extra_repr(self) -> str:
        """Shown in the printed model."""
        return f"p={1 - self._keep:g}, unit={self._unit}"

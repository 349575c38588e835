"""Random masks while training, from a stream that is an input of the model."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from tui_datasize.training.accelerator.choice import accelerator_of

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
        self.generator = generator
        """The stream."""
        self._unit: Unit = unit
        self.mask: Tensor | None
        """What to multiply by instead of drawing, for whoever draws masks ahead and hands them in."""
        self.register_buffer("mask", None, persistent=False)

    @property
    def is_random(self) -> bool:
        """Whether it draws at all while training."""
        return self._keep != 1.0

    def forward(self, values: Tensor) -> Tensor:
        """Values of shape (B, ...); the kept ones scaled so that the mean stays."""
        if not self.training or not self.is_random:
            return values
        return values * (self.draw(values) if self.mask is None else self.mask)

    def draw(self, values: Tensor) -> Tensor:
        """What values of this shape, type and layout are multiplied by; moves the stream.

        Returns:
            Shape of the values, with 1 for each dimension that has no mask of its own.

        Raises:
            ValueError: The stream is of another device.
        """
        masked = _MASKED_DIMENSIONS[self._unit]
        shape = [size if masked is None or axis < masked else 1 for axis, size in enumerate(values.shape)]
        mask = torch.empty_like(values) if masked is None else values.new_empty(shape)
        mask.bernoulli_(self._keep, generator=accelerator_of(values.device).draws(self.generator))
        return mask.div_(self._keep) if self._keep else mask

    def extra_repr(self) -> str:
        """Shown in the printed model."""
        return f"p={1 - self._keep:g}, unit={self._unit}"

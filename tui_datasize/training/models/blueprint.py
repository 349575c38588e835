"""What every builder of a model is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import nn

from tui_datasize.errors import DataError
from tui_datasize.experiments.spec import OptionValue

ImageShape: TypeAlias = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A model to be built: all its options, its input and output, and its random streams."""

    name: str
    options: Mapping[str, OptionValue]
    """All options of the model, none left out."""
    image_shape: ImageShape
    """Channels, height and width of what the model itself receives."""
    classes: int
    """Number of outputs."""
    initialisation: torch.Generator
    """CPU stream for the first weights."""
    dropout: torch.Generator
    """Stream for the masks, on the device that will train."""

    def integer(self, option: str) -> int:
        """The value of an option that is a whole number."""
        return int(self.options[option])

    def number(self, option: str) -> float:
        """The value of an option that is a number."""
        return float(self.options[option])

    def too_small(self, least_px: int) -> DataError:
        """The error for images that vanish on their way through the model."""
        _, height, width = self.image_shape
        return DataError(
            f"model {self.name} expects images of at least {least_px}x{least_px} pixels, got {width}x{height}"
        )


Builder: TypeAlias = Callable[[Blueprint], nn.Module]
"""From a blueprint to an initialised module on the CPU."""

"""What builders of models are given and share: first weights, random masks, counted layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import sqrt
from types import MappingProxyType
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from tui_datasize.errors import DataError
from tui_datasize.experiments.spec import OptionValue
from tui_datasize.training.accelerator.device import accelerator_of

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
    initialisation: torch.Generator
    """CPU stream for the first weights."""
    dropout: torch.Generator
    """Stream for the masks, on the device that will train."""

    def integer(self, option: str) -> int:
        return int(self.options[option])

    def number(self, option: str) -> float:
        return float(self.options[option])

    def too_small(self, least_px: int) -> DataError:
        """The error for images that vanish on their way through the model."""
        _, height, width = self.image_shape
        return DataError(
            f"model {self.name} expects images of at least {least_px}x{least_px} pixels, got {width}x{height}"
        )


Builder: TypeAlias = Callable[[Blueprint], nn.Module]
"""From a blueprint to an initialised module on the CPU."""


Layers: TypeAlias = list[list[tuple[str, nn.Module]]]


def weight_layers(model: nn.Module) -> Layers:
    """Modules with parameters of their own, by layer and in order, each with its name in the model.

    A convolution or a fully connected layer begins a layer. What else has parameters or running
    statistics belongs to the layer before it: a normalisation to the convolution it follows. The
    last layer is the classifier.
    """
    layers: Layers = [[]]
    for name, module in model.named_modules():
        if starts_layer(module) and any(starts_layer(earlier) for _, earlier in layers[-1]):
            layers.append([])
        own = (module.parameters(recurse=False), module.buffers(recurse=False))
        if any(True for values in own for _ in values):
            layers[-1].append((name, module))
    return layers


def starts_layer(module: nn.Module) -> bool:
    """Whether a module is a convolution or a fully connected layer."""
    return isinstance(module, nn.Conv2d | nn.Linear)


Rule: TypeAlias = Callable[..., object]
"""Fills the weights of a convolution or a fully connected layer, shape (outputs, inputs, ...), from a
`generator`."""
kaiming_uniform: Rule = partial(nn.init.kaiming_uniform_, nonlinearity="relu")
"""Uniform of variance 2/inputs (He et al. 2015, equation 10)."""
kaiming_normal: Rule = partial(nn.init.kaiming_normal_, nonlinearity="relu")
"""Normal of variance 2/inputs (He et al. 2015, equation 10)."""


def initialise(model: nn.Module, generator: torch.Generator, rule: Rule | None = None) -> None:
    """Fill all parameters from a CPU stream: weights by the rule, by default torch's, biases as torch does.

    Normalisations start at 1 and 0.

    Raises TypeError: there is no rule for the parameters of a module.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            # Within 1/sqrt(inputs), as torch's own layers are first filled.
            bound = 1 / sqrt(module.weight[0].numel())
            (rule or partial(nn.init.uniform_, a=-bound, b=bound))(module.weight, generator=generator)
            if module.bias is not None:
                nn.init.uniform_(module.bias, -bound, bound, generator=generator)
        elif isinstance(module, nn.BatchNorm2d | nn.LayerNorm | nn.GroupNorm):
            module.reset_parameters()
        elif any(True for _ in module.parameters(recurse=False)):
            raise TypeError(f"no rule to initialise {type(module).__name__}")


Unit: TypeAlias = Literal["value", "channel", "image", "batch"]

_MASKED_DIMENSIONS: Mapping[Unit, int | None] = MappingProxyType(
    {"value": None, "channel": 2, "image": 1, "batch": 0}
)
"""How many leading dimensions of the values have masks of their own; None for all."""


class Dropout(nn.Module):
    """Zeroes each unit with a given probability while training, from a stream of its own.

    The library's layers draw from the process-wide generator, which other code may move. This stream is on
    the device of the values. `unit` is what is zeroed together: single values, the map of a channel
    (Dropout2d), all that belongs to an image (stochastic depth, and Dropout1d on a matrix), or the whole
    batch.
    """

    def __init__(self, probability: float, generator: torch.Generator, unit: Unit = "value") -> None:
        super().__init__()
        self._keep = 1.0 - probability
        self.generator = generator
        self._unit: Unit = unit
        self.mask: Tensor | None
        """What to multiply by instead of drawing, for whoever draws masks ahead and hands them in."""
        self.register_buffer("mask", None, persistent=False)

    @property
    def is_random(self) -> bool:
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

        Raises ValueError: the stream is of another device.
        """
        masked = _MASKED_DIMENSIONS[self._unit]
        shape = [size if masked is None or axis < masked else 1 for axis, size in enumerate(values.shape)]
        mask = torch.empty_like(values) if masked is None else values.new_empty(shape)
        mask.bernoulli_(self._keep, generator=accelerator_of(values.device).draws(self.generator))
        return mask.div_(self._keep) if self._keep else mask

    def extra_repr(self) -> str:
        return f"p={1 - self._keep:g}, unit={self._unit}"

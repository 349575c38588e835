"""The models by name, built for an image shape and initialised from the run's own stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import sqrt
from types import MappingProxyType
from typing import TypeAlias

import torch
from torch import Tensor, nn

from tui_datasize.errors import DataError
from tui_datasize.experiments.architectures import MODELS
from tui_datasize.experiments.spec import ModelSpec, OptionValue

ImageShape: TypeAlias = tuple[int, int, int]
Builder: TypeAlias = Callable[[Mapping[str, OptionValue], ImageShape, int, torch.Generator], nn.Module]

_CNN3_HIDDEN = 256
_CNN3_SMALLEST_PX = 8


def build_model(
    spec: ModelSpec,
    image_shape: ImageShape,
    classes: int,
    *,
    initialisation: torch.Generator,
    dropout: torch.Generator,
) -> nn.Module:
    """Build a model of the catalogue on the CPU.

    Args:
        spec: Name and options; missing options take the catalogue's defaults.
        image_shape: Channels, height and width of one image.
        classes: Number of outputs.
        initialisation: CPU stream for the first weights.
        dropout: Stream for the masks, on the device that will train.

    Returns:
        A module from images (B, C, H, W), normalised, to logits (B, classes).

    Raises:
        DataError: The images are too small for the model.
    """
    options = {**MODELS[spec.name].options, **spec.options}
    model = BUILDERS[spec.name](options, image_shape, classes, dropout)
    _initialise(model, initialisation)
    return model


class Dropout(nn.Module):
    """Zeroes each value with a given probability while training, from a stream of its own.

    The library's layer draws from the process-wide generator, which other code may move.
    """

    def __init__(self, probability: float, generator: torch.Generator) -> None:
        super().__init__()
        self._keep = 1.0 - probability
        self._generator = generator

    def forward(self, values: Tensor) -> Tensor:
        """Values of any shape; the kept ones scaled so that the mean stays."""
        if not self.training or self._keep == 1.0:
            return values
        mask = torch.empty_like(values).bernoulli_(self._keep, generator=self._generator)
        return values * mask.div_(self._keep)


def _cnn3(
    options: Mapping[str, OptionValue], image_shape: ImageShape, classes: int, dropout: torch.Generator
) -> nn.Module:
    """Three blocks of 5x5 convolution, SiLU and max-pooling, then two fully connected layers.

    Hansson, Padban and Silwer (2025), figures 4 and 5, as their text has it: no activation between
    the fully connected layers.
    """
    channels, height, width = image_shape
    if min(height, width) < _CNN3_SMALLEST_PX:
        raise DataError(
            f"model cnn3 expects images of at least {_CNN3_SMALLEST_PX}x{_CNN3_SMALLEST_PX} pixels, "
            f"got {width}x{height}"
        )
    first = int(options["width"])
    widths = (first, 2 * first, 4 * first)
    layers: list[nn.Module] = []
    for inputs, outputs in zip((channels, *widths), widths, strict=False):
        layers += [nn.Conv2d(inputs, outputs, kernel_size=5, padding="same"), nn.SiLU(), nn.MaxPool2d(2)]
    features = widths[-1] * (height // 8) * (width // 8)
    return nn.Sequential(
        *layers,
        nn.Flatten(),
        nn.Linear(features, _CNN3_HIDDEN),
        Dropout(float(options["dropout"]), dropout),
        nn.Linear(_CNN3_HIDDEN, classes),
    )


def _mlp(
    options: Mapping[str, OptionValue], image_shape: ImageShape, classes: int, dropout: torch.Generator
) -> nn.Module:
    """Fully connected layers with ReLU; without hidden layers, softmax regression."""
    channels, height, width = image_shape
    hidden = int(options["hidden"])
    inputs = channels * height * width
    layers: list[nn.Module] = [nn.Flatten()]
    for _ in range(int(options["layers"])):
        layers += [nn.Linear(inputs, hidden), nn.ReLU(), Dropout(float(options["dropout"]), dropout)]
        inputs = hidden
    return nn.Sequential(*layers, nn.Linear(inputs, classes))


BUILDERS: Mapping[str, Builder] = MappingProxyType({"cnn3": _cnn3, "mlp": _mlp})
"""How each model of the catalogue is built."""


def _initialise(model: nn.Module, generator: torch.Generator) -> None:
    """Draw weights and biases uniformly within 1/sqrt(inputs): torch's own default, from our stream."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            bound = 1 / sqrt(module.weight[0].numel())
            for parameter in module.parameters(recurse=False):
                nn.init.uniform_(parameter, -bound, bound, generator=generator)
        elif any(True for _ in module.parameters(recurse=False)):
            raise TypeError(f"no rule to initialise {type(module).__name__}")

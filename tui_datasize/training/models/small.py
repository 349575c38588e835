"""Small networks for small images: the study's three blocks, and fully connected layers."""

from __future__ import annotations

from torch import nn

from tui_datasize.training.models.blueprint import Blueprint
from tui_datasize.training.models.dropout import Dropout
from tui_datasize.training.models.initialise import initialise, kaiming_uniform

_CNN3_HIDDEN = 256
_CNN3_SMALLEST_PX = 8


def cnn3(plan: Blueprint) -> nn.Module:
    """Three blocks of 5x5 convolution, SiLU and max-pooling, then two fully connected layers.

    Hansson, Padban and Silwer (2025), figures 4 and 5, as their text has it: no activation between
    the fully connected layers. With `published`, as their code has it: the third pooling moves by
    one pixel, whole channels are dropped before the third SiLU, SiLU follows the first fully
    connected layer, dropout zeroes whole images instead of values, and weights are Kaiming-uniform.
    """
    channels, height, width = plan.image_shape
    if min(height, width) < _CNN3_SMALLEST_PX:
        raise plan.too_small(_CNN3_SMALLEST_PX)
    published = bool(plan.options["published"])
    first = plan.integer("width")
    widths = (first, 2 * first, 4 * first)
    blocks = [
        [nn.Conv2d(inputs, outputs, kernel_size=5, padding="same"), nn.SiLU(), nn.MaxPool2d(2)]
        for inputs, outputs in zip((channels, *widths[:2]), widths, strict=True)
    ]
    height, width = height // 8, width // 8
    if published:
        blocks[2].insert(1, Dropout(plan.number("dropout"), plan.dropout, unit="channel"))
        blocks[2][-1] = nn.MaxPool2d(2, stride=1)
        height, width = (side // 4 - 1 for side in plan.image_shape[1:])
    model = nn.Sequential(
        *(layer for block in blocks for layer in block),
        nn.Flatten(),
        nn.Linear(widths[-1] * height * width, _CNN3_HIDDEN),
        *([nn.SiLU()] if published else []),
        Dropout(plan.number("dropout"), plan.dropout, unit="image" if published else "value"),
        nn.Linear(_CNN3_HIDDEN, plan.classes),
    )
    initialise(model, plan.initialisation, kaiming_uniform if published else None)
    return model


def mlp(plan: Blueprint) -> nn.Module:
    """Fully connected layers with ReLU; without hidden layers, softmax regression."""
    channels, height, width = plan.image_shape
    hidden = plan.integer("hidden")
    inputs = channels * height * width
    layers: list[nn.Module] = [nn.Flatten()]
    for _ in range(plan.integer("layers")):
        layers += [nn.Linear(inputs, hidden), nn.ReLU(), Dropout(plan.number("dropout"), plan.dropout)]
        inputs = hidden
    model = nn.Sequential(*layers, nn.Linear(inputs, plan.classes))
    initialise(model, plan.initialisation)
    return model

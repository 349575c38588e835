"""AlexNet as Caffe's reference model has it, for any image that does not vanish in it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from tui_datasize.training.models.blueprint import Blueprint
from tui_datasize.training.models.dropout import Dropout
from tui_datasize.training.models.initialise import initialise, kaiming_normal

_FULL_WIDTH = 96
_SMALLEST_PX = 39


class LocalResponseNorm(nn.Module):
    """Divides each value by its neighbours in the four nearest channels.

    Krizhevsky, Sutskever and Hinton (2012), section 3.3, with the constants of Caffe's reference
    model: v / (1 + 1e-4/5 * sum of v^2 over five channels)^0.75. The library's layer pools in three
    dimensions, whose gradient on a GPU adds up in no fixed order.
    """

    _SIZE, _ALPHA, _BETA = 5, 1e-4, 0.75

    def forward(self, values: Tensor) -> Tensor:
        """Values of shape (B, C, H, W)."""
        reach = self._SIZE // 2
        squares = pad(values.square(), (0, 0, 0, 0, reach, reach))
        channels = values.shape[1]
        total = squares[:, :channels]
        for shift in range(1, self._SIZE):
            total = total + squares[:, shift : shift + channels]
        return values * total.mul(self._ALPHA / self._SIZE).add(1.0).pow(-self._BETA)


def alexnet(plan: Blueprint) -> nn.Module:
    """Five convolutions and three fully connected layers.

    Caffe's reference model with the crop alone made smaller, as Soekhoe, van der Putten and Plaat
    (2016) did: Caffe rounds pooled sides up, so that 57x57 pixels become 12, 6, 3 and 1. `width` is
    the number of first filters, 96 in the paper; all other widths follow in proportion. `caffe`
    draws weights with the reference model's constant deviations, which suit its full width alone.
    """
    channels, height, width = plan.image_shape
    if min(height, width) < _SMALLEST_PX:
        raise plan.too_small(_SMALLEST_PX)
    filters = [_scaled(count, plan) for count in (96, 256, 384, 384, 256)]
    hidden = _scaled(4096, plan)
    features = filters[-1] * _pooled_side(height) * _pooled_side(width)
    model = nn.Sequential(
        *(nn.Conv2d(channels, filters[0], 11, stride=4), nn.ReLU(), _pool(), LocalResponseNorm()),
        *(nn.Conv2d(filters[0], filters[1], 5, padding=2, groups=2), nn.ReLU(), _pool(), LocalResponseNorm()),
        *(nn.Conv2d(filters[1], filters[2], 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(filters[2], filters[3], 3, padding=1, groups=2), nn.ReLU()),
        *(nn.Conv2d(filters[3], filters[4], 3, padding=1, groups=2), nn.ReLU(), _pool()),
        nn.Flatten(),
        *(nn.Linear(features, hidden), nn.ReLU(), Dropout(plan.number("dropout"), plan.dropout)),
        *(nn.Linear(hidden, hidden), nn.ReLU(), Dropout(plan.number("dropout"), plan.dropout)),
        nn.Linear(hidden, plan.classes),
    )
    if plan.options["initialisation"] == "caffe":
        _initialise_as_caffe(model, plan.initialisation)
    else:
        initialise(model, plan.initialisation, kaiming_normal)
    return model


_CAFFE_FILLERS = (
    *((0.01, 0.0), (0.01, 0.1), (0.01, 0.0), (0.01, 0.1), (0.01, 0.1)),
    *((0.005, 0.1), (0.005, 0.1), (0.01, 0.0)),
)
"""Standard deviation of the weights and constant bias of each layer (bvlc_alexnet/train_val.prototxt)."""


def _initialise_as_caffe(model: nn.Module, generator: torch.Generator) -> None:
    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    for layer, (deviation, bias) in zip(layers, _CAFFE_FILLERS, strict=True):
        nn.init.normal_(layer.weight, std=deviation, generator=generator)
        nn.init.constant_(layer.bias, bias)  # type: ignore[arg-type]


def _scaled(count: int, plan: Blueprint) -> int:
    """A width of the paper in proportion, even because two groups share it."""
    return max(2, 2 * round(count * plan.integer("width") / _FULL_WIDTH / 2))


def _pool() -> nn.Module:
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)


def _pooled_side(side_px: int) -> int:
    """The side after the first convolution and three poolings."""
    side = (side_px - 11) // 4 + 1
    for _ in range(3):
        side = -(-(side - 3) // 2) + 1
    return side

"""The networks that are written here: the study's three blocks, fully connected, residual, AlexNet."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import pad

from tui_datasize.training.models.parts import Blueprint, Dropout, initialise, kaiming_normal, kaiming_uniform

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


class ResNet(nn.Module):
    """A convolution, three stages of n blocks with 1, 2 and 4 times the filters, mean and classifier.

    He, Zhang, Ren and Sun (2016), section 4.2: the second and third stage begin by halving the side.

    `blocks` is n, so that there are 6n + 2 weight layers. The first stage has `width` filters, 16 in the
    paper. Without `shortcuts`, by which each block adds its input, it is a plain network.
    """

    def __init__(self, channels: int, classes: int, *, blocks: int, width: int, shortcuts: bool) -> None:
        super().__init__()
        self.stem = nn.Sequential(_convolution(channels, width), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
        widths = [width] * blocks + [2 * width] * blocks + [4 * width] * blocks
        self.blocks = nn.Sequential(
            *(
                ResidualBlock(inputs, outputs, shortcut=shortcuts)
                for inputs, outputs in zip([width, *widths], widths, strict=False)
            )
        )
        self.classifier = nn.Linear(4 * width, classes)

    def forward(self, images: Tensor) -> Tensor:
        # A mean and not adaptive pooling, whose gradient on a GPU adds up in no fixed order.
        features = self.blocks(self.stem(images)).mean(dim=(2, 3))
        logits: Tensor = self.classifier(features)
        return logits


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch normalisation; the first halves the side where filters double.

    The shortcut is option A of the paper, which has no parameters: every second pixel, and zeros
    for the filters that the input lacks.
    """

    def __init__(self, inputs: int, outputs: int, *, shortcut: bool) -> None:
        super().__init__()
        self._stride = 1 if inputs == outputs else 2
        self._missing = outputs - inputs
        self._shortcut = shortcut
        self.first = _convolution(inputs, outputs, self._stride)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = _convolution(outputs, outputs)
        self.second_norm = nn.BatchNorm2d(outputs)

    def forward(self, values: Tensor) -> Tensor:
        """From (B, inputs, H, W) to (B, outputs, H or H/2, W or W/2)."""
        change: Tensor = self.second_norm(self.second(self.first_norm(self.first(values)).relu_()))
        if not self._shortcut:
            return change.relu_()
        if self._missing:
            before = self._missing // 2
            every_second = values[:, :, :: self._stride, :: self._stride]
            values = pad(every_second, (0, 0, 0, 0, before, self._missing - before))
        return change.add_(values).relu_()


def resnet(plan: Blueprint) -> nn.Module:
    """A residual or plain network of the paper's depth, with weights as He et al. (2015) draw them."""
    model = ResNet(
        plan.image_shape[0],
        plan.classes,
        blocks=(plan.integer("depth") - 2) // 6,
        width=plan.integer("width"),
        shortcuts=bool(plan.options["shortcuts"]),
    )
    initialise(model, plan.initialisation, kaiming_normal)
    return model


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    # The normalisation behind it takes any bias away again.
    return nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False)


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
        layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
        for layer, (deviation, bias) in zip(layers, _CAFFE_FILLERS, strict=True):
            nn.init.normal_(layer.weight, std=deviation, generator=plan.initialisation)
            nn.init.constant_(layer.bias, bias)  # type: ignore[arg-type]
    else:
        initialise(model, plan.initialisation, kaiming_normal)
    return model


_CAFFE_FILLERS = (
    *((0.01, 0.0), (0.01, 0.1), (0.01, 0.0), (0.01, 0.1), (0.01, 0.1)),
    *((0.005, 0.1), (0.005, 0.1), (0.01, 0.0)),
)
"""Standard deviation of the weights and constant bias of each layer (bvlc_alexnet/train_val.prototxt)."""


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

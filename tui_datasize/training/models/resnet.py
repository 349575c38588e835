"""Residual networks for small images, and the same without shortcuts."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import pad

from tui_datasize.training.models.blueprint import Blueprint
from tui_datasize.training.models.initialise import initialise, kaiming_normal


class ResNet(nn.Module):
    """A convolution, three stages of n blocks with 1, 2 and 4 times the filters, mean and classifier.

    He, Zhang, Ren and Sun (2016), section 4.2: the second and third stage begin by halving the side.

    Args:
        channels: Of the images.
        classes: Number of outputs.
        blocks: n, per stage; the network has 6n + 2 weight layers.
        width: Filters of the first stage; 16 in the paper.
        shortcuts: Whether each block adds its input; a plain network otherwise.
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
        """From images (B, C, H, W) to logits (B, classes)."""
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
        return change.add_(self._reduced(values)).relu_() if self._shortcut else change.relu_()

    def _reduced(self, values: Tensor) -> Tensor:
        if not self._missing:
            return values
        before = self._missing // 2
        every_second = values[:, :, :: self._stride, :: self._stride]
        return pad(every_second, (0, 0, 0, 0, before, self._missing - before))


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

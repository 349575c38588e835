"""From a model's name and options to a module on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from tui_datasize.errors import DataError
from tui_datasize.experiments.architectures import all_options
from tui_datasize.experiments.spec import ModelSpec
from tui_datasize.training.models.alexnet import alexnet
from tui_datasize.training.models.blueprint import Blueprint, Builder, ImageShape
from tui_datasize.training.models.cost import run_without_values
from tui_datasize.training.models.library import library_model
from tui_datasize.training.models.resnet import resnet
from tui_datasize.training.models.small import cnn3, mlp

BUILDERS: Mapping[str, Builder] = MappingProxyType(
    {"cnn3": cnn3, "mlp": mlp, "resnet": resnet, "alexnet": alexnet}
)
"""How each model of the table is built; those of torchvision have one builder."""


def build_model(
    spec: ModelSpec,
    image_shape: ImageShape,
    classes: int,
    *,
    initialisation: torch.Generator,
    dropout: torch.Generator,
) -> nn.Module:
    """Build a model on the CPU.

    Args:
        spec: Name and options; missing options take their defaults.
        image_shape: Channels, height and width of one image.
        classes: Number of outputs.
        initialisation: CPU stream for the first weights.
        dropout: Stream for the masks, on the device that will train.

    Returns:
        A module from images (B, C, H, W), normalised, to logits (B, classes).

    Raises:
        DataError: The images do not suit the model, or its trained weights cannot be had.
    """
    options = all_options(spec)
    side_px, channels = (int(options.get(key, 0)) for key in ("input_px", "input_channels"))
    fitting = FitInput(spec.name, image_shape, side_px, channels)
    plan = Blueprint(spec.name, options, fitting.shape, classes, initialisation, dropout)
    model = BUILDERS.get(spec.name, library_model)(plan)
    _check_shape(model, plan)
    return model if fitting.shape == image_shape else nn.Sequential(fitting, model)


class FitInput(nn.Module):
    """Pads images evenly with zeros to a square, and repeats grey.

    It stands behind normalisation, so that the border has the mean of the training images.

    Args:
        name: Of the model, for errors.
        image_shape: Channels, height and width of the images.
        side_px: Side to pad to; 0 leaves them as they are.
        channels: Channels to repeat grey to; 0 leaves them as they are.

    Raises:
        DataError: The images are larger than that, or have other channels.
    """

    def __init__(self, name: str, image_shape: ImageShape, side_px: int, channels: int) -> None:
        super().__init__()
        found, height, width = image_shape
        if side_px and side_px < max(height, width):
            raise DataError(
                f"images of {width}x{height} pixels do not fit input_px {side_px} of model {name}",
                fix="make it larger, or the images smaller with image_px",
            )
        if channels and found not in (1, channels):
            raise DataError(f"images of {found} channels cannot be repeated to {channels} of model {name}")
        self.shape = (channels or found, side_px or height, side_px or width)
        above, left = (self.shape[1] - height) // 2, (self.shape[2] - width) // 2
        below, right = self.shape[1] - height - above, self.shape[2] - width - left
        self._border = (left, right, above, below)

    def forward(self, images: Tensor) -> Tensor:
        """From images as they come to images of `shape`."""
        return pad(images, self._border).expand(-1, self.shape[0], -1, -1)


def _check_shape(model: nn.Module, plan: Blueprint) -> None:
    """Send one image through without computing, so that a misfit is told before it is trained."""
    try:
        run_without_values(model, plan.image_shape)
    except (RuntimeError, AssertionError, ValueError) as error:
        _, height, width = plan.image_shape
        raise DataError(
            f"images of {width}x{height} pixels do not suit model {plan.name} ({error})",
            fix="set input_px of the model, or image_px of the experiment, to a size that it takes",
        ) from error

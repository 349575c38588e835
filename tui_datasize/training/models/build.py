"""From a model's name and options to a module on the CPU, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import pad
from torch.utils.flop_counter import FlopCounterMode

from tui_datasize.errors import DataError
from tui_datasize.experiments.architectures import all_options
from tui_datasize.experiments.spec import ModelSpec
from tui_datasize.training.models.library import library_model
from tui_datasize.training.models.networks import alexnet, cnn3, mlp, resnet
from tui_datasize.training.models.parts import Blueprint, Builder, ImageShape

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
    """A model on the CPU, from normalised images (B, C, H, W) to logits (B, classes).

    Missing options take their defaults. `initialisation` is a CPU stream for the first weights, `dropout`
    the stream for the masks, on the device that will train.

    Raises DataError: the images do not suit the model, or its trained weights cannot be had.
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

    It stands behind normalisation, so that the border has the mean of the training images. A side or a
    number of channels that is 0 leaves them as they are.

    Raises DataError: the images are larger than that, or have other channels.
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


def describe_cost(model: nn.Module, image_shape: ImageShape) -> dict[str, int]:
    """Facts for `provenance.json`, counted without computing anything.

    Returns:
        `parameters`, `trainable_parameters` (those that are not frozen) and `flops_per_image`: of
        the forward pass over one image, convolutions and matrix products alone, a multiplication
        and its addition counted as two.
    """
    with FlopCounterMode(display=False) as counter:
        run_without_values(model, image_shape)
    parameters = list(model.parameters())
    return {
        "parameters": sum(p.numel() for p in parameters),
        "trainable_parameters": sum(p.numel() for p in parameters if p.requires_grad),
        "flops_per_image": int(counter.get_total_flops()),
    }


def run_without_values(model: nn.Module, image_shape: ImageShape) -> torch.Size:
    """Shape of the logits for one image, by a pass over shapes alone."""
    values = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    shapes = {name: torch.empty_like(value, device="meta") for name, value in values.items()}
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            image = torch.empty(1, *image_shape, device="meta")
            logits: torch.Tensor = functional_call(model, shapes, (image,))
    finally:
        model.train(was_training)
    return logits.shape

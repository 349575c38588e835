"""From stored pixels to what a model sees, in whole batches on the device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from tui_datasize.errors import DataError
from tui_datasize.experiments.spec import AugmentationSpec

ImageShape: TypeAlias = tuple[int, int, int]


class Normalise:
    """Scales pixels 0 .. 255 to mean 0 and standard deviation 1 over the training set.

    `mean` and `std` are per channel, of pixels scaled to [0, 1].
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], device: torch.device) -> None:
        self._mean = 255 * torch.tensor(mean, device=device).reshape(1, -1, 1, 1)
        self._factor = 1 / (255 * torch.tensor(std, device=device).reshape(1, -1, 1, 1))

    def __call__(self, images: Tensor) -> Tensor:
        """To float32 of the same shape, channels last in memory; float32 is given up and overwritten."""
        values = images.to(dtype=torch.float32, memory_format=torch.channels_last)
        return values.sub_(self._mean).mul_(self._factor)


@dataclass(frozen=True, slots=True)
class EvaluationView:
    """What an evaluation sees of stored images: the centre where training crops, normalised."""

    _normalise: Normalise
    _crop_px: int

    def __call__(self, images: Tensor) -> Tensor:
        """From uint8 (B, C, H, W) to float32, channels last in memory."""
        return self._normalise(centre(images, self._crop_px) if self._crop_px else images)


def centre(images: Tensor, side_px: int) -> Tensor:
    """The square in the middle of images (..., H, W), where it is off by half a pixel as torchvision's."""
    height, width = images.shape[-2:]
    # Rounded half to even.
    top, left = round((height - side_px) / 2), round((width - side_px) / 2)
    return images[..., top : top + side_px, left : left + side_px]


def input_shape(stored: ImageShape, augmentation: AugmentationSpec) -> ImageShape:
    """Channels, height and width of what a model sees of stored images.

    Raises:
        DataError: They are smaller than the crop that evaluations take.
    """
    channels, height, width = stored
    side_px = augmentation.crop_px
    if not side_px:
        return stored
    if min(height, width) < side_px:
        raise DataError(
            f"augmentation.crop_px = {side_px} needs images of at least {side_px}x{side_px} pixels, "
            f"got {width}x{height}",
            fix="use a smaller crop_px or a larger image_px",
        )
    return channels, side_px, side_px

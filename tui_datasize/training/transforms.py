"""From stored pixels to what a model sees, in whole batches on the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from tui_datasize.errors import DataError
from tui_datasize.experiments.augmentation import AugmentationSpec

ImageShape: TypeAlias = tuple[int, int, int]


def normalisation(
    mean: Sequence[float], std: Sequence[float], device: torch.device, crop_px: int = 0
) -> Callable[[Tensor], Tensor]:
    """What scales pixels 0 .. 255 to mean 0 and standard deviation 1 over the training set.

    `mean` and `std` are per channel, of pixels scaled to [0, 1]. It makes float32 of the same shape, channels
    last in memory, of the centre alone where `crop_px` is its side; float32 is given up and overwritten.
    """
    middle = 255 * torch.tensor(mean, device=device).reshape(1, -1, 1, 1)
    factor = 1 / (255 * torch.tensor(std, device=device).reshape(1, -1, 1, 1))
    return lambda images: (
        (centre(images, crop_px) if crop_px else images)
        .to(dtype=torch.float32, memory_format=torch.channels_last)
        .sub_(middle)
        .mul_(factor)
    )


def centre(images: Tensor, side_px: int) -> Tensor:
    """The square in the middle of images (..., H, W), where it is off by half a pixel as torchvision's."""
    height, width = images.shape[-2:]
    # Rounded half to even.
    top, left = round((height - side_px) / 2), round((width - side_px) / 2)
    return images[..., top : top + side_px, left : left + side_px]


def input_shape(stored: ImageShape, augmentation: AugmentationSpec) -> ImageShape:
    """Channels, height and width of what a model sees of stored images.

    Raises DataError: they are smaller than the crop that evaluations take.
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

"""Changes of brightness, contrast, saturation and sharpness, and of the distribution of grey levels.

Pixels stay float32 in 0 .. 255; torchvision rounds to a whole grey level after each change.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tui_datasize.training.augment.draws import Draws, between, per_image

_BRIGHTEST = 255.0
_LUMA = (0.2989, 0.587, 0.114)
"""Share of red, green and blue in grey (ITU-R BT.601)."""
_COLOUR_CHANNELS = 3


def jitter(images: Tensor, draws: Draws, change: Callable[[Tensor, Tensor], Tensor], spread: float) -> Tensor:
    """A change by a factor drawn uniformly within `spread` of 1, which changes nothing."""
    return change(images.float(), between(draws.device[0], 1 - spread, 1 + spread))


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Mix with black; images (B, C, H, W) float32, factors (B,), at least 0. Likewise below."""
    return (images * per_image(factor)).clamp_(0, _BRIGHTEST)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Mix with the image's mean grey."""
    return _mix(images, _grey(images).mean(dim=(1, 2, 3), keepdim=True), factor)


def saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Mix with the image in grey; images without colour stay as they are."""
    return _mix(images, _grey(images), factor) if images.shape[1] == _COLOUR_CHANNELS else images


def lose_colour(images: Tensor, draws: Draws, probability: float) -> Tensor:
    """Grey in all channels with a probability; images without colour stay as they are."""
    if images.shape[1] != _COLOUR_CHANNELS:
        return images
    is_grey = per_image(draws.device[0] < probability)
    return torch.where(is_grey, _grey(images), images)


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """Mix with a smoothed image, all but its outermost pixels, as PIL's sharpness enhancer."""
    if min(images.shape[2:]) <= 2:
        return images
    # Sums over 3x3 pixels as sums of sums over three: exact, and a third of a convolution's time on a CPU.
    rows = images[:, :, :-2] + images[:, :, 1:-1] + images[:, :, 2:]
    squares = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    smoothed = squares.add_(images[:, :, 1:-1, 1:-1], alpha=4).div_(13).round_()
    changed = images.clone()
    changed[:, :, 1:-1, 1:-1].lerp_(smoothed, per_image(1 - factor))
    return changed.clamp_(0, _BRIGHTEST)


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keep the highest bits of each value; bits (B,), whole numbers in 1 .. 8."""
    step = per_image(torch.exp2(8 - bits))
    return (images / step).floor_().mul_(step)


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Invert the values from a threshold in 0 .. 255 on; thresholds (B,)."""
    return torch.where(images >= per_image(threshold), _BRIGHTEST - images, images)


def autocontrast(images: Tensor) -> Tensor:
    """Stretch each channel to the full range; a channel of one value stays as it is."""
    low, high = images.amin(dim=(2, 3), keepdim=True), images.amax(dim=(2, 3), keepdim=True)
    stretched = (images - low) * (_BRIGHTEST / (high - low).clamp(min=1e-6))
    return torch.where(high > low, stretched, images).clamp_(0, _BRIGHTEST)


def equalize(images: Tensor) -> Tensor:
    """Spread the grey levels of each channel so that they occur equally often, as PIL's ImageOps."""
    pixels = images.round().long().flatten(start_dim=2)
    # Sums of whole numbers below 2^24: exact, in whatever order they are added.
    counts = torch.zeros((*pixels.shape[:2], 256), device=images.device)
    counts.scatter_add_(2, pixels, torch.ones((), device=images.device).expand(pixels.shape))
    up_to = counts.cumsum(dim=2)
    brightest = pixels.amax(dim=2, keepdim=True)
    step = ((pixels.shape[2] - counts.gather(2, brightest)) / 255).floor()
    below = up_to - counts
    level = ((below + (step / 2).floor()) / step.clamp(min=1)).floor().clamp(max=_BRIGHTEST)
    equalized = level.gather(2, pixels).view_as(images)
    return torch.where(step[..., None] > 0, equalized, images)


def _grey(images: Tensor) -> Tensor:
    """One channel, shape (B, 1, H, W); the mean of the channels where they are not red, green and blue."""
    if images.shape[1] != _COLOUR_CHANNELS:
        return images.mean(dim=1, keepdim=True)
    red, green, blue = images.unbind(dim=1)
    # Grey images have whole levels, as in torchvision.
    grey = (red * _LUMA[0] + green * _LUMA[1] + blue * _LUMA[2]).floor_()
    return grey[:, None]


def _mix(images: Tensor, others: Tensor, share: Tensor) -> Tensor:
    """`share` of the images and the rest of the others; a share above 1 moves away from the others."""
    return torch.lerp(others, images, per_image(share)).clamp_(0, _BRIGHTEST)

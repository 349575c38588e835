"""Flips, crops, affine maps and erased rectangles: where the pixels of a training image come from."""

from __future__ import annotations

from dataclasses import dataclass
from math import log, pi
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, pad

from tui_datasize.training.accelerator.device import accelerator_of
from tui_datasize.training.augment.draws import Draws, between, per_image, whole_below

Axis: TypeAlias = Literal["x", "y"]
TRIES = 10
"""How often a rectangle is drawn before there is none that fits, as in torchvision."""

ROWS = 2 * TRIES + 2
"""Numbers that one rectangle per image needs."""


@dataclass(frozen=True, slots=True)
class Rectangles:
    """One rectangle per image in pixels; each tensor is int64 of shape (B,)."""

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor


@dataclass(frozen=True, slots=True)
class RectangleRanges:
    """What rectangles are drawn from."""

    area: tuple[float, float]
    """Smallest and largest share of the image's area, drawn uniformly."""
    ratio: tuple[float, float]
    """Smallest and largest width over height, its logarithm drawn uniformly."""


def draw_rectangles(
    uniform: Tensor, image: tuple[int, int], largest: tuple[int, int], shape: RectangleRanges
) -> tuple[Rectangles, Tensor]:
    """The first of ten tries that fits, at a position drawn uniformly, from numbers (ROWS, B) in [0, 1).

    A rectangle fits up to the height and width of `largest`.

    Returns:
        The rectangles, and whether there is one, bool of shape (B,). Without one height and width are 0.
    """
    area = between(uniform[:TRIES], *shape.area) * (image[0] * image[1])
    low, high = shape.ratio
    ratio = between(uniform[TRIES : 2 * TRIES], log(low), log(high)).exp()
    heights, widths = (area / ratio).sqrt().round().long(), (area * ratio).sqrt().round().long()
    fits = (heights > 0) & (heights <= largest[0]) & (widths > 0) & (widths <= largest[1])
    # The first of equal maxima is the first try that fits.
    chosen = fits.int().argmax(dim=0, keepdim=True)
    found = fits.any(dim=0)
    height, width = (sides.gather(0, chosen)[0] * found for sides in (heights, widths))
    top = whole_below(uniform[2 * TRIES], image[0] - height + 1)
    left = whole_below(uniform[2 * TRIES + 1], image[1] - width + 1)
    return Rectangles(top, left, height, width), found


def inside(rectangles: Rectangles, image: tuple[int, int]) -> Tensor:
    """Which pixels lie within, bool of shape (B, H, W)."""
    rows = _within(rectangles.top, rectangles.height, image[0])
    columns = _within(rectangles.left, rectangles.width, image[1])
    return rows[:, :, None] & columns[:, None, :]


def _within(start: Tensor, length: Tensor, side: int) -> Tensor:
    position = torch.arange(side, device=start.device)
    return (position >= start[:, None]) & (position < (start + length)[:, None])


_SHAPE = RectangleRanges(area=(0.02, 0.33), ratio=(1 / 3.3, 1 / 0.3))


def erase(images: Tensor, draws: Draws, probability: float) -> Tensor:
    """Set a rectangle to 0, the training set's mean once images are normalised, with a probability.

    Zhong et al. (2020); ranges and value are torchvision's defaults. Images are given up: changed in place,
    so that their memory layout stays.
    """
    height, width = images.shape[2:]
    drawn, _ = draw_rectangles(draws.device[1:], (height, width), (height - 1, width - 1), _SHAPE)
    erased = (draws.device[0] < probability)[:, None, None] & inside(drawn, (height, width))
    return images.masked_fill_(erased[:, None], 0)


_CROP_RATIO = (3 / 4, 4 / 3)


def flip(images: Tensor, draws: Draws, probability: float) -> Tensor:
    """Mirror left to right with a probability."""
    return torch.where(per_image(draws.device[0] < probability), images.flip(3), images)


def crop(images: Tensor, draws: Draws, side_px: int, padding_px: int = 0) -> Tensor:
    """A square (B, C, side, side) at a position of its own, after padding with zeros.

    A side of 0 is that of the image before padding.
    """
    height, width = (side_px or side for side in images.shape[2:])
    padded = pad(images, [padding_px] * 4) if padding_px else images
    top = whole_below(draws.device[0], padded.shape[2] - height + 1)
    left = whole_below(draws.device[1], padded.shape[3] - width + 1)
    return cut(padded, top, left, height, width)


def resized_crop(images: Tensor, draws: Draws, smallest_area: float, side_px: int) -> Tensor:
    """A rectangle of random area and aspect ratio, resized to a square: float32, shape (B, C, side, side).

    Szegedy et al. (2015); the ranges and the fallback to the whole image are torchvision's. The smallest area
    is a share of the image's, in (0, 1]; the largest is 1.
    """
    image = (images.shape[2], images.shape[3])
    shape = RectangleRanges((smallest_area, 1.0), _CROP_RATIO)
    drawn, found = draw_rectangles(draws.device, image, image, shape)
    return resize(images, _or_central(drawn, found, image), side_px)


def turn(images: Tensor, draws: Draws, most_deg: float) -> Tensor:
    """Rotate around the centre by an angle within a range in both directions."""
    return rotate(images, between(draws.device[0], -most_deg, most_deg))


def cut(images: Tensor, top: Tensor, left: Tensor, height: int, width: int) -> Tensor:
    """A window of one size out of each image (B, C, H, W); first rows and columns are int64 (B,)."""
    windows = images.unfold(2, height, 1).unfold(3, width, 1)
    return windows[torch.arange(len(images), device=images.device), :, top, left]


def resize(images: Tensor, windows: Rectangles, side_px: int) -> Tensor:
    """A window of each image (B, C, H, W) made a square, float32: bilinear, averaging where it shrinks."""
    rows = _resampling(windows.top, windows.height, images.shape[2], side_px)
    columns = _resampling(windows.left, windows.width, images.shape[3], side_px)
    # In tf32 pixels would keep ten bits of their sums, whatever the run's precision.
    with accelerator_of(images.device).whole_products():
        resized: Tensor = rows[:, None] @ images.float() @ columns[:, None].transpose(2, 3)
    return resized


def _resampling(start: Tensor, length: Tensor, side: int, target: int) -> Tensor:
    """Weights of `side` stored pixels in each of `target` new ones, shape (B, target, side).

    A triangle around each new pixel's centre, as wide as the new pixel where the window shrinks and
    as a stored one where it grows: the filter of PIL's and torch's antialiased bilinear resizing.
    """
    stored = torch.arange(side, device=start.device)
    scale = (length / target)[:, None]
    centre = scale * (torch.arange(target, device=start.device) + 0.5)
    distance = (stored + 0.5 - start[:, None])[:, None, :] - centre[:, :, None]
    weights = (1 - distance.abs() / scale.clamp(min=1)[:, :, None]).clamp(min=0)
    within = (stored >= start[:, None]) & (stored < (start + length)[:, None])
    weights = weights * within[:, None, :]
    return weights / weights.sum(dim=2, keepdim=True)


def _or_central(drawn: Rectangles, found: Tensor, image: tuple[int, int]) -> Rectangles:
    """The rectangles, and where there is none the largest central one of an admitted aspect ratio."""
    height, width = image
    low, high = _CROP_RATIO
    central_height = min(height, round(width / low))
    central_width = min(width, round(height * high))
    return Rectangles(
        torch.where(found, drawn.top, (height - central_height) // 2),
        torch.where(found, drawn.left, (width - central_width) // 2),
        torch.where(found, drawn.height, central_height),
        torch.where(found, drawn.width, central_width),
    )


def rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Rotate each image around its centre, counter-clockwise; shape of `degrees`: (B,)."""
    angle = degrees * (pi / 180)
    cosine, sine, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    return resample(images, _matrix((cosine, -sine, zero), (sine, cosine, zero)))


def shear(images: Tensor, slope: Tensor, axis: Axis) -> Tensor:
    """Move each row sideways (x) by `slope` pixels per row below the first, columns down (y); shape: (B,)."""
    one, zero = torch.ones_like(slope), torch.zeros_like(slope)
    if axis == "x":
        return resample(images, _matrix((one, slope, slope * (images.shape[2] / 2)), (zero, one, zero)))
    return resample(images, _matrix((one, zero, zero), (slope, one, slope * (images.shape[3] / 2))))


def translate(images: Tensor, pixels: Tensor, axis: Axis) -> Tensor:
    """Move each image right (x) or down (y) by whole pixels, towards 0 from what is given; shape: (B,)."""
    one, zero = torch.ones_like(pixels), torch.zeros_like(pixels)
    moved = -pixels.trunc()
    x, y = (moved, zero) if axis == "x" else (zero, moved)
    return resample(images, _matrix((one, zero, x), (zero, one, y)))


def _matrix(x: tuple[Tensor, Tensor, Tensor], y: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    return torch.stack([torch.stack(x), torch.stack(y)]).movedim(2, 0)


def resample(images: Tensor, matrices: Tensor) -> Tensor:
    """Map each image (B, C, H, W) by a matrix of its own, to float32: bilinear, zeros outside.

    A matrix leads from a new pixel (x, y, 1), in pixels from the centre, to where its value is taken from.
    """
    height, width = images.shape[2:]
    x = torch.arange(width, device=images.device) - (width - 1) / 2
    y = torch.arange(height, device=images.device)[:, None] - (height - 1) / 2
    # Products one by one: a matrix product in tf32 would misplace pixels of large images.
    entry = matrices[..., None, None]
    source_x = entry[:, 0, 0] * x + entry[:, 0, 1] * y + entry[:, 0, 2]
    source_y = entry[:, 1, 0] * x + entry[:, 1, 1] * y + entry[:, 1, 2]
    grid = torch.stack([source_x * (2 / width), source_y * (2 / height)], dim=3)
    return grid_sample(images.float(), grid, mode="bilinear", padding_mode="zeros", align_corners=False)

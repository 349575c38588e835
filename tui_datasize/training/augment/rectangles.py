"""Random rectangles within an image, by area and aspect ratio."""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import torch
from torch import Tensor

from tui_datasize.training.augment.draws import between, whole

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
    """The first of ten tries that fits, at a position drawn uniformly.

    Args:
        uniform: Numbers uniform in [0, 1), shape (ROWS, B).
        image: Height and width of the images.
        largest: Height and width up to which a rectangle fits.
        shape: Ranges of area and aspect ratio.

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
    top = whole(uniform[2 * TRIES], image[0] - height + 1)
    left = whole(uniform[2 * TRIES + 1], image[1] - width + 1)
    return Rectangles(top, left, height, width), found


def inside(rectangles: Rectangles, image: tuple[int, int]) -> Tensor:
    """Which pixels lie within, bool of shape (B, H, W)."""
    rows = _within(rectangles.top, rectangles.height, image[0])
    columns = _within(rectangles.left, rectangles.width, image[1])
    return rows[:, :, None] & columns[:, None, :]


def _within(start: Tensor, length: Tensor, side: int) -> Tensor:
    position = torch.arange(side, device=start.device)
    return (position >= start[:, None]) & (position < (start + length)[:, None])

"""The random numbers of one batch, and how an augmentation takes its own from them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tui_datasize.training.accelerator.device import accelerator_of


@dataclass(frozen=True, slots=True)
class Draws:
    """Numbers uniform in [0, 1), one column per image of a batch."""

    host: Tensor
    """On the CPU, shape (rows, B): for what decides which kernels are launched."""
    device: Tensor
    """The same numbers beside the images."""

    def rows(self, start: int, count: int) -> Draws:
        return Draws(self.host[start : start + count], self.device[start : start + count])


def draw_numbers(generator: torch.Generator, rows: int, images: int, device: torch.device) -> Draws:
    """Numbers of the next batch, `rows` for each image, on both sides.

    Drawn on the CPU, so that a run's parameters do not depend on its device, and copied once, so that
    nothing waits.
    """
    accelerator = accelerator_of(device)
    host = torch.rand(
        (rows, images), generator=generator, out=accelerator.staging((rows, images), torch.float32)
    )
    return Draws(host, accelerator.send(host))


def whole_below(uniform: Tensor, count: Tensor | int) -> Tensor:
    """Whole numbers 0 .. count - 1, each alike, from numbers uniform in [0, 1); int64."""
    drawn = (uniform * count).long()
    # A float32 just below 1 times a large count rounds up to it.
    return drawn.clamp(max=count - 1)


def between(uniform: Tensor, low: float, high: float) -> Tensor:
    """Numbers uniform in [low, high) from numbers uniform in [0, 1)."""
    return low + (high - low) * uniform


def per_image(values: Tensor) -> Tensor:
    """One number per image, shape (B,), as it multiplies images, shape (B, 1, 1, 1)."""
    return values[:, None, None, None]

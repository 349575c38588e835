"""From stored pixels to what a model sees, in whole batches on the device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Normalise:
    """Scales pixels 0 .. 255 to mean 0 and standard deviation 1 over the training set.

    Args:
        mean: Per channel, of pixels scaled to [0, 1].
        std: Per channel, likewise.
        device: Where the batches are.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], device: torch.device) -> None:
        self._mean = 255 * torch.tensor(mean, device=device).reshape(1, -1, 1, 1)
        self._factor = 1 / (255 * torch.tensor(std, device=device).reshape(1, -1, 1, 1))

    def __call__(self, images: Tensor) -> Tensor:
        """From uint8 (B, C, H, W) to float32 of the same shape, channels last in memory."""
        values = images.to(dtype=torch.float32, memory_format=torch.channels_last)
        return values.sub_(self._mean).mul_(self._factor)

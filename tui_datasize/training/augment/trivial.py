"""TrivialAugment: one operation of one strength per image (Mueller and Hutter 2021, wide ranges)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tui_datasize.training.accelerator.choice import accelerator_of
from tui_datasize.training.augment import colour, geometry
from tui_datasize.training.augment.draws import Draws, whole

STRENGTHS = 31
"""Number of strengths an operation has, none .. full."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One of the operations, its strength given as a whole number."""

    name: str
    apply: Callable[[Tensor, Tensor], Tensor]
    """From images (k, C, H, W) float32 and values (k,) to images."""
    value: Callable[[Tensor], Tensor]
    """From strengths in [0, 1] to what `apply` takes."""
    signed: bool = False
    """Whether the strength is turned around for every other image."""


def _factor(strength: Tensor) -> Tensor:
    return 1 + 0.99 * strength


def _bits(strength: Tensor) -> Tensor:
    return (8 - 6 * strength).round()


OPERATIONS: tuple[Operation, ...] = (
    Operation("identity", lambda images, _: images, lambda s: s),
    Operation("shear-x", geometry.shear_x, lambda s: 0.99 * s, signed=True),
    Operation("shear-y", geometry.shear_y, lambda s: 0.99 * s, signed=True),
    Operation("translate-x", geometry.translate_x, lambda s: 32 * s, signed=True),
    Operation("translate-y", geometry.translate_y, lambda s: 32 * s, signed=True),
    Operation("rotate", geometry.rotate, lambda s: 135 * s, signed=True),
    Operation("brightness", colour.brightness, _factor, signed=True),
    Operation("saturation", colour.saturation, _factor, signed=True),
    Operation("contrast", colour.contrast, _factor, signed=True),
    Operation("sharpness", colour.sharpness, _factor, signed=True),
    Operation("posterize", colour.posterize, _bits),
    Operation("solarize", colour.solarize, lambda s: 255 * (1 - s)),
    Operation("autocontrast", lambda images, _: colour.autocontrast(images), lambda s: s),
    Operation("equalize", lambda images, _: colour.equalize(images), lambda s: s),
)


@dataclass(frozen=True, slots=True)
class TrivialAugment:
    """Draws operation, strength and direction per image, all alike; geometry is bilinear."""

    rows: int = 3

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        """Float32 of the same shape."""
        # Drawn on the host: how many images an operation gets is known without waiting for the device.
        chosen = whole(draws.host[0], len(OPERATIONS))
        counts = torch.bincount(chosen, minlength=len(OPERATIONS)).tolist()
        order = accelerator_of(images.device).send(chosen.argsort(stable=True))
        strength = whole(draws.device[1], STRENGTHS)[order] / (STRENGTHS - 1)
        sign = torch.where(draws.device[2][order] <= 0.5, -1, 1)
        grouped = images[order].float()
        start = 0
        for operation, count in zip(OPERATIONS, counts, strict=True):
            if count:
                group = slice(start, start + count)
                towards = strength[group] * sign[group] if operation.signed else strength[group]
                grouped[group] = operation.apply(grouped[group], operation.value(towards))
            start += count
        changed = torch.empty_like(grouped)
        changed[order] = grouped
        return changed

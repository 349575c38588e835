"""From the stored images of a batch to what a model is trained on; TrivialAugment among the ways."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from tui_datasize.experiments.augmentation import AugmentationSpec
from tui_datasize.training.accelerator.device import accelerator_of
from tui_datasize.training.augment import colour, geometry
from tui_datasize.training.augment.draws import Draws, draw_numbers, whole_below
from tui_datasize.training.augment.mixing import Mixing, Targets

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


OPERATIONS: tuple[Operation, ...] = (
    Operation("identity", lambda images, _: images, lambda s: s),
    Operation("shear-x", partial(geometry.shear, axis="x"), lambda s: 0.99 * s, signed=True),
    Operation("shear-y", partial(geometry.shear, axis="y"), lambda s: 0.99 * s, signed=True),
    Operation("translate-x", partial(geometry.translate, axis="x"), lambda s: 32 * s, signed=True),
    Operation("translate-y", partial(geometry.translate, axis="y"), lambda s: 32 * s, signed=True),
    Operation("rotate", geometry.rotate, lambda s: 135 * s, signed=True),
    Operation("brightness", colour.brightness, _factor, signed=True),
    Operation("saturation", colour.saturation, _factor, signed=True),
    Operation("contrast", colour.contrast, _factor, signed=True),
    Operation("sharpness", colour.sharpness, _factor, signed=True),
    Operation("posterize", colour.posterize, lambda s: (8 - 6 * s).round()),
    Operation("solarize", colour.solarize, lambda s: 255 * (1 - s)),
    Operation("autocontrast", lambda images, _: colour.autocontrast(images), lambda s: s),
    Operation("equalize", lambda images, _: colour.equalize(images), lambda s: s),
)


def trivial_augment(images: Tensor, draws: Draws) -> Tensor:
    """Draw operation, strength and direction per image, all alike; geometry is bilinear."""
    # Drawn on the host: how many images an operation gets is known without waiting for the device.
    chosen = whole_below(draws.host[0], len(OPERATIONS))
    counts = torch.bincount(chosen, minlength=len(OPERATIONS)).tolist()
    order = accelerator_of(images.device).send(chosen.argsort(stable=True))
    strength = whole_below(draws.device[1], STRENGTHS)[order] / (STRENGTHS - 1)
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


class Augmentation(NamedTuple):
    """A random change of a batch of images, each with parameters of its own."""

    apply: Callable[[Tensor, Draws], Tensor]
    """Of images (B, C, H, W), uint8 or float32 pixels 0 .. 255, or normalised inputs."""
    rows: int = 1
    """Numbers that it takes per image."""


class Pipeline:
    """Augments and normalises batches, as a specification says, in the order of its fields.

    The generator is the run's augmentation stream, on the CPU. Its state is all that a resumed run needs.
    """

    def __init__(
        self, spec: AugmentationSpec, normalise: Callable[[Tensor], Tensor], generator: torch.Generator
    ) -> None:
        self._of_pixels = _of_pixels(spec)
        self._normalise = normalise
        erasing = Augmentation(partial(geometry.erase, probability=spec.random_erasing), geometry.ROWS + 1)
        self._of_inputs = (erasing,) if spec.random_erasing else ()
        self._rows = sum(step.rows for step in (*self._of_pixels, *self._of_inputs))
        self._mixing = Mixing(spec.mixup, spec.cutmix, generator) if spec.mixup or spec.cutmix else None
        self._generator = generator

    @property
    def is_fixed(self) -> bool:
        """Whether nothing is drawn: equal images always give equal inputs."""
        return not self._rows and self._mixing is None

    @torch.no_grad()
    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Targets]:
        """Inputs for one update from stored images, uint8 (B, C, H, W), and what they are."""
        draws = self._draw(images)
        inputs = self._normalise(_apply(self._of_pixels, images, draws))
        inputs = _apply(self._of_inputs, inputs, draws)
        return self._mixing(inputs, labels) if self._mixing else (inputs, Targets(labels))

    def _draw(self, images: Tensor) -> Iterator[Draws]:
        """The parts of the batch's random numbers, one for each augmentation."""
        if not self._rows:
            return
        drawn = draw_numbers(self._generator, self._rows, len(images), images.device)
        start = 0
        for step in (*self._of_pixels, *self._of_inputs):
            yield drawn.rows(start, step.rows)
            start += step.rows


def _apply(steps: Sequence[Augmentation], images: Tensor, draws: Iterator[Draws]) -> Tensor:
    for step in steps:
        images = step.apply(images, next(draws))
    return images


def _of_pixels(spec: AugmentationSpec) -> tuple[Augmentation, ...]:
    steps: list[Augmentation] = []
    if spec.resized_crop:
        area, side_px = spec.resized_crop, spec.crop_px
        cropping = partial(geometry.resized_crop, smallest_area=area, side_px=side_px)
        steps.append(Augmentation(cropping, geometry.ROWS))
    elif spec.crop_px:
        steps.append(Augmentation(partial(geometry.crop, side_px=spec.crop_px), 2))
    if spec.crop_padding_px:
        padded = partial(geometry.crop, side_px=0, padding_px=spec.crop_padding_px)
        steps.append(Augmentation(padded, 2))
    if spec.flip:
        steps.append(Augmentation(partial(geometry.flip, probability=spec.flip)))
    if spec.rotation_deg:
        steps.append(Augmentation(partial(geometry.turn, most_deg=spec.rotation_deg)))
    jitters = (
        (colour.brightness, spec.brightness),
        (colour.contrast, spec.contrast),
        (colour.saturation, spec.saturation),
        (colour.sharpness, spec.sharpness),
    )
    for change, spread in jitters:
        if spread:
            steps.append(Augmentation(partial(colour.jitter, change=change, spread=spread)))
    if spec.grey:
        steps.append(Augmentation(partial(colour.lose_colour, probability=spec.grey)))
    if spec.trivial_augment:
        steps.append(Augmentation(trivial_augment, 3))
    return tuple(steps)

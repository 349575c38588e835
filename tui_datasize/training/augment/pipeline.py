"""From the stored images of a batch to what a model is trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from tui_datasize.experiments.spec import AugmentationSpec
from tui_datasize.training.augment import colour
from tui_datasize.training.augment.colour import Jitter
from tui_datasize.training.augment.draws import Augmentation, Draws, draw
from tui_datasize.training.augment.erasing import Erasing
from tui_datasize.training.augment.geometry import Crop, Flip, ResizedCrop, Rotation
from tui_datasize.training.augment.mixing import Mixing, Targets
from tui_datasize.training.augment.trivial import TrivialAugment


class Pipeline:
    """Augments and normalises batches, as a specification says, in the order of its fields.

    Args:
        spec: What is done to the images.
        normalise: From pixels 0 .. 255 to what a model sees.
        generator: The run's augmentation stream, on the CPU. Its state is all that a resumed run needs.
    """

    def __init__(
        self, spec: AugmentationSpec, normalise: Callable[[Tensor], Tensor], generator: torch.Generator
    ) -> None:
        self._of_pixels = _of_pixels(spec)
        self._normalise = normalise
        self._of_inputs = (Erasing(spec.random_erasing),) if spec.random_erasing else ()
        self._rows = sum(step.rows for step in (*self._of_pixels, *self._of_inputs))
        self._mixing = Mixing(spec.mixup, spec.cutmix, generator) if spec.mixup or spec.cutmix else None
        self._generator = generator

    @property
    def is_fixed(self) -> bool:
        """Whether nothing is drawn: equal images always give equal inputs."""
        return not self._rows and self._mixing is None

    @torch.no_grad()
    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Targets]:
        """Inputs for one update, and what they are.

        Args:
            images: As stored, uint8, shape (B, C, H, W).
            labels: int64, shape (B,).
        """
        draws = self._draw(images)
        inputs = self._normalise(_apply(self._of_pixels, images, draws))
        inputs = _apply(self._of_inputs, inputs, draws)
        return self._mixing(inputs, labels) if self._mixing else (inputs, Targets(labels))

    def _draw(self, images: Tensor) -> Iterator[Draws]:
        """The parts of the batch's random numbers, one for each augmentation."""
        if not self._rows:
            return
        drawn = draw(self._generator, self._rows, len(images), images.device)
        start = 0
        for step in (*self._of_pixels, *self._of_inputs):
            yield drawn.rows(start, step.rows)
            start += step.rows


def _apply(steps: Sequence[Augmentation], images: Tensor, draws: Iterator[Draws]) -> Tensor:
    for step in steps:
        images = step(images, next(draws))
    return images


def _of_pixels(spec: AugmentationSpec) -> tuple[Augmentation, ...]:
    """What is done before normalisation."""
    steps: list[Augmentation] = []
    if spec.resized_crop:
        steps.append(ResizedCrop(spec.resized_crop, spec.crop_px))
    elif spec.crop_px:
        steps.append(Crop(spec.crop_px))
    if spec.crop_padding_px:
        steps.append(Crop(0, spec.crop_padding_px))
    if spec.flip:
        steps.append(Flip(spec.flip))
    if spec.rotation_deg:
        steps.append(Rotation(spec.rotation_deg))
    jitters = (
        (colour.brightness, spec.brightness),
        (colour.contrast, spec.contrast),
        (colour.saturation, spec.saturation),
        (colour.sharpness, spec.sharpness),
    )
    steps += [Jitter(change, spread) for change, spread in jitters if spread]
    if spec.trivial_augment:
        steps.append(TrivialAugment())
    return tuple(steps)

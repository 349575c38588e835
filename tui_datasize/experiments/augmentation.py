"""What is done to training images, each image with parameters of its own; evaluations see none of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AugmentationSpec:
    """Random changes of training images, applied in the order of these fields; the defaults change nothing.

    The parameters are drawn per image from the run's augmentation stream.
    """

    resized_crop: float = 0.0
    """Smallest share of the area, in (0, 1], of a crop of random size and aspect ratio 3/4 .. 4/3 that
    is resized to the model's input (Szegedy et al. 2015); 0 for none."""
    crop_px: int = 0
    """Side of a random crop; evaluations take the centre. 0 leaves images whole."""
    crop_padding_px: int = 0
    """Zero padding on each side before a random crop back to the size before."""
    flip: float = 0.0
    """Probability of mirroring left to right, in [0, 1]."""
    rotation_deg: float = 0.0
    """Largest angle, drawn uniformly in both directions, bilinear, zeros outside."""
    brightness: float = 0.0
    """Factor drawn uniformly from [1 - b, 1 + b], as torchvision's ColorJitter; likewise the next two."""
    contrast: float = 0.0
    saturation: float = 0.0
    sharpness: float = 0.0
    """Factor drawn uniformly from [1 - s, 1 + s], as PIL's sharpness enhancer."""
    trivial_augment: bool = False
    """One operation of uniform strength per image, wide ranges (Mueller and Hutter 2021)."""
    random_erasing: float = 0.0
    """Probability of erasing a rectangle after normalisation (Zhong et al. 2020), in [0, 1]."""
    mixup: float = 0.0
    """Alpha of the Beta distribution (Zhang et al. 2018); beside cutmix, a coin decides per batch."""
    cutmix: float = 0.0
    """Alpha of the Beta distribution (Yun et al. 2019)."""
    repeats: int = 1
    """Differently augmented copies of each image in a batch of the same size (Hoffer et al. 2020)."""

"""Random changes of training images: which there are, and how much of each."""

from __future__ import annotations

from dataclasses import dataclass

from tui_datasize.experiments.keys import key

MOST_BATCH = 1_000_000
MOST_PX = 10_000


@dataclass(frozen=True, slots=True)
class AugmentationSpec:
    """Random changes of training images, applied in the order of these fields; the defaults change nothing.

    The parameters are drawn per image from the run's augmentation stream.
    """

    resized_crop: float = key(
        0.0,
        "smallest share of the area of a crop, of random size and aspect ratio 3/4 to 4/3, that is resized "
        "to crop_px (Szegedy et al. 2015)",
        at_most=1,
    )
    crop_px: int = key(0, "side of a random crop; evaluations take the centre", at_most=MOST_PX)
    crop_padding_px: int = key(
        0, "zero padding on each side before a random crop back to the size before", at_most=MOST_PX
    )
    flip: float = key(0.0, "probability of mirroring left to right", at_most=1)
    rotation_deg: float = key(
        0.0, "largest angle in both directions, drawn uniformly; bilinear, zeros outside", at_most=180
    )
    brightness: float = key(
        0.0, "factor drawn uniformly from 1 - value to 1 + value, as torchvision's ColorJitter", at_most=1
    )
    contrast: float = key(0.0, "likewise", at_most=1)
    saturation: float = key(0.0, "likewise", at_most=1)
    sharpness: float = key(0.0, "likewise, as PIL's sharpness enhancer", at_most=1)
    grey: float = key(0.0, "probability of losing all colour", at_most=1)
    trivial_augment: bool = key(
        False, "one operation of uniform strength per image, wide ranges (Mueller and Hutter 2021)"
    )
    random_erasing: float = key(
        0.0, "probability of erasing a rectangle after normalisation (Zhong et al. 2020)", at_most=1
    )
    mixup: float = key(
        0.0,
        "alpha of the Beta distribution (Zhang et al. 2018); beside cutmix, a coin decides per batch",
        at_most=100,
    )
    cutmix: float = key(0.0, "alpha of the Beta distribution (Yun et al. 2019)", at_most=100)
    repeats: int = key(
        1,
        "differently augmented copies of each image in a batch of the same size (Hoffer et al. 2020)",
        at_least=1,
        at_most=MOST_BATCH,
    )

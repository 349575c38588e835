"""Erasing a rectangle of each image."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tui_datasize.training.augment.draws import Draws
from tui_datasize.training.augment.rectangles import ROWS, RectangleRanges, draw_rectangles, inside

_SHAPE = RectangleRanges(area=(0.02, 0.33), ratio=(1 / 3.3, 1 / 0.3))


@dataclass(frozen=True, slots=True)
class Erasing:
    """Sets a rectangle to 0, the training set's mean once images are normalised, with a probability.

    Zhong et al. (2020); ranges and value are torchvision's defaults.
    """

    probability: float
    rows: int = ROWS + 1

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        """Normalised images, which are given up: changed in place, so that their memory layout stays."""
        height, width = images.shape[2:]
        drawn, _ = draw_rectangles(draws.device[1:], (height, width), (height - 1, width - 1), _SHAPE)
        erased = (draws.device[0] < self.probability)[:, None, None] & inside(drawn, (height, width))
        return images.masked_fill_(erased[:, None], 0)

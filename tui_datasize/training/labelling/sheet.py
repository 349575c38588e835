"""A picture of the images that a run's strategy has added: the first of them above, the last below."""

from __future__ import annotations

import io

import numpy as np

from tui_datasize.runlog.atomic import write_bytes
from tui_datasize.runlog.paths import RunPaths
from tui_datasize.training.arrays import LoadedDataset
from tui_datasize.training.labelling.choice import Choice

_ACROSS = 16
_SIDE_PX = 64
"""At most, of an image."""
_GAP_PX = 1


def write_sheet(paths: RunPaths, dataset: LoadedDataset, choice: Choice) -> None:
    """Write `chosen.png`, unless the images of the run's own step were drawn."""
    # A worker whose images are drawn does without.
    from PIL import Image

    own = choice.images[(choice.steps == choice.steps[-1]) & np.isfinite(choice.scores)]
    if not len(own):
        return
    rows = [own[:_ACROSS], own[-_ACROSS:]]
    channels, height, width = dataset.image_shape
    shrink = max(1, -(-max(height, width) // _SIDE_PX))
    tall, wide = -(-height // shrink), -(-width // shrink)
    sheet = np.full((2 * (tall + _GAP_PX), _ACROSS * (wide + _GAP_PX), channels), 255, dtype=np.uint8)
    for row, images in enumerate(rows):
        pixels = dataset.train.images[images][:, :, ::shrink, ::shrink].transpose(0, 2, 3, 1)
        for place, image in enumerate(pixels):
            top, left = row * (tall + _GAP_PX), place * (wide + _GAP_PX)
            sheet[top : top + tall, left : left + wide] = image
    buffer = io.BytesIO()
    Image.fromarray(sheet[:, :, 0] if channels == 1 else sheet).save(buffer, "PNG")
    write_bytes(paths.chosen, buffer.getvalue())

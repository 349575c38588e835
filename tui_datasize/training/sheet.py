"""A picture of rows of images, for a person to look at."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from tui_datasize.training.build import Images

ACROSS = 16
"""Images in a row, at most."""
_SIDE_PX = 64
"""At most, of an image."""
_GAP_PX = 1


def draw_sheet(rows: Sequence[Images]) -> bytes:
    """A PNG of rows of images, at least one in all, (n, C, H, W) each, all of one size."""
    # A worker that draws none does without.
    from PIL import Image

    channels, height, width = rows[0].shape[1:]
    shrink = max(1, -(-max(height, width) // _SIDE_PX))
    tall, wide = -(-height // shrink), -(-width // shrink)
    sheet = np.full((len(rows) * (tall + _GAP_PX), ACROSS * (wide + _GAP_PX), channels), 255, dtype=np.uint8)
    for row, images in enumerate(rows):
        pixels = images[:ACROSS, :, ::shrink, ::shrink].transpose(0, 2, 3, 1)
        for place, image in enumerate(pixels):
            top, left = row * (tall + _GAP_PX), place * (wide + _GAP_PX)
            sheet[top : top + tall, left : left + wide] = image
    buffer = io.BytesIO()
    Image.fromarray(sheet[:, :, 0] if channels == 1 else sheet).save(buffer, "PNG")
    return buffer.getvalue()

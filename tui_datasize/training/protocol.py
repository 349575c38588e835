"""Which images an evaluation measures."""

from __future__ import annotations

import torch

from tui_datasize.training.evaluate import Integers
from tui_datasize.training.streams import Purpose, stream


def last_batch(images: int, batch_size: int, seed: int, update: int) -> Integers:
    """The last mini-batch of a pass over a split in an order of its own.

    The images before it are not looked at: without gradients and with fixed statistics they change
    nothing. The code of Hansson, Padban and Silwer (2025) measures so: 64 of 20,800 test images.

    Args:
        images: Size of the split.
        batch_size: Images of a full batch.
        seed: Training seed.
        update: Updates made; the order follows from both, so that an evaluation may be made again.

    Returns:
        Indices within the split, as many as the last batch has.
    """
    order = torch.randperm(images, generator=stream(seed, Purpose.EVALUATION_ORDER, part=update))
    rows: Integers = order[-(images % batch_size or min(batch_size, images)) :].numpy()
    return rows

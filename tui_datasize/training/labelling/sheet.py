"""A picture of the images that a run's strategy has added: the first of them above, the last below."""

from __future__ import annotations

import numpy as np

from tui_datasize.runlog.atomic import write_bytes
from tui_datasize.runlog.paths import RunPaths
from tui_datasize.training.arrays import LoadedDataset
from tui_datasize.training.labelling.choice import Choice
from tui_datasize.training.sheet import ACROSS, draw_sheet


def write_sheet(paths: RunPaths, dataset: LoadedDataset, choice: Choice) -> None:
    """Write `chosen.png`, unless the images of the run's own step were drawn."""
    own = choice.images[(choice.steps == choice.steps[-1]) & np.isfinite(choice.scores)]
    if len(own):
        rows = [dataset.train.images[images] for images in (own[:ACROSS], own[-ACROSS:])]
        write_bytes(paths.chosen, draw_sheet(rows))

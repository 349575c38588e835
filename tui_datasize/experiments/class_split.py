"""Two disjoint random halves of the classes of a data set."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tui_datasize.experiments.catalogue import DatasetInfo
from tui_datasize.experiments.spec import ClassSplit
from tui_datasize.experiments.subsets import permutation


def chosen_classes(classes: int, split: ClassSplit) -> tuple[int, ...]:
    """The labels that a run sees, ascending; their positions are its own labels.

    Args:
        classes: Number of classes of the data set.
        split: Which half, by which split seed. Of an odd number the source has one more.

    >>> chosen_classes(4, ClassSplit())
    (0, 1, 2, 3)
    >>> sorted(chosen_classes(5, ClassSplit("source", 7)) + chosen_classes(5, ClassSplit("target", 7)))
    [0, 1, 2, 3, 4]
    """
    if split.half == "all":
        return tuple(range(classes))
    order = permutation(classes, split.seed)
    middle = (classes + 1) // 2
    half = order[:middle] if split.half == "source" else order[middle:]
    return tuple(np.sort(half).tolist())


def restrict(info: DatasetInfo, split: ClassSplit) -> DatasetInfo:
    """What is known of the half of a data set that a run sees."""
    if split.half == "all":
        return info
    kept = chosen_classes(info.classes, split)
    return replace(
        info,
        train_per_class=tuple(info.train_per_class[label] for label in kept),
        test_per_class=tuple(info.test_per_class[label] for label in kept),
    )

"""Wrong training labels, the same ones for every subset of a draw."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tui_datasize.errors import DataError
from tui_datasize.experiments.spec import LabelNoise
from tui_datasize.experiments.subsets import Indices, permutation, uniform

_WHICH_KEY = 0x77686F
_WHAT_KEY = 0x776861
"""Set the images that become wrong, and what they become, apart from each other and from a draw's order."""


def noisy_labels(labels: Indices, class_names: Sequence[str], noise: LabelNoise, seed: int) -> Indices:
    """Replace a fixed share of the labels by wrong ones.

    Which images are wrong depends on the seed alone, not on a train size: nested subsets carry the
    same wrong labels, and a larger fraction keeps those of a smaller one.

    Args:
        labels: True class of every training image, shape (N,), values 0 .. K - 1.
        class_names: K names; the position is the label.
        noise: The share of the N images that is replaced, and what their classes become.
        seed: The subset seed.

    Returns:
        The labels given for training, shape (N,): exactly round(fraction * N) differ from `labels`.

    Raises:
        DataError: A class of the confusion is unknown, or too few images can be wrong.

    >>> given = noisy_labels(np.zeros(10, dtype=np.int64), ["cat", "dog"], LabelNoise(0.3), seed=1)
    >>> np.bincount(given).tolist()
    [7, 3]
    """
    wrong = round(noise.fraction * len(labels))
    if not wrong:
        return labels
    weights = _weights(class_names, noise)
    order = permutation(len(labels), seed, 0, _WHICH_KEY)
    may_be_wrong = weights.sum(axis=1) > 0
    candidates = order[may_be_wrong[labels[order]]]
    if wrong > len(candidates):
        raise DataError(
            f"label_noise.fraction {noise.fraction:g} asks for {wrong} wrong labels, but only"
            f" {len(candidates)} images are of a class that may become another"
        )
    chosen = candidates[:wrong]
    given = labels.copy()
    draws = uniform(len(labels), seed, 0, _WHAT_KEY)
    given[chosen] = _become(weights, labels[chosen], draws[chosen])
    return given


def _weights(class_names: Sequence[str], noise: LabelNoise) -> NDArray[np.float64]:
    """How often class i becomes class j, relative to the other classes that it becomes, shape (K, K)."""
    classes = len(class_names)
    if not noise.confusion:
        return np.ones((classes, classes)) - np.eye(classes)
    label_of = {name: label for label, name in enumerate(class_names)}
    weights = np.zeros((classes, classes))
    for name, becomes, weight in noise.confusion:
        unknown = next((given for given in (name, becomes) if given not in label_of), None)
        if unknown is not None:
            known = ", ".join(class_names[:5]) + (", ..." if classes > 5 else "")
            raise DataError(f"label_noise.confusion names class {unknown!r}", fix=f"known are {known}")
        if name == becomes:
            raise DataError(f"label_noise.confusion turns {name!r} into itself", fix="name another class")
        weights[label_of[name], label_of[becomes]] += weight
    return weights


def _become(weights: NDArray[np.float64], labels: Indices, draws: NDArray[np.float64]) -> Indices:
    """The class that each image becomes; `draws` are uniform in [0, 1), shape (n,)."""
    given = np.empty_like(labels)
    for label in np.unique(labels).tolist():
        (targets,) = np.nonzero(weights[label])
        bounds = np.cumsum(weights[label, targets])
        members = labels == label
        position = np.searchsorted(bounds, draws[members] * bounds[-1], side="right")
        given[members] = targets[np.minimum(position, len(targets) - 1)]
    return given

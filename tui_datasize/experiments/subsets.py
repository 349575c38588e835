"""Which images and classes a run trains on: deterministic draws, independent of the training seed.

Random numbers come from NumPy's PCG64 as raw 64-bit integers, whose stream NumPy guarantees across
versions and platforms (unlike that of `Generator.permutation`), and are turned into a permutation by
a stable sort. A draw is therefore the same in every process, on every machine, for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tui_datasize.errors import DataError
from tui_datasize.experiments.catalogue import DatasetInfo
from tui_datasize.experiments.spec import ClassSplit, Strategy, SubsetSpec

Indices: TypeAlias = NDArray[np.int64]
_LONG_TAIL_KEY = 0x7461696C
"""Sets the order of the classes apart from that of the images. No key ends in 0, which NumPy ignores."""


def draw(labels: Indices, train_size: int, subset: SubsetSpec) -> Indices:
    """Indices of the `train_size` images that a draw selects, in draw order.

    Args:
        labels: Class of every training image, shape (N,), values 0 .. K - 1.
        train_size: Number of images to draw, 1 .. N.
        subset: Strategy, nesting and subset seed.

    Returns:
        Distinct indices into `labels`, shape (train_size,). With `subset.nested`, the draw of a
        smaller size is a prefix of that of a larger one.

    Raises:
        DataError: More images are asked for than there are, in all or of one class.

    >>> labels = np.repeat([0, 1, 2], [60, 30, 10])
    >>> chosen = draw(labels, 10, SubsetSpec("stratified", nested=True, seed=7))
    >>> np.bincount(labels[chosen]).tolist()
    [6, 3, 1]
    >>> draw(labels, 4, SubsetSpec("first")).tolist()
    [0, 1, 2, 3]
    """
    if not 1 <= train_size <= len(labels):
        raise DataError(f"train size {train_size} is not between 1 and {len(labels)}, the images there are")
    labels = np.asarray(labels, dtype=np.int64)
    if subset.imbalance != 1:
        return _draw_long_tail(labels, train_size, subset)
    return _STRATEGIES[subset.strategy](labels, train_size, subset)


def chosen_classes(classes: int, split: ClassSplit) -> tuple[int, ...]:
    """The labels that a run sees, ascending; their positions are its own labels.

    Of an odd number of classes the source has one more.

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


def largest_imbalanced(images_per_class: Sequence[int], subset: SubsetSpec) -> int:
    """Most images that a draw can have at its imbalance, before the first class runs out.

    `images_per_class` are by label, each at least 1; the subset seed says how common each class shall be.

    >>> largest_imbalanced([100, 100], SubsetSpec(imbalance=4.0))
    125
    """
    available = np.asarray(images_per_class, dtype=np.int64)
    shares = _long_tail(len(available), subset)
    # The image that each class would need next; the earliest of them in Webster's order ends all draws.
    quotients = (available + 0.5) / shares
    ending = int(np.argmin(quotients))
    before = [
        np.searchsorted(
            (np.arange(1, images) + 0.5) / shares[label],
            quotients[ending],
            side="right" if label < ending else "left",
        )
        for label, images in enumerate(available.tolist())
    ]
    return int(len(available) + np.sum(before))


def permutation(length: int, *key: int) -> Indices:
    """A random order of 0 .. length - 1 that depends on the key alone."""
    raw = np.random.PCG64(np.random.SeedSequence(key)).random_raw(length)
    order: Indices = np.argsort(raw, kind="stable").astype(np.int64)
    return order


def uniform(length: int, *key: int) -> NDArray[np.float64]:
    """Numbers in [0, 1), shape (length,), that depend on the key alone."""
    raw = np.random.PCG64(np.random.SeedSequence(key)).random_raw(length)
    # The upper 53 bits: what a float64 holds exactly.
    return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _order_for(labels: Indices, train_size: int, subset: SubsetSpec) -> Indices:
    if subset.nested:
        return permutation(len(labels), subset.seed)
    return permutation(len(labels), subset.seed, train_size)


def _ranks_within_class(labels: Indices) -> Indices:
    by_class = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[by_class], labels[by_class])
    ranks = np.empty(len(labels), dtype=np.int64)
    ranks[by_class] = np.arange(len(labels)) - starts
    return ranks


def _draw_stratified(labels: Indices, train_size: int, subset: SubsetSpec) -> Indices:
    order = _order_for(labels, train_size, subset)
    if subset.nested:
        return order[_order_by_shares(labels[order], np.bincount(labels))[:train_size]]
    wanted = _largest_remainder(np.bincount(labels), train_size)
    return order[_ranks_within_class(labels[order]) < wanted[labels[order]]]


def _draw_balanced(labels: Indices, train_size: int, subset: SubsetSpec) -> Indices:
    images_per_class = np.bincount(labels)
    present = images_per_class > 0
    wanted, rest = divmod(train_size, int(present.sum()))
    if rest:
        raise DataError(f"train size {train_size} is not a multiple of the {present.sum()} classes")
    if wanted > images_per_class[present].min():
        raise DataError(
            f"{wanted} images per class asked, the smallest class has {images_per_class[present].min()}"
        )
    order = _order_for(labels, train_size, subset)
    ranks = _ranks_within_class(labels[order])
    by_rank = np.lexsort((labels[order], ranks))
    return order[by_rank[:train_size]]


def _draw_long_tail(labels: Indices, train_size: int, subset: SubsetSpec) -> Indices:
    """Classes fall off exponentially, whatever the strategy; it still says in which order images come."""
    available = np.bincount(labels)
    if not available.all():
        raise DataError(
            f"class {int(np.argmin(available))} has no images, every class of a long tail needs some"
        )
    largest = largest_imbalanced(available.tolist(), subset)
    if train_size > largest:
        raise DataError(
            f"train size {train_size} at imbalance {subset.imbalance:g} needs more images of a class than"
            f" there are; the largest possible is {largest}"
        )
    if subset.strategy == "first":
        order = np.arange(len(labels), dtype=np.int64)
    else:
        order = _order_for(labels, train_size, subset)
    shares = _long_tail(len(available), subset)
    return order[_order_by_shares(labels[order], shares)[:train_size]]


def _long_tail(classes: int, subset: SubsetSpec) -> NDArray[np.float64]:
    """Relative frequency of each class, 1 for the commonest, 1/imbalance for the rarest (Cui et al. 2019)."""
    steps = np.empty(classes)
    steps[permutation(classes, subset.seed, 0, _LONG_TAIL_KEY)] = np.arange(classes)
    shares: NDArray[np.float64] = subset.imbalance ** -(steps / max(1, classes - 1))
    return shares


def _order_by_shares(labels: Indices, shares: NDArray[np.int64] | NDArray[np.float64]) -> Indices:
    """Positions in the order whose every prefix keeps the given ratio of classes (Webster's method).

    First one image of each class, then ascending (j + 1/2) / share for the j-th image of a class, ties by
    class. Largest remainders cannot give nested prefixes (Alabama paradox).
    """
    ranks = _ranks_within_class(labels)
    quotients = (ranks + 0.5) / shares[labels]
    order: Indices = np.lexsort((labels, quotients, ranks > 0))
    return order


def _largest_remainder(images_per_class: Indices, train_size: int) -> Indices:
    """Images to draw of each class, summing to `train_size` exactly; ties go to the lower class."""
    quotas = images_per_class * train_size / images_per_class.sum()
    seats: Indices = np.floor(quotas).astype(np.int64)
    by_remainder = np.argsort(-(quotas - seats), kind="stable")
    seats[by_remainder[: train_size - seats.sum()]] += 1
    return seats


_STRATEGIES: Mapping[Strategy, Callable[[Indices, int, SubsetSpec], Indices]] = MappingProxyType(
    {
        "stratified": _draw_stratified,
        "balanced": _draw_balanced,
        "random": lambda labels, train_size, subset: _order_for(labels, train_size, subset)[:train_size],
        "first": lambda _labels, train_size, _subset: np.arange(train_size, dtype=np.int64),
    }
)

"""In what order the queue takes the runs of a sweep."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from tui_datasize.experiments.load import Order
    from tui_datasize.experiments.spec import RunSpec

OrderKey: TypeAlias = "Callable[[RunSpec], tuple[int, ...]]"
"""Of a run its place among others, to sort by."""

ORDER_WORDS: Mapping[Order, str] = MappingProxyType(
    {
        "curve-first": "every size once, then again",
        "by-size": "all of a size, then the next",
        "by-seed": "all of a seed, then the next",
    }
)
"""What each order means, in a few words."""


def order_key(specs: Sequence[RunSpec], order: Order) -> OrderKey:
    """The key that sorts runs of one sweep into an order.

    Sizes ascend; training seeds, and draws likewise, stay in the order in which they stand first in
    `specs`, which is that of the file both for a sweep as it is multiplied out and for one in any order.

    Args:
        specs: All runs of the sweep, or at least every seed and draw of those that are sorted.
        order: See `ORDER_WORDS`.
    """
    seeds = _places(spec.seed for spec in specs)
    draws = _places(spec.subset.seed for spec in specs)
    keys: Mapping[Order, OrderKey] = {
        # Every size once over the first seed: a usable curve stands early.
        "curve-first": lambda spec: (seeds[spec.seed], draws[spec.subset.seed], spec.train_size),
        "by-size": lambda spec: (spec.train_size, seeds[spec.seed], draws[spec.subset.seed]),
        "by-seed": lambda spec: (seeds[spec.seed], spec.train_size, draws[spec.subset.seed]),
    }
    return keys[order]


def _places(values: Iterable[int]) -> Mapping[int, int]:
    return {value: place for place, value in enumerate(dict.fromkeys(values))}

"""Distances, draws by them (k-means++) and clusters (k-means), in bounded blocks on the features' device.

Numbers that are drawn by are given, so that a choice is the same again on the same device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import one_hot

from tui_datasize.experiments.subsets import Indices

Numbers: TypeAlias = NDArray[np.float64]
"""In [0, 1), as many as there may be draws."""
BLOCK_VALUES = 1 << 24
"""Distances at once: 64 MB."""
_ROUNDS = 30


def squared_distances(points: Tensor, lengths: Tensor, place: int) -> Tensor:
    """From each of the points (N, d), with squared lengths (N,), to the one at a place; shape (N,)."""
    found = torch.addmv(lengths, points, points[place], alpha=-2).add_(lengths[place]).clamp_(min=0)
    # By the rounding of large numbers it might be as far from itself as others are.
    found[place] = 0
    return found


def drawn_by_distance(
    first: Tensor, distances: Callable[[int], Tensor], count: int, numbers: Numbers
) -> tuple[Indices, NDArray[np.float64]]:
    """Places drawn in proportion to the squared distance to those before (Arthur and Vassilvitskii 2007).

    The first is the largest of `first`, shape (N,); `distances` gives the squared ones from all to a place.

    Returns:
        The places, distinct, shape (count,), and at each the value it was drawn by.
    """
    value, place = first.max(dim=0)
    picked, scores = [int(place)], [float(value)]
    nearest = distances(picked[0])
    for number in numbers[: count - 1]:
        # On the host: sums up to each place are not repeatable on a GPU.
        weights = nearest.double().cpu().numpy()
        weights[picked] = 0
        if not weights.any():
            weights = np.ones(len(weights))
            weights[picked] = 0
        sums = np.cumsum(weights)
        chosen = int(np.searchsorted(sums, number * sums[-1], side="right"))
        picked.append(chosen)
        scores.append(float(nearest[chosen]))
        nearest = torch.minimum(nearest, distances(chosen))
    return np.array(picked), np.array(scores)


def k_means(points: Tensor, count: int, numbers: Numbers) -> Indices:
    """Which of `count` clusters each of the points (N, d) is in, shape (N,), after Lloyd's algorithm."""
    lengths = points.square().sum(dim=1)
    apart = (points - points.mean(dim=0)).square().sum(dim=1)
    seeds, _ = drawn_by_distance(
        apart, lambda place: squared_distances(points, lengths, place), count, numbers
    )
    centers = points[torch.from_numpy(seeds).to(points.device)]
    found = torch.full((len(points),), -1, device=points.device)
    for _ in range(_ROUNDS):
        before, (_, found) = found, nearest_of(points, centers)
        if torch.equal(before, found):
            break
        centers = _means(points, found, centers)
    clusters: Indices = found.cpu().numpy()
    return clusters


def _blocks(rows: Tensor, columns: int) -> tuple[Tensor, ...]:
    return torch.split(rows, max(1, BLOCK_VALUES // columns))


def nearest_of(points: Tensor, centers: Tensor) -> tuple[Tensor, Tensor]:
    """The squared distance of each of the points (N, d) to the nearest center, and which; shapes (N,)."""
    half = centers.square().sum(dim=1) / 2
    found = [
        torch.addmm(half, block, centers.T, alpha=-1).min(dim=1) for block in _blocks(points, len(centers))
    ]
    least, which = (torch.cat(parts) for parts in zip(*found, strict=True))
    return (points.square().sum(dim=1) + 2 * least).clamp_(min=0), which


def _means(points: Tensor, found: Tensor, before: Tensor) -> Tensor:
    """Of each cluster; one without points stays where it was. Products, since sums by index vary on a GPU."""
    count = len(before)
    sums = torch.zeros_like(before)
    for block, of_block in zip(_blocks(points, count), _blocks(found, count), strict=True):
        sums += one_hot(of_block, count).to(block.dtype).T @ block
    held = torch.bincount(found, minlength=count)[:, None]
    return torch.where(held > 0, sums / held.clamp(min=1), before)

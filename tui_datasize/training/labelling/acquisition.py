"""Which images a labelling strategy adds, in whole arrays on the device of what a model says of them.

No function sees a label. Of equal images the one that comes first is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import one_hot

from tui_datasize.experiments.spec import Strategy
from tui_datasize.experiments.subsets import Indices
from tui_datasize.training.labelling.clusters import (
    Numbers,
    drawn_by_distance,
    nearest_of,
    squared_distances,
)
from tui_datasize.training.labelling.typical import typical

Scores: TypeAlias = NDArray[np.float64]
Picks: TypeAlias = tuple[Indices, Scores]
"""Positions in the order in which they are picked, and why, each of shape (m,)."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a model says of all training images."""

    logits: Tensor
    """Shape (N, K)."""
    features: Tensor
    """What enters the last layer, shape (N, d)."""


def pick_images(strategy: Strategy, seen: Seen, labelled: Indices, count: int, numbers: Numbers) -> Picks:
    """The images to label next, `count` of those that are not `labelled`.

    `labelled` are positions, shape (n,); there are at least `count` others. `numbers` in [0, 1), shape (N,),
    are what a strategy draws by. Scores are the margin and the entropy in nats of a prediction, the distance
    to the nearest image labelled or picked before (k-center), its square among gradients (badge), and one
    over the mean distance to neighbours (typiclust).
    """
    is_free = np.ones(len(seen.features), dtype=np.bool_)
    is_free[labelled] = False
    free = np.flatnonzero(is_free)
    picked, scores = _STRATEGIES[strategy](seen, labelled, free, count, numbers)
    return picked.astype(np.int64), scores.astype(np.float64)


def margins_predicted(logits: Tensor) -> Tensor:
    """The most probable class's lead over the next, in [0, 1], shape (N,); 1 of a single class."""
    best = logits.double().softmax(dim=1).topk(min(2, logits.shape[1]), dim=1).values
    return best[:, 0] - best[:, 1:].sum(dim=1)


def entropies_predicted(logits: Tensor) -> Tensor:
    """Of the predicted classes, nats, shape (N,)."""
    logs = logits.double().log_softmax(dim=1)
    return -(logs.exp() * logs).sum(dim=1)


def _by_margin(seen: Seen, _labelled: Indices, free: Indices, count: int, _numbers: Numbers) -> Picks:
    return _first(margins_predicted(seen.logits), free, count, descending=False)


def _by_entropy(seen: Seen, _labelled: Indices, free: Indices, count: int, _numbers: Numbers) -> Picks:
    return _first(entropies_predicted(seen.logits), free, count, descending=True)


def _first(values: Tensor, free: Indices, count: int, *, descending: bool) -> Picks:
    own = values.cpu().numpy()[free]
    order = np.argsort(-own if descending else own, kind="stable")[:count]
    return free[order], own[order]


def _by_k_center(seen: Seen, labelled: Indices, free: Indices, count: int, numbers: Numbers) -> Picks:
    """The image farthest from all labelled ones, again and again (Sener and Savarese 2018, algorithm 1).

    Where none is labelled, the first is drawn.
    """
    features = seen.features
    lengths = features.square().sum(dim=1)
    picked, scores = [], []
    taken = torch.ones(len(features), dtype=torch.bool, device=features.device)
    taken[torch.from_numpy(free).to(taken.device)] = False
    if not len(labelled):
        first = int(numbers.argmax())
        picked, scores, labelled = [first], [np.nan], np.array([first])
        taken[first] = True
    nearest, _ = nearest_of(features, features[torch.from_numpy(labelled).to(features.device)])
    while len(picked) < count:
        place = int(nearest.masked_fill(taken, -1).argmax())
        picked.append(place)
        scores.append(float(nearest[place]) ** 0.5)
        taken[place] = True
        nearest = torch.minimum(nearest, squared_distances(features, lengths, place))
    return np.array(picked), np.array(scores)


def _by_badge(seen: Seen, _labelled: Indices, free: Indices, count: int, numbers: Numbers) -> Picks:
    """Centres of k-means++ among gradients of the last layer, the longest first (Ash et al. 2020).

    The gradient by the predicted class is the outer product of g = p - onehot and the features x, of which
    |x|^2 |g|^2 + |x'|^2 |g'|^2 - 2 (x x')(g g') is the squared distance: no product is made.
    """
    places = torch.from_numpy(free).to(seen.features.device)
    x, p = seen.features[places], seen.logits[places].float().softmax(dim=1)
    g = p - one_hot(p.argmax(dim=1), p.shape[1])
    lengths = x.square().sum(dim=1) * g.square().sum(dim=1)

    def distances(place: int) -> Tensor:
        return (lengths + lengths[place] - 2 * (x @ x[place]) * (g @ g[place])).clamp_(min=0)

    picked, scores = drawn_by_distance(lengths, distances, count, numbers)
    return free[picked], scores


def _by_typiclust(seen: Seen, labelled: Indices, _free: Indices, count: int, numbers: Numbers) -> Picks:
    return typical(seen.features, labelled, count, numbers)


_STRATEGIES: Mapping[Strategy, Callable[[Seen, Indices, Indices, int, Numbers], Picks]] = MappingProxyType(
    {
        "margin": _by_margin,
        "entropy": _by_entropy,
        "k-center": _by_k_center,
        "badge": _by_badge,
        "typiclust": _by_typiclust,
    }
)

"""The most typical image of each cluster without a label (Hacohen, Dekel and Weinshall 2022, TypiClust)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tui_datasize.experiments.subsets import Indices
from tui_datasize.training.labelling.clusters import BLOCK_VALUES, Numbers, k_means

NEIGHBOURS = 20
MOST_CLUSTERS = 500


def typical(
    features: Tensor, labelled: Indices, count: int, numbers: Numbers
) -> tuple[Indices, NDArray[np.float64]]:
    """`count` images, each the most typical of the cluster with the fewest labels, of these of the largest.

    There are as many clusters as labels afterwards, at most 500. Typicality is one over the mean distance to
    the 20 nearest unlabelled neighbours of its cluster, or to all where these are fewer. Unlike the paper's
    code it passes over no small cluster: where there are nearly as many as images, all are small.

    Args:
        features: Shape (N, d).
        labelled: Positions of images with labels, shape (n,).
        count: At most N - n.
        numbers: To begin the clusters with.
    """
    clusters = k_means(features, min(len(labelled) + count, MOST_CLUSTERS), numbers)
    labels = np.bincount(clusters[labelled], minlength=clusters.max() + 1)
    sizes = np.bincount(clusters)
    is_free = np.ones(len(clusters), dtype=np.bool_)
    is_free[labelled] = False
    free = [np.flatnonzero((clusters == cluster) & is_free) for cluster in range(len(sizes))]
    left = np.array([len(own) for own in free])
    picked, scores = [], []
    for _ in range(count):
        cluster = int(np.lexsort((-sizes, labels, left == 0))[0])
        own = free[cluster]
        values = typicality(features[torch.from_numpy(own).to(features.device)])
        place = int(values.argmax())
        picked.append(int(own[place]))
        scores.append(float(values[place]))
        free[cluster] = np.delete(own, place)
        labels[cluster] += 1
        left[cluster] -= 1
    return np.array(picked), np.array(scores)


def typicality(points: Tensor) -> NDArray[np.float64]:
    """One over the mean distance to the nearest others, shape (n,); of a single point 1."""
    if len(points) == 1:
        return np.ones(1)
    nearest = min(NEIGHBOURS, len(points) - 1)
    rows = max(1, BLOCK_VALUES // len(points))
    means = []
    for start in range(0, len(points), rows):
        apart = torch.cdist(points[start : start + rows], points)
        # Which is the least of each row.
        apart.diagonal(start).zero_()
        means.append(apart.topk(nearest + 1, largest=False).values.sum(dim=1) / nearest)
    found: NDArray[np.float64] = 1 / (torch.cat(means).double().cpu().numpy() + 1e-7)
    return found

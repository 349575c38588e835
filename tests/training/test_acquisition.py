"""What each labelling strategy picks: against closed forms, and against scikit-activeml."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.labelling import REFERENCE, accuracies
from tests.lazily import Lazily
from tui_datasize.experiments.spec import CHOSEN
from tui_datasize.training.labelling import clusters
from tui_datasize.training.labelling import typical as typical_module
from tui_datasize.training.labelling.acquisition import (
    Seen,
    entropies_predicted,
    margins_predicted,
    pick_images,
)
from tui_datasize.training.labelling.clusters import k_means
from tui_datasize.training.labelling.typical import typicality

pool = Lazily("skactiveml.pool")
base = Lazily("skactiveml.base")

IMAGES, CLASSES, WIDTH = 600, 7, 12


def blobs(seed: int = 0) -> np.ndarray:
    """Twelve clusters of 45 to 55 points, far from each other."""
    numbers = np.random.default_rng(seed)
    which = np.repeat(np.arange(12), np.arange(45, 57))[:IMAGES]
    return numbers.normal(size=(len(which), WIDTH)) + 40 * np.eye(12, WIDTH)[which]


def seen_of(features: np.ndarray, seed: int = 1) -> Seen:
    logits = np.random.default_rng(seed).normal(scale=2, size=(len(features), CLASSES))
    return Seen(torch.from_numpy(logits), torch.from_numpy(features))


def numbers(seed: int = 5) -> np.ndarray:
    return np.random.RandomState(seed).random_sample(IMAGES)


def test_margin_and_entropy_are_those_of_the_predicted_probabilities():
    logits = torch.log(torch.tensor([[0.5, 0.25, 0.25], [0.9, 0.1, 0.0], [1 / 3, 1 / 3, 1 / 3]]))
    assert margins_predicted(logits).tolist() == pytest.approx([0.25, 0.8, 0.0], abs=1e-6)
    # 0 log 0 is 0, which a logit of minus infinity does not give.
    own = entropies_predicted(logits[[0, 2]])
    assert own.tolist() == pytest.approx([1.5 * np.log(2), np.log(3)], abs=1e-6)
    assert margins_predicted(torch.zeros(2, 1)).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("strategy", CHOSEN)
def test_each_pick_is_new_whatever_is_labelled_and_follows_from_the_numbers_alone(strategy):
    seen, labelled = seen_of(blobs()), np.arange(0, IMAGES, 7)
    picked, scores = pick_images(strategy, seen, labelled, 90, numbers())
    assert len(set(picked.tolist()) - set(labelled.tolist())) == 90
    assert (picked.dtype, scores.shape) == (np.int64, (90,))
    again, _ = pick_images(strategy, seen, labelled, 90, numbers())
    assert np.array_equal(again, picked)
    every, _ = pick_images(strategy, seen, labelled, IMAGES - len(labelled), numbers())
    assert sorted([*every, *labelled]) == list(range(len(seen.features)))[: len(every) + len(labelled)]


@pytest.mark.parametrize("strategy", ["k-center", "typiclust"])
def test_blocks_of_distances_give_what_one_matrix_does(strategy, monkeypatch):
    seen, labelled = seen_of(blobs()), np.arange(9)
    whole, scores = pick_images(strategy, seen, labelled, 20, numbers())
    for module in (clusters, typical_module):
        monkeypatch.setattr(module, "BLOCK_VALUES", 97)
    parts, others = pick_images(strategy, seen, labelled, 20, numbers())
    assert np.array_equal(parts, whole)
    assert others == pytest.approx(scores)


def test_images_that_all_are_alike_are_taken_as_they_stand():
    alike = Seen(torch.zeros(9, 3), torch.zeros(9, 2))
    for strategy in ("margin", "entropy", "k-center"):
        assert pick_images(strategy, alike, np.array([1, 3]), 3, numbers())[0].tolist() == [0, 2, 4]
    for strategy in ("badge", "typiclust"):
        picked, _ = pick_images(strategy, alike, np.array([1, 3]), 7, numbers())
        assert sorted(picked) == [0, 2, 4, 5, 6, 7, 8]


def test_clusters_that_lie_apart_are_found_and_a_typical_point_has_near_neighbours():
    points = torch.from_numpy(blobs())
    found = k_means(points, 12, numbers())
    truth = points.argmax(dim=1).numpy()
    assert len({(a, b) for a, b in zip(found, truth, strict=True)}) == 12
    own = points[truth == 3]
    apart = np.sort(np.linalg.norm(own[:, None] - own[None], axis=2), axis=1)[:, 1:21]
    assert typicality(own) == pytest.approx(1 / apart.mean(axis=1), rel=1e-5)
    assert typicality(own[:1]) == 1


def test_typical_digits_are_worth_what_other_code_finds():
    found, reference = accuracies("typiclust", 6, 3), REFERENCE["typiclust"][:3]
    errors = found.std(axis=0, ddof=1) * (1 / 6 + 1 / 20) ** 0.5
    assert np.all(np.abs(found.mean(axis=0) - reference) < 3 * errors)
    # Which images of a draw would not give.
    assert np.all(found.mean(axis=0) - REFERENCE["random"][:3] > 3 * errors)


class Told:
    """A classifier that says what it is told to."""

    def __new__(cls, probabilities: Tensor) -> object:
        class Classifier(base.SkactivemlClassifier):
            def fit(self, *_: object) -> object:
                return self

            def predict_proba(self, X: np.ndarray) -> np.ndarray:  # noqa: N803 - its own name
                return probabilities.numpy()[-len(X) :]

        return Classifier()


def test_scikit_activeml_picks_the_same():
    features, taken = blobs(), np.arange(4)
    seen = seen_of(features)
    labels = np.full(len(features), np.nan)
    labels[taken] = [0, 1, 2, 3]
    probabilities = seen.logits.softmax(dim=1)
    told = Told(probabilities)
    for strategy, method in (("margin", "margin_sampling"), ("entropy", "entropy")):
        query = pool.UncertaintySampling(method=method).query(
            features, labels, told, fit_clf=False, batch_size=9
        )
        assert pick_images(strategy, seen, taken, 9, numbers())[0].tolist() == query.tolist()
    query, worth = pool.CoreSet().query(features, labels, batch_size=30, return_utilities=True)
    picked, scores = pick_images("k-center", seen, taken, 30, numbers())
    assert picked.tolist() == query.tolist()
    assert scores == pytest.approx(np.nanmax(worth, axis=1))
    _compare_badge(seen, taken, probabilities.numpy())
    typical = pool.TypiClust(k=20, cluster_algo=Clustered, random_state=0)
    # Twelve clusters, of which four have labels.
    labels[:] = np.nan
    labels[[0, 50, 100, 150]] = 0
    query, worth = typical.query(features, labels, batch_size=8, return_utilities=True)
    picked, scores = pick_images("typiclust", seen, np.array([0, 50, 100, 150]), 8, numbers())
    assert picked.tolist() == query.tolist()
    assert scores == pytest.approx([row[place] for row, place in zip(worth, query, strict=True)])


def _compare_badge(seen: Seen, taken: np.ndarray, probabilities: np.ndarray) -> None:
    """Step by step, with its distances: its query counts the origin as picked, which the paper does not."""
    distances = import_module("skactiveml.pool._badge")._d_2
    picked, scores = pick_images("badge", seen, taken, 30, numbers())
    free = np.delete(np.arange(len(probabilities)), taken)
    residuals = probabilities[free] - np.eye(CLASSES)[probabilities[free].argmax(axis=1)]
    gradients = (residuals[:, :, None] * seen.features.numpy()[free][:, None, :]).reshape(len(free), -1)
    first = distances(gradients, [])
    assert (picked[0], scores[0]) == (free[first.argmax()], pytest.approx(first.max(), rel=1e-5))
    apart = np.full(len(free), np.inf)
    for before, pick, score, number in zip(picked, picked[1:], scores[1:], numbers(), strict=False):
        apart = distances(gradients, [[*free].index(before)], apart)
        assert score == pytest.approx(apart[[*free].index(pick)], rel=1e-4)
        assert free[np.searchsorted(np.cumsum(apart), number * apart.sum())] == pick


class Clustered:
    def __init__(self, n_clusters: int = 8, random_state: object = None) -> None:
        self.count = n_clusters

    def fit_predict(self, points: np.ndarray) -> np.ndarray:
        return k_means(torch.from_numpy(points), self.count, numbers())

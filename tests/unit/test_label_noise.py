"""Wrong labels: exactly so many, the same ones for every subset of a draw, and never the right class."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_datasize.errors import DataError
from tui_datasize.experiments.label_noise import noisy_labels
from tui_datasize.experiments.spec import LabelNoise, SubsetSpec
from tui_datasize.experiments.subsets import draw

NAMES = ["cat", "dog", "owl"]


@given(st.integers(2, 9), st.integers(1, 200), st.floats(0, 1), st.integers(0, 2**31))
def test_exactly_the_asked_share_is_wrong(classes, images, fraction, seed):
    labels = np.arange(images) % classes
    given_labels = noisy_labels(labels, [str(c) for c in range(classes)], LabelNoise(fraction), seed)
    assert (given_labels != labels).sum() == round(fraction * images)
    assert given_labels.min() >= 0
    assert given_labels.max() < classes


def test_a_larger_share_keeps_the_wrong_labels_of_a_smaller_one_and_seeds_differ():
    labels = np.arange(3000) % 3
    little, much, other = (
        noisy_labels(labels, NAMES, LabelNoise(fraction), seed)
        for fraction, seed in ((0.1, 4), (0.4, 4), (0.1, 5))
    )
    wrong = little != labels
    assert np.array_equal(much[wrong], little[wrong])
    assert (wrong & (other != labels)).sum() == pytest.approx(30, abs=20)


def test_every_subset_carries_its_share_of_wrong_labels():
    # Were the order of the draw also that of the noise, the first images would all be wrong.
    labels = np.arange(10_000) % 10
    given_labels = noisy_labels(labels, [str(c) for c in range(10)], LabelNoise(0.2), seed=3)
    for size in (100, 1000):
        chosen = draw(labels, size, SubsetSpec("stratified", seed=3))
        share = (given_labels[chosen] != labels[chosen]).mean()
        assert share == pytest.approx(0.2, abs=4 * np.sqrt(0.16 / size))


def test_symmetric_noise_is_even_over_the_other_classes():
    given_labels = noisy_labels(np.zeros(30_000, dtype=np.int64), NAMES, LabelNoise(1.0), seed=0)
    assert np.bincount(given_labels) == pytest.approx([0, 15_000, 15_000], abs=400)


def test_a_confusion_says_what_becomes_what_and_how_often():
    labels = np.repeat([0, 1, 2], 10_000)
    noise = LabelNoise(0.4, (("cat", "dog", 3.0), ("cat", "owl", 1.0), ("dog", "cat", 2.0)))
    given_labels = noisy_labels(labels, NAMES, noise, seed=1)
    became = np.zeros((3, 3), dtype=int)
    np.add.at(became, (labels, given_labels), 1)
    assert became[2].tolist() == [0, 0, 10_000]
    assert became[0, 1] / became[0, 2] == pytest.approx(3, rel=0.1)
    assert became[1, 2] == 0
    assert became.sum() - np.trace(became) == 12_000


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        (LabelNoise(0.1, (("cow", "cat", 1.0),)), r"names class 'cow'; known are cat, dog, owl"),
        (LabelNoise(0.1, (("cat", "cat", 1.0),)), r"turns 'cat' into itself"),
        (LabelNoise(0.5, (("cat", "dog", 1.0),)), r"asks for 15 wrong labels, but only 10 images"),
    ],
)
def test_noise_that_cannot_be_is_one_line(noise, message):
    with pytest.raises(DataError, match=message):
        noisy_labels(np.repeat([0, 1, 2], 10), NAMES, noise, seed=0)


def test_one_class_cannot_be_mistaken():
    with pytest.raises(DataError, match="only 0 images"):
        noisy_labels(np.zeros(5, dtype=np.int64), ["all"], LabelNoise(0.5), seed=0)

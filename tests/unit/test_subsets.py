"""Subset draws: exact sizes, ratios, nesting, and the same draw everywhere."""

import hashlib
import subprocess
import sys
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_datasize.errors import DataError
from tui_datasize.experiments.spec import Drawn, SubsetSpec
from tui_datasize.experiments.subsets import draw, largest_imbalanced

images_per_class = st.lists(st.integers(1, 60), min_size=1, max_size=8)
seeds = st.integers(0, 2**31)

# sha256 of draws of 120 of 500 images, per strategy, nested and not. A change renames every subset.
GOLDEN = ["11ea77a7", "b71e49ea", "11ea77a7", "7de4121b", "8b20804d", "6501e656", "fc256ff9", "fc256ff9"]


def labels_of(counts: list[int]) -> np.ndarray:
    labels = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(0).permutation(labels)


@given(images_per_class, seeds, st.sampled_from(["stratified", "random", "first"]), st.booleans(), st.data())
def test_draws_exactly_n_distinct_images(counts, seed, strategy, nested, data):
    labels = labels_of(counts)
    size = data.draw(st.integers(1, len(labels)))
    chosen = draw(labels, size, SubsetSpec(strategy, nested, seed))
    assert len(chosen) == size
    assert len(set(chosen.tolist())) == size
    assert chosen.min() >= 0
    assert chosen.max() < len(labels)


@given(images_per_class, seeds, st.sampled_from(["stratified", "random"]))
def test_nested_draws_are_prefixes_of_one_order(counts, seed, strategy):
    labels = labels_of(counts)
    whole = draw(labels, len(labels), SubsetSpec(strategy, True, seed))
    for size in range(1, len(labels) + 1):
        assert np.array_equal(draw(labels, size, SubsetSpec(strategy, True, seed)), whole[:size])


@given(images_per_class, seeds, st.data())
def test_stratified_keeps_class_ratios(counts, seed, data):
    labels = labels_of(counts)
    size = data.draw(st.integers(1, len(labels)))
    chosen = draw(labels, size, SubsetSpec("stratified", False, seed))
    drawn = np.bincount(labels[chosen], minlength=len(counts))
    assert np.all(np.abs(drawn - np.array(counts) * size / len(labels)) <= 1 + 1e-9)


@given(images_per_class, seeds, st.data())
def test_nested_and_stratified_keeps_class_ratios_as_webster_does(counts, seed, data):
    labels = labels_of(counts)
    size = data.draw(st.integers(len(counts), len(labels)))
    chosen = draw(labels, size, SubsetSpec("stratified", True, seed))
    drawn = np.bincount(labels[chosen], minlength=len(counts))
    assert drawn.min() >= 1
    # No divisor method keeps every class within one image of its share, but no image of this one would be
    # better in another class: the last one taken comes before the next one of every class.
    last = ((drawn - 0.5) / counts)[drawn > 1]
    following = ((drawn + 0.5) / counts)[drawn < counts]
    assert not last.size or not following.size or last.max() <= following.min() + 1e-12


def test_nested_stratified_stays_within_one_image_at_every_size_of_a_real_split():
    counts = [142, 146, 142, 146, 145, 145, 145, 143, 139, 144]
    labels = labels_of(counts)
    whole = draw(labels, len(labels), SubsetSpec("stratified", True, 3))
    drawn = np.cumsum(np.eye(10)[labels[whole]], axis=0)
    quotas = np.arange(1, len(labels) + 1)[:, None] * np.array(counts) / len(labels)
    assert np.abs(drawn - quotas).max() <= 1


@given(st.lists(st.integers(5, 30), min_size=2, max_size=6), seeds, st.booleans())
def test_balanced_draws_equally_of_every_class(counts, seed, nested):
    labels = labels_of(counts)
    for per_class in (1, min(counts)):
        chosen = draw(labels, per_class * len(counts), SubsetSpec("balanced", nested, seed))
        assert np.bincount(labels[chosen]).tolist() == [per_class] * len(counts)


def test_independent_draws_differ_between_sizes_and_seeds():
    labels = np.repeat(np.arange(10), 100)
    nested, small = (SubsetSpec("random", flag, 1) for flag in (True, False))
    assert not set(draw(labels, 50, small).tolist()) <= set(draw(labels, 500, small).tolist())
    assert set(draw(labels, 50, nested).tolist()) <= set(draw(labels, 500, nested).tolist())
    other = draw(labels, 50, SubsetSpec("random", True, 2))
    assert set(other.tolist()) != set(draw(labels, 50, nested).tolist())


def test_independent_draws_overlap_by_their_fraction():
    labels = np.repeat(np.arange(10), 500)
    draws = [set(draw(labels, 1000, SubsetSpec("stratified", True, seed)).tolist()) for seed in range(12)]
    shared = [len(a & b) / 1000 for i, a in enumerate(draws) for b in draws[:i]]
    assert np.mean(shared) == pytest.approx(0.2, abs=0.01)


def test_draws_are_the_same_in_another_process_and_on_every_platform():
    script = (
        "import numpy as np, hashlib;"
        "from typing import get_args;"
        "from tui_datasize.experiments.spec import Drawn, SubsetSpec;"
        "from tui_datasize.experiments.subsets import draw;"
        "labels = np.repeat(np.arange(10), 50);"
        "sha = lambda chosen: hashlib.sha256(chosen.astype('<i8').tobytes()).hexdigest()[:8];"
        "print([sha(draw(labels, 120, SubsetSpec(s, n, 5))) for s in get_args(Drawn) for n in (True, False)])"
    )
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    labels = np.repeat(np.arange(10), 50)
    here = [
        hashlib.sha256(draw(labels, 120, SubsetSpec(s, n, 5)).astype("<i8").tobytes()).hexdigest()[:8]
        for s in get_args(Drawn)
        for n in (True, False)
    ]
    assert other.strip() == str(here)
    assert here == GOLDEN


@pytest.mark.parametrize(
    ("size", "strategy", "message"),
    [
        (0, "random", "train size 0 is not between 1 and 30"),
        (31, "first", "train size 31 is not between 1 and 30"),
        (7, "balanced", "not a multiple of the 2 classes"),
        (22, "balanced", "11 images per class asked, the smallest class has 10"),
    ],
)
def test_impossible_draws_are_refused(size, strategy, message):
    labels = np.repeat([0, 1], [20, 10])
    with pytest.raises(DataError, match=message):
        draw(labels, size, SubsetSpec(strategy))


LONG_TAILS = st.floats(1.01, 200)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=8), seeds, LONG_TAILS)
def test_a_long_tail_is_exact_nested_and_ends_where_a_class_runs_out(counts, seed, imbalance):
    labels = labels_of(counts)
    subset = SubsetSpec("stratified", True, seed, imbalance)
    largest = largest_imbalanced(counts, subset)
    whole = draw(labels, largest, subset)
    assert len(set(whole.tolist())) == largest
    for size in {1, (largest + 1) // 2}:
        assert np.array_equal(draw(labels, size, subset), whole[:size])
    if largest < len(labels):
        with pytest.raises(DataError, match=f"largest possible is {largest}"):
            draw(labels, largest + 1, subset)


@given(st.integers(2, 10), seeds, LONG_TAILS, st.booleans(), st.data())
def test_a_long_tail_gives_no_class_an_image_that_another_is_owed_more(
    classes, seed, imbalance, nested, data
):
    counts = [100] * classes
    labels = labels_of(counts)
    subset = SubsetSpec("stratified", nested, seed, imbalance)
    size = data.draw(st.integers(classes, largest_imbalanced(counts, subset)))
    drawn = np.sort(np.bincount(labels[draw(labels, size, subset)], minlength=classes))[::-1]
    assert drawn.min() >= 1
    shares = imbalance ** -(np.arange(classes) / (classes - 1))
    last_taken = ((drawn - 0.5) / shares)[drawn > 1]
    next_owed = (drawn + 0.5) / shares
    assert last_taken.max(initial=0) <= next_owed.min() + 1e-9


def test_the_commonest_class_outnumbers_the_rarest_by_the_imbalance():
    labels = np.repeat(np.arange(10), 5000)
    rarest = []
    for seed in range(4):
        subset = SubsetSpec("stratified", True, seed, 100.0)
        assert largest_imbalanced([5000] * 10, subset) == pytest.approx(12_406, abs=10)
        drawn = np.bincount(labels[draw(labels, 12_400, subset)])
        assert drawn.max() / drawn.min() == pytest.approx(100, rel=0.02)
        rarest.append(int(drawn.argmin()))
    assert len(set(rarest)) > 1


def test_a_long_tail_of_the_first_rows_takes_them_in_file_order():
    labels = np.tile(np.arange(4), 50)
    chosen = draw(labels, 40, SubsetSpec("first", imbalance=10.0))
    for label in range(4):
        taken = np.sort(chosen[labels[chosen] == label])
        assert taken.tolist() == [label + 4 * i for i in range(len(taken))]

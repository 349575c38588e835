"""Images that a variant saves: what it needs for what another reaches with more."""

from __future__ import annotations

import math
import re

import numpy as np
import polars as pl
import pytest

from tests.unit.record_desk import record_of
from tests.unit.test_groups import runs_frame
from tui_datasize.answers import first_answer, variants
from tui_datasize.answers.answer import Asked
from tui_datasize.stats.effective import images_saved

SIZES = (100, 200, 400, 800, 1600)


def curve(factor, n_seeds=5, noise=0.004, seed=0, sizes=SIZES, sign=1.0):
    """Accuracy as with so many times the images; as an error with sign -1."""
    generator = np.random.default_rng(seed)
    return {
        n: {
            (0, s): np.array(
                [(1 if sign > 0 else 0) - sign * 3 * (n * factor) ** -0.5 + generator.normal(0, noise)]
            )
            for s in range(n_seeds)
        }
        for n in sizes
    }


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_curve_that_is_worth_more_data_says_how_many_times(sign):
    both = [curve(factor, noise=0, sign=sign) for factor in (2.5, 1)]
    found = images_saved(*both, higher_is_better=sign > 0).at_sizes
    assert [one.is_bound for one in found] == [True, True, False, False, False]
    assert [one.ratio for one in found[:2]] == [1.0, 2.0]
    assert [one.ratio for one in found[2:]] == pytest.approx([2.5] * 3, rel=0.02)
    assert [one.value for one in found] == pytest.approx(
        [(1 if sign > 0 else 0) - sign * 3 * n**-0.5 for n in SIZES]
    )


def test_the_interval_holds_what_it_says():
    held = []
    for seed in range(60):
        pair = curve(2.5, seed=seed), curve(1, seed=1000 + seed)
        found = images_saved(*pair, higher_is_better=True, target=0.9)
        told = [one.interval for one in (*found.at_sizes[2:], found.overall, found.at_target)]
        held.append([low <= 2.5 <= high for low, high in told])
    assert (np.mean(held, axis=0) > 0.88).all()
    low, high = np.array(told).T
    # What is averaged is known better than each part of it.
    assert high[3] / low[3] < (high[:3] / low[:3]).min()


def test_seeds_that_both_share_narrow_the_interval():
    generator = np.random.default_rng(1)
    of_seed = generator.normal(0, 0.01, 5)
    pair = [
        {
            n: {cell: own + of_seed[cell[1]] for cell, own in at.items()}
            for n, at in curve(f, noise=0.001).items()
        }
        for f in (2.5, 1)
    ]
    apart = {n: {(0, s + 10): own for (_, s), own in at.items()} for n, at in pair[1].items()}
    nameless = [
        {n: {(-1, -2 - s): own for (_, s), own in at.items()} for n, at in one.items()} for one in pair
    ]
    spreads = [
        images_saved(*both, higher_is_better=True).overall.spread
        for both in (pair, (pair[0], apart), nameless)
    ]
    assert spreads[0] < min(spreads[1:]) ** 0.7
    assert spreads[1] == pytest.approx(spreads[2], rel=0.1)


def test_two_seeds_have_no_interval():
    found = images_saved(curve(2.5, 2), curve(1, 2), higher_is_better=True)
    assert all(math.isnan(one.spread) for one in (*found.at_sizes, found.overall))
    assert found.overall.ratio == pytest.approx(2.5, rel=0.1)


def at(n, factor=1):
    return 1 - 3 * (n * factor) ** -0.5


@pytest.mark.parametrize(
    ("target", "images", "others", "ends"),
    [
        (at(800), 320, 800, (False, False)),
        (at(2400), 960, 1600, (False, True)),
        (at(200), 100, 200, (True, False)),
    ],
)
def test_a_target_has_the_images_of_both_or_a_bound_where_a_curve_ends(target, images, others, ends):
    pair = curve(2.5, noise=0), curve(1, noise=0)
    found = images_saved(*pair, higher_is_better=True, target=target).at_target
    assert (found.images, found.other_images) == pytest.approx((images, others), rel=0.03)
    assert (found.is_at_most, found.is_more_than) == ends
    assert math.isnan(found.spread) == any(ends)


@pytest.mark.parametrize("target", [at(50), at(5000)])
def test_a_target_that_tells_nothing_of_the_ratio_has_none(target):
    assert (
        images_saved(curve(2.5, noise=0), curve(1, noise=0), higher_is_better=True, target=target).at_target
        is None
    )


def test_curves_that_share_no_value_have_a_bound_one_way_and_nothing_the_other():
    far, near = curve(40, noise=0), curve(1, noise=0)
    found = images_saved(far, near, higher_is_better=True).overall
    assert found.ratio == pytest.approx(16)
    assert found.is_bound
    assert images_saved(near, far, higher_is_better=True).overall is None


def test_a_curve_that_falls_counts_from_where_it_was_highest():
    falling = {n: {(0, 0): np.array([value])} for n, value in ((10, 0.5), (20, 0.8), (40, 0.7))}
    found = images_saved(falling, falling, higher_is_better=True, target=0.8).at_target
    assert found.images == pytest.approx(20)


def two(shift):
    generator = np.random.default_rng(3)
    groups = [1 - 3 * n**-0.5 + generator.normal(0, 0.002, 4) for n in SIZES]
    others = [1 - 3 * (n * shift) ** -0.5 + generator.normal(0, 0.002, 4) for n in SIZES]
    return pl.concat([runs_frame(groups, SIZES, "a"), runs_frame(others, SIZES, "b")])


def test_the_images_saved_come_first():
    record = record_of(two(2.5))
    for answer in (variants.ask(record), first_answer.ask(record)):
        assert re.match(r"b needs 2\.5 times fewer images than a \(95 % 2\.\d to 2\.\d\)\.", answer.headline)
    (table,) = (table for table in variants.ask(record).tables if "saves" in table.title)
    assert table.frame["images"].to_list()[0] == "at most 100"
    assert table.frame["train_size"].to_list() == [*SIZES, None]
    target = variants.ask(record_of(two(2.5), asked=Asked(target=0.9)))
    said = (
        r"90 %: b about 3\d0 images, a about \d{3}: 2\.\d times fewer \(95 % .*\); over all values 2\.5 times"
    )
    assert re.match(said, target.headline)


def test_a_bound_is_said_only_where_the_difference_is_significant():
    assert variants.ask(record_of(two(40))).headline == "b needs at least 16.0 times fewer images than a."
    noisy = two(1).with_columns(pl.col("test_accuracy") + pl.int_range(pl.len()) % 3 * 0.2)
    answer = variants.ask(record_of(noisy))
    assert "cannot be told apart" in answer.headline
    assert not any("at least" in sentence.text for sentence in answer.sentences)


def test_what_may_be_chance_comes_after_the_comparison():
    answer = variants.ask(record_of(two(1.02)))
    assert "cannot be told apart" in answer.headline
    assert answer.sentences[0].text.endswith(", not significant.")


def test_what_a_variant_never_reached_saves_nothing():
    pair = curve(1, noise=0, sizes=SIZES[:3]), curve(1, noise=0)
    found = images_saved(*pair, higher_is_better=True).at_sizes
    assert [one.ratio for one in found] == pytest.approx([1, 1, 1, 0, 0], abs=1e-6)


def test_a_target_that_the_other_reaches_at_its_smallest_size_is_no_saving():
    runs = two(2.5)
    late = runs.filter((runs["variant"] == "b") | (runs["train_size"] >= 400))
    answer = variants.ask(record_of(late, asked=Asked(target=0.84)))
    assert "84 %" not in answer.headline
    assert "times fewer" in answer.headline


def test_images_saved_by_single_runs_are_called_untested():
    runs = two(2.5).filter(seed=0)
    assert variants.ask(record_of(runs)).headline.endswith(" times fewer images than a, untested.")


def test_as_many_images_are_not_called_fewer():
    headline = variants.ask(record_of(two(1.02).filter(seed=0))).headline
    assert re.fullmatch(r"[ab] needs about as many images as [ab], untested\.", headline)

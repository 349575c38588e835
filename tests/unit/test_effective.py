"""Images that a variant saves: what it needs for what another reaches with more."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from tests.unit.record_desk import record_of
from tests.unit.test_groups import runs_frame
from tui_datasize.answers import first_answer, variants
from tui_datasize.answers.answer import Asked
from tui_datasize.stats.effective import images_for, images_saved

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
    found = images_saved(
        curve(2.5, noise=0, sign=sign), curve(1, noise=0, sign=sign), higher_is_better=sign > 0
    )
    assert [one.is_bound for one in found] == [True, True, False, False, False]
    assert [one.ratio for one in found[:2]] == [1.0, 2.0]
    assert [one.ratio for one in found[2:]] == pytest.approx([2.5] * 3, rel=0.02)
    assert [one.value for one in found] == pytest.approx(
        [(1 if sign > 0 else 0) - sign * 3 * n**-0.5 for n in SIZES]
    )


def test_the_interval_holds_what_it_says():
    held = []
    for seed in range(60):
        found = images_saved(curve(2.5, seed=seed), curve(1, seed=1000 + seed), higher_is_better=True)
        held += [one.low <= 2.5 <= one.high for one in found[2:]]
    assert 0.88 < np.mean(held) <= 1


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
    paired, unpaired = (images_saved(pair[0], one, higher_is_better=True)[-1] for one in (pair[1], apart))
    assert paired.high / paired.low < unpaired.high / unpaired.low / 1.3


def test_two_seeds_have_no_interval():
    found = images_saved(curve(2.5, 2), curve(1, 2), higher_is_better=True)
    assert all(math.isnan(one.low) for one in found)


@pytest.mark.parametrize(
    ("value", "images", "is_bound"), [(0.5, 100, True), (0.99, 1600, True), (1 - 3 * 300**-0.5, 300, False)]
)
def test_images_for_a_value(value, images, is_bound):
    found = images_for(curve(1, noise=0), value, higher_is_better=True)
    assert found.images == pytest.approx(images, rel=0.02)
    assert found.is_bound == is_bound


def test_a_curve_that_falls_counts_from_where_it_was_highest():
    falling = {n: {(0, 0): np.array([value])} for n, value in ((10, 0.5), (20, 0.8), (40, 0.7))}
    assert images_for(falling, 0.8, higher_is_better=True).images == pytest.approx(20)


def two(shift):
    generator = np.random.default_rng(3)
    groups = [1 - 3 * n**-0.5 + generator.normal(0, 0.002, 4) for n in SIZES]
    others = [1 - 3 * (n * shift) ** -0.5 + generator.normal(0, 0.002, 4) for n in SIZES]
    return pl.concat([runs_frame(groups, SIZES, "a"), runs_frame(others, SIZES, "b")])


def test_the_images_saved_come_first():
    record = record_of(two(2.5))
    for answer in (variants.ask(record), first_answer.ask(record)):
        said = answer.sentences[0].text
        assert said.startswith(
            "92.55 %, what a has with 1,600 images, takes b about 630: 2.5 times fewer (95 % "
        )
    assert next(table for table in variants.ask(record).tables if "saves" in table.title).frame.height == 5


def test_a_bound_is_said_only_where_the_difference_is_significant():
    assert ": at least 16.0 times fewer." in variants.ask(record_of(two(40))).sentences[0].text
    assert "times fewer" not in " ".join(s.text for s in variants.ask(record_of(two(1))).sentences[:1])


def test_what_a_variant_never_reached_saves_nothing():
    found = images_saved(curve(1, noise=0, sizes=SIZES[:3]), curve(1, noise=0), higher_is_better=True)
    assert [one.ratio for one in found] == pytest.approx([1, 1, 1, 0, 0], abs=1e-6)


def test_a_target_that_the_other_reaches_at_its_smallest_size_is_no_saving():
    runs = two(2.5)
    late = runs.filter((runs["variant"] == "b") | (runs["train_size"] >= 400))
    said = [sentence.text for sentence in variants.ask(record_of(late, asked=Asked(target=0.84))).sentences]
    assert not any("times fewer" in text and text.startswith("84 %") for text in said)


def test_images_saved_by_single_runs_are_called_untested():
    runs = two(2.5).filter(seed=0)
    assert " times fewer (untested)." in variants.ask(record_of(runs)).sentences[0].text

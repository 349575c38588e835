"""Two variants over several sizes: what both share is paired, and what is independent is counted.

What belongs to the kind: one draw, two, three and more; draws that are nested, known or not; seeds that are
shared, differ, come back at every size or are new at each; runs that differ by a constant; a repeat alone.
"""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from scipy import stats

from benchmarks.nulls import null_curves, rejected, sizes_rejected
from tests.unit.record_desk import record_of
from tests.unit.test_groups import runs_frame
from tui_datasize.answers import record as record_module
from tui_datasize.answers import spread, variants
from tui_datasize.answers.tables import TABLES
from tui_datasize.stats.fits import FitFailure
from tui_datasize.stats.groups import compare_variants
from tui_datasize.stats.paired import compare, curve_of
from tui_datasize.stats.pairwise import units_needed

NAMES = ("a", "b")


def means(curve, by):
    """The mean over sizes of each draw (0), seed (1) or cell (None), in order."""
    found = {}
    for at in curve.values():
        for cell, own in at.items():
            found.setdefault(cell if by is None else cell[by], []).append(own.mean())
    return np.array([np.mean(found[key]) for key in sorted(found)])


def test_on_one_draw_seeds_are_paired():
    first, second = null_curves(np.random.default_rng(1), 1, 6)
    found = compare(first, second, NAMES)
    reference = stats.ttest_rel(means(second, 1), means(first, 1))
    assert (found.unit, found.n_units, found.is_paired) == ("seed", 6, True)
    assert [found.p, found.df] == pytest.approx([reference.pvalue, 5])
    ends = reference.confidence_interval()
    assert [found.low, found.high] == pytest.approx([ends.low, ends.high])


def test_over_three_draws_draws_are_paired():
    first, second = null_curves(np.random.default_rng(2), 3, 5, draw_sd=0.05)
    found = compare(first, second, NAMES)
    reference = stats.ttest_rel(means(second, 0), means(first, 0))
    assert (found.unit, found.n_units, found.df) == ("draw", 3, 2)
    assert found.p == pytest.approx(reference.pvalue)


def test_two_draws_have_an_interval_and_no_p():
    found = compare(*null_curves(np.random.default_rng(3), 2, 10), NAMES)
    assert math.isnan(found.p)
    assert math.isnan(found.p_adjusted)
    assert not found.is_distinguishable
    assert found.low < found.value < found.high


def test_seeds_that_come_back_on_every_draw_and_matter_are_counted_too():
    first, second = null_curves(np.random.default_rng(4), 4, 4, draw_sd=0.02, seed_sd=0.05)
    found = compare(first, second, NAMES)
    table = (means(second, None) - means(first, None)).reshape(4, 4)
    by_draw, by_seed = 4 * table.mean(1).var(ddof=1), 4 * table.mean(0).var(ddof=1)
    rest = ((table - table.mean(1, keepdims=True) - table.mean(0) + table.mean()) ** 2).sum() / 9
    both = by_draw + by_seed - rest
    by_inverse = by_draw / 3 + by_seed / 3 - rest / 9
    df = by_inverse**2 / ((by_draw**2 + by_seed**2) / 3**2 / 4 + rest**2 / 9**2 / 10) - 1
    assert found.df == pytest.approx(df)
    assert found.t == pytest.approx(table.mean() / math.sqrt(both / 16))


def test_variants_with_other_seeds_are_not_paired_by_seed():
    first, second = null_curves(np.random.default_rng(5), 1, 5, shares_seeds=False)
    found = compare(first, second, NAMES)
    reference = stats.ttest_ind(means(second, 1), means(first, 1), equal_var=False)
    assert (found.unit, found.n_units, found.is_paired) == ("seed", 10, False)
    assert found.p == pytest.approx(reference.pvalue)


def test_seeds_that_are_new_at_each_size_make_sizes_independent():
    generator = np.random.default_rng(6)
    sizes = {n: generator.normal(0, 1, (2, 5)) for n in (10, 20)}
    first, second = (
        {n: {(0, 100 * n + s): table[side, s : s + 1] for s in range(5)} for n, table in sizes.items()}
        for side in (0, 1)
    )
    found = compare(first, second, NAMES)
    of_sizes = [stats.ttest_rel(table[1], table[0]) for table in sizes.values()]
    stderrs = [(table[1] - table[0]).std(ddof=1) / math.sqrt(5) for table in sizes.values()]
    assert found.value == pytest.approx(np.mean([(table[1] - table[0]).mean() for table in sizes.values()]))
    assert found.t == pytest.approx(found.value / (np.hypot(*stderrs) / 2))
    assert len(of_sizes) == 2


def test_draws_and_seeds_that_nobody_knows_leave_runs_independent():
    frames = [
        runs_frame([np.array(values)], (40,), name).with_columns(
            pl.lit(None, pl.Int64).alias("subset_seed"), pl.lit(None, pl.Int64).alias("seed")
        )
        for name, values in (("a", [0.5, 0.52, 0.51]), ("b", [0.6, 0.59, 0.63]))
    ]
    (at_size, _) = compare_variants(pl.concat(frames), "test_accuracy")
    reference = stats.ttest_ind([0.6, 0.59, 0.63], [0.5, 0.52, 0.51], equal_var=False)
    assert at_size.pairs[0].p == pytest.approx(reference.pvalue)
    assert at_size.pairs[0].unit == "run"


def test_runs_that_differ_by_a_constant_are_compared_by_their_scatter():
    values = np.array([0.5, 0.52, 0.51])
    (at_size, _) = compare_variants(
        pl.concat([runs_frame([values], (40,), "a"), runs_frame([values + 0.1], (40,), "b")]), "test_accuracy"
    )
    assert at_size.pairs[0].p == pytest.approx(stats.ttest_ind(values, values + 0.1, equal_var=False).pvalue)


def test_variants_with_equal_runs_are_the_same():
    values = [np.array([0.5, 0.52, 0.51]), np.array([0.6, 0.61, 0.6])]
    runs = pl.concat([runs_frame(values, (40, 80), name) for name in NAMES])
    *_, over_all = compare_variants(runs, "test_accuracy")
    assert over_all.pairs[0].is_same
    assert variants.ask(record_of(runs)).headline == (
        "a and b are the same: equal values in every run that both have, over 2 train sizes."
    )
    fewer = runs.filter((pl.col("variant") == "a") | (pl.col("seed") > 0))
    assert variants.ask(record_of(fewer)).headline.startswith("a and b are the same: ")
    other = runs.with_columns(
        test_accuracy=pl.col("test_accuracy") + 1e-6 * (pl.col("variant") == "b") * pl.col("seed")
    )
    assert variants.ask(record_of(other)).headline.startswith(
        "b and a cannot be told apart over 2 train sizes: less than 0.01 points for b (95 %"
    )
    alone = runs.filter(train_size=40, seed=0)
    assert (
        variants.ask(record_of(alone)).headline
        == "a and b are the same: equal values in every run that both have, over 1 train size."
    )


def test_what_an_unpaired_comparison_sees_is_said():
    first, second = (
        runs_frame([np.array(values)], (40,), name)
        for name, values in (("a", [0.5, 0.52, 0.51]), ("b", [0.6, 0.59, 0.63]))
    )
    second = second.with_columns(seed=pl.col("seed") + 10)
    (found, _) = compare_variants(pl.concat([first, second]), "test_accuracy")
    seen = f"80 % power for a difference of {100 * found.pairs[0].detectable:.2f} points or more."
    assert seen in [one.text for one in variants.ask(record_of(pl.concat([first, second]))).sentences]


def test_variants_on_other_draws_are_compared_by_draws_alone():
    first, second = null_curves(np.random.default_rng(4), 4, 3, draw_sd=0.02)
    moved = {n: {(draw + 10, seed): own for (draw, seed), own in at.items()} for n, at in second.items()}
    found = compare(first, moved, NAMES)
    reference = stats.ttest_ind(means(second, 0), means(first, 0), equal_var=False)
    assert (found.unit, found.n_units, found.is_paired) == ("draw", 8, False)
    assert found.t == pytest.approx(reference.statistic)
    parts = np.array([means(each, 0).var(ddof=1) for each in (first, moved)])
    assert found.df == pytest.approx(parts.sum() ** 2 / (parts**2).sum() * 4 - 1)
    one = [
        {n: {cell: own for cell, own in at.items() if cell[0] % 10 == 0} for n, at in c.items()}
        for c in (first, moved)
    ]
    assert compare(*one, NAMES) == FitFailure("needs two draws of each, as theirs differ")


def test_one_draw_is_said_only_where_draws_are_known():
    generator = np.random.default_rng(8)
    frames = [runs_frame([0.5 + generator.normal(0, 0.01, 4)], (40,), name) for name in NAMES]
    runs = pl.concat(frames)
    unknown = runs.with_columns(subset_seed=pl.lit(None, pl.Int64))
    assert "paired, 4 seeds, for this draw)." in variants.ask(record_of(runs)).headline
    assert variants.ask(record_of(unknown)).headline.endswith("paired, 4 seeds).")


@pytest.mark.parametrize(
    ("first", "second"), [({10: {(0, 0): np.ones(1)}}, {20: {(0, 0): np.ones(1)}}), ({}, {})]
)
def test_without_a_shared_size_there_is_no_comparison(first, second):
    assert isinstance(compare(first, second, NAMES), FitFailure)


def test_one_run_each_is_no_comparison():
    frame = runs_frame([[0.5]], (40,))
    assert isinstance(
        compare(curve_of(frame.rename({"test_accuracy": "value"})), {40: {(0, 0): np.ones(1)}}, NAMES),
        FitFailure,
    )


@pytest.mark.parametrize(
    "how",
    [
        {"n_draws": 1, "n_seeds": 3, "seed_sd": 0.01},
        {"n_draws": 3, "n_seeds": 3, "draw_sd": 0.01, "seed_sd": 0.01},
        {"n_draws": 3, "n_seeds": 10, "draw_sd": 0.01, "seed_sd": 0.005, "shares_seeds": False},
    ],
)
def test_no_difference_is_seldom_found(how):
    # Counting runs would find 12 to 40 % of them.
    assert 0.03 < rejected(4000, **how) < 0.07


def test_all_sizes_are_corrected_together():
    generator = np.random.default_rng(7)
    groups = [generator.normal(0.5, 0.02, 4) for _ in range(3)]
    others = [group + generator.normal(0.01, 0.01, 4) for group in groups]
    sizes = (40, 80, 160)
    runs = pl.concat([runs_frame(groups, sizes, "a"), runs_frame(others, sizes, "b")])
    *at_sizes, _ = compare_variants(runs, "test_accuracy")
    p = np.array([at.pairs[0].p for at in at_sizes])
    assert min(at.pairs[0].p_adjusted for at in at_sizes) == pytest.approx(3 * p.min())


@pytest.mark.parametrize(
    ("draws", "sentence"),
    [
        ((0,), "paired, 4 seeds, for this draw)."),
        ((0, 1), "2 draws are too few to test)."),
        ((0, 1, 2), "paired, 3 draws)."),
    ],
)
def test_the_sentence_says_what_was_counted(draws, sentence):
    generator = np.random.default_rng(8)
    frames = [
        runs_frame([0.5 + generator.normal(0, 0.01, 4) for _ in range(2)], (40, 80), name).with_columns(
            pl.lit(draw).alias("subset_seed"), run_id=pl.concat_str(pl.col("run_id"), pl.lit(f"d{draw}"))
        )
        for name in NAMES
        for draw in draws
    ]
    assert variants.ask(record_of(pl.concat(frames))).headline.endswith(sentence)


@pytest.mark.parametrize("delta", [0.002, 0.005, 0.02])
def test_seeds_needed_are_those_of_a_power_of_four_fifths(delta):
    found = compare(*null_curves(np.random.default_rng(9), 1, 6), NAMES)
    needed = units_needed(found, delta)
    assert needed
    sd = (found.high - found.low) / 2 / stats.t.ppf(0.975, 5) * math.sqrt(6)

    def power(n):
        """Of the exact test, by the non-central t."""
        bound = stats.t.ppf(0.975, n - 1)
        off = delta * math.sqrt(n) / sd
        return stats.nct.sf(bound, n - 1, off) + stats.nct.cdf(-bound, n - 1, off)

    assert power(needed) > 0.76
    assert needed == 2 or power(needed - 1) < 0.82


def test_what_is_not_paired_has_no_number_of_seeds():
    found = compare(*null_curves(np.random.default_rng(5), 1, 5, shares_seeds=False), NAMES)
    assert units_needed(found, 0.005) is None


@pytest.mark.parametrize(
    ("n_draws", "n_seeds", "how"),
    [(1, 10, {"draws": "same", "seeds": "same"}), (3, 3, {"draws": "own", "seeds": "nothing"})],
)
def test_sizes_that_do_not_differ_are_seldom_told_apart(n_draws, n_seeds, how):
    found = sizes_rejected(2000, n_draws, n_seeds, **how)
    assert all(0.03 < found[name] < 0.07 for name in ("trend", "pair", "spread"))
    assert 0.02 < found["any pair"] < 0.07


def test_two_draws_test_no_sizes():
    found = sizes_rejected(2, 2, 3)
    assert np.isnan([found["trend"], found["pair"]]).all()


def test_two_draws_that_agree_are_told_without_a_test_and_not_as_equal():
    first, second = (
        runs_frame([0.5 + by + np.array([0.0, 0.001, 0.002, 0.003]) for _ in range(2)], (40, 80), name)
        for name, by in zip(NAMES, (0, 0.1), strict=True)
    )
    runs = pl.concat([first, second]).with_columns(subset_seed=pl.col("seed") % 2)
    told = "\n".join(one.text for one in variants.ask(record_of(runs)).sentences)
    assert (
        "b is 10.00 points ahead of a over 2 train sizes, untested (95 % "
        in told + variants.ask(record_of(runs)).headline
    )


def test_what_is_compared_is_computed_once(monkeypatch):
    generator = np.random.default_rng(8)
    frames = [
        runs_frame([0.5 + generator.normal(0, 0.01, 4) for _ in range(2)], (40, 80), name) for name in NAMES
    ]
    record = record_of(pl.concat(frames))
    made = []
    for name in ("compare_sizes", "compare_variants", "images_saved"):
        real = getattr(record_module, name)
        monkeypatch.setattr(
            record_module,
            name,
            lambda *of, real=real, name=name, **how: made.append(name) or real(*of, **how),
        )
    for _ in range(2):
        variants.ask(record)
        spread.ask(record.of_variant("a"))
        TABLES["groups"](record)
    assert sorted(made) == ["compare_sizes", "compare_variants", "images_saved"]

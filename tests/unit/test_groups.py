from __future__ import annotations

import itertools
import warnings

import numpy as np
import polars as pl
import pytest
from scipy import stats
from scipy.special import polygamma, psi

from tests.lazily import Lazily
from tests.unit.record_desk import record_of, said
from tui_datasize.answers import spread, variants
from tui_datasize.answers.grids import mean_table
from tui_datasize.metric import METRICS_OFFERED
from tui_datasize.render.cells import written
from tui_datasize.stats.clusters import SizeRuns
from tui_datasize.stats.fits import FitFailure
from tui_datasize.stats.group_tests import seed_effect
from tui_datasize.stats.groups import compare_sizes, compare_variants, seed_table
from tui_datasize.stats.pairwise import Difference, holm, mean_difference, welch_t
from tui_datasize.stats.spread import SpreadLaw, best_values, box_table, spread_law

pd = Lazily("pandas")
sm = Lazily("statsmodels.api")
formulas = Lazily("statsmodels.formula.api")
meta_analysis = Lazily("statsmodels.stats.meta_analysis")
multitest = Lazily("statsmodels.stats.multitest")

SIZES = (40, 80, 160, 320)


def random_groups(seed=3, lengths=(5, 8, 3, 6)):
    rng = np.random.default_rng(seed)
    # Rounded, so that there are ties.
    return [np.round(0.6 + 0.03 * i + rng.normal(0, 0.05 / (1 + i / 3), n), 2) for i, n in enumerate(lengths)]


def runs_frame(groups, sizes=SIZES, variant="", **columns):
    rows = [
        {
            "run_id": f"{variant}{size}-{seed}", "experiment": "e", "variant": variant, "train_size": size,
            "subset_seed": 0, "seed": seed, "state": "succeeded", "test_accuracy": float(value), **columns,
        }
        for size, group in zip(sizes, groups, strict=True)
        for seed, value in enumerate(group)
    ]  # fmt: skip
    return pl.DataFrame(rows)


def assert_close(found, expected):
    np.testing.assert_allclose(np.asarray(found, float), np.asarray(expected, float), rtol=1e-10)


def test_the_seed_as_block_equals_its_reference():
    table = np.round(np.random.default_rng(5).normal(0.7, 0.02, (6, 4)), 2) + np.arange(4) * 0.01
    frame = pd.DataFrame(
        {"y": table.ravel(), "seed": np.repeat(list("abcdef"), 4), "size": np.tile(list("wxyz"), 6)}
    )
    reference = sm.stats.anova_lm(formulas.ols("y ~ C(size) + C(seed)", frame).fit())
    found = seed_effect(table)
    assert_close([found.statistic, found.p], [reference["F"].iloc[1], reference["PR(>F)"].iloc[1]])
    effect, rest = reference["sum_sq"].iloc[1:]
    assert_close(found.effect_size, effect / (effect + rest))


def test_seeds_on_other_draws_are_no_blocks():
    frames = [
        runs_frame(random_groups(draw, (3, 3, 3, 3))).with_columns(
            pl.lit(draw).alias("subset_seed"), (pl.col("seed") + 10 * draw).alias("seed")
        )
        for draw in range(3)
    ]
    (found,) = compare_sizes(pl.concat(frames), "test_accuracy")
    assert found.seed == FitFailure("needs seeds that ran on equal draws")


def test_pairs_equal_their_references():
    first, second = random_groups()[:2]
    found = welch_t(first, second, ("a", "b"))
    reference = stats.ttest_ind(second, first, equal_var=False)
    interval = reference.confidence_interval(0.95)
    assert_close(
        [found.t, found.p, found.df, found.low, found.high],
        [reference.statistic, reference.pvalue, reference.df, *interval],
    )
    g, variance = meta_analysis.effectsize_smd(
        second.mean(), second.std(ddof=1), len(second), first.mean(), first.std(ddof=1), len(first)
    )
    half = stats.norm.ppf(0.975) * np.sqrt(variance)
    assert_close([found.hedges_g, found.g_low, found.g_high], [g, g - half, g + half])
    p = [0.001, 0.04, 0.03, 0.9, 0.03]
    assert_close(holm(p), multitest.multipletests(p, method="holm")[1])
    # One difference averaged is itself.
    alone = mean_difference([found])
    assert_close([alone.t, alone.df, alone.p, alone.low], [found.t, found.df, found.p, found.low])


def test_the_exponent_of_the_spread():
    rng = np.random.default_rng(2)
    sizes = np.geomspace(100, 12_800, 8)
    groups = [rng.normal(0, 0.5 * n**-0.3, 400) for n in sizes]
    law = spread_law(
        [SizeRuns(n, own, np.zeros(400, int), np.arange(400)) for n, own in zip(sizes, groups, strict=True)]
    )
    assert isinstance(law, SpreadLaw)
    assert law.low < -0.3 < law.high
    assert law.sd_at_one * 100**law.exponent == pytest.approx(0.5 * 100**-0.3, rel=0.05)
    half = np.full(8, 399 / 2)
    y = np.log([group.var(ddof=1) for group in groups]) - psi(half) + np.log(half)
    model = sm.WLS(y, sm.add_constant(np.log(sizes)), 1 / polygamma(1, half)).fit(cov_type="fixed scale")
    assert_close([2 * law.exponent, 2 * law.stderr], [model.params[1], model.bse[1]])


def test_sizes_are_compared_in_words():
    groups = [np.array([0.5, 0.51, 0.52]), np.array([0.9, 0.91, 0.895]), np.array([0.905, 0.9, 0.91])]
    (found,) = compare_sizes(runs_frame(groups, SIZES[:3]), "test_accuracy")
    assert found.sizes == (40, 80, 160)
    assert [(pair.first, pair.second) for pair in found.pairs] == [("40", "80"), ("40", "160"), ("80", "160")]
    assert [(pair.first, pair.second) for pair in found.neighbours] == [("40", "80"), ("80", "160")]
    answer = spread.ask(record_of(runs_frame(groups, SIZES[:3])))
    assert answer.headline == "0.50 points (SD) between runs of 160 images, 1.00 points at 40 images."
    assert answer.sentences[0].text.startswith("+19.75 points with each doubling of the train size (95 % ")
    assert "; p = 0.00016; paired, 3 seeds, for this draw)." in answer.sentences[0].text
    assert "Not significant after correction: 80 to 160." in answer.sentences[0].text
    assert " a doubling." in answer.sentences[0].text
    assert "p is corrected for all 3 pairs (Holm)" in said(answer)
    sizes, tests, pairs = answer.tables
    assert sizes.frame["estimate"].round(4).to_list() == [None, 0.3917, 0.0033]
    assert (sizes.is_detail, tests.is_detail, pairs.is_detail) == (False, True, True)
    assert tests.frame["asks"].to_list() == ["trend", "spread", "seed"]
    assert pairs.frame["n_units"].to_list() == [3, 3, 3]
    table = record_of(runs_frame(groups, SIZES[:3])).comparisons.table
    assert table.filter(test="paired t").height == 3
    assert table["failure"].null_count() == table.height


def test_variants_are_compared_at_equal_sizes_and_over_all():
    groups = random_groups(lengths=(4, 4, 4, 4))
    runs = pl.concat(
        [runs_frame(groups, variant="a"), runs_frame([group + 0.2 for group in groups], variant="b")]
    )
    found = compare_variants(runs, "test_accuracy")
    assert [comparison.train_size for comparison in found] == [*SIZES, None]
    overall = found[-1].pairs[0]
    assert overall.value == pytest.approx(0.2)
    assert overall.high - overall.low < min(c.pairs[0].high - c.pairs[0].low for c in found[:2])
    answer = variants.ask(record_of(runs))
    assert answer.headline == "b needs at least 8.0 times fewer images than a."
    assert answer.sentences[0].text.startswith("b is 20.00 points better than a over 4 train sizes (95 % ")
    means, saved, cells, over_all, at_sizes = answer.tables
    assert means.frame["place"].to_list() == ["40", "80", "160", "320"]
    ahead = [(row["is_best"], row["n_runs"]) for row in means.frame["b"]]
    assert ahead == [(True, None)] * 4
    assert means.frame["b"][2]["mean"] == pytest.approx(groups[2].mean() + 0.2)
    assert written(means).rows[2][2].startswith(f"{100 * groups[2].mean() + 20:.2f} ±")
    assert (saved.frame.height, cells.frame.height) == (5, 8)
    assert (over_all.frame.height, at_sizes.frame.height) == (1, 4)
    loss = variants.ask(record_of(runs.rename({"test_accuracy": "test_loss"}), "test_loss"))
    assert loss.sentences[0].text.startswith("a is 0.2000 better than b over 4 train sizes (95 % 0.")


def test_the_best_of_three_variants_is_compared_with_the_next():
    shifts = {"a": 0.0, "b": 0.2, "c": 0.19}
    runs = pl.concat(
        [
            runs_frame([group + shift for group in random_groups(lengths=(4, 4))], SIZES[:2], variant)
            for variant, shift in shifts.items()
        ]
    )
    answer = variants.ask(record_of(runs))
    assert answer.headline.startswith(
        "b and c cannot be told apart over 2 train sizes: 1.00 points for b (95 % "
    )
    assert "2 of 3 pairs of variants differ significantly after correction." in said(answer)


@pytest.mark.parametrize(
    ("frames", "sentence"),
    [
        ([runs_frame([[0.5, 0.6]], SIZES[:1], "a")], "There is one variant."),
        (
            [runs_frame([[0.5]], SIZES[:1], "a"), runs_frame([[0.6]], SIZES[1:2], "b")],
            "No two variants share a train size.",
        ),
        (
            [runs_frame([[0.5]], SIZES[:1], "a"), runs_frame([[0.6]], SIZES[:1])],
            "the base variant is 10.00 points ahead of a at 40 images, untested",
        ),
    ],
)
def test_variants_that_cannot_be_compared_are_said_so(frames, sentence):
    assert sentence in said(variants.ask(record_of(pl.concat(frames))))


@pytest.mark.parametrize(
    "groups",
    [
        pytest.param([[0.5]], id="one run"),
        pytest.param([[0.5, 0.6, 0.7]], id="one size"),
        pytest.param([[0.5], [0.6], [0.7]], id="one seed"),
        pytest.param([[0.5, 0.5], [0.5, 0.5]], id="no spread at all"),
        pytest.param([[0.5, 0.5], [0.6, 0.6]], id="no spread over seeds"),
        pytest.param([[0.5, 0.6], [0.7]], id="a missing seed"),
        pytest.param([[0.5, float("nan")], [0.7, 0.8], [0.9, 0.7]], id="NaN"),
    ],
)
def test_what_cannot_be_compared_is_said(groups):
    runs = runs_frame([np.array(group) for group in groups], SIZES[: len(groups)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (found,) = compare_sizes(runs, "test_accuracy")
        assert compare_variants(runs, "test_accuracy") == ()
        table = record_of(runs).comparisons.table
    assert said(spread.ask(record_of(runs))).strip().endswith(".")
    assert table.height > 0
    assert isinstance(found.trend, Difference | FitFailure)


def test_no_runs_are_an_empty_table():
    runs = runs_frame([np.array([0.5])], SIZES[:1]).clear()
    assert compare_sizes(runs, "test_accuracy") == ()
    assert record_of(runs).comparisons.table.is_empty()
    assert box_table(runs, "test_accuracy").is_empty()


def test_seeds_that_miss_a_size_are_no_blocks():
    runs = runs_frame([np.array([0.1, 0.2, 0.3]), np.array([0.4, 0.5])], SIZES[:2])
    seeds, sizes, table = seed_table(runs.rename({"test_accuracy": "value"}))
    assert (seeds, sizes, table.tolist()) == ([0, 1], [40, 80], [[0.1, 0.4], [0.2, 0.5]])


def test_boxes():
    runs = runs_frame([np.array([0.1, 0.5, 0.52, 0.54, 0.56])], SIZES[:1])
    row = box_table(runs, "test_accuracy").row(0, named=True)
    assert [row[key] for key in ("whisker_low", "q1", "median", "q3", "whisker_high")] == pytest.approx(
        [0.5, 0.5, 0.52, 0.54, 0.56]
    )
    assert row["outliers"] == [0.1]
    metrics = pl.DataFrame(
        {
            "run_id": ["r", "r", "r"], "event": "evaluation", "split": ["test", "test", "train"],
            "accuracy": [0.9, 0.8, None],
        },
        schema_overrides={"accuracy": pl.Float64},
    )  # fmt: skip
    assert best_values(metrics, "accuracy").rows() == [("r", None, 0.9)]


def test_all_pairs_are_corrected_together():
    groups = random_groups(lengths=(4, 4, 4, 4))
    (found,) = compare_sizes(runs_frame(groups), "test_accuracy")
    p = [stats.ttest_rel(a, b).pvalue for a, b in itertools.combinations(groups, 2)]
    assert_close([pair.p_adjusted for pair in found.pairs], multitest.multipletests(p, method="holm")[1])


def test_the_trend_over_seeds_is_students_t_of_their_slopes():
    groups = random_groups(lengths=(5, 5, 5, 5))
    (found,) = compare_sizes(runs_frame(groups), "test_accuracy")
    slopes = [np.polyfit(np.log2(SIZES), values, 1)[0] for values in np.transpose(groups)]
    reference = stats.ttest_1samp(slopes, 0)
    ends = reference.confidence_interval()
    assert_close(
        [found.trend.value, found.trend.p, found.trend.low, found.trend.high],
        [np.mean(slopes), reference.pvalue, ends.low, ends.high],
    )
    assert found.trend.of_one_draw


def test_the_trend_over_draws_counts_draws():
    rng = np.random.default_rng(2)
    tables = rng.normal(0.7, 0.02, (3, 4, 5))
    frames = [
        runs_frame(table).with_columns(pl.lit(draw).alias("subset_seed")) for draw, table in enumerate(tables)
    ]
    (found,) = compare_sizes(pl.concat(frames), "test_accuracy")
    slopes = [np.polyfit(np.log2(SIZES), table.mean(axis=1), 1)[0] for table in tables]
    assert (found.trend.unit, found.trend.n_units, found.trend.of_one_draw) == ("draw", 3, False)
    assert_close(found.trend.p, stats.ttest_1samp(slopes, 0).pvalue)
    (found,) = compare_sizes(pl.concat(frames[:2]), "test_accuracy")
    assert found.trend.low < found.trend.value < found.trend.high
    assert np.isnan(found.trend.p)
    assert all(np.isnan(pair.p) for pair in found.pairs)
    table = record_of(pl.concat(frames[:2])).comparisons.table.filter(asks="trend")
    assert table["p"].to_list() == [None]
    assert "2 draws are too few to test)." in said(spread.ask(record_of(pl.concat(frames[:2]))))


def test_the_detectable_difference_is_seen_in_four_of_five_cases():
    (found,) = compare_sizes(runs_frame(random_groups(lengths=(4, 4)), SIZES[:2]), "test_accuracy")
    (pair,) = found.pairs
    off, bound = pair.detectable / pair.stderr, stats.t.ppf(0.975, pair.df)
    assert stats.nct.sf(bound, pair.df, off) == pytest.approx(0.8, abs=1e-4)


def test_a_change_of_the_spread_is_put_in_words():
    seen, unseen = SpreadLaw(-0.41, -0.65, -0.17, 0.12, 0.1, 4), SpreadLaw(-0.1, -0.4, 0.2, 0.15, 0.1, 4)
    assert spread.trend_of(seen) == "The scatter between runs goes as n^-0.41 (95 % -0.65 to -0.17)."
    assert "does not visibly change" in spread.trend_of(unseen)


@pytest.mark.parametrize(
    ("higher", "best", "expected"),
    [(True, (0.9, 0.89, 0.91), True), (True, (0.9, 0.8, 0.95), False), (False, (0.1, 0.09, 0.11), True)],
)
def test_the_best_is_marked_only_where_it_is_told(higher, best, expected):
    means = pl.DataFrame(
        [("a", "40", *best, 3), ("b", "40", 0.82, 0.81, 0.83, 3), ("c", "40", 0.81, 0.8, 0.82, 3)],
        schema=["name", "place", "mean", "low", "high", "n_runs"],
        orient="row",
    )
    metric = METRICS_OFFERED["test_accuracy" if higher else "test_loss"]
    table = mean_table(means, "name", "size", metric, "t")
    assert [row["is_best"] for row in table.frame["40"]] == [expected, False, False]
    assert ("* best" in table.title) == expected

from __future__ import annotations

import itertools
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pytest
import statsmodels.api as sm
from scipy import stats
from scipy.special import polygamma, psi
from statsmodels.formula.api import ols
from statsmodels.stats.diagnostic import het_breuschpagan
from statsmodels.stats.meta_analysis import effectsize_smd
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.oneway import anova_oneway

from tests.unit.record_desk import record_of, said
from tui_datasize.answers import spread, variants
from tui_datasize.render.cells import written
from tui_datasize.stats.boxes import best_values, box_table
from tui_datasize.stats.fits import FitFailure
from tui_datasize.stats.group_tests import (
    GroupTest,
    anova,
    brown_forsythe,
    friedman,
    jonckheere,
    kruskal,
    levene,
    linear_trend,
    two_way,
    welch_anova,
)
from tui_datasize.stats.groups import compare_sizes, compare_variants, seed_table
from tui_datasize.stats.groups_table import groups_table
from tui_datasize.stats.pairwise import holm, mean_difference, welch_t
from tui_datasize.stats.spread import SpreadLaw, breusch_pagan, spread_law

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


def test_tests_of_level_equal_their_references():
    groups = random_groups()
    reference = anova_oneway(groups, use_var="equal")
    found = anova(groups)
    assert_close([found.statistic, found.p], [reference.statistic, reference.pvalue])
    frame = pd.DataFrame({"y": np.concatenate(groups), "g": np.repeat(list("abcd"), [5, 8, 3, 6])})
    model = ols("y ~ C(g)", frame).fit()
    table = sm.stats.anova_lm(model)
    between, within = table["sum_sq"]
    mean_square = table["mean_sq"].iloc[1]
    eta, omega = dict(found.effects)["eta^2"], dict(found.effects)["omega^2"]
    assert_close(eta, model.rsquared)
    assert_close(omega, (between - 3 * mean_square) / (between + within + mean_square))
    reference = anova_oneway(groups, use_var="unequal", welch_correction=True)
    found = welch_anova(groups)
    assert_close(
        [found.statistic, found.p, found.df1, found.df2],
        [reference.statistic, reference.pvalue, *reference.df],
    )
    found = kruskal(groups)
    assert_close([found.statistic, found.p], stats.kruskal(*groups))


def test_tests_of_spread_equal_their_references():
    groups = random_groups()
    for found, center in ((levene(groups), "mean"), (brown_forsythe(groups), "median")):
        assert_close([found.statistic, found.p], stats.levene(*groups, center=center))
    sizes = np.repeat(np.array(SIZES, float), [5, 8, 3, 6])
    residuals = np.concatenate([group - group.mean() for group in groups])
    found = breusch_pagan(sizes, residuals)
    lm, p, *_ = het_breuschpagan(residuals, sm.add_constant(np.log10(sizes)))
    assert_close([found.statistic, found.p], [lm, p])


def test_tests_of_trend_equal_their_references():
    groups = random_groups()
    found = jonckheere(groups)
    values, order = np.concatenate(groups), np.repeat(range(4), [5, 8, 3, 6])
    reference = stats.kendalltau(order, values, method="asymptotic")
    assert_close([dict(found.effects)["tau-b"], found.p], [reference.statistic, reference.pvalue])
    found = linear_trend(SIZES, groups)
    x = np.log10(np.repeat(np.array(SIZES, float), [5, 8, 3, 6]))
    dummies = (order[:, None] == range(4)).astype(float)
    model = sm.OLS(values, dummies).fit()
    counts = np.array([5, 8, 3, 6])
    reference = model.t_test(counts * (np.log10(SIZES) - x.mean()))
    assert_close([found.statistic, found.p], [reference.tvalue.item(), reference.pvalue.item()])


def test_the_seed_as_block_equals_its_references():
    table = np.round(np.random.default_rng(5).normal(0.7, 0.02, (6, 4)), 2) + np.arange(4) * 0.01
    size, seed = two_way(table)
    frame = pd.DataFrame(
        {"y": table.ravel(), "seed": np.repeat(list("abcdef"), 4), "size": np.tile(list("wxyz"), 6)}
    )
    reference = sm.stats.anova_lm(ols("y ~ C(size) + C(seed)", frame).fit())
    assert_close([size.statistic, seed.statistic], reference["F"].iloc[:2])
    assert_close([size.p, seed.p], reference["PR(>F)"].iloc[:2])
    found = friedman(table)
    assert_close([found.statistic, found.p], stats.friedmanchisquare(*table.T))


def test_pairs_equal_their_references():
    first, second = random_groups()[:2]
    found = welch_t(first, second, ("a", "b"))
    reference = stats.ttest_ind(second, first, equal_var=False)
    interval = reference.confidence_interval(0.95)
    assert_close(
        [found.t, found.p, found.df, found.low, found.high],
        [reference.statistic, reference.pvalue, reference.df, *interval],
    )
    g, variance = effectsize_smd(
        second.mean(), second.std(ddof=1), len(second), first.mean(), first.std(ddof=1), len(first)
    )
    half = stats.norm.ppf(0.975) * np.sqrt(variance)
    assert_close([found.hedges_g, found.g_low, found.g_high], [g, g - half, g + half])
    p = [0.001, 0.04, 0.03, 0.9, 0.03]
    assert_close(holm(p), multipletests(p, method="holm")[1])
    # One difference averaged is itself.
    alone = mean_difference([found])
    assert_close([alone.t, alone.df, alone.p, alone.low], [found.t, found.df, found.p, found.low])


def test_the_exponent_of_the_spread():
    rng = np.random.default_rng(2)
    sizes = np.geomspace(100, 12_800, 8)
    groups = [rng.normal(0, 0.5 * n**-0.3, 400) for n in sizes]
    law = spread_law(sizes, groups)
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
    assert answer.sentences[0].text.startswith("Sizes differ (Welch F(2,")
    assert answer.sentences[0].text.endswith("Not significant after correction: 80 to 160.")
    assert "p is corrected for all 3 pairs (Holm)" in said(answer)
    sizes, tests, pairs = answer.tables
    assert sizes.frame["estimate"].round(4).to_list() == [None, 0.3917, 0.0033]
    assert (sizes.is_detail, tests.is_detail, pairs.is_detail) == (False, True, True)
    assert pairs.frame.height == 3
    assert "Friedman" in tests.frame["test"]
    assert isinstance(found.test("Friedman"), GroupTest)
    table = groups_table(runs_frame(groups, SIZES[:3]), "test_accuracy")
    assert table.filter(test="Welch t").height == 3
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
    assert answer.headline.startswith("b is 20.00 points better than a over 4 train sizes (95 % ")
    means, saved, cells, over_all, at_sizes, tests = answer.tables
    assert means.frame["place"].to_list() == ["40", "80", "160", "320"]
    ahead = [(row["is_best"], row["n_runs"]) for row in means.frame["b"]]
    assert ahead == [(True, None)] * 4
    assert means.frame["b"][2]["mean"] == pytest.approx(groups[2].mean() + 0.2)
    assert written(means).rows[2][2].startswith(f"{100 * groups[2].mean() + 20:.2f} ±")
    assert (saved.frame.height, cells.frame.height) == (4, 8)
    assert (over_all.frame.height, at_sizes.frame.height) == (1, 4)
    assert tests.frame.height == 4
    loss = variants.ask(record_of(runs.rename({"test_accuracy": "test_loss"}), "test_loss"))
    assert loss.headline.startswith("a is 0.2000 better than b over 4 train sizes (95 % 0.")


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
        "b, the best of 3, is 1.00 points better than c over 2 train sizes, not significant after correction "
        "(95 % -"
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
            "the base variant is 10.00 points better than a at 40 images, untested",
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
        table = groups_table(runs, "test_accuracy")
    assert said(spread.ask(record_of(runs))).strip().endswith(".")
    assert table.height > 0
    assert all(isinstance(t.outcome, GroupTest | FitFailure) for t in found.tests)


def test_no_runs_are_an_empty_table():
    runs = runs_frame([np.array([0.5])], SIZES[:1]).clear()
    assert compare_sizes(runs, "test_accuracy") == ()
    assert groups_table(runs, "test_accuracy").is_empty()
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
    groups = random_groups()
    (found,) = compare_sizes(runs_frame(groups), "test_accuracy")
    p = [stats.ttest_ind(a, b, equal_var=False).pvalue for a, b in itertools.combinations(groups, 2)]
    assert_close([pair.p_adjusted for pair in found.pairs], multipletests(p, method="holm")[1])


def test_no_effect_is_said_to_be_below_zero():
    rng = np.random.default_rng(0)
    means = (0.5, 0.5, 0.5)
    groups = [mean + np.array([-0.01, 0.01, -0.02, 0.02]) + 1e-5 * rng.normal(size=4) for mean in means]
    answer = spread.ask(record_of(runs_frame(groups, SIZES[:3])))
    assert answer.sentences[0].text.startswith("Sizes do not differ significantly")
    assert answer.sentences[0].text.endswith("omega^2 = 0.00).")


def test_a_spread_that_one_test_sees_and_another_does_not_is_called_open():
    missed = GroupTest("Brown-Forsythe F", 1.5, 3, 20, 0.19)
    seen, unseen = SpreadLaw(-0.41, -0.65, -0.17, 0.12, 0.1, 4), SpreadLaw(-0.1, -0.4, 0.2, 0.15, 0.1, 4)
    assert "goes as n^-0.41 (95 % -0.65 to -0.17), yet a test" in spread.trend_of(missed, seen)
    assert "does not visibly change" in spread.trend_of(missed, unseen)
    assert "not steadily" in spread.trend_of(replace(missed, p=0.01), unseen)
    assert "; it goes as n^-0.41" in spread.trend_of(replace(missed, p=0.01), seen)

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy import stats

from tests.lazily import Lazily
from tests.unit.record_desk import record_of, said
from tui_datasize.answers import spread
from tui_datasize.stats.clusters import SizeRuns, find_clusters, independent, odd_scatter
from tui_datasize.stats.curve import learning_curve, moderated_stderrs
from tui_datasize.stats.fits import lack_of_fit
from tui_datasize.stats.groups import compare_sizes
from tui_datasize.stats.noise import noise_of
from tui_datasize.stats.spread import spread_law

pd = Lazily("pandas")
sm = Lazily("statsmodels.api")
formulas = Lazily("statsmodels.formula.api")

SIZES = (100, 200, 400, 800)


def sweep(rng, draws, seeds, draw_sd, seed_sd=0.0, rest_sd=0.005, sizes=SIZES):
    """Crossed runs around 0.8 at every size; each size has effects of its own."""
    of_draw, of_seed = np.repeat(range(draws), seeds), np.tile(range(seeds), draws)
    return [
        SizeRuns(
            size,
            0.8
            + rng.normal(0, draw_sd, draws)[of_draw]
            + rng.normal(0, seed_sd, seeds)[of_seed]
            + rng.normal(0, rest_sd, draws * seeds),
            of_draw,
            of_seed,
        )
        for size in sizes
    ]


def runs_frame(curve):
    rows = [
        {
            "run_id": f"{size.train_size}-{draw}-{seed}", "experiment": "e", "variant": "",
            "train_size": size.train_size, "subset_seed": draw, "seed": seed, "state": "succeeded",
            "test_accuracy": value,
        }
        for size in curve
        for value, draw, seed in zip(size.values, size.draws, size.seeds, strict=True)
    ]  # fmt: skip
    return pl.DataFrame(rows)


def test_a_balanced_size_is_the_table_of_variance():
    (size,) = curve = sweep(np.random.default_rng(1), 4, 5, 0.01, 0.01, sizes=(100,))
    found = find_clusters(curve)
    frame = pd.DataFrame({"y": size.values, "d": size.draws, "s": size.seeds})
    table = sm.stats.anova_lm(formulas.ols("y ~ C(d) + C(s)", frame).fit())
    draw, seed, rest = table["mean_sq"]
    parts = np.array([(draw - rest) / 5, (seed - rest) / 4, rest])
    np.testing.assert_allclose([found.draw_share, found.seed_share], parts[:2] / parts.sum(), rtol=1e-9)
    variance = parts @ [1 / 4, 1 / 5, 1 / 20]
    assert found.means[0].n_effective == pytest.approx(parts.sum() / variance)
    degrees = (draw + seed - rest) ** 2 / (draw**2 / 3 + seed**2 / 4 + rest**2 / 12)
    assert found.pooled_degrees == pytest.approx(degrees)


@pytest.mark.parametrize(("draws", "seeds"), [(1, 5), (5, 1)])
def test_runs_that_share_nothing_or_all_are_no_clusters(draws, seeds):
    curve = sweep(np.random.default_rng(2), draws, seeds, 0.01)
    assert find_clusters(curve) is None
    assert learning_curve(runs_frame(curve), "test_accuracy")["n_effective"].to_list() == [5] * 4


def test_runs_that_are_all_equal_are_no_clusters():
    assert find_clusters(sweep(np.random.default_rng(2), 3, 3, 0.0, 0.0, 0.0)) is None


def test_draws_that_do_nothing_cost_little():
    curve = sweep(np.random.default_rng(5), 4, 5, 0.0)
    found = find_clusters(curve)
    assert found.draw_share < 0.1
    for mean, size in zip(found.means, curve, strict=True):
        assert mean.n_effective > 12
        assert mean.stderr < 2 * independent(size.values).stderr


def test_an_interval_covers_and_a_true_null_is_rarely_rejected():
    rng = np.random.default_rng(7)
    covered, lacking = [], []
    for _ in range(150):
        curve = sweep(rng, 3, 4, 0.01)
        groups, means = [size.values for size in curve], find_clusters(curve).means
        half = [stats.t.ppf(0.975, mean.degrees) * mean.stderr for mean in means]
        covered.append(np.abs([group.mean() - 0.8 for group in groups]) < half)
        sizes = np.repeat(SIZES, 12)
        lacking.append(lack_of_fit(sizes, np.concatenate(groups), means).p < 0.05)
    assert 0.93 < np.mean(covered) < 0.99
    assert np.mean(lacking) < 0.09


def test_sizes_whose_draws_differ_are_not_told_apart():
    runs = runs_frame(sweep(np.random.default_rng(3), 4, 5, 0.01, rest_sd=0.003))
    (found,) = compare_sizes(runs, "test_accuracy")
    told = said(spread.ask(record_of(runs)))
    assert "with each doubling of the train size, not significant (95 % " in told
    assert "paired, 4 draws)." in told
    assert "20 runs of a size count as" in told
    assert "independent ones: they share a subset draw." in told
    assert not any(pair.is_distinguishable for pair in found.pairs)
    curve = learning_curve(runs, "test_accuracy")
    assert (curve["n_effective"] < 6).all()
    assert moderated_stderrs(curve).mean() > 2 * curve["sd"].to_numpy().mean() / np.sqrt(20)


def test_the_spread_leaves_out_what_draws_and_seeds_do():
    found = spread_law(sweep(np.random.default_rng(4), 3, 400, 0.1, 0.1))
    assert found.sd_at_one * 200**found.exponent == pytest.approx(0.005, rel=0.1)
    assert found.low < 0 < found.high


def test_more_seeds_on_the_same_draws_are_worth_no_more_than_the_draws():
    curve = sweep(np.random.default_rng(6), 3, 4, 0.01)
    noise = noise_of(SIZES, [size.values for size in curve], clusters=find_clusters(curve))
    now, many, most = noise.worth([12, 12_000, 1e9])
    assert many == pytest.approx(most, rel=0.01)
    assert now > many / 1.3
    assert np.isfinite(noise.worth([0, 1, 5])).all()


def test_a_size_that_scatters_unlike_its_neighbours_leaves_their_means_as_sure():
    curve = sweep(np.random.default_rng(8), 3, 4, 0.004, sizes=(100, 200, 400, 800, 1600))
    odd = replace(curve[-1], values=0.8 + 15 * (curve[-1].values - 0.8))
    before, after = (find_clusters([*curve[:-1], last]) for last in (curve[-1], odd))
    assert odd_scatter([*curve[:-1], odd]).round().tolist()[:-1] == [1, 1, 1, 1]
    for mean, same in zip(before.means[:-1], after.means[:-1], strict=True):
        assert same.stderr == pytest.approx(mean.stderr, rel=0.25)
    assert after.means[-1].stderr == pytest.approx(15 * before.means[-1].stderr, rel=0.4)


def test_values_too_large_to_square_are_no_clusters():
    curve = sweep(np.random.default_rng(2), 2, 3, 0.01)
    huge = [SizeRuns(size.train_size, size.values * 1e200, size.draws, size.seeds) for size in curve]
    with np.errstate(over="ignore", invalid="ignore"):
        assert find_clusters(huge) is None

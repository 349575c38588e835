from __future__ import annotations

import itertools
import math

import numpy as np
import polars as pl
import pytest
from scipy import stats

from benchmarks.nulls import scatter_held
from tests.lazily import Lazily
from tests.unit.record_desk import record_of, said
from tui_datasize.answers import variance
from tui_datasize.answers.record import Reading, Record
from tui_datasize.metric import METRICS_OFFERED
from tui_datasize.runlog.reader import RunLog
from tui_datasize.stats.mean_squares import MeanSquare, difference_interval
from tui_datasize.stats.variance import split_variance

pd = Lazily("pandas")
sm = Lazily("statsmodels.api")
formulas = Lazily("statsmodels.formula.api")


def runs_of(cells: dict[tuple[int, int, int], float]) -> pl.DataFrame:
    """Runs by (size, seed, draw)."""
    rows = [
        {
            "run_id": f"{size}-{seed}-{draw}", "experiment": "e", "variant": "", "train_size": size,
            "seed": seed, "subset_seed": draw, "state": "succeeded", "test_accuracy": value,
        }
        for (size, seed, draw), value in cells.items()
    ]  # fmt: skip
    return pl.DataFrame(rows, schema_overrides={"test_accuracy": pl.Float64})


def crossed(sizes, seeds, draws, seed_sd, draw_sd, rest_sd, rng):
    cells = {}
    for size in sizes:
        of_seed, of_draw = rng.normal(0, seed_sd, seeds), rng.normal(0, draw_sd, draws)
        for i, j in itertools.product(range(seeds), range(draws)):
            cells[size, i, j] = 0.8 + of_seed[i] + of_draw[j] + rng.normal(0, rest_sd)
    return cells


def test_crossed_components_are_those_of_the_table_of_variance():
    cells = crossed([100], 5, 4, 0.02, 0.01, 0.005, np.random.default_rng(4))
    (found,) = split_variance(runs_of(cells), "test_accuracy")
    frame = pd.DataFrame([(i, j, value) for (_, i, j), value in cells.items()], columns=["i", "j", "y"])
    table = sm.stats.anova_lm(formulas.ols("y ~ C(i) + C(j)", frame).fit())
    seed, draw, rest = table["mean_sq"]
    np.testing.assert_allclose(
        [component.estimate for component in found.components],
        [(seed - rest) / 4, (draw - rest) / 5, rest],
        rtol=1e-10,
    )
    np.testing.assert_allclose([c.p for c in found.components[:2]], table["PR(>F)"].iloc[:2], rtol=1e-9)
    assert found.design == "crossed"
    assert sum(component.share for component in found.components) == pytest.approx(1)


def test_components_are_unbiased_over_many_sizes():
    cells = crossed(range(1, 401), 4, 3, 0.02, 0.01, 0.005, np.random.default_rng(1))
    (found,) = split_variance(runs_of(cells), "test_accuracy")
    assert [component.sd for component in found.components] == pytest.approx([0.02, 0.01, 0.005], rel=0.08)


def test_nested_components_are_unbiased():
    rng = np.random.default_rng(2)
    cells = {}
    for size, draw in itertools.product(range(1, 301), range(3)):
        level = 0.8 + rng.normal(0, 0.02)
        for k in range(2 + draw % 2):
            cells[size, 10 * draw + k, draw] = level + rng.normal(0, 0.01)
    (found,) = split_variance(runs_of(cells), "test_accuracy")
    assert found.design == "nested"
    assert found.component("subset draw").sd == pytest.approx(0.02, rel=0.1)
    assert found.component("training seed").sd == pytest.approx(0.01, rel=0.1)


def test_the_test_set_is_told_apart():
    cells = crossed([100], 3, 3, 0.02, 0.01, 0.005, np.random.default_rng(3))
    (found,) = split_variance(runs_of(cells), "test_accuracy", test_images=10_000)
    sampling = found.component("test sampling")
    mean = np.mean(list(cells.values()))
    assert sampling.variance == pytest.approx(mean * (1 - mean) / 10_000)


def test_a_negative_estimate_is_zero_in_words():
    # Draws are equal in the mean while seeds and draws interact.
    cells = {(10, 0, 0): 0.5, (10, 0, 1): 0.7, (10, 1, 0): 0.8, (10, 1, 1): 0.6}
    (found,) = split_variance(runs_of(cells), "test_accuracy")
    draw = found.component("subset draw")
    assert (draw.variance, draw.estimate < 0) == (0, True)
    answer = variance.ask(record_of(runs_of(cells)))
    assert "its estimate is below 0" in said(answer)
    (table,) = answer.tables
    assert table.frame.filter(source="subset draw")["sd"].to_list() == [0]


@pytest.mark.parametrize(
    ("cells", "design", "sentence"),
    [
        ({(10, 0, 0): 0.5, (10, 1, 0): 0.6}, "seeds only", "share one subset draw. Add draws"),
        ({(10, 0, 0): 0.5, (10, 0, 1): 0.6}, "draws only", "share one training seed. Add seeds"),
        ({(10, 0, 0): 0.5}, "none", "is unknown: no train size has two runs"),
        ({(10, 0, 0): 0.5, (20, 1, 0): float("nan")}, "none", "is unknown: no train size has two runs"),
        ({(10, 0, 0): 0.5, (10, 1, 1): 0.7}, "none", "cannot be separated"),
        ({(10, 0, 0): 0.5, (10, 1, 0): 0.5}, "seeds only", "All runs of a size have equal values."),
    ],
)
def test_what_cannot_be_told_is_said(cells, design, sentence):
    (found,) = split_variance(runs_of(cells), "test_accuracy")
    assert found.design == design
    assert said(variance.ask(record_of(runs_of(cells)))).count(sentence) == 1


def test_a_draw_that_may_be_nothing_is_called_so():
    cells = crossed([100, 200], 4, 2, 0.02, 0.0, 0.01, np.random.default_rng(6))
    (found,) = split_variance(runs_of(cells), "test_accuracy")
    draw = found.component("subset draw")
    assert draw.p > 0.05
    (table,) = variance.ask(record_of(runs_of(cells))).tables
    assert table.frame.filter(source="subset draw")["p"].to_list() == [draw.p]
    larger = {(10, 0, 0): 0.5, (10, 0, 1): 0.6, (10, 1, 0): 0.52, (10, 1, 1): 0.58}
    headline = variance.ask(record_of(runs_of(larger))).headline
    (found,) = split_variance(runs_of(larger), "test_accuracy")
    assert found.component("subset draw").share > 0.5
    assert "(SD, 95 % 0.00 to 50.00 points)" in headline
    assert headline.endswith(f"; p = {found.component('subset draw').p:.2g}, not significant.")


def test_a_single_source_has_no_share():
    answer = variance.ask(record_of(runs_of({(10, 0, 0): 0.5, (10, 1, 0): 0.6})))
    assert answer.headline == (
        "7.07 points (SD, 95 % 3.15 to 50.00 points) between runs of a size: the training seed."
    )


def test_no_runs():
    assert split_variance(runs_of({(10, 0, 0): 0.5}).clear(), "test_accuracy") == ()
    assert variance.ask(record_of(runs_of({(10, 0, 0): 0.5}).clear())).why_not


def test_the_answer_begins_with_the_largest_source(finished):
    log = RunLog(finished)
    record = Record(Reading(log, log.runs("digits")), METRICS_OFFERED["test_accuracy"])
    (split,) = record.scatter
    largest = max(split.components[:3], key=lambda component: component.variance)
    answer = variance.ask(record)
    assert answer.headline.startswith(f"{100 * largest.share:.0f} % of the variance between runs is the ")
    assert f"{100 * largest.sd:.2f} points (SD, 95 % {100 * largest.sd_low:.2f} to " in answer.headline
    moved = 100 * split.component("test sampling").sd
    assert f"would move all runs together by {moved:.2f} points (SD)." in said(answer)
    assert [bar.value for bar in answer.figures[0].bars] == [100 * one.share for one in split.components[:3]]


def test_intervals_of_a_source_alone_are_those_of_chi_square():
    cells = {(10, seed, 0): value for seed, value in enumerate([0.5, 0.52, 0.55, 0.51])}
    (found,) = split_variance(runs_of(cells), "test_accuracy")
    (seed,) = found.components
    total = 3 * np.var(list(cells.values()), ddof=1)
    ends = [math.sqrt(total / stats.chi2.ppf(tail, 3)) for tail in (0.975, 0.025)]
    assert [seed.sd_low, seed.sd_high] == pytest.approx(ends)


def test_the_interval_of_a_draw_begins_above_zero_where_it_is_told():
    low, high = MeanSquare(), MeanSquare()
    for square, effect in ((low, 1.0), (high, 30.0)):
        square.add(range(4), effect * np.array([1.0, -1, 1, -1]), 3, 5)
    rest = MeanSquare()
    rest.add(range(12), np.tile([1.0, -1], 6), 12, 1)
    assert difference_interval(low, rest)[0] == 0
    assert (
        0 < difference_interval(high, rest)[0] < high.value - rest.value < difference_interval(high, rest)[1]
    )
    # Without a rest it is the interval of chi square.
    tiny = MeanSquare()
    tiny.add(range(12), np.tile([1e-9, -1e-9], 6), 12, 1)
    assert difference_interval(high, tiny) == pytest.approx(high.interval, rel=1e-6)


@pytest.mark.parametrize(("comes_back", "least", "most"), [(True, 4, 7), (False, 19, 20)])
def test_draws_that_come_back_tell_less_than_new_ones(comes_back, least, most):
    rng = np.random.default_rng(0)
    of_draw = rng.normal(0, 1, 5)
    square = MeanSquare()
    for size in range(5):
        effects = of_draw if comes_back else rng.normal(0, 1, 5)
        names = range(5) if comes_back else range(10 * size, 10 * size + 5)
        square.add(names, effects - effects.mean(), 4, 1)
    assert square.degrees == 20
    assert least <= square.effective <= most


@pytest.mark.parametrize("draws", ["same", "own"])
def test_intervals_hold_the_true_scatter(draws):
    held = scatter_held(50, 3, 5, draws=draws, seeds="nothing")
    assert min(held[name] for name in held if not name.endswith("found")) > 0.86


def test_repeats_of_a_seed_all_count():
    square = MeanSquare()
    square.add([(0, 1), (0, 1), (0, 2)], np.array([1.0, -2.0, 1.0]), 2, 1)
    assert square.value == 3

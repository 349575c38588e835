from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import polars as pl
import pytest
import statsmodels.api as sm
from statsmodels.formula.api import ols

from tests.unit.record_desk import record_of, said
from tui_datasize.answers import variance
from tui_datasize.answers.record import Reading, Record
from tui_datasize.metric import METRICS_OFFERED
from tui_datasize.runlog.reader import RunLog
from tui_datasize.stats.variance import split_variance


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
    table = sm.stats.anova_lm(ols("y ~ C(i) + C(j)", frame).fit())
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
    assert headline.endswith(f"(SD); p = {found.component('subset draw').p:.2g}, perhaps nothing.")


def test_a_single_source_has_no_share():
    answer = variance.ask(record_of(runs_of({(10, 0, 0): 0.5, (10, 1, 0): 0.6})))
    assert answer.headline == "7.07 points (SD) between runs of a size: the training seed."


def test_no_runs():
    assert split_variance(runs_of({(10, 0, 0): 0.5}).clear(), "test_accuracy") == ()
    assert variance.ask(record_of(runs_of({(10, 0, 0): 0.5}).clear())).why_not


def test_the_answer_begins_with_the_largest_source(fake_project):
    log = RunLog(fake_project)
    record = Record(Reading(log, log.runs("digits")), METRICS_OFFERED["test_accuracy"])
    (split,) = record.scatter
    largest = max(split.components[:3], key=lambda component: component.variance)
    answer = variance.ask(record)
    assert answer.headline.startswith(f"{100 * largest.share:.0f} % of the variance between runs is the ")
    assert f"{100 * largest.sd:.2f} points (SD)" in answer.headline
    moved = 100 * split.component("test sampling").sd
    assert f"would move all runs together by {moved:.2f} points (SD)." in said(answer)
    assert [bar.value for bar in answer.figures[0].bars] == [100 * one.share for one in split.components[:3]]

"""Answers where there is little to go by: no forecast, one end of an interval, variants at other sizes."""

from __future__ import annotations

import re

import polars as pl
import pytest

from tests.unit.record_desk import record_of, said
from tui_datasize.answers.answer import Asked
from tui_datasize.answers.catalogue import QUESTIONS
from tui_datasize.errors import ConfigError
from tui_datasize.metric import metric_named
from tui_datasize.stats.fits import FitFailure
from tui_datasize.stats.planner import Question, plan_next_runs
from tui_datasize.stats.size_needed import SizeNeeded


def runs_of(
    means: dict[int, float],
    variant: str = "",
    metric: str = "test_accuracy",
    seeds: int = 3,
    spread: float = 0.001,
) -> pl.DataFrame:
    rows = [
        {
            "run_id": f"{variant}{size}-{seed}", "experiment": "e", "variant": variant, "state": "succeeded",
            "train_size": size, "subset_seed": 0, "seed": seed, metric: mean + (seed - 1) * spread,
        }
        for size, mean in means.items()
        for seed in range(seeds)
    ]  # fmt: skip
    return pl.DataFrame(rows)


def answered(runs: pl.DataFrame, metric: str = "test_accuracy", **asked: object) -> str:
    return said(QUESTIONS["answer"].ask(record_of(runs, metric, Asked(**asked))))  # type: ignore[arg-type]


def test_without_a_forecast_a_target_has_no_odds():
    one = answered(runs_of({1000: 0.9}, seeds=1), target=0.95)
    assert "95 %: not reached by 1,000 images. Without a forecast nothing more is known." in one
    falling = answered(runs_of({100: 0.9, 200: 0.88, 400: 0.86, 800: 0.84}), target=0.89)
    assert "89 %: reached at 100 images, and no longer at 800." in falling
    assert "sure" not in one + falling.split("89 %")[1].split("\n")[0]


def test_one_end_alone_is_missed_half_as_often():
    both = SizeNeeded(0.9, 2000, 1500, 3000, 1000, 8000)
    assert both.sure == 0.8
    for at_least, at_most in ((1500, None), (1000, 3000), (8000, None)):
        assert SizeNeeded(0.9, 2000, at_least, at_most, 1000, 8000).sure == pytest.approx(0.9)
    assert SizeNeeded(0.9, None, None, None, 1000, 1000, odds=0.0).sure == 0


def test_a_size_that_may_be_any_has_the_odds_that_the_farthest_is_enough():
    """The central size alone would say nothing of how sure it is; the size that was run is not rounded."""
    curve = {125: 0.80, 250: 0.85, 500: 0.885, 1285: 0.91}
    words = answered(runs_of(curve, spread=0.03), target=0.92)
    (odds,) = re.findall(r"92 %: about [\d,]+ images; (\d+) % sure that 10,000 are enough\.", words)
    assert 50 <= int(odds) < 90
    assert "99 %: more than 10,000 images, 90 % sure." in answered(runs_of(curve), target=0.99)


def test_variants_are_ranked_at_a_size_that_all_have():
    better = runs_of({100: 0.85, 200: 0.9, 400: 0.95}, "b")
    longer = runs_of({100: 0.8, 200: 0.85, 400: 0.9, 800: 0.93}, "a")
    words = answered(pl.concat([better, longer]))
    assert words.startswith("b needs 2.1 times fewer images than a")
    assert "b has the best mean of 2 variants" in words
    assert "400 images: 95.0 %" in words.split("\n")[0]
    assert "a alone: 800 images: 93.0 %" in words


def test_equal_variants_are_the_same():
    same = [runs_of({100: 0.85, 200: 0.9, 400: 0.95}, name) for name in "ab"]
    assert answered(pl.concat(same)).startswith("All 2 variants are the same: 400 images: 95.0 %")


def test_a_saving_beyond_the_runs_is_a_bound():
    fast = runs_of({100: 0.85, 200: 0.9, 400: 0.93, 800: 0.95}, "fast")
    slow = runs_of({100: 0.75, 200: 0.8, 400: 0.84, 800: 0.87}, "slow", spread=0.002)
    words = answered(pl.concat([fast, slow]), target=0.92)
    assert "slow more than 800: at least 2.5 times fewer" in words


def test_a_target_of_time_is_refused():
    with pytest.raises(ConfigError, match="wall_s grows with the data"):
        Question(target=60.0).check(metric_named("wall_s"))


def test_nothing_is_planned_beyond_what_is_foreseen():
    runs = runs_of({100: 0.7, 200: 0.76, 400: 0.81, 800: 0.85})
    runs = runs.with_columns(wall_s=1.0, total_updates=100, batch_size=10)
    plan = plan_next_runs(runs, "test_accuracy", Question(at=100_000))
    assert isinstance(plan, FitFailure)
    assert "nothing is foreseen beyond 6,400, 8 times the largest size" in plan.reason

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.fakes import fake_spec, write_run
from tui_datasize.errors import ConfigError
from tui_datasize.experiments.spec import ModelSpec
from tui_datasize.metric import METRICS_OFFERED, metric_named
from tui_datasize.runlog.reader import RunLog
from tui_datasize.runlog.schema import RUNS
from tui_datasize.stats.averaging import FittedLaws
from tui_datasize.stats.clusters import PRIOR_DEGREES
from tui_datasize.stats.curve import CURVE, learning_curve, moderated_stderrs, points
from tui_datasize.stats.summary import analyse_curves


def runs_frame(values, *, train_size=40, state="succeeded", variant="") -> pl.DataFrame:
    rows = [
        {
            "run_id": f"r{train_size}-{seed}-{state}-{variant}",
            "experiment": "e",
            "variant": variant,
            "train_size": train_size,
            "subset_seed": 0,
            "seed": seed,
            "state": state,
            "test_accuracy": value,
        }
        for seed, value in enumerate(values)
    ]
    return pl.DataFrame(rows, schema=dict(RUNS))


def test_every_metric_is_a_column_of_runs_with_a_title():
    for name, metric in METRICS_OFFERED.items():
        assert RUNS[name] == pl.Float64
        assert metric.name == name
        assert metric.title
    assert METRICS_OFFERED["test_accuracy"].higher_is_better
    assert not METRICS_OFFERED["test_loss"].higher_is_better
    assert not METRICS_OFFERED["test_loss"].is_share


def test_an_unknown_metric_is_named_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"test_acuracy.*test_accuracy"):
        metric_named("test_acuracy")


@given(st.lists(st.floats(0, 1), min_size=2, max_size=12))
def test_the_interval_is_students(values):
    row = learning_curve(runs_frame(values), "test_accuracy").row(0, named=True)
    assert row["n_runs"] == len(values)
    assert row["mean"] == pytest.approx(np.mean(values))
    assert row["sd"] == pytest.approx(np.std(values, ddof=1), abs=1e-12)
    assert (row["min"], row["max"]) == (min(values), max(values))
    se = stats.sem(values)
    assert row["se"] == pytest.approx(se, abs=1e-12)
    if min(values) == max(values):
        assert row["low"] is row["high"] is None
        return
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), se) if se else [np.mean(values)] * 2
    assert (row["low"], row["high"]) == pytest.approx((max(low, 0), min(high, 1)), abs=1e-9)


def test_the_interval_of_a_loss_ends_at_zero_alone():
    runs = runs_frame([None, None]).with_columns(test_loss=pl.Series([0.01, 2.5]))
    row = learning_curve(runs, "test_loss").row(0, named=True)
    assert row["low"] == 0
    assert row["high"] > 10


def test_a_share_that_rounding_has_put_beyond_its_end_lies_there():
    rounded = runs_frame([1.0000001, 1.0000001, -1e-8])
    assert points(rounded, "test_accuracy")["value"].to_list() == [1.0, 1.0, 0.0]
    (curve,) = analyse_curves(
        pl.concat([runs_frame([1.0000001], train_size=size) for size in (40, 80, 160)]), "test_accuracy"
    )
    assert isinstance(curve.laws, FittedLaws)
    # What is beyond rounding is no share, and stays as odd as it is; a loss has no upper end.
    assert points(runs_frame([1.01]), "test_accuracy")["value"].to_list() == [1.01]
    loss = runs_frame([None]).with_columns(test_loss=1.0000001)
    assert points(loss, "test_loss")["value"].to_list() == [1.0000001]


def test_one_run_has_a_mean_and_no_spread():
    row = learning_curve(runs_frame([0.7]), "test_accuracy").row(0, named=True)
    assert row["mean"] == row["min"] == row["max"] == 0.7
    assert row["sd"] is row["se"] is row["low"] is row["high"] is None


@pytest.mark.parametrize("state", ["queued", "running", "failed", "cancelled", "interrupted"])
def test_only_runs_that_succeeded_count(state):
    runs = pl.concat([runs_frame([0.5, 0.6]), runs_frame([0.9], state=state)])
    assert learning_curve(runs, "test_accuracy")["n_runs"].to_list() == [2]


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_a_run_without_a_finite_value_does_not_count(value):
    assert points(runs_frame([0.5, value]), "test_accuracy")["value"].to_list() == [0.5]


def test_sizes_and_variants_are_kept_apart_and_in_order():
    parts = [(1000, "b"), (40, "b"), (200, "a")]
    runs = pl.concat([runs_frame([0.5], train_size=size, variant=variant) for size, variant in parts])
    curve = learning_curve(runs, "test_accuracy")
    assert curve.select("variant", "train_size").rows() == [("a", 200), ("b", 40), ("b", 1000)]


def test_no_runs_give_an_empty_curve():
    curve = learning_curve(runs_frame([]), "test_accuracy")
    assert curve.schema == pl.Schema(CURVE)
    assert curve.is_empty()


_LATER = ("balanced_accuracy", "worst_class_accuracy", "auroc")
"""Scores that the directories have not, as those have not that were written before there were any."""


def test_every_metric_of_real_directories(fake_project):
    write_run(fake_project, fake_spec("swept", model=ModelSpec("mlp", {"hidden": 8})))
    runs = RunLog(fake_project).runs()
    unmeasured = {f"{split}_{score}" for split in ("test", "train") for score in _LATER}
    for metric in METRICS_OFFERED:
        curve = learning_curve(runs, metric)
        assert curve.schema == pl.Schema(CURVE)
        is_measured = metric not in unmeasured and not metric.startswith("validation_")
        assert curve["n_runs"].to_list() == ([6] * 6 + [1] if is_measured else []), metric


def test_few_runs_that_agree_by_chance_do_not_make_a_mean_certain():
    runs = pl.concat(
        [
            runs_frame([0.50, 0.51, 0.52], train_size=40),
            runs_frame([0.6, 0.6, 0.6], train_size=80),
            runs_frame([0.7], train_size=160),
        ]
    )
    found = moderated_stderrs(learning_curve(runs, "test_accuracy"))
    pooled = np.mean([np.var([0.50, 0.51, 0.52], ddof=1), 0])
    expected = [(2 * 0.0001 + PRIOR_DEGREES * pooled), PRIOR_DEGREES * pooled]
    assert found[:2] == pytest.approx(np.sqrt(np.array(expected) / (2 + PRIOR_DEGREES) / 3))
    assert found[2] == pytest.approx(np.sqrt(pooled))


def test_without_repeated_runs_no_standard_error_is_known():
    runs = pl.concat([runs_frame([0.5], train_size=40), runs_frame([0.6], train_size=80)])
    assert np.isnan(moderated_stderrs(learning_curve(runs, "test_accuracy"))).all()

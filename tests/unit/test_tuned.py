"""Options chosen on validation: by hand on a small table, and no gain where there is none."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tests.unit.record_desk import record_of, said
from tui_datasize.answers import tuned
from tui_datasize.runlog.schema import RUNS
from tui_datasize.stats.tuned import TUNED, tuned_options, tuned_runs


def table(rows: list[tuple[str, int, int, float, float]]) -> pl.DataFrame:
    """Rows of variant, size, seed, validation and test accuracy as a frame `runs`."""
    found = [
        {
            "run_id": f"r{place}",
            "experiment": "e",
            "state": "succeeded",
            "variant": variant,
            "train_size": size,
            "subset_seed": 0,
            "seed": seed,
            "validation_accuracy": validation,
            "test_accuracy": test,
        }
        for place, (variant, size, seed, validation, test) in enumerate(rows)
    ]
    return pl.DataFrame(found, schema_overrides=dict(RUNS), strict=False).select(
        *(pl.col(name) if name in found[0] else pl.lit(None, kind).alias(name) for name, kind in RUNS.items())
    )


def test_each_run_has_the_options_that_the_others_chose() -> None:
    runs = table(
        [
            ("cnn3 lr=0.1", 40, 0, 0.90, 0.70),
            ("cnn3 lr=0.1", 40, 1, 0.60, 0.71),
            ("cnn3 lr=1", 40, 0, 0.70, 0.80),
            ("cnn3 lr=1", 40, 1, 0.70, 0.81),
            ("cnn3 lr=0.1", 80, 0, 0.90, 0.90),
            ("cnn3 lr=1", 80, 0, 0.80, 0.95),
            ("mlp lr=1", 40, 0, 0.5, 0.5),
        ]
    )
    assert tuned_options(runs) == ("lr",)
    chosen, choices = tuned_runs(runs, "test_accuracy")
    assert set(chosen["variant"]) == {f"cnn3 {TUNED}"}
    # At 40 images seed 0 goes by seed 1, where lr=1 leads, and seed 1 by seed 0, where lr=0.1 does.
    values = chosen.select("train_size", "seed", "test_accuracy").rows()
    assert values == [(40, 0, 0.80), (40, 1, 0.71), (80, 0, 0.90)]
    told = choices.select("train_size", "options", "n_options", "n_runs", "validation", "mean_on_test").rows()
    assert told == [
        (40, "lr=0.1", 2, 2, pytest.approx(0.75), pytest.approx(0.805)),
        (80, "lr=0.1", 2, 1, pytest.approx(0.90), pytest.approx(0.95)),
    ]
    assert choices["mean"].to_list() == pytest.approx([0.755, 0.90])
    assert choices["n_chose"].to_list() == [1, 1]
    words = said(tuned.ask(record_of(runs.filter(pl.col("variant") != "mlp lr=1"))))
    assert "90.00 % at 80 images with lr=0.1, the choice of 2 on validation" in words
    alone = said(tuned.ask(record_of(runs.filter(train_size=40))))
    assert "75.50 % at 40 images, each run with what the others choose (lr=0.1 in 1 of 2 runs), the" in alone


def test_a_loss_is_chosen_by_the_lower_one() -> None:
    runs = table([("lr=1", 40, 0, 0.3, 0.3), ("lr=2", 40, 0, 0.2, 0.4)]).with_columns(
        validation_loss="validation_accuracy", test_loss="test_accuracy"
    )
    chosen, choices = tuned_runs(runs, "test_loss")
    assert (chosen["test_loss"].to_list(), choices["options"].to_list()) == ([0.4], ["lr=2"])
    assert choices["variant"].to_list() == [TUNED]


def test_a_setting_that_lacks_runs_is_compared_on_those_that_all_have() -> None:
    runs = table([("lr=1", 40, 0, 0.5, 0.5), ("lr=1", 40, 1, 0.99, 0.99), ("lr=2", 40, 0, 0.6, 0.6)])
    chosen, _ = tuned_runs(runs, "test_accuracy")
    assert chosen.select("seed", "test_accuracy").rows() == [(0, 0.6)]


@pytest.mark.parametrize("luck_of_runs", [0.0, 0.02])
def test_choosing_among_equals_gains_nothing_on_the_test(luck_of_runs: float) -> None:
    """Eight settings that are equal: the luck of a run shows in its validation and in its test alike."""
    draws = np.random.default_rng(7)
    rounds, settings, seeds = 80, 8, 5
    luck = draws.normal(0, luck_of_runs, (rounds, settings, seeds))
    validation = 0.8 + luck + draws.normal(0, 0.03, luck.shape)
    test = 0.8 + luck + draws.normal(0, 0.01, luck.shape)
    cells = [
        (f"lr={setting + 1}", size + 1, seed, validation[size, setting, seed], test[size, setting, seed])
        for size, setting, seed in np.ndindex(luck.shape)
    ]
    chosen, choices = tuned_runs(table(cells), "test_accuracy")
    assert chosen.height == rounds * seeds
    gains = choices["mean"].to_numpy() - 0.8
    standard_error = gains.std() / np.sqrt(rounds)
    assert abs(gains.mean()) < 3 * standard_error
    assert choices["mean_on_test"].to_numpy().mean() - 0.8 > 5 * standard_error

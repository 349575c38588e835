"""The command that grows the forecast, on a handful of made curves."""

from __future__ import annotations

import json
import math

import numpy as np
import polars as pl
import pytest

from benchmarks import fit_forecast, forecast_looks
from benchmarks.forecast_looks import fitted_looks, looks_for_judging, looks_for_training
from benchmarks.public_curves import read_curves
from tui_datasize.stats.forecast import forecaster_from


@pytest.fixture
def curves_file(tmp_path):
    rng = np.random.default_rng(0)
    sizes = np.array([math.ceil(2 ** (k / 4)) for k in range(16, 49)])
    rows = []
    for data_set in range(3):
        for learner in ("A", "B", "DummyClassifier"):
            errors = 0.05 * (1 + data_set) + rng.uniform(1, 3) * sizes ** -rng.uniform(0.4, 0.7)
            noise = rng.normal(0, 0.003, len(sizes))
            rows += [
                {
                    "openml_id": data_set,
                    "learner": learner,
                    "train_size": size,
                    "test_error": error,
                    "test_stderr": 0.003,
                }
                for size, error in zip(sizes.tolist(), (errors + noise).tolist(), strict=True)
            ]
    short = [row | {"openml_id": 9} for row in rows if row["train_size"] < 1000]
    path = tmp_path / "curves.parquet"
    pl.DataFrame(rows + short).write_parquet(path)
    return path


def test_curves_are_read_at_sizes_a_factor_of_root_two_apart(curves_file):
    curves = read_curves(curves_file)
    assert [(curve.data_set, curve.learner) for curve in curves] == [
        (data_set, learner) for data_set in range(3) for learner in ("A", "B")
    ]
    sizes = curves[0].train_sizes
    assert sizes.tolist() == [math.ceil(2 ** (k / 2) - 1e-9) for k in range(10, 25)]
    assert curves[0].up_to(4).train_sizes.tolist() == sizes[:-4].tolist()
    assert curves[0].up_to(8, 5).train_sizes.tolist() == sizes[4:9].tolist()


@pytest.mark.exhaustive
def test_the_command_writes_what_the_package_and_the_benchmark_read(curves_file, tmp_path, monkeypatch):
    for name in ("TREES", "LEAST_ROWS"):
        monkeypatch.setattr(fit_forecast, name, 4)
    files = {name: tmp_path / f"{name}.json" for name in ("output", "folds", "check")}
    monkeypatch.setattr(forecast_looks, "KEPT_BELOW", tmp_path / "kept")
    asked = [str(curves_file), *(f"--{name}={path}" for name, path in files.items())]
    monkeypatch.setattr(fit_forecast, "spread_over_processes", lambda task, tasks: list(map(task, tasks)))
    fit_forecast.main(asked)
    whole, folds, check = (json.loads(files[name].read_text()) for name in ("output", "folds", "check"))
    grown = forecaster_from(whole)
    assert (grown.provenance["curves"], grown.provenance["data_sets"]) == (6, 3)
    assert [held.factor for held in grown.held] == [2, 4, 8]
    np.testing.assert_allclose(
        grown.quantiles[2][1].predict(np.array(check["features"])), check["0.95"][1], atol=1e-5
    )
    # A data set is scored by trees that have not seen it.
    assert sorted(data_set for fold in folds for data_set in fold["left_out"]) == [0, 1, 2]
    assert len({json.dumps(fold["quantiles"]) for fold in folds if fold["left_out"]}) == 3


def test_what_was_seen_of_a_curve_is_the_same_each_time(curves_file):
    curve = read_curves(curves_file)[0]
    for looks in (looks_for_training, looks_for_judging):
        first, again = (list(looks(curve)) for _ in range(2))
        assert [look.errors.tolist() for look in first] == [look.errors.tolist() for look in again]
        for look in first:
            assert look.train_sizes[-1] == pytest.approx(curve.train_sizes[-1] / look.cut, rel=0.02)
            # Beyond it are the means of the curve itself.
            assert curve.errors[-1] == look.beyond[(2, 4, 8).index(look.cut)]
            assert (look.kind in ("means", "few means")) == set(look.errors).issubset(curve.errors)


def test_the_quantile_counts_the_curve_to_come():
    scores = np.arange(1.0, 20.0)
    found = fit_forecast._quantiles(scores, np.array([0.5, 0.9, 1.0]))
    assert found.tolist() == [10.0, 18.0, 19.0]


def test_fits_are_kept_by_what_was_seen(curves_file, tmp_path, monkeypatch):
    monkeypatch.setattr(forecast_looks, "KEPT_BELOW", tmp_path / "kept")
    curve, other = read_curves(curves_file)[:2]
    first = fitted_looks(looks_for_judging(curve))
    monkeypatch.setattr(forecast_looks, "fit_averaged", None)
    again = fitted_looks(looks_for_judging(curve))
    assert len(again) == 9
    for one, kept in zip(first, again, strict=True):
        assert one.look.kind == kept.look.kind
        np.testing.assert_array_equal(one.windows[1].laws, kept.windows[1].laws)
    with pytest.raises(TypeError):
        fitted_looks(looks_for_judging(other))

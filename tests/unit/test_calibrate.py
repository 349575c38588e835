"""The calibration command, on a handful of made curves."""

from __future__ import annotations

import json
import math

import numpy as np
import polars as pl
import pytest

from benchmarks import calibrate
from benchmarks.public_curves import read_curves
from tui_datasize.stats.calibration import LEVEL, calibration_from


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


def test_the_command_writes_a_table_that_the_package_reads(curves_file, tmp_path, capsys):
    out = tmp_path / "calibration.json"
    calibrate.main([str(curves_file), "-o", str(out)])
    table = calibration_from(json.loads(out.read_text()))
    assert json.loads(capsys.readouterr().out) == json.loads(out.read_text())
    assert table.level == LEVEL
    assert (table.provenance["curves"], table.provenance["data_sets"]) == (6, 3)
    assert [cell.factor for cell in table.of_length(8)] == [2, 4, 8]
    assert all(cell.curves <= 6 and cell.quantile > 0 for cell in table.cells)


def test_coverage_is_measured_with_the_quantile_of_the_other_data_sets():
    rng = np.random.default_rng(1)
    data_sets = np.repeat(np.arange(40), 25)
    scores = rng.normal(0, 1, 1000)
    coverage, above, below = calibrate.coverage_left_out(scores, data_sets)
    assert coverage == pytest.approx(0.9, abs=0.02)
    assert coverage + above + below == pytest.approx(1)
    # One data set that lies far off is not covered by a band that has not seen it.
    scores[data_sets == 7] = 50
    assert calibrate.coverage_left_out(scores, data_sets)[1] >= 25 / 1000


def test_the_quantile_counts_the_curve_to_come():
    assert calibrate.quantile_of(np.arange(1.0, 20.0)) == 18
    assert calibrate.quantile_of(-np.arange(1.0, 10.0)) == 9

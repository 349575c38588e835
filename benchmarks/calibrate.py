"""Make the calibration table of the bands, `tui_datasize/stats/calibration.json`, from public curves.

`python -m benchmarks.calibrate LEARNING_CURVES.parquet [-o FILE]`. Each curve is cut at a half, a quarter and
an eighth of its largest train size, in several lengths; the default answer is fitted to what is left and
compared with what was seen at the largest size. The coverage written down is that on data sets left out.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.public_curves import PublicCurve, read_curves, spread_over_processes
from tui_datasize.stats import calibration
from tui_datasize.stats.averaging import LEAST_ERROR, Average, FittedLaws, fit_laws
from tui_datasize.stats.calibration import FACTORS, LEVEL, Calibration, Cell, band_scale
from tui_datasize.stats.laws import Floats
from tui_datasize.stats.shape import describe_shape

LEAST_ILL_SHAPED = 50
"""Of fewer curves no coverage is written down: it would be known to ten points at best."""
LENGTHS = (3, 4, 5, 7, 10)
"""Numbers of train sizes that the table has a row for; the last means all that there are."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One extrapolation of a public curve, compared with what was seen."""

    data_set: int
    learner: str
    length: int
    factor: int
    predicted: float
    observed: float
    score: float
    """log(observed/predicted) in units of the band's scale; positive where the error came out larger."""
    is_ill_shaped: bool
    """Whether the sizes fitted rise, bend the wrong way or break."""


def try_curve(curve: PublicCurve, lengths: Sequence[int] = LENGTHS) -> list[Trial]:
    """Extrapolate one curve from several lengths by several factors."""
    trials = []
    for length in lengths:
        for factor in FACTORS:
            seen = curve.up_to(factor, None if length == LENGTHS[-1] else length)
            if len(seen.train_sizes) >= length:
                trials += _try(curve, seen, length, factor)
    return trials


def cells_of(trials: pl.DataFrame) -> tuple[Cell, ...]:
    """One cell per length and factor, with the coverage on data sets left out.

    Args:
        trials: The fields of `Trial`.
    """
    groups = trials.group_by("length", "factor", maintain_order=True)
    return tuple(_cell(int(str(length)), int(str(factor)), group) for (length, factor), group in groups)


def quantile_of(scores: Floats) -> float:
    """The conformal quantile of |scores|: as many as the level asks for, out of one more than there are."""
    rank = math.ceil((len(scores) + 1) * LEVEL)
    return float(np.sort(np.abs(scores))[min(rank, len(scores)) - 1])


def coverage_left_out(scores: Floats, data_sets: Floats) -> tuple[float, float, float]:
    """Shares of scores inside, above and below the band that all other data sets are calibrated to.

    Args:
        scores: Shape (n,), of several data sets.
        data_sets: To which each belongs, shape (n,).
    """
    half = quantiles_left_out(scores, data_sets)
    above, below = float(np.mean(scores > half)), float(np.mean(scores < -half))
    return 1 - above - below, above, below


def quantiles_left_out(scores: Floats, data_sets: Floats) -> Floats:
    """For each score the quantile of those of all other data sets, shape (n,)."""
    half = np.empty(len(scores))
    for data_set in np.unique(data_sets):
        half[data_sets == data_set] = quantile_of(scores[data_sets != data_set])
    return half


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the table and print it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibrate", description=__doc__)
    parser.add_argument("curves", type=Path, help="Parquet file of public learning curves")
    default = Path(calibration.__file__).with_name(calibration.CALIBRATION_FILE)
    parser.add_argument("-o", "--output", type=Path, default=default, help="default: the file in the package")
    chosen = parser.parse_args(arguments)
    curves = read_curves(chosen.curves)
    tried = spread_over_processes(partial(try_curve), curves)
    trials = pl.DataFrame([asdict(trial) for of_curve in tried for trial in of_curve])
    table = Calibration(LEVEL, _provenance(curves, trials), cells_of(trials))
    document = {
        "level": table.level,
        "provenance": dict(table.provenance),
        "cells": [asdict(cell) for cell in table.cells],
    }
    chosen.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(document, indent=1))


def _try(curve: PublicCurve, seen: PublicCurve, length: int, factor: int) -> list[Trial]:
    laws = fit_laws(seen.train_sizes, seen.errors, seen.stderrs)
    if not isinstance(laws, FittedLaws) or not isinstance(laws.average, Average):
        return []
    average, is_ill_shaped = laws.average, bool(describe_shape(laws).faults)
    at, from_size = curve.train_sizes[-1:], float(seen.train_sizes[-1])
    predicted, observed = float(average.errors_at(at)[0]), float(curve.errors[-1])
    off = math.log(max(observed, LEAST_ERROR) / max(predicted, LEAST_ERROR))
    score = off / float(band_scale(average, from_size, at)[0])
    return [Trial(curve.data_set, curve.learner, length, factor, predicted, observed, score, is_ill_shaped)]


def _cell(length: int, factor: int, trials: pl.DataFrame) -> Cell:
    scores, sets = trials["score"].to_numpy(), trials["data_set"].to_numpy()
    coverage, above, below = coverage_left_out(scores, sets)
    held = np.abs(scores) <= quantiles_left_out(scores, sets)
    ill_shaped = held[trials["is_ill_shaped"].to_numpy()]
    is_known = len(ill_shaped) >= LEAST_ILL_SHAPED
    return Cell(
        least_sizes=length,
        factor=factor,
        quantile=round(quantile_of(scores), 4),
        coverage=round(coverage, 4),
        above=round(above, 4),
        below=round(below, 4),
        curves=len(scores),
        data_sets=len(np.unique(sets)),
        ill_shaped=len(ill_shaped),
        coverage_ill_shaped=round(float(ill_shaped.mean()), 4) if is_known else None,
    )


def _provenance(curves: Sequence[PublicCurve], trials: pl.DataFrame) -> dict[str, Any]:
    return {
        "data": "LCDB 1.1 (Learning Curve Database; Mohr, Viering et al.), a half of its data sets",
        "licence": "CC BY 4.0",
        "date": datetime.now(UTC).date().isoformat(),
        "metric": "test error rate, mean over 25 splits",
        "protocol": (
            "train sizes a factor of sqrt(2) apart from 32 on; fitted up to 1/factor of the largest (2,000 "
            "or more), the largest least_sizes sizes of that (all where that is the most); default answer "
            "compared with the mean seen at the largest; every curve weighs the same; coverage, above and "
            "below are those of each data set under the quantile of all others; ill_shaped are the curves "
            "that rise, bend the wrong way or break among the sizes fitted"
        ),
        "curves": len(curves),
        "data_sets": len({curve.data_set for curve in curves}),
        "extrapolations": trials.height,
    }


if __name__ == "__main__":
    main()

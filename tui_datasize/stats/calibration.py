"""Calibrated bands around an extrapolated error.

The laws' own intervals are far too narrow, as the law is mostly wrong. The bands here are conformal (Lei et
al., *Distribution-Free Predictive Inference for Regression*, 2018, section 5.2, locally weighted): how far
public learning curves lay off the same extrapolation, |log(predicted/observed)|, in units of a scale that
grows with the disagreement of the laws and with the change they foresee.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import numpy as np

from tui_datasize.stats.averaging import LEAST_ERROR, Average
from tui_datasize.stats.laws import Floats, Loss

CALIBRATION_FILE = "calibration.json"
LEVEL = 0.9
"""Nominal coverage of the bands."""
FACTORS = (2, 4, 8)
"""Times the largest train size that the bands are calibrated at."""
BASE_SCALE = 0.03
"""Of the logarithm of an error: what even agreeing laws are off."""
CHANGE_SCALE = 0.3
"""Per unit of change foreseen in the logarithm of the error."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What the calibration found for curves of some length at some factor."""

    least_sizes: int
    """It is for curves of this many train sizes and more."""
    factor: float
    """Predicted over largest fitted train size."""
    quantile: float
    """Half width of the band of level `LEVEL`, in scales."""
    coverage: float
    """Measured on data sets left out."""
    above: float
    """Share of curves of left-out data sets above the band (a larger error)."""
    below: float
    curves: int
    data_sets: int
    ill_shaped: int = 0
    """Curves that rise, bend the wrong way or break among the sizes fitted, see `shape`."""
    coverage_ill_shaped: float | None = None
    """Measured on these alone, where they are left out; None where they are too few to tell."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """The shipped table."""

    level: float
    provenance: Mapping[str, Any]
    """Data set, licence, date, protocol, numbers of curves and data sets."""
    cells: tuple[Cell, ...]

    @property
    def source(self) -> str:
        """The public data, its licence and the day the table was made."""
        return f"{self.provenance['data']}, {self.provenance['licence']}, {self.provenance['date']}"

    def of_length(self, n_sizes: int) -> tuple[Cell, ...]:
        """The cells for curves of `n_sizes` train sizes, ascending in factor; none for fewer than any has."""
        fitting = [cell.least_sizes for cell in self.cells if cell.least_sizes <= n_sizes]
        chosen = [cell for cell in self.cells if fitting and cell.least_sizes == max(fitting)]
        return tuple(sorted(chosen, key=lambda cell: cell.factor))


def band_scale(average: Average, from_size: float, train_sizes: Floats) -> Floats:
    """The unit of the band, in the logarithm of the error, shape (n,).

    Args:
        average: The default answer.
        from_size: The largest train size fitted.
        train_sizes: Where, shape (n,).
    """
    here, there = average.errors_at([from_size])[0], average.errors_at(train_sizes)
    change = np.abs(np.log(np.maximum(there, LEAST_ERROR) / max(here, LEAST_ERROR)))
    scale: Floats = BASE_SCALE + average.spread_at(train_sizes) + CHANGE_SCALE * change
    return scale


def error_band(
    average: Average, from_size: float, train_sizes: Floats, cells: Sequence[Cell], scatter: float = 0.0
) -> tuple[Floats, Floats]:
    """Lower and upper end of the error's band, shape (n,) each.

    Args:
        average: The default answer.
        from_size: The largest train size fitted.
        train_sizes: From `from_size` to the largest calibrated factor times it; beyond, the ends are NaN.
        cells: One length's row of the calibration.
        scatter: Of single runs around the average, in the logarithm of the error; added to the scale.
    """
    factors = np.array([cell.factor for cell in cells])
    doublings = np.log2(train_sizes / from_size)
    quantiles = np.interp(doublings, np.log2(factors), [cell.quantile for cell in cells])
    half = np.where(doublings <= np.log2(factors[-1]) + 1e-9, quantiles, np.nan)
    half = half * (band_scale(average, from_size, train_sizes) + scatter)
    centre = np.maximum(average.errors_at(train_sizes), LEAST_ERROR)
    low, high = centre * np.exp(-half), centre * np.exp(half)
    most = 1.0 if average.loss is Loss.ERROR else math.inf
    # Errors below the least that logarithms are taken of count as that.
    return np.where(low <= LEAST_ERROR, 0.0, low), np.minimum(high, most)


@cache
def shipped_calibration() -> Calibration:
    """The table in the package, made by `python -m benchmarks.calibrate`."""
    text = files("tui_datasize.stats").joinpath(CALIBRATION_FILE).read_text(encoding="utf-8")
    return calibration_from(json.loads(text))


def calibration_from(document: Mapping[str, Any]) -> Calibration:
    """The table from its JSON document."""
    cells = tuple(Cell(**cell) for cell in document["cells"])
    return Calibration(document["level"], MappingProxyType(dict(document["provenance"])), cells)

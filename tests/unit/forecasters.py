"""Forecasters that are easy to work out by hand."""

from __future__ import annotations

from tui_datasize.stats.forecast import Forecaster, forecaster_from

_LEAF = {"feature": [0], "threshold": [0.0], "left": [0], "right": [0], "value": [0.0]}


def plain_forecaster(width: float = 0.1, held: float = 0.92) -> Forecaster:
    """The average of the laws from the last sizes, with a band of a factor of exp(width)."""
    quantiles = {
        name: [{"baseline": baseline, "trees": [_LEAF]}]
        for name, baseline in (("0.05", -width), ("0.5", 0.0), ("0.95", width))
    }
    ends = {"0.8": [0.8, 0.8, 0.8], "0.9": [1.0, 1.0, 1.0]}
    return forecaster_from(
        {
            "provenance": {"data": "D", "licence": "L", "date": "2026-01-01", "curves": 10, "data_sets": 3},
            "quantiles": quantiles,
            "stretch": {level: {"lower": [by] * 5, "upper": [by] * 5} for level, by in ends.items()},
            "unlearned": {level: {"lower": [[-9.0] * 3] * 2, "upper": [[9.0] * 3] * 2} for level in ends},
            "loss_stretch": {level: {"lower": 1.5, "upper": 1.5} for level in ends},
            "held": [
                {
                    "factor": factor,
                    "coverage": 0.9,
                    "coverage_ill_shaped": 0.71,
                    "coverage_few_runs": held,
                    "coverage_loss": 0.88,
                }
                for factor in (2, 4, 8)
            ],
        }
    )

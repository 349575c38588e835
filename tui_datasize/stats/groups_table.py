"""Comparisons of groups as one flat table, for export."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import polars as pl

from tui_datasize.runlog.schema import Schema, schema
from tui_datasize.stats.fits import FitFailure
from tui_datasize.stats.group_tests import GroupTest
from tui_datasize.stats.groups import SizeComparison, VariantComparison
from tui_datasize.stats.pairwise import Difference
from tui_datasize.stats.spread import SpreadLaw

GROUPS: Schema = schema(
    (pl.String, "experiment", "variant", "metric"),
    (pl.Int64, "train_size"),
    (pl.String, "asks", "test", "first", "second"),
    (pl.Float64, "statistic", "df1", "df2", "p", "p_adjusted"),
    (pl.String, "effect"),
    (pl.Float64, "effect_size", "estimate", "low", "high", "detectable"),
    (pl.String, "unit"),
    (pl.Int64, "n_units"),
    (pl.String, "failure"),
)
"""One test, or one difference, a row. `asks` is trend, spread or seed for tests over all sizes of a curve;
"sizes" for a pair of sizes, "variants" for variants at `train_size` (null: over all shared sizes).
`estimate`, `low` and `high` are a difference `second` - `first` in units of the metric (of a trend that of a
doubling of the size, of the spread the exponent of the standard deviation), `effect_size` what `effect`
names; `p_adjusted` is after Holm's correction, null with two draws. The test sees a difference of
`detectable` in 4 of 5 cases, before that correction. Counted are `n_units` runs, seeds or draws, see
`unit`."""


def groups_table(sizes: Iterable[SizeComparison], variants: Iterable[VariantComparison]) -> pl.DataFrame:
    """Every comparison of sizes and of variants, schema `GROUPS`."""
    of_variants = [
        {"experiment": one.experiment, "metric": one.metric.name, "train_size": one.train_size}
        | {"asks": "variants", **_pair_values(pair)}
        for one in variants
        for pair in one.pairs
    ]
    return pl.concat([sizes_table(sizes), pl.DataFrame(of_variants, schema=dict(GROUPS))])


def sizes_table(comparisons: Iterable[SizeComparison]) -> pl.DataFrame:
    """Comparisons of sizes as a frame, schema `GROUPS`."""
    rows: list[dict[str, Any]] = []
    for one in comparisons:
        key = {"experiment": one.experiment, "variant": one.variant, "metric": one.metric.name}
        rows += [
            {**key, "asks": "trend", "test": "linear contrast", **_test_values(one.trend)},
            {**key, "asks": "spread", "test": "exponent of SD", **_test_values(one.spread)},
            {**key, "asks": "seed", "test": "two-way F", **_test_values(one.seed)},
            *({**key, "asks": "sizes", **_pair_values(pair)} for pair in one.pairs),
        ]
    return pl.DataFrame(rows, schema=dict(GROUPS))


def _test_values(found: Difference | SpreadLaw | GroupTest | FitFailure) -> dict[str, Any]:
    match found:
        case FitFailure():
            return {"failure": found.reason}
        case SpreadLaw():
            return {"estimate": found.exponent, "low": found.low, "high": found.high}
        case GroupTest():
            values = {"statistic": found.statistic, "df1": found.df1, "df2": found.df2, "p": found.p}
            return {**values, "effect": found.effect, "effect_size": found.effect_size}
    return _difference_values(found) | {"p_adjusted": None}


def _pair_values(pair: Difference) -> dict[str, Any]:
    return {
        "test": "paired t" if pair.is_paired else "Welch t",
        "first": pair.first,
        "second": pair.second,
        **_difference_values(pair),
        "effect": "Hedges' g",
        "effect_size": _known(pair.hedges_g),
    }


def _difference_values(found: Difference) -> dict[str, Any]:
    return {
        "statistic": _known(found.t),
        "df1": _known(found.df),
        "p": _known(found.p),
        "p_adjusted": _known(found.p_adjusted),
        "estimate": found.value,
        "low": found.low,
        "high": found.high,
        "detectable": _known(found.detectable),
        "unit": found.unit,
        "n_units": found.n_units or None,
    }


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value

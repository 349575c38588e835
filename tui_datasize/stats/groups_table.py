"""Comparisons of groups as one flat table, for export."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from tui_datasize.runlog.schema import Schema, schema
from tui_datasize.stats.fits import FitFailure
from tui_datasize.stats.group_tests import GroupTest
from tui_datasize.stats.groups import SizeComparison, VariantComparison, compare_sizes, compare_variants
from tui_datasize.stats.pairwise import Difference

GROUPS: Schema = schema(
    (pl.String, "experiment", "variant", "metric"),
    (pl.Int64, "train_size"),
    (pl.String, "asks", "test", "first", "second"),
    (pl.Float64, "statistic", "df1", "df2", "p", "p_adjusted"),
    (pl.String, "effect"),
    (pl.Float64, "effect_size", "estimate", "low", "high"),
    (pl.String, "failure"),
)
"""One test, or one difference, a row. `asks` is level, trend, spread or block for tests over all sizes of a
curve; "sizes" for a pair of sizes, "variants" for variants at `train_size` (null: over all shared sizes).
`estimate`, `low` and `high` are a difference `second` - `first` in units of the metric (or the exponent of
the standard deviation), `effect_size` what `effect` names; `p_adjusted` is after Holm's correction."""


def groups_table(runs: pl.DataFrame, metric: str) -> pl.DataFrame:
    """Every comparison of sizes and of variants among some runs, schema `GROUPS`."""
    return pl.concat(
        [sizes_table(compare_sizes(runs, metric)), variants_table(compare_variants(runs, metric))]
    )


def sizes_table(comparisons: Iterable[SizeComparison]) -> pl.DataFrame:
    """Comparisons of sizes as a frame, schema `GROUPS`."""
    return pl.DataFrame(list(_size_rows(comparisons)), schema=dict(GROUPS))


def variants_table(comparisons: Iterable[VariantComparison]) -> pl.DataFrame:
    """Comparisons of variants as a frame, schema `GROUPS`."""
    return pl.DataFrame(list(_variant_rows(comparisons)), schema=dict(GROUPS))


def _size_rows(comparisons: Iterable[SizeComparison]) -> Iterable[dict[str, Any]]:
    for comparison in comparisons:
        key = {
            "experiment": comparison.experiment,
            "variant": comparison.variant,
            "metric": comparison.metric.name,
        }
        for test in comparison.tests:
            yield from _test_rows({**key, "asks": test.asks, "test": test.name}, test.outcome)
        yield {**key, "asks": "spread", "test": "exponent of SD", **_spread_values(comparison)}
        for pair in comparison.pairs:
            yield {**key, "asks": "sizes", **_pair_values(pair)}


def _variant_rows(comparisons: Iterable[VariantComparison]) -> Iterable[dict[str, Any]]:
    for comparison in comparisons:
        key = {
            "experiment": comparison.experiment,
            "metric": comparison.metric.name,
            "train_size": comparison.train_size,
            "asks": "variants",
        }
        if comparison.train_size is not None:
            yield from _test_rows({**key, "test": "Welch"}, comparison.welch)
        for pair in comparison.pairs:
            yield {**key, **_pair_values(pair)}


def _test_rows(key: Mapping[str, Any], test: GroupTest | FitFailure) -> Iterable[dict[str, Any]]:
    if isinstance(test, FitFailure):
        yield {**key, "failure": test.reason}
        return
    values = {"statistic": test.statistic, "df1": test.df1, "df2": test.df2, "p": test.p}
    for name, size in test.effects:
        yield {**key, **values, "effect": name, "effect_size": size}


def _pair_values(pair: Difference) -> dict[str, Any]:
    return {
        "test": "Welch t",
        "first": pair.first,
        "second": pair.second,
        "statistic": pair.t,
        "df1": pair.df,
        "p": pair.p,
        "p_adjusted": pair.p_adjusted,
        "effect": "Hedges' g",
        "effect_size": None if math.isnan(pair.hedges_g) else pair.hedges_g,
        "estimate": pair.value,
        "low": pair.low,
        "high": pair.high,
    }


def _spread_values(comparison: SizeComparison) -> dict[str, Any]:
    spread = comparison.spread
    if isinstance(spread, FitFailure):
        return {"failure": spread.reason}
    return {"estimate": spread.exponent, "low": spread.low, "high": spread.high}

"""Numbers of box plots over the runs of each size."""

from __future__ import annotations

import polars as pl

from tui_datasize.runlog.schema import Schema, schema
from tui_datasize.stats.curve import points

WHISKER = 1.5
"""Interquartile ranges that a whisker reaches at most (Tukey 1977)."""

BOXES: Schema = schema(
    (pl.String, "experiment", "variant", "metric"),
    (pl.Int64, "train_size", "n_runs"),
    (pl.Float64, "whisker_low", "q1", "median", "q3", "whisker_high", "mean"),
    (pl.List(pl.Float64), "outliers", "values"),
)
"""A box per size; quartiles by linear interpolation, whiskers at the farthest run within 1.5 interquartile
ranges of the box, `outliers` beyond; `values` are all runs, ascending."""


def box_table(runs: pl.DataFrame, metric: str) -> pl.DataFrame:
    """Box-plot numbers of a metric, schema `BOXES`, in order of curve and size.

    Args:
        runs: Schema `RUNS`; `best_test_accuracy` gives boxes of the best value, `test_accuracy` of the last.
        metric: A key of `METRICS_OFFERED`, or a column added to `runs` such as those of `best_values`.
    """
    value = pl.col("value")
    low, high = (value.quantile(q, "linear") for q in (0.25, 0.75))
    fences = (low - WHISKER * (high - low), high + WHISKER * (high - low))
    is_inside = value.is_between(*fences)
    frame = points(runs, metric).group_by("experiment", "variant", "train_size", maintain_order=True).agg(
        pl.len().cast(pl.Int64).alias("n_runs"),
        value.filter(is_inside).min().alias("whisker_low"),
        low.alias("q1"),
        value.median().alias("median"),
        high.alias("q3"),
        value.filter(is_inside).max().alias("whisker_high"),
        value.mean().alias("mean"),
        value.filter(~is_inside).sort().alias("outliers"),
        value.sort().alias("values"),
    )  # fmt: skip
    return frame.with_columns(metric=pl.lit(metric)).select(*BOXES)


def best_values(metrics: pl.DataFrame, score: str, *, higher_is_better: bool = True) -> pl.DataFrame:
    """Each run's best value of a score over its evaluations, on both splits.

    Returns:
        `run_id`, `best_train_SCORE`, `best_test_SCORE`, to be joined to `runs`; the best on the training
        and on the test split may lie at different updates.
    """
    finite = metrics.filter((pl.col("event") == "evaluation") & pl.col(score).is_finite())
    value = pl.col(score).max() if higher_is_better else pl.col(score).min()
    sides = [
        finite.filter(pl.col("split") == split).group_by("run_id").agg(value.alias(f"best_{split}_{score}"))
        for split in ("train", "test")
    ]
    return sides[0].join(sides[1], on="run_id", how="full", coalesce=True).sort("run_id")

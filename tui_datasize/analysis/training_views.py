"""Frames of what happens inside runs, for charts: surface, training curves, gap, best and last, margins."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

CURVE_KEY = ("experiment", "variant", "train_size")


def surface(runs: pl.DataFrame, metrics: pl.DataFrame, score: str, split: str) -> pl.DataFrame:
    """A score over train size and progress, mean over the runs of each size: the surface of the main study.

    Runs of different sizes are evaluated at the same shares of their updates, not at the same epochs: the
    number of the evaluation is the common axis, and progress, epoch and update stand beside it.

    Args:
        runs: Schema `RUNS`.
        metrics: Schema `RUN_METRICS`.
        score: One of `SCORES`.
        split: "train" or "test".

    Returns:
        `experiment`, `variant`, `train_size`, `evaluation`, `progress` in (0, 1], `epoch`, `update`, `mean`,
        `sd`, `n_runs`.
    """
    rows = _evaluations(runs, metrics, split, [score])
    return (
        rows.group_by(*CURVE_KEY, "evaluation")
        .agg(
            (pl.col("update") / pl.col("total_updates")).mean().alias("progress"),
            pl.col("epoch", "update").mean(),
            pl.col(score).mean().alias("mean"),
            pl.col(score).std().alias("sd"),
            pl.len().cast(pl.Int64).alias("n_runs"),
        )
        .sort(*CURVE_KEY, "evaluation")
    )


def training_curves(
    runs: pl.DataFrame, metrics: pl.DataFrame, score: str, split: str, axis: str = "update"
) -> pl.DataFrame:
    """A score against an axis for each size: mean and band over runs at each evaluation.

    Args:
        runs: Schema `RUNS`.
        metrics: Schema `RUN_METRICS`.
        score: One of `SCORES`.
        split: "train" or "test".
        axis: "update", "epoch", "samples_seen" or "wall_s"; of the last the mean over runs is taken.

    Returns:
        `experiment`, `variant`, `train_size`, `evaluation` (1, 2, ... within a run), `x`, `mean`, `low`,
        `high` (smallest and largest run), `sd`, `n_runs`.
    """
    rows = _evaluations(runs, metrics, split, [score])
    value = pl.col(score)
    return (
        rows.group_by(*CURVE_KEY, "evaluation")
        .agg(
            pl.col(axis).mean().alias("x"),
            value.mean().alias("mean"),
            value.min().alias("low"),
            value.max().alias("high"),
            value.std().alias("sd"),
            pl.len().cast(pl.Int64).alias("n_runs"),
        )
        .sort(*CURVE_KEY, "evaluation")
    )


def train_test_gap(runs: pl.DataFrame, metrics: pl.DataFrame, score: str = "accuracy") -> pl.DataFrame:
    """Train and test score and their gap (train minus test) at each evaluation, mean over the runs of a size.

    Returns:
        `experiment`, `variant`, `train_size`, `evaluation`, `update`, `train`, `test`, `gap`, `gap_sd`,
        `n_runs`.
    """
    sides = [
        _evaluations(runs, metrics, split, [score]).rename({score: split}) for split in ("train", "test")
    ]
    both = sides[0].join(sides[1].select("run_id", "update", "test"), on=["run_id", "update"])
    gap = pl.col("train") - pl.col("test")
    return (
        both.with_columns(gap=gap)
        .group_by(*CURVE_KEY, "evaluation")
        .agg(
            pl.col("update", "train", "test", "gap").mean(),
            pl.col("gap").std().alias("gap_sd"),
            pl.len().cast(pl.Int64).alias("n_runs"),
        )
        .sort(*CURVE_KEY, "evaluation")
    )


def best_against_last(runs: pl.DataFrame) -> pl.DataFrame:
    """Best and last test accuracy of each size, mean over runs, and when the best came.

    The best of several evaluations of one test set is chosen on it, and is too high for that reason.

    Returns:
        `experiment`, `variant`, `train_size`, `best`, `last`, `gain` (best minus last), `gain_sd`, `best_at`
        (share of the updates), `n_runs`.
    """
    ended = runs.filter(
        (pl.col("state") == "succeeded")
        & pl.col("test_accuracy").is_finite()
        & pl.col("best_test_accuracy").is_finite()
    )
    gain = pl.col("best_test_accuracy") - pl.col("test_accuracy")
    return (
        ended.group_by(*CURVE_KEY)
        .agg(
            pl.col("best_test_accuracy").mean().alias("best"),
            pl.col("test_accuracy").mean().alias("last"),
            gain.mean().alias("gain"),
            gain.std().alias("gain_sd"),
            (pl.col("best_update") / pl.col("total_updates")).mean().alias("best_at"),
            pl.len().cast(pl.Int64).alias("n_runs"),
        )
        .sort(*CURVE_KEY)
    )


def margins(runs: pl.DataFrame, metrics: pl.DataFrame, split: str = "test") -> pl.DataFrame:
    """Normalised margins (C1 - C2)/C1 over correct and over wrong predictions against update, mean over runs.

    Returns:
        `experiment`, `variant`, `train_size`, `evaluation`, `update`, `margin_correct`, `margin_wrong`,
        `n_runs`; a margin is null where no run has one.
    """
    rows = _evaluations(runs, metrics, split, [])
    scores = ["margin_correct", "margin_wrong"]
    finite = [pl.when(pl.col(name).is_finite()).then(name).alias(name) for name in scores]
    return (
        rows.with_columns(*finite)
        .group_by(*CURVE_KEY, "evaluation")
        .agg(pl.col("update").mean(), pl.col(scores).mean(), pl.len().cast(pl.Int64).alias("n_runs"))
        .filter(pl.any_horizontal(pl.col(scores).is_not_null()))
        .sort(*CURVE_KEY, "evaluation")
    )


def _evaluations(
    runs: pl.DataFrame, metrics: pl.DataFrame, split: str, scores: Sequence[str]
) -> pl.DataFrame:
    """Numbered evaluations of one split with finite scores, and whose they are; of succeeded runs alone."""
    ended = runs.filter(pl.col("state") == "succeeded")
    rows = metrics.filter((pl.col("event") == "evaluation") & (pl.col("split") == split))
    # Numbered before the scores are looked at: one that is not finite leaves a gap and shifts nothing.
    number = pl.col("update").rank("dense").over("run_id").cast(pl.Int64).alias("evaluation")
    named = rows.drop("experiment").join(ended.select("run_id", *CURVE_KEY, "total_updates"), on="run_id")
    return named.with_columns(number).filter(*(pl.col(score).is_finite() for score in scores))

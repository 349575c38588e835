"""Frames of what happens inside runs, for charts: surface, training curves, gap, best and last, margins."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

CURVE_KEY = ("experiment", "variant", "train_size")


def surface(runs: pl.DataFrame, metrics: pl.DataFrame, score: str, split: str) -> pl.DataFrame:
    """A score over train size and progress, mean over the runs of each size: the surface of the main study.

    Runs of different sizes are evaluated at the same shares of their updates, not at the same epochs: the
    number of the evaluation is the common axis, and progress, epoch and update stand beside it. Columns
    `experiment`, `variant`, `train_size`, `evaluation`, `progress` in (0, 1], `epoch`, `update`, `mean`,
    `sd`, `n_runs`.
    """
    rows = _evaluations(runs, metrics, split, [score])
    return _over_runs(
        rows,
        (pl.col("update") / pl.col("total_updates")).mean().alias("progress"),
        pl.col("epoch", "update").mean(),
        pl.col(score).mean().alias("mean"),
        pl.col(score).std().alias("sd"),
    )


def training_curves(
    runs: pl.DataFrame, metrics: pl.DataFrame, score: str, split: str, axis: str = "update"
) -> pl.DataFrame:
    """A score against an axis for each size: mean and band over runs at each evaluation.

    `axis` is "update", "epoch", "samples_seen" or "wall_s"; of the last the mean over runs is taken. Columns
    `experiment`, `variant`, `train_size`, `evaluation` (1, 2, ... within a run), `x`, `mean`, `low`, `high`
    (smallest and largest run), `sd`, `n_runs`.
    """
    value, x = pl.col(score), pl.col(axis).mean().alias("x")
    ends = value.min().alias("low"), value.max().alias("high")
    rows = _evaluations(runs, metrics, split, [score])
    return _over_runs(rows, x, value.mean().alias("mean"), *ends, value.std().alias("sd"))


def train_test_gap(runs: pl.DataFrame, metrics: pl.DataFrame, score: str = "accuracy") -> pl.DataFrame:
    """Train and test score and their gap (train minus test) at each evaluation, mean over the runs of a size.

    Columns `experiment`, `variant`, `train_size`, `evaluation`, `update`, `train`, `test`, `gap`, `gap_sd`,
    `n_runs`.
    """
    sides = [
        _evaluations(runs, metrics, split, [score]).rename({score: split}) for split in ("train", "test")
    ]
    both = sides[0].join(sides[1].select("run_id", "update", "test"), on=["run_id", "update"])
    gap = pl.col("train") - pl.col("test")
    means = pl.col("update", "train", "test", "gap").mean()
    return _over_runs(both.with_columns(gap=gap), means, pl.col("gap").std().alias("gap_sd"))


def curves_of_runs(runs: pl.DataFrame, metrics: pl.DataFrame, score: str, split: str) -> pl.DataFrame:
    """A score against the update for each run by itself: what the mean and the band are made of.

    Columns `experiment`, `variant`, `train_size`, `subset_seed`, `seed`, `repeat`, `run_id`, `evaluation`,
    `x`, `value`.
    """
    rows = _evaluations(runs, metrics, split, [score])
    named = rows.join(runs.select("run_id", "subset_seed", "seed", "repeat"), on="run_id")
    whose = (*CURVE_KEY, "subset_seed", "seed", "repeat", "run_id", "evaluation")
    x, value = pl.col("update").cast(pl.Float64).alias("x"), pl.col(score).alias("value")
    return named.select(*whose, x, value).sort(*whose)


def best_against_last(
    runs: pl.DataFrame, metrics: pl.DataFrame, score: str = "accuracy", *, higher_is_better: bool = True
) -> pl.DataFrame:
    """Best and last test score of each size, mean over runs, and when the best came.

    The best of several evaluations of one test set is chosen on it, and looks too good for that reason. Where
    several are equal, the first counts. Columns `experiment`, `variant`, `train_size`, `best`, `last`, `gain`
    (how much better the best is, at least 0), `gain_sd`, `best_at` (share of the updates), `n_evaluations`
    (mean over runs), `n_runs`.
    """
    rows = _evaluations(runs, metrics, "test", [score]).sort("run_id", "evaluation")
    value = pl.col(score)
    of_best = value.alias("best"), (pl.col("update") / pl.col("total_updates")).alias("best_at")
    per_run = rows.group_by(*CURVE_KEY, "run_id").agg(
        *(one.sort_by(value, descending=higher_is_better, maintain_order=True).first() for one in of_best),
        value.last().alias("last"),
        pl.len().cast(pl.Float64).alias("n_evaluations"),
    )
    gain = (pl.col("best") - pl.col("last")).abs()
    return (
        per_run.group_by(*CURVE_KEY)
        .agg(
            pl.col("best", "last").mean(),
            gain.mean().alias("gain"),
            gain.std().alias("gain_sd"),
            pl.col("best_at", "n_evaluations").mean(),
            pl.len().cast(pl.Int64).alias("n_runs"),
        )
        .sort(*CURVE_KEY)
    )


def margins(runs: pl.DataFrame, metrics: pl.DataFrame, split: str = "test") -> pl.DataFrame:
    """Normalised margins (C1 - C2)/C1 over correct and over wrong predictions against update, mean over runs.

    Columns `experiment`, `variant`, `train_size`, `evaluation`, `update`, `margin_correct`, `margin_wrong`,
    `n_runs`; a margin is null where no run has one.
    """
    rows = _evaluations(runs, metrics, split, [])
    scores = ["margin_correct", "margin_wrong"]
    finite = [pl.when(pl.col(name).is_finite()).then(name).alias(name) for name in scores]
    table = _over_runs(rows.with_columns(*finite), pl.col("update", *scores).mean())
    return table.filter(pl.any_horizontal(pl.col(scores).is_not_null()))


def _over_runs(rows: pl.DataFrame, *values: pl.Expr) -> pl.DataFrame:
    key = (*CURVE_KEY, "evaluation")
    count = pl.len().cast(pl.Int64).alias("n_runs")
    return rows.group_by(*key).agg(*values, count).sort(*key)


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

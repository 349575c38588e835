"""How the scatter over seeds changes with the train size: exponent of the standard deviation, box plots."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.special import ndtri

from tui_datasize.runlog.schema import Schema, schema
from tui_datasize.stats.clusters import Floats, SizeRuns
from tui_datasize.stats.curve import CONFIDENCE, points
from tui_datasize.stats.exponent import fit_exponent
from tui_datasize.stats.fits import FitFailure


@dataclass(frozen=True, slots=True)
class SpreadLaw:
    """Standard deviation over seeds = `sd_at_one` * n^`exponent`."""

    exponent: float
    """Negative where larger sizes scatter less; on public curves near -0.2, not -0.5."""
    low: float
    high: float
    stderr: float
    sd_at_one: float
    n_sizes: int

    @property
    def is_steady(self) -> bool:
        """Whether no change with size may be all there is."""
        return self.low <= 0 <= self.high


def spread_law(sizes: Sequence[SizeRuns]) -> SpreadLaw | FitFailure:
    """Fit the exponent of the standard deviation against train size, see `exponent.fit_exponent`.

    What a draw does to all its runs is left out, and what a seed does to all its runs where every size has
    seeds that ran on each of several draws: few draws and seeds tell little of their own scatter. On one draw
    seeds that come back at every size scatter alike there, which makes the exponent surer. Sizes without two
    runs that differ are left out.
    """
    crossed = [_crossed(size) for size in sizes]
    shared = 0.0
    known = [_of_table(table) for table in crossed if table is not None]
    if len(known) < len(sizes):
        known = [_of_draws(size) for size in sizes]
        shared = seeds_in_common([size for size, one in zip(sizes, known, strict=True) if one[0] > 0])
    usable = [(size.train_size, *one) for size, one in zip(sizes, known, strict=True) if one[0] > 0]
    found = fit_exponent(*zip(*usable, strict=True)) if usable else None
    if found is None:
        return FitFailure("needs two sizes with two runs each that differ")
    stderr = found.stderr * math.sqrt(1 - shared)
    reach = float(ndtri(0.5 + CONFIDENCE / 2)) * stderr
    low, high = found.value - reach, found.value + reach
    return SpreadLaw(found.value, low, high, stderr, found.sd_at_one, len(usable))


def seeds_in_common(sizes: Sequence[SizeRuns]) -> float:
    """The squared correlation of what a seed gives at two sizes, in [0, 1); 0 unless each ran at all.

    By the intraclass correlation of values in units of the scatter of their size (analysis of variance), and
    less of it of few seeds, which show it too large. Logarithms of two variances correlate by as much.
    """
    seeds = {tuple(sorted(size.seeds.tolist())) for size in sizes}
    k, n = len(sizes), len(sizes[0].values) if sizes else 0
    # Repeats without a seed have numbers below 0.
    is_crossed = len(seeds) == 1 and len({seed for seed in min(seeds) if seed >= 0}) == n
    if k < 2 or n < 4 or not is_crossed or any(np.ptp(size.draws) for size in sizes):
        return 0.0
    table = np.array([size.values[np.argsort(size.seeds)] for size in sizes])
    table = (table - table.mean(axis=1, keepdims=True)) / table.std(axis=1, ddof=1, keepdims=True)
    between = k * float(table.mean(axis=0).var(ddof=1))
    within = (float((table**2).sum()) - between * (n - 1)) / ((k - 1) * (n - 1))
    correlation = max(0.0, (between - within) / (between + (k - 1) * within))
    return min(correlation, 0.99) ** 2 * (n - 3) / (n - 1)


def _crossed(size: SizeRuns) -> Floats | None:
    """Values of the seeds that ran on every draw, shape (draws, seeds); None without two of both."""
    cells = dict(zip(zip(size.draws.tolist(), size.seeds.tolist(), strict=True), size.values, strict=True))
    draws = sorted({draw for draw, _ in cells})
    seeds = sorted(set.intersection(*({s for d, s in cells if d == draw} for draw in draws)))
    if min(len(draws), len(seeds)) < 2:
        return None
    return np.array([[cells[draw, seed] for seed in seeds] for draw in draws])


def _of_table(table: Floats) -> tuple[float, int]:
    rest = table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean()
    degrees = (len(table) - 1) * (table.shape[1] - 1)
    return (float((rest**2).sum()) / degrees if np.ptp(table) else 0.0), degrees


def _of_draws(size: SizeRuns) -> tuple[float, int]:
    """The variance of runs of one draw, of draws with a run each that of all, and its degrees of freedom."""
    draws, of_draw = np.unique(size.draws, return_inverse=True)
    n = len(size.values)
    if n == len(draws):
        draws, of_draw = draws[:1], np.zeros_like(of_draw)
    if n < 2 or not np.ptp(size.values):
        return 0.0, 0
    means = np.bincount(of_draw, size.values) / np.bincount(of_draw)
    degrees = n - len(draws)
    return float(((size.values - means[of_draw]) ** 2).sum()) / degrees, degrees


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

    `best_test_accuracy` gives boxes of the best value, `test_accuracy` of the last; `metric` may be a column
    added to `runs` such as those of `best_values`. Means over runs have no box.
    """
    value = pl.col("value")
    low, high = (value.quantile(q, "linear") for q in (0.25, 0.75))
    fences = (low - WHISKER * (high - low), high + WHISKER * (high - low))
    is_inside = value.is_between(*fences)
    measured = points(runs, metric).filter(~pl.col("of_mean"))
    frame = measured.group_by("experiment", "variant", "train_size", maintain_order=True).agg(
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

    Columns `run_id`, `best_train_SCORE`, `best_test_SCORE`, to be joined to `runs`; both may lie at different
    updates.
    """
    finite = metrics.filter((pl.col("event") == "evaluation") & pl.col(score).is_finite())
    value = pl.col(score).max() if higher_is_better else pl.col(score).min()
    sides = [
        finite.filter(pl.col("split") == split).group_by("run_id").agg(value.alias(f"best_{split}_{score}"))
        for split in ("train", "test")
    ]
    return sides[0].join(sides[1], on="run_id", how="full", coalesce=True).sort("run_id")

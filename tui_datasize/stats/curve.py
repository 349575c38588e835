"""The learning curve: a metric against train size, one point per run, and what repeated runs say of it."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from tui_datasize.metric import metric_named
from tui_datasize.runlog.schema import SHARE_ROUNDING, SHARES, Schema, classifying, schema
from tui_datasize.stats.clusters import PRIOR_DEGREES, SizeRuns, find_clusters, independent
from tui_datasize.stats.odd_sizes import odd_variances

CONFIDENCE = 0.95
"""Level of every interval in this package."""

COMING = ("succeeded", "running", "queued", "interrupted")
"""States of runs that have a result or are on their way to one."""
COUNTED_STATES = ("succeeded",)
"""A run counts when it has ended in one of these states and its metric is a finite number: a run cut
short was trained on a smaller budget than the others of its curve."""

CURVE: Schema = schema(
    (pl.String, "experiment", "variant", "metric"),
    (pl.Int64, "train_size", "n_runs"),
    (pl.Float64, "n_effective", "mean", "sd", "se", "df", "low", "high", "min", "max"),
)
"""One point of a learning curve. `sd` is the sample standard deviation over runs, `se` that of the mean with
`df` degrees of freedom; all three are null where there is one run. `n_effective` is how many independent runs
would tell the mean as well: fewer than `n_runs` where runs share subset draws that matter, see
`clusters.find_clusters`. `low` to `high` is the mean's 95 % Student interval, cut off where no value of the
metric lies (below 0, for a share above 1), which costs it no coverage; null where there is one run, or where
all runs are equal and so tell nothing of their scatter. `min` and `max` are null where a mean over runs was
imported, whose single runs nobody knows."""


def points(runs: pl.DataFrame, metric: str) -> pl.DataFrame:
    """The runs that count, see `COUNTED_STATES`; what learns without labels is no point on any curve.

    Returns:
        One row per run: `run_id`, `experiment`, `variant`, `train_size`, `subset_seed`, `seed`, `value`,
        in order of experiment, variant and size. Draw and seed are null where nobody knows them. A share
        that rounding has put beyond 0 or 1 lies there. `of_mean` is true where `value` is none that a run
        had: for an imported mean over runs there are as many rows as runs, of its mean and standard
        deviation, so that whatever follows from these alone is as if the runs were there; a mean without a
        standard deviation is one row.
    """
    counted = classifying(runs).filter(pl.col("state").is_in(COUNTED_STATES) & pl.col(metric).is_finite())
    found = counted.select(
        *("run_id", "experiment", "variant", "train_size", "subset_seed", "seed"), _unrounded(metric)
    )
    return _behind_means(counted, found, metric).sort(
        "experiment", "variant", "train_size", maintain_order=True
    )


def _behind_means(runs: pl.DataFrame, values: pl.DataFrame, metric: str) -> pl.DataFrame:
    """`values`, a row per run, with as many rows for a mean over runs, and `of_mean`."""
    if "means_of" not in runs.columns or runs["means_of"].null_count() == runs.height:
        return values.with_columns(of_mean=pl.lit(value=False))
    spreads = runs["spreads"].str.json_path_match(f"$.{metric}").cast(pl.Float64, strict=False)
    behind = [
        [mean] if n is None or sd is None or n < 2 else (mean + sd * _scores(n)).tolist()
        for mean, n, sd in zip(values["value"], runs["means_of"], spreads, strict=True)
    ]
    of_mean = runs["means_of"].is_not_null().alias("of_mean")
    return values.with_columns(pl.Series("value", behind), of_mean).explode("value")


def _scores(n: int) -> NDArray[np.float64]:
    """As many numbers, at least two, of mean 0 and sample standard deviation 1: normal scores."""
    scores: NDArray[np.float64] = ndtri((np.arange(n) + 0.5) / n)
    scores /= scores.std(ddof=1)
    return scores


OVER_RUNS = (
    pl.len().cast(pl.Int64).alias("n_runs"),
    pl.col("value").mean().alias("mean"),
    (pl.col("value").std() / pl.len().sqrt()).alias("se"),
    (pl.len() - 1).cast(pl.Int64).alias("df"),
)
"""Of `value` over independent runs; with `with_interval` what a table of means shows."""


def learning_curve(runs: pl.DataFrame, metric: str) -> pl.DataFrame:
    """Mean and spread over runs per train size, schema `CURVE`.

    Runs that share a subset draw count for less than as many independent ones. Where all runs of every size
    share one draw, what another would change cannot be told, and the interval leaves it out. Of several
    experiments or variants each gets a curve of its own.

    >>> runs = pl.DataFrame({
    ...     "run_id": ["a", "b", "c"], "experiment": "e", "variant": "", "subset_seed": 0,
    ...     "seed": [0, 1, 2], "train_size": 40, "state": ["succeeded", "succeeded", "failed"],
    ...     "test_accuracy": [0.5, 0.7, 0.1],
    ... })
    >>> curve = learning_curve(runs, "test_accuracy")
    >>> curve.select("train_size", "n_runs", pl.col("mean", "low", "high").round(3)).rows()
    [(40, 2, 0.6, 0.0, 1.0)]
    """
    curves = points(runs, metric).group_by("experiment", "variant", maintain_order=True)
    found = [_curve_of(values) for _, values in curves]
    if not found:
        return pl.DataFrame(schema=dict(CURVE))
    frame = with_interval(pl.concat(found), metric)
    ends = pl.when(pl.col("min") != pl.col("max")).then(pl.col("low", "high"))
    measured = pl.when(~pl.col("of_mean")).then(pl.col("min", "max"))
    return frame.with_columns(ends, measured, metric=pl.lit(metric)).select(*CURVE)


def with_interval(means: pl.DataFrame, metric: str) -> pl.DataFrame:
    """With the 95 % Student interval of each mean, `low` to `high`, cut off where the metric has no values.

    `means` has `mean`, its standard error `se` and the degrees of freedom `df`, null for no interval.
    """
    degrees = means["df"].cast(pl.Float64).to_numpy()
    quantile = stdtrit(np.where(degrees > 0, degrees, np.nan), 0.5 + CONFIDENCE / 2)
    half = pl.Series(quantile, nan_to_null=True) * means["se"]
    return means.with_columns(
        low=(means["mean"] - half).clip(lower_bound=0),
        high=(means["mean"] + half).clip(upper_bound=metric_named(metric).most),
    )


def size_runs(values: pl.DataFrame) -> list[SizeRuns]:
    """The runs of each size of one curve, ascending in size."""
    sizes = values.sort("train_size", maintain_order=True).group_by("train_size", maintain_order=True)
    return [
        SizeRuns(
            float(str(size)),
            runs["value"].to_numpy(),
            runs["subset_seed"].fill_null(-1).to_numpy(),
            apart(runs)["seed"].to_numpy(),
        )
        for (size,), runs in sizes
    ]


def apart(values: pl.DataFrame) -> pl.DataFrame:
    """The same runs; those without a seed get numbers below 0 of their own, as none is known to share one."""
    own = -1 - pl.int_range(pl.len(), dtype=pl.Int64)
    return values.with_columns(pl.coalesce("seed", own).alias("seed"))


def moderated_stderrs(curve: pl.DataFrame) -> NDArray[np.float64]:
    """Standard errors of the means that a few runs do not make small by chance, shape (n,).

    The variance over the runs of a size is drawn towards that of all sizes together, as if `PRIOR_DEGREES`
    further degrees of freedom had shown the latter (Smyth, *Linear Models and Empirical Bayes Methods*, 2004,
    with the prior's weight fixed). A size with one run takes it over; without any repeated run all are NaN.
    Runs count for as many as they are worth, see `n_effective`. An odd size, see `odd_sizes`, keeps its own
    scatter and leaves that of the others alone.
    """
    runs = curve["n_effective"].to_numpy()
    variance = curve["se"].fill_null(0).to_numpy() ** 2 * runs
    return moderated(variance, curve["df"].fill_null(0).to_numpy(), runs)


def moderated(
    variance: NDArray[np.float64], degrees: NDArray[np.float64], runs: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What `moderated_stderrs` makes of variances over runs and their degrees of freedom, shape (n,) each."""
    if degrees.sum() == 0:
        return np.full(len(runs), np.nan)
    odd = odd_variances(variance, degrees)
    pooled = float(degrees @ (variance / odd)) / degrees.sum()
    drawn = (degrees * variance + PRIOR_DEGREES * pooled * odd) / (degrees + PRIOR_DEGREES)
    stderrs: NDArray[np.float64] = np.sqrt(drawn / runs)
    return stderrs


def _curve_of(values: pl.DataFrame) -> pl.DataFrame:
    """Schema `CURVE` of one curve, but for what depends on the metric."""
    value = pl.col("value")
    frame = values.group_by("experiment", "variant", "train_size", maintain_order=True).agg(
        pl.len().cast(pl.Int64).alias("n_runs"),
        value.mean().alias("mean"),
        value.std().alias("sd"),
        value.min().alias("min"),
        value.max().alias("max"),
        pl.col("of_mean").any(),
    )
    sizes = size_runs(values)
    clusters = find_clusters(sizes)
    means = clusters.means if clusters else [independent(size.values) for size in sizes]
    is_repeated = pl.col("n_runs") > 1
    return frame.with_columns(
        pl.Series("n_effective", [mean.n_effective for mean in means], pl.Float64),
        pl.when(is_repeated).then(pl.Series("se", [mean.stderr for mean in means], pl.Float64)),
        pl.when(is_repeated).then(pl.Series("df", [mean.degrees for mean in means], pl.Float64)),
    )


def _unrounded(metric: str) -> pl.Expr:
    value = pl.col(metric)
    if metric.endswith(SHARES):
        is_rounded = value.is_between(-SHARE_ROUNDING, 1 + SHARE_ROUNDING)
        value = pl.when(is_rounded).then(value.clip(0, 1)).otherwise(value)
    return value.alias("value")

"""The learning curve: a metric against train size, one point per run, and what repeated runs say of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import stdtrit

from tui_datasize.errors import ConfigError
from tui_datasize.runlog.schema import SHARE_ROUNDING, SHARES, Schema

CONFIDENCE = 0.95
"""Level of every interval in this package."""

PRIOR_DEGREES = 4
"""What the scatter at all other sizes counts for against that at one, in degrees of freedom."""

COUNTED_STATES = ("succeeded",)
"""A run counts when it has ended in one of these states and its metric is a finite number: a run cut
short was trained on a smaller budget than the others of its curve."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A column of the frame `runs` that a learning curve can be drawn of."""

    name: str
    title: str
    is_share: bool
    """Whether it lies in [0, 1] and is shown in percent."""
    higher_is_better: bool

    @property
    def most(self) -> float:
        """The largest value that it can have; the smallest is 0 for every metric."""
        return 1.0 if self.is_share else math.inf


def _shared_metrics(split: str, title: str) -> tuple[Metric, ...]:
    return (
        Metric(f"{split}_accuracy", f"{title} accuracy", True, True),
        Metric(f"{split}_loss", f"{title} loss", False, False),
        Metric(f"{split}_f1_macro", f"{title} macro F1", True, True),
        Metric(f"{split}_top5", f"{title} top-5 accuracy", True, True),
        Metric(f"{split}_ece", f"{title} calibration error", True, False),
        Metric(f"{split}_margin_correct", f"{title} margin, correct", True, True),
        Metric(f"{split}_margin_wrong", f"{title} margin, wrong", True, False),
    )


METRICS_OFFERED: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            *_shared_metrics("test", "Test"),
            Metric("best_test_accuracy", "Best test accuracy", True, True),
            Metric("best_test_loss", "Test loss at best accuracy", False, False),
            *_shared_metrics("train", "Train"),
            Metric("wall_s", "Training time, s", False, False),
        )
    }
)
"""Everything a learning curve is offered of, by column; all but the `best_...` are of the last evaluation."""

CURVE: Schema = MappingProxyType(
    {
        "experiment": pl.String,
        "variant": pl.String,
        "metric": pl.String,
        "train_size": pl.Int64,
        "n_runs": pl.Int64,
        "mean": pl.Float64,
        "sd": pl.Float64,
        "se": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
        "min": pl.Float64,
        "max": pl.Float64,
    }
)
"""One point of a learning curve. `sd` is the sample standard deviation over runs, `se` that of the mean; both
are null where there is one run. `low` to `high` is the mean's 95 % Student interval, cut off where no value
of the metric lies (below 0, for a share above 1), which costs it no coverage; null where there is one run, or
where all runs are equal and so tell nothing of their scatter."""


def metric_named(name: str) -> Metric:
    """Look a metric up.

    Raises:
        ConfigError: There is none of that name.
    """
    if name not in METRICS_OFFERED:
        raise ConfigError(f"no metric {name!r}", fix=f"known are {', '.join(METRICS_OFFERED)}")
    return METRICS_OFFERED[name]


def points(runs: pl.DataFrame, metric: str) -> pl.DataFrame:
    """The runs that count, see `COUNTED_STATES`.

    Args:
        runs: Schema `RUNS`.
        metric: A key of `METRICS_OFFERED`.

    Returns:
        One row per run: `run_id`, `experiment`, `variant`, `train_size`, `subset_seed`, `seed`, `value`,
        in order of experiment, variant and size. A share that rounding has put beyond 0 or 1 lies there.
    """
    counted = runs.filter(pl.col("state").is_in(COUNTED_STATES) & pl.col(metric).is_finite())
    return counted.select(
        "run_id", "experiment", "variant", "train_size", "subset_seed", "seed", _unrounded(metric)
    ).sort("experiment", "variant", "train_size", maintain_order=True)


def learning_curve(runs: pl.DataFrame, metric: str) -> pl.DataFrame:
    """Mean and spread over runs per train size, schema `CURVE`.

    The interval takes the runs of a size for independent. Runs that share a subset draw are not quite:
    it leaves out what another draw would change.

    Args:
        runs: Schema `RUNS`; of several experiments or variants each gets a curve of its own.
        metric: A key of `METRICS_OFFERED`.

    >>> runs = pl.DataFrame({
    ...     "run_id": ["a", "b", "c"], "experiment": "e", "variant": "", "subset_seed": 0,
    ...     "seed": [0, 1, 2], "train_size": 40, "state": ["succeeded", "succeeded", "failed"],
    ...     "test_accuracy": [0.5, 0.7, 0.1],
    ... })
    >>> curve = learning_curve(runs, "test_accuracy")
    >>> curve.select("train_size", "n_runs", pl.col("mean", "low", "high").round(3)).rows()
    [(40, 2, 0.6, 0.0, 1.0)]
    """
    value = pl.col("value")
    curve = points(runs, metric).group_by("experiment", "variant", "train_size", maintain_order=True)
    frame = curve.agg(
        pl.len().cast(pl.Int64).alias("n_runs"),
        value.mean().alias("mean"),
        value.std().alias("sd"),
        (value.std() / pl.len().sqrt()).alias("se"),
        value.min().alias("min"),
        value.max().alias("max"),
    )
    half = pl.Series(_student_quantile(frame["n_runs"].to_numpy() - 1), nan_to_null=True) * frame["se"]
    half = half.set(frame["min"] == frame["max"], None)
    most = metric_named(metric).most
    return frame.with_columns(
        metric=pl.lit(metric),
        low=(frame["mean"] - half).clip(lower_bound=0),
        high=(frame["mean"] + half).clip(upper_bound=most),
    ).select(*CURVE)


def moderated_stderrs(curve: pl.DataFrame) -> NDArray[np.float64]:
    """Standard errors of the means that a few runs do not make small by chance, shape (n,).

    The variance over the runs of a size is drawn towards that of all sizes together, as if `PRIOR_DEGREES`
    further degrees of freedom had shown the latter (Smyth, *Linear Models and Empirical Bayes Methods*, 2004,
    with the prior's weight fixed). A size with one run takes it over; without any repeated run all are NaN.

    Args:
        curve: Schema `CURVE`, of one curve.
    """
    runs = curve["n_runs"].to_numpy().astype(float)
    variance = curve["sd"].fill_null(0).to_numpy() ** 2
    degrees = runs - 1
    if degrees.sum() == 0:
        return np.full(len(runs), np.nan)
    pooled = float(degrees @ variance) / degrees.sum()
    moderated = (degrees * variance + PRIOR_DEGREES * pooled) / (degrees + PRIOR_DEGREES)
    stderrs: NDArray[np.float64] = np.sqrt(moderated / runs)
    return stderrs


def _unrounded(metric: str) -> pl.Expr:
    """A metric as `value`."""
    value = pl.col(metric)
    if metric.endswith(SHARES):
        is_rounded = value.is_between(-SHARE_ROUNDING, 1 + SHARE_ROUNDING)
        value = pl.when(is_rounded).then(value.clip(0, 1)).otherwise(value)
    return value.alias("value")


def _student_quantile(degrees: NDArray[np.int64]) -> NDArray[np.float64]:
    """Half width of the interval in standard errors; NaN for no degree of freedom."""
    known = np.where(degrees > 0, degrees, np.nan)
    quantile: NDArray[np.float64] = stdtrit(known, 0.5 + CONFIDENCE / 2)
    return quantile

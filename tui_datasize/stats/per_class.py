"""One learning curve per class, the steepest first: which classes still gain from more data."""

from __future__ import annotations

import polars as pl

from tui_datasize.runlog.schema import Schema, schema
from tui_datasize.stats.curve import COUNTED_STATES
from tui_datasize.stats.fits import LEAST_SIZES, FitFailure, fit_log_linear

CLASS_CURVES: Schema = schema(
    (pl.String, "experiment", "variant"),
    (pl.Int64, "label"),
    (pl.String, "class_name"),
    (pl.Float64, "slope", "slope_stderr"),
    (pl.Int64, "rank", "train_size", "n_runs"),
    (pl.Float64, "mean", "sd", "se", "binomial_se"),
)
"""A class at a train size a row, classes in order of `rank`, 1 the steepest. `slope` is the gain in accuracy
per factor of ten in train size, by least squares on all runs; null below three sizes. `se` is that of the
mean over runs, `binomial_se` what the number of test images of the class alone gives one run."""


def class_curves(runs: pl.DataFrame, per_class: pl.DataFrame) -> pl.DataFrame:
    """Test accuracy of each class against train size, schema `CLASS_CURVES`, the steepest classes first.

    Args:
        runs: Schema `RUNS`.
        per_class: Schema `PER_CLASS` behind `run_id`; classes without images are passed over.
    """
    chosen = per_class.filter(pl.col("accuracy").is_finite(), split="test", evaluation="last")
    counted = runs.filter(pl.col("state").is_in(COUNTED_STATES))
    rows = counted.select("run_id", "experiment", "variant", "train_size").join(chosen, on="run_id")
    key = ["experiment", "variant", "label"]
    value = pl.col("accuracy")
    binomial = (value.mean() * (1 - value.mean()) / pl.col("images").mean()).sqrt()
    points = rows.group_by(*key, "train_size").agg(
        pl.first("class_name"),
        pl.len().cast(pl.Int64).alias("n_runs"),
        value.mean().alias("mean"),
        value.std().alias("sd"),
        (value.std() / pl.len().sqrt()).alias("se"),
        binomial.alias("binomial_se"),
    )
    slopes = _slopes(rows, key)
    rank = pl.col("slope").rank("ordinal", descending=True).over("experiment", "variant").cast(pl.Int64)
    table = points.join(slopes.with_columns(rank.alias("rank")), on=key)
    ordered = table.sort("experiment", "variant", "rank", "label", "train_size", nulls_last=True)
    return ordered.select(pl.col(name).cast(kind) for name, kind in CLASS_CURVES.items())


def _slopes(rows: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    """Slope and its standard error of each class; null where there are too few sizes or all are equal."""
    found = []
    for values, group in rows.group_by(key, maintain_order=True):
        fit = fit_log_linear(group["train_size"].to_numpy(), group["accuracy"].to_numpy())
        if isinstance(fit, FitFailure):
            # A class that is always right, or always wrong, at three sizes or more does not rise.
            is_level = group["train_size"].n_unique() >= LEAST_SIZES and group["accuracy"].n_unique() == 1
            slope: float | None = 0.0 if is_level else None
            stderr: float | None = None
        else:
            slope, stderr = fit.slope.value, fit.slope.stderr
        found.append((*values, slope, stderr))
    schema = {name: rows.schema[name] for name in key} | {"slope": pl.Float64, "slope_stderr": pl.Float64}
    return pl.DataFrame(found, schema=schema, orient="row")

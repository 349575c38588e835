"""Scores of single classes: one learning curve each, and which are taken for which."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

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

    `per_class` has schema `PER_CLASS` behind `run_id`; classes without images are passed over.
    """
    chosen = per_class.filter(pl.col("accuracy").is_finite(), split="test", evaluation="last")
    rows = _of_counted(runs, chosen)
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


CONFUSIONS: Schema = schema(
    (pl.String, "experiment", "variant"),
    (pl.Int64, "train_size", "label"),
    (pl.String, "class_name"),
    (pl.Int64, "predicted"),
    (pl.String, "predicted_name"),
    (pl.Int64, "images"),
    (pl.Float64, "share", "back"),
    (pl.Int64, "n_runs"),
)
"""A class taken for another a row, summed over runs, the most frequent first within each size. `share` is of
the images of the class, `back` that of the other class taken for this one; `n_runs` in which it happens."""


def top_confusions(
    runs: pl.DataFrame, confusion: pl.DataFrame, datasets: pl.DataFrame, most: int = 20
) -> pl.DataFrame:
    """The commonest confusions of each curve and size, schema `CONFUSIONS`.

    At most `most` rows per curve and size, from schema `CONFUSION` behind `run_id`; a class that `datasets`
    (schema `DATASETS`) lacks goes by its label.
    """
    key = ["experiment", "variant", "train_size"]
    rows = _of_counted(runs, confusion.filter(evaluation="last"))
    n_runs = pl.col("run_id").n_unique().cast(pl.Int64).alias("n_runs")
    cells = rows.group_by(*key, "label", "predicted").agg(pl.sum("images"), n_runs)
    of_class = rows.group_by(*key, "label").agg(pl.sum("images").alias("all"))
    shares = cells.join(of_class, on=[*key, "label"]).with_columns(share=pl.col("images") / pl.col("all"))
    back = shares.select(*key, "share", label="predicted", predicted="label").rename({"share": "back"})
    wrong = shares.filter(pl.col("label") != pl.col("predicted"))
    both = wrong.join(back, on=[*key, "label", "predicted"], how="left")
    order, descending = [*key, "images", "label", "predicted"], [False, False, False, True, False, False]
    ranked = both.with_columns(pl.col("back").fill_null(0)).sort(order, descending=descending)
    top = _named(ranked.group_by(key, maintain_order=True).head(most), datasets)
    return top.select(pl.col(name).cast(kind) for name, kind in CONFUSIONS.items())


def confusion_matrix(confusion: pl.DataFrame) -> tuple[list[int], NDArray[np.float64]]:
    """Shares of each class's images by predicted class at the end, summed over runs.

    `confusion` has schema `CONFUSION`, of one or more runs on the same classes.

    Returns:
        K labels, ascending, and shares of shape (K, K), rows the true classes and of sum 1; the row of a
        class without images is NaN.
    """
    rows = confusion.filter(evaluation="last")
    labels = pl.concat([rows["label"], rows["predicted"]]).unique().sort()
    counts = np.zeros((len(labels), len(labels)))
    places = [np.searchsorted(labels.to_numpy(), rows[side].to_numpy()) for side in ("label", "predicted")]
    np.add.at(counts, (places[0], places[1]), rows["images"].to_numpy())
    images = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, images, out=np.full_like(counts, np.nan), where=images > 0)
    return labels.to_list(), shares


def _of_counted(runs: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    ended = runs.filter(pl.col("state").is_in(COUNTED_STATES))
    return ended.select("run_id", "experiment", "variant", "train_size").join(rows, on="run_id")


def _named(rows: pl.DataFrame, datasets: pl.DataFrame) -> pl.DataFrame:
    names = datasets.unique("label", keep="first", maintain_order=True).select("label", "class_name")
    predicted = names.rename({"label": "predicted", "class_name": "predicted_name"})
    named = rows.join(names, on="label", how="left", maintain_order="left")
    both = named.join(predicted, on="predicted", how="left", maintain_order="left")
    return both.with_columns(
        pl.col("class_name").fill_null(pl.col("label").cast(pl.String)),
        pl.col("predicted_name").fill_null(pl.col("predicted").cast(pl.String)),
    )

"""What labelling strategies choose: images of each class against the pool's, and what two both chose."""

from __future__ import annotations

import numpy as np
import polars as pl

from tui_datasize.runlog.schema import Schema, is_chosen, schema
from tui_datasize.stats.overlap import find_overlaps

CHOSEN_OF_CLASS: Schema = schema(
    (pl.String, "strategy", "class_name"), (pl.Int64, "train_size"), (pl.Float64, "share", "pool", "ratio")
)
"""A strategy and class a row: the class's share of the images that were added behind the first step of the
path, over all runs, its share of the whole training set, and how many times that it is."""

SHARED_CHOICES: Schema = schema(
    (pl.String, "first", "second"),
    (pl.Int64, "train_size"),
    (pl.Float64, "share", "by_chance"),
    (pl.Int64, "n_runs"),
)
"""Two strategies a row: the share of what one added that the other added too, averaged over `n_runs` seeds
and draws; and what two random choices from the same rest would share."""


def added(runs: pl.DataFrame, subsets: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """The images that runs of one size have added behind the first step of their path, and how many.

    `runs` have schema `RUNS`, some of them of strategies that choose, `subsets` schema `SUBSET` behind
    `run_id`. A run that was drawn counts as one of the same steps.
    """
    first = subsets["step"].min()
    if not isinstance(first, int):
        return subsets.clear(), 0
    own = subsets.filter(pl.int_range(pl.len()).over("run_id") >= first)
    named = runs.select("run_id", "subset_seed", "seed", strategy="subset_strategy")
    return own.join(named, on="run_id", maintain_order="left"), first


def chosen_per_class(images: pl.DataFrame, datasets: pl.DataFrame, train_size: int) -> pl.DataFrame:
    """Schema `CHOSEN_OF_CLASS`; `images` of `added`, `datasets` of schema `DATASETS`."""
    classes = datasets.unique("label").select("label", "class_name", "train_images").sort("label")
    pool = pl.col("train_images") / pl.col("train_images").sum()
    label = pl.coalesce("true_label", "label")
    counted = (
        images.group_by("strategy", label=label)
        .len()
        .with_columns(share=pl.col("len") / pl.col("len").sum().over("strategy"))
    )
    cells = images.select("strategy").unique().join(classes.with_columns(pool=pool), how="cross")
    found = cells.join(counted, on=["strategy", "label"], how="left").with_columns(
        pl.col("share").fill_null(0.0), train_size=pl.lit(train_size, pl.Int64)
    )
    ordered = found.with_columns(ratio=pl.col("share") / pl.col("pool")).sort("strategy", "label")
    return ordered.select(*CHOSEN_OF_CLASS)


def shared_choices(
    runs: pl.DataFrame, images: pl.DataFrame, datasets: pl.DataFrame, first: int
) -> pl.DataFrame:
    """Schema `SHARED_CHOICES`, of runs of one size, on each pair of strategies with equal seeds and draws."""
    shares: dict[tuple[str, str], list[float]] = {}
    one_each = runs.unique(["subset_strategy", "subset_seed", "seed"], keep="first", maintain_order=True)
    for cell in one_each.partition_by("subset_seed", "seed", maintain_order=True):
        draws = cell.with_columns(draw="subset_strategy").sort("draw")
        for overlap in find_overlaps(draws, images, datasets):
            for i, j in zip(*np.triu_indices(len(overlap.draws), 1), strict=True):
                pair = overlap.draws[i], overlap.draws[j]
                shares.setdefault(pair, []).append(float(overlap.fraction[i, j]))
    size, total = int(runs["train_size"][0]), int(datasets.unique("label")["train_images"].sum())
    by_chance = (size - first) / (total - first)
    rows = [(*pair, size, float(np.mean(own)), by_chance, len(own)) for pair, own in sorted(shares.items())]
    return pl.DataFrame(rows, schema=dict(SHARED_CHOICES), orient="row")


def path_runs(runs: pl.DataFrame) -> pl.DataFrame:
    """The finished runs of the largest size that strategies which choose have in common with others."""
    ended = runs.filter(state="succeeded")
    sizes = ended.filter(is_chosen())["train_size"]
    return ended.filter(train_size=sizes.max()) if len(sizes) else ended.clear()

"""How much the subset draws of one size have in common, and how much independent draws would.

Given how many images of class c two draws hold, a_c and b_c of the N_c there are, independent draws
share a hypergeometric number of them with mean a_c * b_c / N_c. This holds for stratified, balanced and
random draws alike. With equal class ratios the mean share is n / N, the fraction drawn.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import polars as pl
import polars.selectors as cs
from numpy.typing import NDArray
from scipy.special import ndtri

from tui_datasize.analysis.curve import CONFIDENCE
from tui_datasize.analysis.hypergeometric import hypergeometric_interval
from tui_datasize.runlog.schema import Schema

Counts: TypeAlias = NDArray[np.int64]
Shares: TypeAlias = NDArray[np.float64]

DRAW_KEY = (
    *("experiment", "dataset", "classes", "train_size"),
    *("subset_strategy", "subset_nested", "imbalance", "subset_seed"),
)
"""Runs that agree in these columns train on the same images."""

DRAWS: Schema = MappingProxyType(
    {
        "experiment": pl.String,
        "dataset": pl.String,
        "train_size": pl.Int64,
        "subset_strategy": pl.String,
        "subset_nested": pl.Boolean,
        "classes": pl.String,
        "imbalance": pl.Float64,
        "subset_seed": pl.Int64,
        "draw": pl.String,
        "run_id": pl.String,
        "n_runs": pl.Int64,
    }
)
"""The frame of `find_draws`: `draw` is a short name such as `d0`, `run_id` a run with this very subset."""

_BY_USE = ("succeeded", "running", "interrupted", "cancelled", "failed")
"""States whose runs may have written their subset, most trusted first."""


PAIRS: Schema = MappingProxyType(
    {
        "experiment": pl.String,
        "dataset": pl.String,
        "train_size": pl.Int64,
        "draw_a": pl.String,
        "draw_b": pl.String,
        "shared": pl.Int64,
        "fraction": pl.Float64,
        "jaccard": pl.Float64,
        "expected": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
    }
)
"""Overlap of each pair of draws. `fraction` is shared images over those of the smaller draw, `jaccard` over
those of the union; `expected`, `low` and `high` are the fraction's mean and 95 % interval if the draws were
independent, null where the images per class of the whole data set are unknown."""

PER_CLASS_OVERLAP: Schema = MappingProxyType(
    {
        "experiment": pl.String,
        "dataset": pl.String,
        "train_size": pl.Int64,
        "label": pl.Int64,
        "class_name": pl.String,
        "fraction": pl.Float64,
        "smallest": pl.Float64,
        "largest": pl.Float64,
        "expected": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
        "pairs": pl.Int64,
        "pairs_outside": pl.Int64,
    }
)
"""Overlap within one class: mean, smallest and largest fraction over all pairs of draws; mean and 95 %
interval of a single pair if draws were independent; and how many pairs lie outside of it."""


@dataclass(frozen=True)
class DrawOverlap:
    """What k draws of one size share, class by class; C classes."""

    experiment: str
    dataset: str
    train_size: int
    draws: tuple[str, ...]
    labels: Counts
    """Labels of the classes, ascending, shape (C,)."""
    class_names: tuple[str, ...]
    shared: Counts
    """Images of class c in both draw i and draw j, shape (C, k, k); on the diagonal those of one draw."""
    class_images: Shares
    """Images per class of the whole training set, shape (C,); NaN where unknown."""

    @cached_property
    def fraction(self) -> Shares:
        """Shared images over those of the smaller draw, shape (k, k), in [0, 1]; 1 on the diagonal."""
        shared = self.shared.sum(axis=0)
        images = shared.diagonal()
        fraction: Shares = shared / np.minimum.outer(images, images)
        return fraction

    @cached_property
    def jaccard(self) -> Shares:
        """Shared images over those in either draw, shape (k, k), in [0, 1]; 1 on the diagonal."""
        shared = self.shared.sum(axis=0)
        images = shared.diagonal()
        jaccard: Shares = shared / (np.add.outer(images, images) - shared)
        return jaccard

    @cached_property
    def expected(self) -> Shares:
        """Mean, lower and upper 95 % bound of `fraction` for independent draws, shape (3, k, k).

        On the diagonal: what another draw of the same class counts would share. The interval takes the
        sum over classes for normal, cut off at 0 and 1. NaN where class totals are unknown.
        """
        a, b, total = self._pair_counts()
        # Hypergeometric moments (Johnson, Kemp, Kotz, Univariate Discrete Distributions, ch. 6).
        mean = (a * b / total).sum(axis=0)
        spread = a * b * (total - a) * (total - b) / (total**2 * np.maximum(total - 1, 1))
        half = ndtri(0.5 + CONFIDENCE / 2) * np.sqrt(spread.sum(axis=0))
        images = self.shared.sum(axis=0).diagonal()
        bounds = np.stack([mean, mean - half, mean + half]) / np.minimum.outer(images, images)
        within: Shares = np.clip(bounds, 0, 1)
        return within

    @property
    def expected_fraction(self) -> tuple[float, float, float]:
        """Mean over pairs of `expected`; of a single draw, what a second one would share."""
        k = len(self.draws)
        rows, columns = np.triu_indices(k, 1) if k > 1 else (np.array([0]), np.array([0]))
        mean, low, high = self.expected[:, rows, columns].mean(axis=1).tolist()
        return mean, low, high

    def _pair_counts(self) -> tuple[Shares, Shares, Shares]:
        """Images of class c in draw i and in draw j, and in all: shapes (C, k, 1), (C, 1, k), (C, 1, 1)."""
        images = self.shared.diagonal(axis1=1, axis2=2).astype(float)
        return images[:, :, None], images[:, None, :], self.class_images[:, None, None]


def find_draws(runs: pl.DataFrame) -> pl.DataFrame:
    """The distinct subset draws behind some runs, schema `DRAWS`, in order of size and seed.

    Args:
        runs: Schema `RUNS`; those not begun are passed over.
    """
    rank = pl.col("state").replace_strict(_BY_USE, range(len(_BY_USE)), default=None, return_dtype=pl.Int64)
    begun = runs.with_columns(rank.alias("rank")).drop_nulls("rank").sort("rank", maintain_order=True)
    draws = begun.group_by(DRAW_KEY, maintain_order=True).agg(
        pl.first("run_id"), pl.len().cast(pl.Int64).alias("n_runs")
    )
    short = pl.format("d{}", "subset_seed")
    nesting = pl.when("subset_nested").then(pl.lit("nested")).otherwise(pl.lit("independent"))
    is_unique = pl.struct("experiment", "dataset", "classes", "train_size", "subset_seed").is_unique()
    tail = pl.when(pl.col("imbalance") > 1).then(pl.format(" 1:{}", "imbalance")).otherwise(pl.lit(""))
    long = pl.format("{} {}{} {}", "subset_strategy", nesting, tail, short)
    name = pl.when(is_unique).then(short).otherwise(long)
    return draws.with_columns(name.alias("draw")).select(*DRAWS).sort(DRAW_KEY)


def find_overlaps(draws: pl.DataFrame, subsets: pl.DataFrame, datasets: pl.DataFrame) -> list[DrawOverlap]:
    """Compare the draws of each size, in order of experiment and size.

    Args:
        draws: Schema `DRAWS`.
        subsets: Columns `run_id`, `index`, `label`: the images of each draw's run; a draw whose run has
            none is left out.
        datasets: Schema `DATASETS`, of the same runs; where a class is missing nothing is expected.
    """
    groups = draws.join(subsets.select("run_id").unique(), on="run_id", how="semi", maintain_order="left")
    # Halves of the classes have no image in common, and count their labels apart.
    by_size = groups.group_by("experiment", "dataset", "classes", "train_size", maintain_order=True)
    return [_compare(group, subsets, datasets) for _, group in by_size]


def pairs_table(overlaps: Iterable[DrawOverlap]) -> pl.DataFrame:
    """Every pair of draws of one size, schema `PAIRS`."""
    return pl.concat([pl.DataFrame(schema=dict(PAIRS)), *(_pairs(overlap) for overlap in overlaps)])


def per_class_table(overlaps: Iterable[DrawOverlap]) -> pl.DataFrame:
    """Every class of each size that has two draws, schema `PER_CLASS_OVERLAP`, the highest overlap first."""
    frames = [_per_class(overlap) for overlap in overlaps if len(overlap.draws) > 1]
    return pl.concat([pl.DataFrame(schema=dict(PER_CLASS_OVERLAP)), *frames])


def _compare(draws: pl.DataFrame, subsets: pl.DataFrame, datasets: pl.DataFrame) -> DrawOverlap:
    experiment, dataset, train_size = draws.select("experiment", "dataset", "train_size").row(0)
    number = draws.select("run_id").with_row_index("number")
    images = subsets.join(number, on="run_id").sort("label")
    classes = datasets.filter(pl.col("run_id").is_in(draws["run_id"].implode())).unique("label")
    labels = pl.concat([images["label"], classes["label"]]).unique().sort()
    known = pl.DataFrame({"label": labels}).join(classes, on="label", how="left", maintain_order="left")
    return DrawOverlap(
        experiment,
        dataset,
        train_size,
        draws=tuple(draws["draw"]),
        labels=labels.to_numpy(),
        class_names=tuple(known["class_name"].fill_null(labels.cast(pl.String))),
        shared=_shared_images(images, labels.to_numpy(), draws.height),
        class_images=known["train_images"].cast(pl.Float64).to_numpy(),
    )


def _shared_images(images: pl.DataFrame, labels: Counts, draws: int) -> Counts:
    """Images in both draw i and draw j, per label, shape (labels, draws, draws).

    Args:
        images: Columns `index`, `label` and the draw's `number`, sorted by label.
        labels: All labels, ascending.
        draws: How many draws there are.
    """
    label = images["label"].to_numpy()
    shared = np.zeros((len(labels), draws, draws), dtype=np.int64)
    starts = np.searchsorted(label, labels), np.searchsorted(label, labels, side="right")
    index, number = images["index"].to_numpy(), images["number"].to_numpy()
    for of_class, start, stop in zip(shared, *starts, strict=True):
        distinct, column = np.unique(index[start:stop], return_inverse=True)
        member = np.zeros((draws, len(distinct)), dtype=np.float32)
        member[number[start:stop], column] = 1
        of_class[:] = np.rint(member @ member.T)
    return shared


def _pairs(overlap: DrawOverlap) -> pl.DataFrame:
    rows, columns = np.triu_indices(len(overlap.draws), 1)
    names = np.asarray(overlap.draws)
    expected, low, high = overlap.expected[:, rows, columns]
    return _with_key(
        overlap,
        PAIRS,
        pl.DataFrame(
            {
                "draw_a": names[rows],
                "draw_b": names[columns],
                "shared": overlap.shared.sum(axis=0)[rows, columns],
                "fraction": overlap.fraction[rows, columns],
                "jaccard": overlap.jaccard[rows, columns],
                "expected": expected,
                "low": low,
                "high": high,
            }
        ),
    )


def _per_class(overlap: DrawOverlap) -> pl.DataFrame:
    rows, columns = np.triu_indices(len(overlap.draws), 1)
    images = overlap.shared.diagonal(axis1=1, axis2=2)
    a, b = images[:, rows].ravel(), images[:, columns].ravel()
    label = np.repeat(np.arange(len(images)), len(rows))
    total = overlap.class_images[label]
    low, high = hypergeometric_interval(a, b, total)
    pairs = pl.DataFrame(
        {
            "label": overlap.labels[label],
            "class_name": np.asarray(overlap.class_names)[label],
            "smaller": np.minimum(a, b),
            "shared": overlap.shared[:, rows, columns].ravel(),
            "expected": a * b / total,
            "low": low,
            "high": high,
        }
    )
    value = pl.col("shared", "expected", "low", "high") / pl.col("smaller")
    # A class that a draw lacks has nothing to share: 0 / 0.
    pairs = pairs.with_columns(value).with_columns(cs.float().fill_nan(None))
    fraction = pl.col("shared")
    is_outside = (fraction < pl.col("low")) | (fraction > pl.col("high"))
    classes = pairs.group_by("label", "class_name", maintain_order=True).agg(
        fraction.mean().alias("fraction"),
        fraction.min().alias("smallest"),
        fraction.max().alias("largest"),
        pl.col("expected", "low", "high").mean(),
        fraction.count().alias("pairs"),
        is_outside.sum().alias("pairs_outside"),
    )
    table = _with_key(overlap, PER_CLASS_OVERLAP, classes)
    return table.sort("fraction", descending=True, nulls_last=True, maintain_order=True)


def _with_key(overlap: DrawOverlap, columns: Schema, frame: pl.DataFrame) -> pl.DataFrame:
    """Put experiment, data set and size in front; NaN becomes null."""
    key = {name: pl.lit(getattr(overlap, name)) for name in ("experiment", "dataset", "train_size")}
    table = frame.with_columns(cs.float().fill_nan(None), **key)
    return table.select(pl.col(name).cast(kind) for name, kind in columns.items())

"""How much the subset draws of one size have in common, and how much independent draws would.

Given how many images of class c two draws hold, a_c and b_c of the N_c there are, independent draws
share a hypergeometric number of them with mean a_c * b_c / N_c. This holds for stratified, balanced and
random draws alike. With equal class ratios the mean share is n / N, the fraction drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import ndtri

from tui_datasize.runlog.schema import Schema, schema
from tui_datasize.stats.curve import CONFIDENCE

Counts: TypeAlias = NDArray[np.int64]
Shares: TypeAlias = NDArray[np.float64]

DRAW_KEY = (
    *("experiment", "dataset", "classes", "train_size"),
    *("subset_strategy", "subset_nested", "imbalance", "subset_seed"),
)
"""Runs that agree in these columns train on the same images."""

DRAWS: Schema = schema(
    (pl.String, "experiment", "dataset"),
    (pl.Int64, "train_size"),
    (pl.String, "subset_strategy"),
    (pl.Boolean, "subset_nested"),
    (pl.String, "classes"),
    (pl.Float64, "imbalance"),
    (pl.Int64, "subset_seed"),
    (pl.String, "draw", "run_id"),
    (pl.Int64, "n_runs"),
)
"""The frame of `find_draws`: `draw` is a short name such as `d0`, `run_id` a run with this very subset."""

_BY_USE = ("succeeded", "incomplete", "running", "interrupted", "cancelled", "failed")
"""States whose runs may have written their subset, most trusted first."""

Measure: TypeAlias = Literal["fraction", "jaccard"]
"""Shared images over those of the smaller draw, or over those in either draw."""


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
        mean, variance = self.moments
        half = ndtri(0.5 + CONFIDENCE / 2) * np.sqrt(variance)
        images = self.shared.sum(axis=0).diagonal()
        bounds = np.stack([mean, mean - half, mean + half]) / np.minimum.outer(images, images)
        within: Shares = np.clip(bounds, 0, 1)
        return within

    def matrix(self, measure: Measure) -> Shares:
        """What each pair of draws has in common, shape (k, k), in [0, 1]."""
        return self.fraction if measure == "fraction" else self.jaccard

    def expectation(self, measure: Measure) -> tuple[float, float, float]:
        """Mean over pairs of the expected measure and of its 95 % bounds, for independent draws.

        The Jaccard index grows with the number of shared images: its bounds are those of that number. Its
        mean is taken for its value at the mean number.
        """
        images = self.shared.sum(axis=0).diagonal()
        expected = self.expected
        if measure == "jaccard":
            shared = expected * np.minimum.outer(images, images)
            expected = shared / (np.add.outer(images, images) - shared)
        mean, low, high = expected[:, *self.pairs].mean(axis=1).tolist()
        return mean, low, high

    @property
    def pairs(self) -> tuple[Counts, Counts]:
        """Positions of the draws of each pair, shapes (p,); of a single draw, that with itself."""
        k = len(self.draws)
        rows, columns = np.triu_indices(k, 1) if k > 1 else (np.array([0]), np.array([0]))
        return rows, columns

    @cached_property
    def moments(self) -> tuple[Shares, Shares]:
        """Mean and variance of the images that independent draws share, shapes (k, k).

        Hypergeometric (Johnson, Kemp, Kotz, Univariate Discrete Distributions, ch. 6), summed over classes.
        """
        images = self.shared.diagonal(axis1=1, axis2=2).astype(float)
        a, b, total = images[:, :, None], images[:, None, :], self.class_images[:, None, None]
        variance = a * b * (total - a) * (total - b) / (total**2 * np.maximum(total - 1, 1))
        return (a * b / total).sum(axis=0), variance.sum(axis=0)


def find_draws(runs: pl.DataFrame) -> pl.DataFrame:
    """The distinct subset draws behind some runs, schema `DRAWS`, in order of size and seed.

    Runs not begun are passed over.
    """
    rank = pl.col("state").replace_strict(_BY_USE, range(len(_BY_USE)), default=None, return_dtype=pl.Int64)
    begun = runs.with_columns(rank.alias("rank")).drop_nulls("rank").sort("rank", maintain_order=True)
    n_runs = pl.len().cast(pl.Int64).alias("n_runs")
    draws = begun.group_by(DRAW_KEY, maintain_order=True).agg(pl.first("run_id"), n_runs)
    short = pl.format("d{}", "subset_seed")
    nesting = pl.when("subset_nested").then(pl.lit("nested")).otherwise(pl.lit("independent"))
    is_unique = pl.struct("experiment", "dataset", "classes", "train_size", "subset_seed").is_unique()
    tail = pl.when(pl.col("imbalance") > 1).then(pl.format(" 1:{}", "imbalance")).otherwise(pl.lit(""))
    long = pl.format("{} {}{} {}", "subset_strategy", nesting, tail, short)
    name = pl.when(is_unique).then(short).otherwise(long)
    return draws.with_columns(name.alias("draw")).select(*DRAWS).sort(DRAW_KEY)


def find_overlaps(draws: pl.DataFrame, subsets: pl.DataFrame, datasets: pl.DataFrame) -> list[DrawOverlap]:
    """Compare the draws of each size, in order of experiment and size.

    `subsets` has `run_id`, `index`, `label`: the images of each draw's run; a draw whose run has none is left
    out. `datasets` (schema `DATASETS`) is of the same runs; where a class is missing nothing is expected.
    """
    groups = draws.join(subsets.select("run_id").unique(), on="run_id", how="semi", maintain_order="left")
    # Halves of the classes have no image in common, and count their labels apart.
    by_size = groups.group_by("experiment", "dataset", "classes", "train_size", maintain_order=True)
    return [_compare(group, subsets, datasets) for _, group in by_size]


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
    """Images in both draw i and draw j, per label, shape (labels, draws, draws); all sorted by label."""
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


LEAKS: Schema = schema(
    (pl.String, "run_id"),
    (pl.Int64, "train_index", "train_label", "test_index", "test_label"),
    (pl.UInt64, "hash"),
)
"""A training and a test image of one run with the same pixels. Differing labels mean that one is wrong."""


def find_leaks(subsets: pl.DataFrame, predictions: pl.DataFrame) -> pl.DataFrame:
    """Pairs of equal images in a run's subset and its test set, schema `LEAKS`.

    Both have `run_id`, `index`, `label`, `hash`, of training and of test images; these may stand there once
    per evaluation.

    >>> train = pl.DataFrame({"run_id": "a", "index": [7, 8], "label": [0, 1], "hash": [11, 12]})
    >>> test = pl.DataFrame({"run_id": "a", "index": [3, 3], "label": [1, 1], "hash": [12, 12]})
    >>> find_leaks(train, test).rows()
    [('a', 8, 1, 3, 1, 12)]
    """
    columns = ("run_id", "index", "label", "hash")
    tested = predictions.select(columns).unique(maintain_order=True)
    pairs = subsets.select(columns).join(tested, on=["run_id", "hash"], suffix="_test", maintain_order="left")
    train = {name: f"train_{name}" for name in ("index", "label")}
    test = {f"{name}_test": f"test_{name}" for name in ("index", "label")}
    return pairs.rename(train | test).select(pl.col(name).cast(kind) for name, kind in LEAKS.items())

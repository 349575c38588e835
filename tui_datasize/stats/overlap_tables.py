"""Tables of what subset draws share: a row per pair and class, and a row per class over all pairs."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl
import polars.selectors as cs
from scipy.special import ndtri

from tui_datasize.runlog.schema import Schema, schema
from tui_datasize.stats import overlap_chance
from tui_datasize.stats.curve import CONFIDENCE
from tui_datasize.stats.overlap import DrawOverlap

_KEY = ("experiment", "dataset", "train_size")
_HALF_WIDTH = float(ndtri(0.5 + CONFIDENCE / 2))
"""Of a 95 % interval, in standard errors."""

OVERLAPS: Schema = schema(
    (pl.String, "experiment", "dataset"),
    (pl.Int64, "train_size"),
    (pl.String, "draw_a", "draw_b"),
    (pl.Int64, "label"),
    (pl.String, "class_name"),
    (pl.Int64, "shared"),
    (pl.Float64, "fraction", "jaccard", "expected", "low", "high"),
    (pl.Boolean, "is_outside"),
    (pl.Float64, "expected_largest"),
)
"""A pair of draws a row: first over all images, where `label` and `class_name` are null, then class by class.
`fraction` is shared images over those of the smaller draw, `jaccard` over those in either; `expected`, `low`
and `high` are the fraction's mean and 95 % interval if the draws were independent (hypergeometric; over all
classes their sum taken for normal), `is_outside` whether it lies outside. `expected_largest` is what the
largest fraction of the size would be about: of all pairs, or of all pairs and classes. What is expected is
null where the images per class of the whole data set are unknown."""

PER_CLASS_OVERLAP: Schema = schema(
    (pl.String, "experiment", "dataset"),
    (pl.Int64, "train_size", "label"),
    (pl.String, "class_name"),
    (pl.Float64, "fraction", "smallest", "largest", "expected", "low", "high"),
    (pl.Boolean, "is_outside"),
    (pl.Float64, "jaccard", "jaccard_expected", "jaccard_low", "jaccard_high"),
    (pl.Int64, "pairs", "pairs_outside"),
)
"""Overlap within one class: mean, smallest and largest fraction over all pairs of draws; mean and 95 %
interval of that mean if draws were independent, and whether it lies outside; and how many pairs lie outside
of their own interval. The overlaps of different pairs are uncorrelated, so that the variance of their mean is
that of one pair over their number; of one pair the interval is that of the hypergeometric distribution. The
Jaccard columns are the same on its scale."""


def overlap_table(overlaps: Iterable[DrawOverlap]) -> pl.DataFrame:
    """Every pair of draws of one size, as a whole and class by class, schema `OVERLAPS`."""
    several = [overlap for overlap in overlaps if len(overlap.draws) > 1]
    frames = []
    for overlap in several:
        largest = pl.lit(overlap_chance.largest_expected_of_classes(overlap, "fraction"))
        by_class = _pairs_of_classes(overlap).with_columns(_is_outside(), expected_largest=largest)
        frames += [_whole(overlap), _with_key(overlap, OVERLAPS, by_class)]
    return pl.concat([pl.DataFrame(schema=dict(OVERLAPS)), *frames])


def per_class_table(overlaps: Iterable[DrawOverlap]) -> pl.DataFrame:
    """Every class of each size that has two draws, schema `PER_CLASS_OVERLAP`, the highest overlap first."""
    frames = [_per_class(overlap) for overlap in overlaps if len(overlap.draws) > 1]
    return pl.concat([pl.DataFrame(schema=dict(PER_CLASS_OVERLAP)), *frames])


def _whole(overlap: DrawOverlap) -> pl.DataFrame:
    rows, columns = overlap.pairs
    names = np.asarray(overlap.draws)
    expected, low, high = overlap.expected[:, rows, columns]
    pairs = pl.DataFrame(
        {
            "draw_a": names[rows],
            "draw_b": names[columns],
            "label": pl.Series([None] * len(rows), dtype=pl.Int64),
            "class_name": pl.Series([None] * len(rows), dtype=pl.String),
            "shared": overlap.shared.sum(axis=0)[rows, columns],
            "fraction": overlap.fraction[rows, columns],
            "jaccard": overlap.jaccard[rows, columns],
            "expected": expected,
            "low": low,
            "high": high,
            "expected_largest": overlap_chance.largest_expected(overlap, "fraction"),
        }
    )
    known = pairs.with_columns(cs.float().fill_nan(None))
    return _with_key(overlap, OVERLAPS, known.with_columns(_is_outside()))


def _per_class(overlap: DrawOverlap) -> pl.DataFrame:
    fraction, sizes = pl.col("fraction"), ("smaller", "either")
    classes = (
        _pairs_of_classes(overlap)
        .group_by("label", "class_name", maintain_order=True)
        .agg(
            fraction.mean(),
            fraction.min().alias("smallest"),
            fraction.max().alias("largest"),
            pl.col("jaccard", "expected", "low", "high", *sizes).mean(),
            # Uncorrelated pairs: the variance of their mean is the sum of theirs over their number squared.
            (pl.col("variance").sum().sqrt() / fraction.count()).alias("spread"),
            fraction.count().alias("pairs"),
            _is_outside().sum().alias("pairs_outside"),
        )
        .with_columns(_interval_of_mean("low", -1), _interval_of_mean("high", 1))
        .with_columns(_is_outside(), *(_as_jaccard(name) for name in ("expected", "low", "high")))
    )
    table = _with_key(overlap, PER_CLASS_OVERLAP, classes)
    return table.sort("fraction", descending=True, nulls_last=True, maintain_order=True)


def _pairs_of_classes(overlap: DrawOverlap) -> pl.DataFrame:
    """Each pair in each class; `smaller` and `either` count images, `variance` is that of the fraction."""
    rows, columns = overlap.pairs
    images = overlap.shared.diagonal(axis1=1, axis2=2)
    a, b = images[:, rows].ravel(), images[:, columns].ravel()
    label = np.repeat(np.arange(len(images)), len(rows))
    total = overlap.class_images[label]
    low, high = overlap_chance.hypergeometric_interval(a, b, total)
    names, both = np.asarray(overlap.draws), overlap.shared[:, rows, columns].ravel()
    smaller = np.minimum(a, b)
    with np.errstate(divide="ignore", invalid="ignore"):
        # A class that a draw lacks has nothing to share: 0 / 0.
        pairs = pl.DataFrame(
            {
                "draw_a": np.tile(names[rows], len(images)),
                "draw_b": np.tile(names[columns], len(images)),
                "label": overlap.labels[label],
                "class_name": np.asarray(overlap.class_names)[label],
                "shared": both,
                "fraction": both / smaller,
                "jaccard": both / (a + b - both),
                "expected": a * b / total / smaller,
                "low": low / smaller,
                "high": high / smaller,
                "smaller": smaller,
                "either": a + b,
                "variance": a * b * (total - a) * (total - b) / (total**2 * (total - 1)) / smaller**2,
            }
        )
    return pairs.with_columns(cs.float().fill_nan(None))


def _is_outside() -> pl.Expr:
    fraction = pl.col("fraction")
    return ((fraction < pl.col("low")) | (fraction > pl.col("high"))).alias("is_outside")


def _interval_of_mean(end: str, sign: int) -> pl.Expr:
    """An end of the interval of the mean over pairs; of one pair the one that it has already."""
    normal = (pl.col("expected") + sign * _HALF_WIDTH * pl.col("spread")).clip(0, 1)
    return pl.when(pl.col("pairs") == 1).then(end).otherwise(normal).alias(end)


def _as_jaccard(name: str) -> pl.Expr:
    """A fraction on the scale of the Jaccard index, at the mean sizes of the draws."""
    shared = pl.col(name) * pl.col("smaller")
    return (shared / (pl.col("either") - shared)).alias(f"jaccard_{name}")


def _with_key(overlap: DrawOverlap, columns: Schema, frame: pl.DataFrame) -> pl.DataFrame:
    key = {name: pl.lit(getattr(overlap, name)) for name in _KEY}
    table = frame.with_columns(cs.float().fill_nan(None), **key)
    return table.select(pl.col(name).cast(kind) for name, kind in columns.items())

"""Do the probabilities mean what they say: reliability bars, calibration error, risk against coverage."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from tui_datasize.runlog.schema import Schema
from tui_datasize.stats.laws import Floats

N_BINS = 15
"""Bins of equal width (Guo et al., *On Calibration of Modern Neural Networks*, 2017)."""
COVERAGES = tuple(round(0.05 * k, 2) for k in range(1, 21))

CONFIDENCES: Schema = MappingProxyType(
    {"run_id": pl.String, "index": pl.Int64, "confidence": pl.Float64, "is_correct": pl.Boolean}
)
"""The largest probability of each test image, and whether its class is the true one."""


@dataclass(frozen=True)
class Reliability:
    """Confidence against accuracy in bins; arrays of shape (bins,)."""

    low: Floats
    """Lower end of each bin; each ends where the next begins, the last at 1."""
    images: NDArray[np.int64]
    confidence: Floats
    """Mean in each bin; NaN where it is empty."""
    accuracy: Floats
    ece: float
    """Expected calibration error: mean |accuracy - confidence| over images; NaN without images."""

    @property
    def table(self) -> pl.DataFrame:
        """A bin a row: `low`, `high`, `images`, `confidence`, `accuracy`; the last two null where empty."""
        ends = {"low": self.low, "high": np.append(self.low[1:], 1.0), "images": self.images}
        means = {"confidence": self.confidence, "accuracy": self.accuracy}
        return pl.DataFrame(ends | means).with_columns(pl.col(*means).fill_nan(None))

    @property
    def overconfidence(self) -> float:
        """Mean confidence less accuracy; NaN without images."""
        images = int(self.images.sum())
        off = np.nansum((self.confidence - self.accuracy) * self.images)
        return float(off) / images if images else float("nan")


def confidences(predictions: pl.DataFrame) -> pl.DataFrame:
    """The largest probability of each image at the end and whether it is right, schema `CONFIDENCES`.

    `predictions` has schema `PREDICTIONS` behind `run_id`.
    """
    rows = predictions.filter((pl.col("evaluation") == "last") & (pl.col("probabilities").list.len() > 0))
    top = pl.col("classes").list.get(pl.col("probabilities").list.arg_max())
    return rows.select(
        "run_id",
        "index",
        pl.col("probabilities").list.max().cast(pl.Float64).alias("confidence"),
        (top == pl.col("label")).alias("is_correct"),
    ).filter(pl.col("confidence").is_finite())


def reliability(confidence: ArrayLike, is_correct: ArrayLike, bins: int = N_BINS) -> Reliability:
    """Bins of equal width over [0, 1], each closed at its upper end; arguments of shape (n,).

    >>> found = reliability([0.9, 0.8, 0.6, 0.55], [True, True, True, False], bins=2)
    >>> found.images.tolist(), round(found.ece, 4)
    ([0, 4], 0.0375)
    """
    p, hit = np.asarray(confidence, float), np.asarray(is_correct, float)
    place = np.clip(np.ceil(p * bins).astype(np.int64) - 1, 0, bins - 1)
    images = np.bincount(place, minlength=bins)
    sums = [np.bincount(place, weights, minlength=bins) for weights in (p, hit)]
    empty = np.full(bins, np.nan)
    mean, accuracy = (np.divide(total, images, out=empty.copy(), where=images > 0) for total in sums)
    ece = float(np.nansum(np.abs(accuracy - mean) * images) / len(p)) if len(p) else float("nan")
    return Reliability(np.arange(bins) / bins, images, mean, accuracy, ece)


def risk_coverage(confidence: ArrayLike, is_correct: ArrayLike) -> tuple[Floats, Floats]:
    """Error among the most confident images, for every share of them that is answered.

    El-Yaniv and Wiener, *On the Foundations of Noise-free Selective Classification* (2010). Equal confidences
    are answered together, at their mean error. Returns coverage and risk, shape (distinct confidences,),
    coverage ascending to 1.

    >>> [side.tolist() for side in risk_coverage([0.9, 0.9, 0.5], [True, False, False])]
    [[0.6666666666666666, 1.0], [0.5, 0.6666666666666666]]
    """
    p, wrong = np.asarray(confidence, float), 1 - np.asarray(is_correct, float)
    if not len(p):
        return np.zeros(0), np.zeros(0)
    order = np.argsort(-p, kind="stable")
    answered = np.arange(1, len(p) + 1)
    risk = np.cumsum(wrong[order]) / answered
    last_of_ties = np.append(np.flatnonzero(np.diff(p[order])), len(p) - 1)
    return answered[last_of_ties] / len(p), risk[last_of_ties]


def risk_coverage_table(scored: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
    """Mean risk over the runs of each size at `COVERAGES`, from what schema `CONFIDENCES` holds of them.

    Columns `experiment`, `variant`, `train_size`, `coverage`, `risk`, `n_runs`.
    """
    rows = []
    for (run_id,), group in scored.group_by("run_id", maintain_order=True):
        coverage, risk = risk_coverage(group["confidence"], group["is_correct"])
        at = np.searchsorted(coverage, np.array(COVERAGES) - 1e-9).clip(max=len(coverage) - 1)
        rows += [(run_id, share, float(r)) for share, r in zip(COVERAGES, risk[at], strict=True)]
    schema = {"run_id": pl.String, "coverage": pl.Float64, "risk": pl.Float64}
    table = pl.DataFrame(rows, schema=schema, orient="row")
    named = runs.select("run_id", "experiment", "variant", "train_size").join(table, on="run_id")
    return (
        named.group_by("experiment", "variant", "train_size", "coverage")
        .agg(pl.col("risk").mean(), pl.len().cast(pl.Int64).alias("n_runs"))
        .sort("experiment", "variant", "train_size", "coverage")
    )

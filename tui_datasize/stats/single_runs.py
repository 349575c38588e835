"""Two trainings compared image by image: how many test images only one of them has right.

McNemar's test (1947, *Psychometrika* 12, 153) in its exact form; the interval after Agresti and Min (2005,
*Statistics in Medicine* 24, 729); images needed after Connor (1987, *Biometrics* 43, 207). It is about these
two trained models and the images that were drawn, not about recipes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl
from scipy.special import bdtr, ndtri

from tui_datasize.stats.agreement import predicted_classes
from tui_datasize.stats.curve import CONFIDENCE

_POWER = 0.8


@dataclass(frozen=True, slots=True)
class McNemar:
    """The test images that two models both answered."""

    n_images: int
    only_first: int
    """That the first alone has right."""
    only_second: int
    p: float
    """Two-sided, exact."""
    low: float
    """95 % interval of the accuracy of the second minus that of the first."""
    high: float

    @property
    def share_apart(self) -> float:
        return (self.only_first + self.only_second) / self.n_images


def right_answers(predictions: pl.DataFrame) -> Mapping[str, pl.DataFrame]:
    """By run, of each test image whether it was answered right at the end: `index`, `hash`, `right`.

    `predictions` has schema `PREDICTIONS` behind `run_id`.
    """
    labels = predictions.filter(evaluation="last").partition_by("run_id", as_dict=True)
    return {
        run_id: labels[(run_id,)]
        .select("index", "hash", "label")
        .join(predicted, on="index")
        .select("index", "hash", right=pl.col("label") == pl.col("predicted"))
        for run_id, predicted in predicted_classes(predictions).items()
    }


def mcnemar(first: pl.DataFrame | None, second: pl.DataFrame | None) -> McNemar | None:
    """Compare answers as of `right_answers` on the test images that both models have; None without any."""
    if first is None or second is None:
        return None
    both = first.join(second, on=["index", "hash"], suffix="_other", nulls_equal=True)
    if both.is_empty():
        return None
    right, other = both["right"], both["right_other"]
    only_first, only_second = int((right & ~other).sum()), int((other & ~right).sum())
    n, apart = both.height, only_first + only_second
    p = min(1.0, 2 * float(bdtr(min(only_first, only_second), apart, 0.5)))
    # Half an image more in each of the four cells.
    value, share = (only_second - only_first) / (n + 2), (apart + 1) / (n + 2)
    half = float(ndtri(0.5 + CONFIDENCE / 2)) * math.sqrt((share - value**2) / (n + 2))
    return McNemar(n, only_first, only_second, p, value - half, value + half)


def share_apart(first: float, second: float) -> float:
    """Share of the test images that one of two models alone has right if mistakes are unrelated."""
    return first * (1 - second) + second * (1 - first)


def images_needed(share: float, delta: float) -> int | None:
    """Test images with which a difference is seen in 4 of 5 cases, by the two-sided test at 5 %.

    `share` of the test images, in [0, 1], one of both alone has right; `delta`, above 0, is the difference of
    their accuracies. None where they differ on too few images for one so large.
    """
    if share <= delta:
        return None
    quantile, power = float(ndtri(0.5 + CONFIDENCE / 2)), float(ndtri(_POWER))
    return math.ceil(((quantile * math.sqrt(share) + power * math.sqrt(share - delta**2)) / delta) ** 2)

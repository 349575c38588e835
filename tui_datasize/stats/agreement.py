"""Do runs that share training images agree more: overlap against accuracy and against predictions.

The test permutes the runs of a size (Mantel 1967): if draws did not matter, runs would be exchangeable.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from typing import TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tui_datasize.runlog.schema import Schema, schema
from tui_datasize.stats.curve import points
from tui_datasize.stats.overlap import DRAW_KEY, DrawOverlap, find_draws

PERMUTATIONS = 2000
_FEW_RUNS = 20
"""More runs than these can be relabelled in more than 20 ways, if at all: any p may come out."""
_MOST_ORDERS = 5040
"""So many orders of a few runs are all tried."""
_VALUES_AT_ONCE = 1 << 21

AGREEMENT: Schema = schema(
    (pl.String, "experiment", "variant"),
    (pl.Int64, "train_size", "n_runs", "n_draws"),
    (pl.Float64, "overlap_min", "overlap_max", "r_difference", "p_difference", "r_agreement", "p_agreement"),
    (pl.Float64, "p_least", "agreement", "difference"),
)
"""A size of a curve a row, over all pairs of its runs. `r_difference` is Pearson's correlation of subset
overlap with |difference of accuracy|, `r_agreement` that with the share of test images given the same class;
`p_...` one-sided (more overlap, less difference, more agreement) by permutation of runs. Null where there is
one draw, or nothing varies. `p_least` is the smallest p that these runs could give at all: runs that share a
draw may change places without a change of overlap. `agreement` and `difference` are means over pairs."""

PAIRS_OF_RUNS: Schema = schema(
    (pl.String, "experiment", "variant"),
    (pl.Int64, "train_size"),
    (pl.String, "run_a", "run_b"),
    (pl.Float64, "overlap", "difference", "agreement"),
)
"""A pair of runs of one size a row: shared training images over all, |difference of the metric|, and the
share of test images given the same class (null where predictions are missing)."""

_Square: TypeAlias = NDArray[np.float64]
_Fractions: TypeAlias = dict[tuple[str, str, int, str, str], float]
"""Overlap by experiment, data set, train size and both draws."""


def pairs_of_runs(
    runs: pl.DataFrame,
    metric: str,
    overlaps: Iterable[DrawOverlap],
    predictions: pl.DataFrame,
    draws: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Every pair of runs of one curve and size, schema `PAIRS_OF_RUNS`.

    `overlaps` are of these runs or of more, `predictions` of any of them, schema `PREDICTIONS` behind
    `run_id`; `draws` are what `find_draws` made of those compared, None where it was these runs.
    """
    named = find_draws(runs) if draws is None else draws
    extra = runs.join(named.select(*DRAW_KEY, "draw"), on=list(DRAW_KEY)).select("run_id", "dataset", "draw")
    drawn = points(runs, metric).join(extra, on="run_id", maintain_order="left")
    fractions = {
        (overlap.experiment, overlap.dataset, overlap.train_size, a, b): float(overlap.fraction[i, j])
        for overlap in overlaps
        for i, a in enumerate(overlap.draws)
        for j, b in enumerate(overlap.draws)
    }
    chosen = predicted_classes(predictions)
    frames = [pl.DataFrame(schema=dict(PAIRS_OF_RUNS))]
    for _, group in drawn.group_by("experiment", "variant", "train_size", maintain_order=True):
        frames.append(_pairs(group, fractions, chosen))
    return pl.concat(frames)


def overlap_and_agreement(
    runs: pl.DataFrame, pairs: pl.DataFrame, permutations: int = PERMUTATIONS, seed: int = 0
) -> pl.DataFrame:
    """Correlation of overlap with difference and with agreement at each size, schema `AGREEMENT`.

    `pairs` has schema `PAIRS_OF_RUNS`; `permutations` are those of a size with too many runs to try all
    orders.
    """
    rng = np.random.default_rng(seed)
    draws = dict(runs.select("run_id", "subset_seed").iter_rows())
    rows = []
    by_size = pairs.group_by("experiment", "variant", "train_size", maintain_order=True)
    for (experiment, variant, size), group in by_size:
        names = sorted({*group["run_a"], *group["run_b"]})
        columns = ("overlap", "difference", "agreement")
        overlap, difference, agreement = (_square(group, names, column) for column in columns)
        r_less, p_difference = _mantel(overlap, -difference, permutations, rng)
        r_agreement, p_agreement = _mantel(overlap, agreement, permutations, rng)
        r_difference = None if r_less is None else -r_less
        number = len({draws.get(name) for name in names})
        tests = (r_difference, p_difference, r_agreement, p_agreement, least_p(overlap, permutations, rng))
        ends = group["overlap"].min(), group["overlap"].max()
        means = group["agreement"].mean(), group["difference"].mean()
        rows.append((experiment, variant, size, len(names), number, *ends, *tests, *means))
    return pl.DataFrame(rows, schema=dict(AGREEMENT), orient="row")


def least_p(overlap: _Square, permutations: int, rng: np.random.Generator) -> float:
    """The smallest p that a permutation of runs can give: how many permutations leave all overlaps alone.

    `overlap` is that of each pair of runs, shape (n, n).

    >>> draw = np.array([0, 0, 0, 1, 1, 1])
    >>> overlap = np.where(draw[:, None] == draw, 1.0, 0.3)
    >>> least_p(overlap, 2000, np.random.default_rng(0))
    0.1
    """
    if len(overlap) > _FEW_RUNS:
        return 1 / (permutations + 1)
    i, j = np.triu_indices(len(overlap), 1)
    unchanged = tried = 0
    for orders in _orders(len(overlap), permutations, rng):
        unchanged += int((overlap[orders[:, i], orders[:, j]] == overlap[i, j]).all(axis=1).sum())
        tried += len(orders)
    return unchanged / tried


def predicted_classes(predictions: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """By run, the class given to each test image at the end: columns `index`, `predicted`.

    `predictions` has schema `PREDICTIONS` behind `run_id`.
    """
    rows = predictions.filter((pl.col("evaluation") == "last") & (pl.col("probabilities").list.len() > 0))
    top = pl.col("classes").list.get(pl.col("probabilities").list.arg_max()).alias("predicted")
    by_run = rows.select("run_id", "index", top).partition_by("run_id", as_dict=True, include_key=False)
    return {str(run_id): frame for (run_id,), frame in by_run.items()}


def _pairs(group: pl.DataFrame, fractions: _Fractions, chosen: dict[str, pl.DataFrame]) -> pl.DataFrame:
    rows = group.to_dicts()
    found = []
    for i, a in enumerate(rows):
        for b in rows[i + 1 :]:
            overlap = fractions.get((a["experiment"], a["dataset"], a["train_size"], a["draw"], b["draw"]))
            agreement = _agreement(chosen.get(a["run_id"]), chosen.get(b["run_id"]))
            pair = (a["experiment"], a["variant"], a["train_size"], a["run_id"], b["run_id"])
            found.append((*pair, overlap, abs(a["value"] - b["value"]), agreement))
    return pl.DataFrame(found, schema=dict(PAIRS_OF_RUNS), orient="row")


def _agreement(first: pl.DataFrame | None, second: pl.DataFrame | None) -> float | None:
    if first is None or second is None:
        return None
    if first["index"].equals(second["index"]):
        same = first["predicted"] == second["predicted"]
    else:
        both = first.join(second, on="index", suffix="_other")
        same = both["predicted"] == both["predicted_other"]
    return float(same.to_numpy().mean()) if len(same) else None


def _square(pairs: pl.DataFrame, names: list[str], column: str) -> _Square:
    """A column of pairs as a symmetric matrix in the order of the names; NaN where there is none."""
    place = {name: i for i, name in enumerate(names)}
    square = np.full((len(names), len(names)), np.nan)
    for a, b, value in pairs.select("run_a", "run_b", column).iter_rows():
        if value is not None:
            square[place[a], place[b]] = square[place[b], place[a]] = value
    return square


def _mantel(
    first: _Square, second: _Square, permutations: int, rng: np.random.Generator
) -> tuple[float | None, float | None]:
    """Correlation over pairs, and the share of orders of the second that reach it, its own among them."""
    upper = np.triu_indices(len(first), 1)
    if np.isnan(first[upper]).any() or np.isnan(second[upper]).any() or len(first) < 3:
        return None, None
    a, b = (square - square[upper].mean() for square in (first, second))
    for centred in (a, b):
        np.fill_diagonal(centred, 0)
    scale = math.sqrt(float((a**2).sum()) * float((b**2).sum()))
    # Equal numbers may leave a rounding error as their spread.
    if scale < 1e-15:
        return None, None
    observed = float((a * b).sum()) / scale
    reached = tried = 0
    for orders in _orders(len(a), permutations, rng):
        # A permutation changes neither mean nor spread: the products alone have to be summed again.
        sums = np.einsum("ij,pij->p", a, b[orders[:, :, None], orders[:, None, :]])
        reached += int((sums / scale >= observed - 1e-12).sum())
        tried += len(orders)
    return observed, reached / tried


def _orders(n: int, permutations: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Every order of n runs where these are few, else the order there is and random ones; shapes (p, n)."""
    if math.factorial(n) <= _MOST_ORDERS:
        yield np.array(list(itertools.permutations(range(n))))
        return
    yield np.arange(n)[None]
    left = permutations
    while left:
        part = min(left, max(1, _VALUES_AT_ONCE // n**2))
        yield rng.permuted(np.tile(np.arange(n), (part, 1)), axis=1)
        left -= part

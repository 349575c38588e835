"""Sizes of one curve, and variants at equal sizes, compared over seeds."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from tui_datasize.metric import Metric, metric_named
from tui_datasize.runlog.schema import drawn_runs
from tui_datasize.stats.clusters import Clusters, find_clusters
from tui_datasize.stats.curve import points, size_runs
from tui_datasize.stats.fits import FitFailure
from tui_datasize.stats.group_tests import GroupTest, seed_effect
from tui_datasize.stats.laws import Floats
from tui_datasize.stats.paired import Curve, compare, curve_of, variant_curves
from tui_datasize.stats.pairwise import Difference, corrected
from tui_datasize.stats.spread import SpreadLaw, spread_law
from tui_datasize.stats.trend import trend

SEEDS_CHOOSE = "needs images that do not depend on the training seed"
"""Why seeds of a labelling strategy are not compared: each has images of its own."""


@dataclass(frozen=True)
class SizeComparison:
    """The train sizes of one curve against each other."""

    experiment: str
    variant: str
    metric: Metric
    sizes: tuple[int, ...]
    n_runs: tuple[int, ...]
    trend: Difference | FitFailure
    """The mean change with each doubling of the train size."""
    seed: GroupTest | FitFailure
    """Whether some seeds do well at every size."""
    pairs: tuple[Difference, ...]
    """All pairs of sizes that can be compared, corrected together; the smaller size first."""
    spread: SpreadLaw | FitFailure
    clusters: Clusters | None
    """How runs share draws; None where they do not tell."""

    @property
    def neighbours(self) -> tuple[Difference, ...]:
        names = [_size_name(size) for size in self.sizes]
        following = set(itertools.pairwise(names))
        return tuple(pair for pair in self.pairs if (pair.first, pair.second) in following)


@dataclass(frozen=True)
class VariantComparison:
    """The variants of one experiment against each other, at one train size or over all that they share."""

    experiment: str
    metric: Metric
    train_size: int | None
    """None where the differences are means over all sizes that a pair of variants shares."""
    variants: tuple[str, ...]
    pairs: tuple[Difference, ...]


def compare_sizes(runs: pl.DataFrame, metric: str) -> tuple[SizeComparison, ...]:
    """Compare the train sizes within each experiment and variant."""
    offered = metric_named(metric)
    drawn = set(drawn_runs(runs).select("experiment", "variant").iter_rows())
    return tuple(
        _compare_sizes(str(e), str(v), offered, values, is_drawn=(e, v) in drawn)
        for (e, v), values in points(runs, metric).group_by("experiment", "variant", maintain_order=True)
    )


def compare_variants(runs: pl.DataFrame, metric: str) -> tuple[VariantComparison, ...]:
    """Compare the variants of each experiment at every size that two of them share, then over all sizes.

    Pairs at all sizes are corrected together, and so are those over all sizes.
    """
    offered = metric_named(metric)
    found: list[VariantComparison] = []
    for (experiment,), values in points(runs, metric).group_by("experiment", maintain_order=True):
        curves = variant_curves(values)
        sizes = sorted({size for curve in curves.values() for size in curve})
        at_sizes = ({v: {n: curve[n]} for v, curve in curves.items() if n in curve} for n in sizes)
        shared = [(size, at) for size, at in zip(sizes, at_sizes, strict=True) if len(at) > 1]
        if shared:
            found += _compared(str(experiment), offered, shared, curves)
    return tuple(found)


def seed_table(values: pl.DataFrame) -> tuple[list[int], list[int], Floats]:
    """Values by seed and size, of the seeds that ran at every size.

    `values` has columns `train_size`, `seed`, `value`. Repeats of a cell, such as other draws, are averaged;
    runs without a seed are left out: nothing pairs them. Returns seeds, sizes, and values of shape (seeds,
    sizes).
    """
    sizes = values["train_size"].unique().sort()
    seeded = values.drop_nulls("seed").group_by("train_size", "seed")
    cells = seeded.agg(pl.col("value").mean()).sort("train_size", "seed")
    complete = cells.group_by("seed").len().filter(pl.col("len") == len(sizes))["seed"].sort()
    kept = cells.filter(pl.col("seed").is_in(complete.implode())).sort("seed", "train_size")
    return complete.to_list(), sizes.to_list(), kept["value"].to_numpy().reshape(len(complete), len(sizes))


def _compare_sizes(
    experiment: str, variant: str, metric: Metric, values: pl.DataFrame, *, is_drawn: bool
) -> SizeComparison:
    sizes = size_runs(values)
    curve = curve_of(values)
    at_sizes = {_size_name(size): {0: cells} for size, cells in curve.items()}
    return SizeComparison(
        experiment,
        variant,
        metric,
        sizes=tuple(curve),
        n_runs=tuple(len(size.values) for size in sizes),
        trend=trend(curve),
        seed=_seed_test(values) if is_drawn else FitFailure(SEEDS_CHOOSE),
        pairs=corrected(_pairs(at_sizes)),
        spread=spread_law(sizes),
        clusters=find_clusters(sizes),
    )


def _size_name(train_size: float) -> str:
    return f"{train_size:,.0f}"


def _seed_test(values: pl.DataFrame) -> GroupTest | FitFailure:
    """Of seeds on equal draws: what other draws do to a seed is not the seed's."""
    draws = values.group_by("train_size", "seed").agg(pl.col("subset_seed").sort())
    if (draws.group_by("train_size").agg(pl.col("subset_seed").n_unique())["subset_seed"] > 1).any():
        return FitFailure("needs seeds that ran on equal draws")
    return seed_effect(seed_table(values)[2])


def _compared(
    experiment: str,
    metric: Metric,
    shared: Sequence[tuple[int, Mapping[str, Curve]]],
    curves: Mapping[str, Curve],
) -> Iterator[VariantComparison]:
    pairs = [(size, _pairs(at)) for size, at in shared]
    adjusted = iter(corrected([pair for _, of_size in pairs for pair in of_size]))
    for (size, at), (_, of_size) in zip(shared, pairs, strict=True):
        own = tuple(itertools.islice(adjusted, len(of_size)))
        yield VariantComparison(experiment, metric, size, tuple(at), own)
    names = tuple(dict.fromkeys(name for _, at in shared for name in at))
    over_all = corrected(_pairs({name: curves[name] for name in names}))
    yield VariantComparison(experiment, metric, None, names, over_all)


def _pairs(curves: Mapping[str, Curve]) -> list[Difference]:
    found = (
        compare(curves[first], curves[second], (first, second))
        for first, second in itertools.combinations(curves, 2)
    )
    return [one for one in found if isinstance(one, Difference)]

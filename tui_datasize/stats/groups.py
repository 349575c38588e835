"""Sizes of one curve, and variants at equal sizes, compared over seeds."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from tui_datasize.metric import Metric, metric_named
from tui_datasize.stats.clusters import Clusters, SizeRuns, draw_means, find_clusters, within_draws
from tui_datasize.stats.curve import points, size_runs
from tui_datasize.stats.fits import FitFailure
from tui_datasize.stats.group_tests import (
    GroupTest,
    anova,
    brown_forsythe,
    friedman,
    jonckheere,
    kruskal,
    levene,
    linear_trend,
    two_way,
    welch_anova,
)
from tui_datasize.stats.laws import Floats
from tui_datasize.stats.paired import Curve, all_alike, compare, variant_curves
from tui_datasize.stats.pairwise import Difference, compare_pairs, corrected
from tui_datasize.stats.spread import SpreadLaw, breusch_pagan, spread_law


@dataclass(frozen=True)
class NamedTest:
    """A test, or why it could not be made."""

    name: str
    asks: str
    """What it is about: level, spread, trend or block."""
    outcome: GroupTest | FitFailure


@dataclass(frozen=True)
class SizeComparison:
    """The train sizes of one curve against each other."""

    experiment: str
    variant: str
    metric: Metric
    sizes: tuple[int, ...]
    n_runs: tuple[int, ...]
    """Of each size."""
    tests: tuple[NamedTest, ...]
    pairs: tuple[Difference, ...]
    """All pairs of sizes with two runs each, corrected together; the smaller size first."""
    spread: SpreadLaw | FitFailure
    clusters: Clusters | None
    """How runs share draws; None where they do not tell."""

    @property
    def neighbours(self) -> tuple[Difference, ...]:
        names = [_size_name(size) for size in self.sizes]
        following = set(itertools.pairwise(names))
        return tuple(pair for pair in self.pairs if (pair.first, pair.second) in following)

    def test(self, name: str) -> GroupTest | FitFailure:
        """The outcome of one test.

        Raises:
            KeyError: There is no such test.
        """
        return {test.name: test.outcome for test in self.tests}[name]


@dataclass(frozen=True)
class VariantComparison:
    """The variants of one experiment against each other, at one train size or over all that they share."""

    experiment: str
    metric: Metric
    train_size: int | None
    """None where the differences are means over all sizes that a pair of variants shares."""
    variants: tuple[str, ...]
    welch: GroupTest | FitFailure
    pairs: tuple[Difference, ...]


def compare_sizes(runs: pl.DataFrame, metric: str) -> tuple[SizeComparison, ...]:
    """Compare the train sizes within each experiment and variant."""
    offered = metric_named(metric)
    curves = points(runs, metric).group_by("experiment", "variant", maintain_order=True)
    return tuple(
        _compare_sizes(str(experiment), str(variant), offered, values)
        for (experiment, variant), values in curves
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
        at_sizes = [_variants_at(curves, size) for size in sizes]
        shared = [(size, at) for size, at in zip(sizes, at_sizes, strict=True) if len(at) > 1]
        if shared:
            found += _compared(str(experiment), offered, shared, curves)
    return tuple(found)


def seed_table(values: pl.DataFrame) -> tuple[list[int], list[int], Floats]:
    """Values by seed and size, of the seeds that ran at every size.

    Args:
        values: Columns `train_size`, `seed`, `value`; repeats of a cell, such as other draws, are averaged.
            Runs without a seed are left out: nothing pairs them.

    Returns:
        Seeds, sizes, and values of shape (seeds, sizes).
    """
    sizes = values["train_size"].unique().sort()
    seeded = values.drop_nulls("seed").group_by("train_size", "seed")
    cells = seeded.agg(pl.col("value").mean()).sort("train_size", "seed")
    complete = cells.group_by("seed").len().filter(pl.col("len") == len(sizes))["seed"].sort()
    kept = cells.filter(pl.col("seed").is_in(complete.implode())).sort("seed", "train_size")
    return complete.to_list(), sizes.to_list(), kept["value"].to_numpy().reshape(len(complete), len(sizes))


def _compare_sizes(experiment: str, variant: str, metric: Metric, values: pl.DataFrame) -> SizeComparison:
    sizes = size_runs(values)
    clusters = find_clusters(sizes)
    groups = [size.values for size in sizes]
    names = [_size_name(size.train_size) for size in sizes]
    every = list(itertools.combinations(range(len(groups)), 2))
    pairs = compare_pairs(groups, names, every, clusters.means if clusters else None)
    within = [within_draws(size) for size in sizes]
    tests = (*_tests(sizes, clusters), *_spread_tests(sizes, within), *_block_tests(values, clusters))
    spread = spread_law([size.train_size for size in sizes], within)
    train_sizes, lengths = tuple(int(size.train_size) for size in sizes), tuple(map(len, groups))
    return SizeComparison(experiment, variant, metric, train_sizes, lengths, tests, pairs, spread, clusters)


def _size_name(train_size: float) -> str:
    return f"{train_size:,.0f}"


def _tests(sizes: Sequence[SizeRuns], clusters: Clusters | None) -> tuple[NamedTest, ...]:
    """Of level and trend; ranks are of the means over each draw where draws are clusters."""
    groups, scatters = [size.values for size in sizes], clusters.means if clusters else None
    ranked = [draw_means(size) for size in sizes] if clusters else groups
    train_sizes = [size.train_size for size in sizes]
    return (
        NamedTest("ANOVA", "level", anova(groups, scatters)),
        NamedTest("Welch", "level", welch_anova(groups, scatters)),
        NamedTest("Kruskal-Wallis", "level", kruskal(ranked)),
        NamedTest("Jonckheere-Terpstra", "trend", jonckheere(ranked)),
        NamedTest("linear contrast", "trend", linear_trend(train_sizes, groups, scatters)),
    )


def _spread_tests(sizes: Sequence[SizeRuns], within: Sequence[Floats]) -> tuple[NamedTest, ...]:
    residuals = np.concatenate([group - group.mean() for group in within])
    each_size = np.repeat([size.train_size for size in sizes], [len(group) for group in within])
    return (
        NamedTest("Levene", "spread", levene(within)),
        NamedTest("Brown-Forsythe", "spread", brown_forsythe(within)),
        NamedTest("Breusch-Pagan", "spread", breusch_pagan(each_size, residuals)),
    )


def _block_tests(values: pl.DataFrame, clusters: Clusters | None) -> tuple[NamedTest, ...]:
    _, _, table = seed_table(values)
    blocked = two_way(table)
    size_f, seed_f = (blocked, blocked) if isinstance(blocked, FitFailure) else blocked
    by_ranks = friedman(table)
    if clusters:
        # Blocks of a seed leave out what another draw would change of every size.
        size_f = by_ranks = FitFailure("cannot tell sizes from their draws: see Welch")
    return (
        NamedTest("two-way: size", "block", size_f),
        NamedTest("two-way: seed", "block", seed_f),
        NamedTest("Friedman", "block", by_ranks),
    )


def _variants_at(curves: Mapping[str, Curve], size: int) -> dict[str, Curve]:
    """Those variants that have a size, at that alone."""
    return {name: {size: curve[size]} for name, curve in curves.items() if size in curve}


def _compared(
    experiment: str,
    metric: Metric,
    shared: Sequence[tuple[int, Mapping[str, Curve]]],
    curves: Mapping[str, Curve],
) -> Iterator[VariantComparison]:
    """At each size that variants share, and over all of these."""
    pairs = [(size, _pairs(at)) for size, at in shared]
    adjusted = iter(corrected([pair for _, of_size in pairs for pair in of_size]))
    for (size, at), (_, of_size) in zip(shared, pairs, strict=True):
        own = tuple(itertools.islice(adjusted, len(of_size)))
        yield VariantComparison(experiment, metric, size, tuple(at), all_alike(list(at.values())), own)
    reason = FitFailure("is not made over several sizes together")
    names = tuple(dict.fromkeys(name for _, at in shared for name in at))
    over_all = corrected(_pairs({name: curves[name] for name in names}))
    yield VariantComparison(experiment, metric, None, names, reason, over_all)


def _pairs(curves: Mapping[str, Curve]) -> list[Difference]:
    found = (
        compare(curves[first], curves[second], (first, second))
        for first, second in itertools.combinations(curves, 2)
    )
    return [one for one in found if isinstance(one, Difference)]

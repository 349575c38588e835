"""Sizes of one curve, and variants at equal sizes, compared over seeds."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from tui_datasize.metric import Metric, metric_named
from tui_datasize.stats.clusters import (
    Clusters,
    MeanScatter,
    SizeRuns,
    draw_means,
    find_clusters,
    within_draws,
)
from tui_datasize.stats.curve import mean_scatters, points, size_runs
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
from tui_datasize.stats.pairwise import Difference, compare_pairs, corrected, mean_difference
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
        """Pairs of sizes that follow each other."""
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
    """Compare the train sizes within each experiment and variant.

    Args:
        runs: Schema `RUNS`.
        metric: A key of `METRICS_OFFERED`.

    Raises:
        ConfigError: There is no such metric.
    """
    offered = metric_named(metric)
    curves = points(runs, metric).group_by("experiment", "variant", maintain_order=True)
    return tuple(
        _compare_sizes(str(experiment), str(variant), offered, values)
        for (experiment, variant), values in curves
    )


def compare_variants(runs: pl.DataFrame, metric: str) -> tuple[VariantComparison, ...]:
    """Compare the variants of each experiment at every size that two of them share, then over all sizes.

    Variants on the same draws are compared as if each had draws of its own, which errs towards finding none.

    Args:
        runs: Schema `RUNS`.
        metric: A key of `METRICS_OFFERED`.

    Raises:
        ConfigError: There is no such metric.
    """
    offered = metric_named(metric)
    found: list[VariantComparison] = []
    for (experiment,), values in points(runs, metric).group_by("experiment", maintain_order=True):
        scatters = _scatters_by_variant(values)
        at_sizes = [
            _variants_at(str(experiment), offered, int(str(size)), group, scatters)
            for (size,), group in values.sort("train_size", maintain_order=True).group_by(
                "train_size", maintain_order=True
            )
            if group["variant"].n_unique() > 1
        ]
        found += at_sizes
        if at_sizes:
            found.append(_variants_over_all(str(experiment), offered, at_sizes))
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
    lengths = tuple(len(group) for group in groups)
    return SizeComparison(
        experiment,
        variant,
        metric,
        tuple(int(size.train_size) for size in sizes),
        lengths,
        tests,
        pairs,
        spread,
        clusters,
    )


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


def _variants_at(
    experiment: str,
    metric: Metric,
    size: int,
    values: pl.DataFrame,
    scatters: Mapping[tuple[str, int], MeanScatter],
) -> VariantComparison:
    variants, groups = _groups(values, "variant")
    known = [scatters[name, size] for name in variants]
    pairs = compare_pairs(groups, variants, list(itertools.combinations(range(len(groups)), 2)), known)
    return VariantComparison(experiment, metric, size, tuple(variants), welch_anova(groups, known), pairs)


def _variants_over_all(
    experiment: str, metric: Metric, at_sizes: Sequence[VariantComparison]
) -> VariantComparison:
    by_pair: dict[tuple[str, str], list[Difference]] = {}
    for comparison in at_sizes:
        for pair in comparison.pairs:
            by_pair.setdefault((pair.first, pair.second), []).append(pair)
    found = [mean_difference(differences) for differences in by_pair.values()]
    pairs = corrected([difference for difference in found if isinstance(difference, Difference)])
    variants = tuple(dict.fromkeys(name for comparison in at_sizes for name in comparison.variants))
    reason = FitFailure("is not made over several sizes together")
    return VariantComparison(experiment, metric, None, variants, reason, pairs)


def _scatters_by_variant(values: pl.DataFrame) -> dict[tuple[str, int], MeanScatter]:
    """How well every mean of an experiment is known, by variant and size: each variant is a curve."""
    found: dict[tuple[str, int], MeanScatter] = {}
    for (variant,), curve in values.group_by("variant", maintain_order=True):
        sizes = curve["train_size"].unique().sort().to_list()
        found |= {(str(variant), n): mean for n, mean in zip(sizes, mean_scatters(curve), strict=True)}
    return found


def _groups(values: pl.DataFrame, by: str) -> tuple[list[Any], list[Floats]]:
    """The distinct values of a column, ascending, and the metric's values that go with each."""
    grouped = values.sort(by, maintain_order=True).group_by(by, maintain_order=True).agg("value")
    return grouped[by].to_list(), [group.to_numpy() for group in grouped["value"]]

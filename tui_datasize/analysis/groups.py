"""Sizes of one curve, and variants at equal sizes, compared over seeds; with a plain sentence for each."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from tui_datasize.analysis.curve import Metric, metric_named, points
from tui_datasize.analysis.fits import FitFailure
from tui_datasize.analysis.group_tests import (
    GroupTest,
    anova,
    brown_forsythe,
    friedman,
    jonckheere,
    kruskal,
    levene,
    linear_trend,
    p_words,
    two_way,
    welch_anova,
)
from tui_datasize.analysis.laws import Floats
from tui_datasize.analysis.pairwise import Difference, compare_pairs, mean_difference
from tui_datasize.analysis.spread import SpreadLaw, breusch_pagan, spread_law
from tui_datasize.analysis.view import shown_change
from tui_datasize.words import plural

SIGNIFICANT = 0.05


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
    words: tuple[str, ...]
    """One or two sentences on each question."""

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
    words: tuple[str, ...]


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

    Args:
        runs: Schema `RUNS`.
        metric: A key of `METRICS_OFFERED`.

    Raises:
        ConfigError: There is no such metric.
    """
    offered = metric_named(metric)
    found: list[VariantComparison] = []
    for (experiment,), values in points(runs, metric).group_by("experiment", maintain_order=True):
        at_sizes = [
            _variants_at(str(experiment), offered, int(str(size)), group)
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

    Returns:
        Seeds, sizes, and values of shape (seeds, sizes).
    """
    cells = values.group_by("train_size", "seed").agg(pl.col("value").mean()).sort("train_size", "seed")
    sizes = cells["train_size"].unique().sort()
    complete = cells.group_by("seed").len().filter(pl.col("len") == len(sizes))["seed"].sort()
    kept = cells.filter(pl.col("seed").is_in(complete.implode())).sort("seed", "train_size")
    return complete.to_list(), sizes.to_list(), kept["value"].to_numpy().reshape(len(complete), len(sizes))


def _compare_sizes(experiment: str, variant: str, metric: Metric, values: pl.DataFrame) -> SizeComparison:
    sizes, groups = _groups(values, "train_size")
    residuals = np.concatenate([group - group.mean() for group in groups])
    each_size = np.repeat(np.asarray(sizes, float), [len(group) for group in groups])
    _, _, table = seed_table(values)
    blocked = two_way(table)
    size_f, seed_f = (blocked, blocked) if isinstance(blocked, FitFailure) else blocked
    tests = (
        NamedTest("ANOVA", "level", anova(groups)),
        NamedTest("Welch", "level", welch_anova(groups)),
        NamedTest("Kruskal-Wallis", "level", kruskal(groups)),
        NamedTest("Jonckheere-Terpstra", "trend", jonckheere(groups)),
        NamedTest("linear contrast", "trend", linear_trend(sizes, groups)),
        NamedTest("Levene", "spread", levene(groups)),
        NamedTest("Brown-Forsythe", "spread", brown_forsythe(groups)),
        NamedTest("Breusch-Pagan", "spread", breusch_pagan(each_size, residuals)),
        NamedTest("two-way: size", "block", size_f),
        NamedTest("two-way: seed", "block", seed_f),
        NamedTest("Friedman", "block", friedman(table)),
    )
    names = [f"{size:,}" for size in sizes]
    pairs = compare_pairs(groups, names, list(itertools.combinations(range(len(groups)), 2)))
    spread = spread_law(sizes, groups)
    words = (
        _level_words(tests[1].outcome, tests[2].outcome),
        *(_pair_words(pair, metric) for pair in pairs if _are_neighbours(pair, names)),
        _spread_words(tests[6].outcome, spread),
        _block_words(seed_f),
    )
    lengths = tuple(len(group) for group in groups)
    return SizeComparison(
        experiment, variant, metric, tuple(sizes), lengths, tests, pairs, spread, tuple(filter(None, words))
    )


def _variants_at(experiment: str, metric: Metric, size: int, values: pl.DataFrame) -> VariantComparison:
    variants, groups = _groups(values, "variant")
    pairs = compare_pairs(groups, variants, list(itertools.combinations(range(len(groups)), 2)))
    words = tuple(f"At {size:,} images: {_pair_words(pair, metric)}" for pair in pairs)
    if not pairs:
        words = (f"At {size:,} images the variants cannot be told apart: each needs two runs that differ.",)
    return VariantComparison(experiment, metric, size, tuple(variants), welch_anova(groups), pairs, words)


def _variants_over_all(
    experiment: str, metric: Metric, at_sizes: Sequence[VariantComparison]
) -> VariantComparison:
    by_pair: dict[tuple[str, str], list[Difference]] = {}
    for comparison in at_sizes:
        for pair in comparison.pairs:
            by_pair.setdefault((pair.first, pair.second), []).append(pair)
    found = [mean_difference(differences) for differences in by_pair.values()]
    pairs = tuple(difference for difference in found if isinstance(difference, Difference))
    words = tuple(
        f"Over {plural(len(by_pair[pair.first, pair.second]), 'size')}: {_pair_words(pair, metric)}"
        for pair in pairs
    )
    variants = tuple(dict.fromkeys(name for comparison in at_sizes for name in comparison.variants))
    reason = FitFailure("is not made over several sizes together")
    return VariantComparison(experiment, metric, None, variants, reason, pairs, words)


def _groups(values: pl.DataFrame, by: str) -> tuple[list[Any], list[Floats]]:
    """The distinct values of a column, ascending, and the metric's values that go with each."""
    grouped = values.sort(by, maintain_order=True).group_by(by, maintain_order=True).agg("value")
    return grouped[by].to_list(), [group.to_numpy() for group in grouped["value"]]


def _are_neighbours(pair: Difference, names: Sequence[str]) -> bool:
    return names.index(pair.second) - names.index(pair.first) == 1


def _level_words(welch: GroupTest | FitFailure, ranks: GroupTest | FitFailure) -> str:
    test = ranks if isinstance(welch, FitFailure) else welch
    if isinstance(test, FitFailure):
        return f"Whether sizes differ cannot be tested: it {test.reason}."
    name, effect = test.effects[0]
    does = "Sizes differ" if test.p < SIGNIFICANT else "Sizes cannot be told apart by these runs"
    return f"{does} ({test.brief}, {name} = {effect:.2f})."


def _pair_words(pair: Difference, metric: Metric) -> str:
    value, low, high = (shown_change(end, metric) for end in (pair.value, pair.low, pair.high))
    ends = f"{low.removesuffix(' points')} to {high}"
    verdict = f"{p_words(pair.p_adjusted)} after Holm"
    if not pair.is_distinguishable:
        # An interval that leaves zero out is of this pair alone; the correction is for all of them.
        alone = pair.p < SIGNIFICANT
        verdict += ": as one of many pairs not beyond doubt" if alone else ": not told apart from seed noise"
    first, second = pair.first or "the base variant", pair.second or "the base variant"
    return f"{first} vs {second}: {value} (95 % {ends}); {verdict}."


def _spread_words(test: GroupTest | FitFailure, spread: SpreadLaw | FitFailure) -> str:
    if isinstance(spread, FitFailure):
        return f"How the scatter over seeds changes with size cannot be told: it {spread.reason}."
    law = f"it goes as n^{spread.exponent:.2f} (95 % {spread.low:.2f} to {spread.high:.2f})"
    if isinstance(test, FitFailure):
        return f"Scatter over seeds: {law}."
    does = "differs between sizes" if test.p < SIGNIFICANT else "does not differ visibly between sizes"
    return f"The scatter over seeds {does} ({test.brief}); {law}."


def _block_words(seed: GroupTest | FitFailure) -> str:
    if isinstance(seed, FitFailure):
        return ""
    if seed.p < SIGNIFICANT:
        return f"A seed that does well at one size does well at others ({seed.brief}): compare equal seeds."
    return f"Seeds do not do well or badly throughout ({seed.brief}): pairing by seed gains little."

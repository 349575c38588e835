"""What comparisons of sizes and variants say, in plain sentences."""

from __future__ import annotations

from collections.abc import Sequence

from tui_datasize.analysis.clusters import Clusters
from tui_datasize.analysis.curve import Metric
from tui_datasize.analysis.fits import FitFailure
from tui_datasize.analysis.group_tests import GroupTest, p_words
from tui_datasize.analysis.pairwise import Difference
from tui_datasize.analysis.spread import SpreadLaw

SIGNIFICANT = 0.05
LEAST_SHARE = 0.01
"""Of the variance of a run, for its source to be named."""
WORTH_TELLING = 0.95
"""Runs that are worth this part of their number, or more, are as good as independent."""


def level_words(welch: GroupTest | FitFailure, ranks: GroupTest | FitFailure) -> str:
    """Whether sizes differ, by Welch's test or, where it cannot be made, by ranks."""
    test = ranks if isinstance(welch, FitFailure) else welch
    if isinstance(test, FitFailure):
        return f"Whether sizes differ cannot be tested: it {test.reason}."
    name, effect = test.effects[0]
    does = "Sizes differ" if test.p < SIGNIFICANT else "Sizes cannot be told apart by these runs"
    return f"{does} ({test.brief}, {name} = {max(effect, 0.0):.2f})."


def cluster_words(clusters: Clusters | None, n_runs: Sequence[int]) -> str:
    """How far runs that share draws were counted as fewer; empty where they are as good as independent.

    Args:
        clusters: None where runs do not tell.
        n_runs: Of each size.
    """
    if clusters is None:
        return ""
    repeated = [(n, mean.n_effective) for n, mean in zip(n_runs, clusters.means, strict=True) if n > 1]
    runs, worth = min(repeated, key=lambda both: both[1] / both[0])
    if worth >= WORTH_TELLING * runs:
        return ""
    shared = [
        name
        for name, share in (("subset draw", clusters.draw_share), ("training seed", clusters.seed_share))
        if share >= LEAST_SHARE
    ]
    return (
        f"Runs that share a {' or a '.join(shared)} are alike and are not counted as independent: "
        f"{runs} runs of a size tell as much as {worth:.1f} that share nothing."
    )


def pair_words(pair: Difference, metric: Metric) -> str:
    """One difference, its interval and whether it is beyond doubt."""
    value, low, high = (metric.change(end) for end in (pair.value, pair.low, pair.high))
    ends = f"{low.removesuffix(' points')} to {high}"
    verdict = f"{p_words(pair.p_adjusted)} after Holm"
    if not pair.is_distinguishable:
        # An interval that leaves zero out is of this pair alone; the correction is for all of them.
        alone = pair.p < SIGNIFICANT
        verdict += (
            ": as one of many pairs not beyond doubt"
            if alone
            else ": not told apart from the scatter of runs"
        )
    first, second = pair.first or "the base variant", pair.second or "the base variant"
    return f"{first} vs {second}: {value} (95 % {ends}); {verdict}."


def correction_words(n_told: int, n_pairs: int) -> str:
    """What the intervals and the p values of some pairs are of; empty where there is but one pair."""
    if n_pairs < 2 or not n_told:
        return ""
    which = f", not only for the {n_told} told here" if n_told < n_pairs else ""
    return (
        "Each interval is of its pair alone, not widened for the others; p is corrected after Holm for all "
        f"{n_pairs} pairs{which}."
    )


def spread_words(test: GroupTest | FitFailure, spread: SpreadLaw | FitFailure) -> str:
    """How the scatter over seeds changes with size: by a test for any difference, and as a power of it."""
    if isinstance(spread, FitFailure):
        return f"How the scatter over seeds changes with size cannot be told: it {spread.reason}."
    law = f"n^{spread.exponent:z.2f} (95 % {spread.low:z.2f} to {spread.high:z.2f})"
    if isinstance(test, FitFailure):
        return f"Scatter over seeds: it goes as {law}."
    is_steady = not spread.low <= 0 <= spread.high
    if test.p < SIGNIFICANT:
        steady = (
            f"it goes as {law}" if is_steady else f"but not steadily: a power of the size, {law}, may be 0"
        )
        return f"The scatter over seeds differs between sizes ({test.brief}); {steady}."
    if is_steady:
        return (
            "Whether the scatter over seeds changes with size is open: a test for any difference finds none "
            f"({test.brief}), while a steady change, easier to see if runs are normally distributed, shows: "
            f"{law}."
        )
    return f"The scatter over seeds does not visibly change with size ({test.brief}; as a power, {law})."


def block_words(seed: GroupTest | FitFailure) -> str:
    """Whether seeds do well or badly throughout."""
    if isinstance(seed, FitFailure):
        return ""
    if seed.p < SIGNIFICANT:
        return f"A seed that does well at one size does well at others ({seed.brief}): compare equal seeds."
    return f"Seeds do not do well or badly throughout ({seed.brief}): pairing by seed gains little."

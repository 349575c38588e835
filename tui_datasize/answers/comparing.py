"""What comparisons of sizes and of variants have in common: their tables, and what is said of pairs."""

from __future__ import annotations

from collections.abc import Iterator

from tui_datasize.answers.answer import Column
from tui_datasize.answers.axes import SIZE

TEST_COLUMNS = (
    Column("asks", "asks", "text"),
    Column("test", "test", "text"),
    Column("effect", "effect", "text"),
    Column("failure", "not tested: it", "text"),
    SIZE,
    Column("statistic", "statistic", "number"),
    Column("df1", "df", "number"),
    Column("df2", "df 2", "number"),
    Column("p", "p", "p"),
    Column("effect_size", "effect size", "number"),
    Column("estimate", "estimate", "number"),
    Column("low", "95 % from", "number"),
    Column("high", "to", "number"),
)
"""Of rows of schema `GROUPS` that are tests."""

PAIR_COLUMNS = (
    Column("first", "first", "text"),
    Column("second", "second", "text"),
    SIZE,
    Column("estimate", "second - first", "difference"),
    Column("low", "95 % from", "difference"),
    Column("high", "to", "difference"),
    Column("effect_size", "Hedges' g", "number"),
    Column("p", "p", "p"),
    Column("p_adjusted", "p, Holm", "p"),
)
"""Of rows of schema `GROUPS` that are pairs."""


def corrected_for(n_pairs: int) -> Iterator[str]:
    """What the intervals and the p values of several pairs are of."""
    if n_pairs > 1:
        yield f"Each interval is of its pair alone; p is corrected for all {n_pairs} pairs (Holm)."

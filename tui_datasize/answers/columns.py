"""Columns and axes that several answers share, and what is said of pairs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import polars as pl

from tui_datasize.answers.answer import NAMING, Axis, Column, Kind
from tui_datasize.metric import Metric
from tui_datasize.stats.group_tests import p_words
from tui_datasize.text import plural

if TYPE_CHECKING:
    from tui_datasize.stats.pairwise import Difference


def of_kind(kind: Kind, **titles: str) -> tuple[Column, ...]:
    """Columns of one kind, their titles by their names, from left to right.

    >>> of_kind("count", train_size="train size")
    (Column(name='train_size', title='train size', kind='count'),)
    """
    return tuple(Column(name, title, kind) for name, title in titles.items())


INTERVAL: Mapping[str, str] = MappingProxyType({"low": "95 % from", "high": "to"})
"""Titles of its ends by their names."""
SIZE, DRAW_AND_SEED = NAMING[2], NAMING[3:]
SIZE_AND_RUNS = (SIZE, *of_kind("count", n_runs="runs"))
TEST_COLUMNS = (
    *of_kind("text", asks="asks", test="test", effect="effect", failure="why not tested"),
    *of_kind("number", statistic="statistic", df1="df", df2="df 2"),
    Column("p", "p", "p"),
    *of_kind("number", effect_size="effect size", estimate="estimate", **INTERVAL),
    *of_kind("number", detectable="80 % power from"),
)
"""Of rows of schema `GROUPS` that are tests."""

PAIR_COLUMNS = (
    *of_kind("text", first="first", second="second"),
    SIZE,
    *of_kind("difference", estimate="second - first", **INTERVAL),
    Column("effect_size", "Hedges' g", "number"),
    *of_kind("p", p="p", p_adjusted="p, Holm"),
    Column("detectable", "80 % power from", "spread"),
    Column("n_units", "counted"),
    Column("unit", "of", "text"),
)
"""Of rows of schema `GROUPS` that are pairs."""
SIZE_AXIS = Axis("train size, images", is_log=True)
UPDATE_AXIS = Axis("update", start=0)


def metric_axis(metric: Metric) -> Axis:
    """The axis of a metric's shown values."""
    return Axis(metric.heading, floor=0, ceiling=100 if metric.is_share else None)


def share_axis(title: str) -> Axis:
    """An axis of percentages."""
    return Axis(f"{title}, %", floor=0, ceiling=100)


def corrected_for(pairs: pl.DataFrame) -> Iterator[str]:
    """What the intervals and the p values of several pairs are of, rows of schema `GROUPS`."""
    tested = pairs.group_by("variant").agg(pl.col("p").count())["p"]
    most = max(tested, default=0)
    if most > 1:
        whose = " of a variant" if len(tested) > 1 else ""
        yield f"Each interval is of its pair alone; p is corrected for all {most} pairs{whose} (Holm)."


def interval_words(low: float, high: float, metric: Metric) -> str:
    """The 95 % interval of a difference."""
    return f"95 % {metric.difference(low).removesuffix(' points')} to {metric.difference(high)}"


def basis_words(found: Difference, *, of_several: bool = False) -> str:
    """The p of a comparison and what it counted, or why there is none.

    Its values are not all equal; `of_several` where p is corrected for several pairs.
    """
    counted = plural(found.n_units, found.unit) if found.n_units else ""
    whose = ", for this draw" if found.of_one_draw else ""
    if math.isnan(found.p):
        return f"{counted} are too few to test"
    told = f"{p_words(found.p_adjusted)}{' after correction' if of_several else ''}"
    rest = f"{'paired, ' if found.is_paired else ''}{counted}{whose}".strip()
    return f"{told}; {rest}" if rest else told

"""Columns and axes that several answers share, and what is said of pairs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from tui_datasize.answers.answer import Axis, Column, Kind
from tui_datasize.metric import Metric


def of_kind(kind: Kind, **titles: str) -> tuple[Column, ...]:
    """Columns of one kind, their titles by their names, from left to right.

    >>> of_kind("count", train_size="train size")
    (Column(name='train_size', title='train size', kind='count'),)
    """
    return tuple(Column(name, title, kind) for name, title in titles.items())


INTERVAL: Mapping[str, str] = MappingProxyType({"low": "95 % from", "high": "to"})
"""Titles of its ends by their names."""
SIZE = Column("train_size", "train size")
SIZE_AND_RUNS = of_kind("count", train_size="train size", n_runs="runs")
TEST_COLUMNS = (
    *of_kind("text", asks="asks", test="test", effect="effect", failure="why not tested"),
    SIZE,
    *of_kind("number", statistic="statistic", df1="df", df2="df 2"),
    Column("p", "p", "p"),
    *of_kind("number", effect_size="effect size", estimate="estimate", **INTERVAL),
)
"""Of rows of schema `GROUPS` that are tests."""

PAIR_COLUMNS = (
    *of_kind("text", first="first", second="second"),
    SIZE,
    *of_kind("difference", estimate="second - first", **INTERVAL),
    Column("effect_size", "Hedges' g", "number"),
    *of_kind("p", p="p", p_adjusted="p, Holm"),
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


def corrected_for(n_pairs: int) -> Iterator[str]:
    """What the intervals and the p values of several pairs are of."""
    if n_pairs > 1:
        yield f"Each interval is of its pair alone; p is corrected for all {n_pairs} pairs (Holm)."

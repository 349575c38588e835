"""The tables of a report: what the runs of one experiment say besides their learning curve.

Each function makes the views of one question; one that has nothing to show makes views without rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import polars as pl

from tui_datasize.analysis.curve import Metric
from tui_datasize.analysis.question import Question
from tui_datasize.analysis.trade_offs import cost_against_metric, option_against_metric, swept_options
from tui_datasize.analysis.training_views import margins
from tui_datasize.analysis.transfer_conditions import crossings, transfer_table
from tui_datasize.report.framed import Column, View
from tui_datasize.runlog.reader import RunLog
from tui_datasize.runlog.schema import SCORES

_MOST_PLANNED = 12
"""Curves that a plan is made for."""
SIZE = Column("train_size", "train size")
N_RUNS = Column("n_runs", "runs")


@dataclass(frozen=True)
class Source:
    """What views are made of."""

    log: RunLog
    runs: pl.DataFrame
    """Schema `RUNS`, of one experiment."""
    metrics: pl.DataFrame
    """Schema `RUN_METRICS`, of these runs."""
    metric: Metric
    question: Question

    @property
    def score(self) -> str:
        """The score that the metric is of; empty for one that is not measured in evaluations."""
        split, _, score = self.metric.name.partition("_")
        return score if split in ("test", "train") and score in SCORES else ""


Build: TypeAlias = Callable[[Source], Iterator[View]]


def of_page(title: str) -> str:
    """The words for an export of the app."""
    return f"ctrl+e on the page '{title}' of the app"


def margins_of_answers(source: Source) -> Iterator[View]:
    """How sure the model is where it is right and where it is wrong."""
    yield View(
        "Margins of right and wrong answers",
        "(C1 - C2) / C1, C1 and C2 the two largest probabilities; test split, last evaluation, means.",
        _last(margins(source.runs, source.metrics)),
        [SIZE, N_RUNS, Column("margin_correct", "where right, %", "share"),
         Column("margin_wrong", "where wrong, %", "share")],
        of_page("Margins of right and wrong answers"),
        source.metric,
    )  # fmt: skip


def conditions(source: Source) -> Iterator[View]:
    """What taking over layers is worth."""
    table = transfer_table(source.runs, source.metric.name)
    unit = ", points" if source.metric.is_share else ""
    yield View(
        "Transfer conditions",
        "The metric with layers taken over (FT trains them on, S1T, S2T, ... freeze so many), against base.",
        table,
        [Column("classes", "classes", "text"), Column("condition", "condition", "text"), SIZE, N_RUNS,
         Column("mean", _titled(source.metric), "value"), Column("se", "SE", "spread"),
         Column("gain", f"over base{unit}", "difference"), Column("gain_se", "SE of it", "spread")],
        of_page("Transfer conditions"),
        source.metric,
        [crossing.words for crossing in crossings(table)],
    )  # fmt: skip


def options(source: Source) -> Iterator[View]:
    """The metric against each option that was swept."""
    names = swept_options(source.runs)
    frames = [option_against_metric(source.runs, source.metric.name, name) for name in names]
    if not frames:
        return
    yield View(
        "Metric against a swept option",
        "Means over the runs of each value of an option and size, the rest of the recipe held fixed.",
        pl.concat(frames),
        [Column("option", "option", "text"), Column("label", "value", "text"),
         Column("others", "the rest", "text"), SIZE, N_RUNS,
         Column("mean", _titled(source.metric), "value"), Column("se", "SE", "spread")],
        of_page("Metric against a swept option"),
        source.metric,
    )  # fmt: skip


def cost(source: Source) -> Iterator[View]:
    """The metric against the time of training."""
    table = cost_against_metric(source.runs, source.metric.name)
    yield View(
        "Metric against training time",
        "What a better value costs; nothing is at least as good in less time than what is marked best.",
        table.filter(pl.col("wall_s").is_finite()),
        [Column("model", "model", "text"), SIZE, N_RUNS, Column("wall_s", "s a run", "number"),
         Column("parameters", "parameters"), Column("flops", "FLOP", "number"),
         Column("mean", _titled(source.metric), "value"), Column("se", "SE", "spread"),
         Column("is_best_for_its_time", "best for its time")],
        of_page("Metric against training time"),
        source.metric,
    )  # fmt: skip


BUILDERS: Mapping[str, Build] = MappingProxyType(
    {
        "margins": margins_of_answers,
        "conditions": conditions,
        "options": options,
        "cost": cost,
    }
)
"""By the names of the app's pages."""


def _last(table: pl.DataFrame) -> pl.DataFrame:
    """The last evaluation of each size of each variant."""
    return table.group_by("variant", "train_size", maintain_order=True).last()


def _titled(metric: Metric) -> str:
    return f"{metric.title.lower()}{', %' if metric.is_share else ''}"

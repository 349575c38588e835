"""Options of training chosen on validation at each size, and what their test values are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from tui_datasize.answers.answer import Answer, Chart, Column, Line, Table, does_not_apply
from tui_datasize.answers.columns import SIZE_AND_RUNS, SIZE_AXIS, metric_axis, of_kind
from tui_datasize.answers.record import ONE_VALUE, Record, named, per_variant
from tui_datasize.metric import Metric
from tui_datasize.stats.curve import learning_curve
from tui_datasize.stats.tuned import TUNED, tuned_options, tuned_runs
from tui_datasize.text import listed, plural

_NOTHING = (
    "No size has several settings of an option with validation values. validation = 0.2 in experiments.toml "
    'holds images out, and a list such as "optimizer.lr" = [0.001, 0.01] sweeps an option.'
)
_HOW = (
    "Each run has the options that did best on the validation images of the other runs of its size, so that "
    "neither the test nor its own luck chose them."
)

CHOSEN = (
    *of_kind("text", options="chosen on validation"),
    *of_kind("count", n_chose="runs with it", n_options="of"),
)
"""Of a choice of schema `CHOICES`."""


def is_offered(runs: pl.DataFrame) -> bool:
    """Whether an option of the training is swept, and images are held out to choose it by."""
    return runs["validation_loss"].count() > 0 and bool(tuned_options(runs))


def ask(record: Record) -> Answer:
    """The options chosen at each size with their test means, beside the best on the test set."""
    metric = record.metric
    if metric.split_and_score[0] != "test":
        return does_not_apply(ONE_VALUE if not metric.split_and_score[0] else "Choose a metric of the test.")
    tuned, choices = tuned_runs(record.all_runs, metric.name)
    if choices.is_empty():
        return does_not_apply(_NOTHING)
    interval = learning_curve(tuned, metric.name).select("variant", "train_size", "low", "high")
    table = choices.join(interval, on=["variant", "train_size"], how="left", maintain_order="left")
    columns = [
        *SIZE_AND_RUNS,
        *CHOSEN,
        *of_kind("value", validation="validation", mean="test", low="95 % from", high="to"),
        *of_kind("text", best_on_test="best on the test"),
        Column("mean_on_test", "looks like", "value"),
    ]
    return Answer.of_each(
        (
            named(variant.removesuffix(TUNED).strip(), _told(rows, metric))
            for variant, rows in per_variant(table)
        ),
        [_HOW, *chosen_by_itself(choices), *_optimism(table, metric)],
        tables=[Table(table, columns, metric)],
        figures=[_chart(variant, rows, metric) for variant, rows in per_variant(table)],
        about="test split, mean over runs",
        rows=lambda: table,
    )


def chosen_by_itself(choices: pl.DataFrame) -> list[str]:
    """Where no other run could choose, of choices of schema `CHOICES`."""
    sizes = [f"{size:,}" for size in choices.filter(n_runs=1)["train_size"].unique().sort()]
    return [f"With one run at {listed(sizes)} images its own luck chooses there."] if sizes else []


def with_choice(choice: Mapping[str, Any]) -> str:
    """What the runs behind the mean of a choice have, a row of schema `CHOICES`: maybe not all the same."""
    options, chose, runs = choice["options"], choice["n_chose"], choice["n_runs"]
    if chose == runs:
        return f" with {options}"
    return f", each run with what the others choose ({options} in {chose} of {plural(runs, 'run')})"


def _told(rows: pl.DataFrame, metric: Metric) -> str:
    largest = rows.row(-1, named=True)
    kept = rows["options"].n_unique() == 1
    each = "at every size" if kept and rows.height > 1 else f"at {largest['train_size']:,} images"
    told = f"{metric.text(largest['mean'])} at {largest['train_size']:,} images{with_choice(largest)}"
    chosen = f"the choice of {largest['n_options']} on validation {each}"
    if kept:
        return f"{told}, {chosen}."
    smallest = rows.row(0, named=True)
    return f"{told}, {chosen}; at {smallest['train_size']:,} it is {smallest['options']}."


def _optimism(table: pl.DataFrame, metric: Metric) -> list[str]:
    sign = 1 if metric.higher_is_better else -1
    gain = float((sign * (table["mean_on_test"] - table["mean"])).mean())  # type: ignore[arg-type]
    more = metric.difference(gain)
    if gain <= 0 or more == metric.difference(0):
        return []
    return [f"The best on the test looks {more} better, on average: nobody could choose it without the test."]


def _chart(variant: str, rows: pl.DataFrame, metric: Metric) -> Chart:
    lines = [
        Line.of(rows, "train_size", "mean", metric.scale, TUNED, 0, "dot"),
        Line.of(rows, "train_size", "mean_on_test", metric.scale, "best on the test", 1, "ring"),
    ]
    return Chart(variant, SIZE_AXIS, metric_axis(metric), lines)

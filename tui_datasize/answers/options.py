"""Swept options: the metric against each option of the recipe that an experiment sweeps."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from tui_datasize.answers.answer import Answer, Axis, Chart, Column, Figure, Line, Mark, Table, does_not_apply
from tui_datasize.answers.columns import SIZE, SIZE_AND_RUNS, metric_axis, of_kind
from tui_datasize.answers.grids import size_map
from tui_datasize.answers.record import NO_RUN, Record, named
from tui_datasize.metric import Metric
from tui_datasize.stats.trade_offs import option_against_metric, rest_of_variant, swept_options

_LOG_FROM = 20.0
"""From this ratio of the largest to the smallest value on, their axis is logarithmic."""
_MOST_DRAWN = 6
_NOTHING_SWEPT = (
    "No option is swept in this experiment. A list under [experiments.NAME.sweep] in experiments.toml, "
    'such as "model.depth" = [20, 32, 44], sweeps one.'
)


def is_offered(runs: pl.DataFrame) -> bool:
    """Whether an option is swept."""
    return bool(swept_options(runs))


def ask(record: Record) -> Answer:
    """The metric against each option, others held fixed; of one variant an option a view."""
    options = swept_options(record.all_runs)
    if not options:
        return does_not_apply(_NOTHING_SWEPT)
    first, metric = options[record.asked.view % len(options)], record.metric
    chosen = [first] if record.asked.variant is not None else options
    every = [option_against_metric(record.all_runs, metric.name, option) for option in chosen]
    shown = pl.concat([_of_variant(record, table, options) for table in every])
    if shown.is_empty():
        return does_not_apply(NO_RUN, views=len(options))
    series = shown.partition_by("option", "others", maintain_order=True)
    others = shown["others"].unique().to_list()
    held = others if len(others) == 1 and others[0] else []
    columns = [
        *of_kind("text", option="option", label="value", others="the rest"),
        *SIZE_AND_RUNS,
        Column("mean", "mean", "value"),
        Column("se", "SE", "spread"),
    ]
    key = ["option", "others", "train_size"]
    ranked = shown.sort("mean", descending=metric.higher_is_better, maintain_order=True)
    apart = (pl.col("mean").max() - pl.col("mean").min()).over(key)
    leading = ranked.with_columns(apart=apart).group_by(key, maintain_order=True).first().sort(key)
    best = [*columns[:3], SIZE, *columns[-2:], Column("apart", "above the worst", "spread")]
    return Answer.of_each(
        (_told(one, metric) for one in series),
        tables=[
            Table(leading, best, metric, "Best value at each train size"),
            Table(shown, columns, metric, "All values", is_detail=True),
        ],
        figures=[_figure(one, metric) for one in series[:_MOST_DRAWN]],
        about=", ".join([*held, "mean over runs"]),
        rows=lambda: pl.concat(every),
        views=len(options),
    )


def _of_variant(record: Record, table: pl.DataFrame, options: Sequence[str]) -> pl.DataFrame:
    if record.asked.variant is None or table.is_empty():
        return table
    others = rest_of_variant(record.asked.variant, str(table["option"][0]), options)
    own = table.filter(others=others)
    return table if own.is_empty() else own


def _told(table: pl.DataFrame, metric: Metric) -> str:
    largest = table.filter(pl.col("train_size") == pl.col("train_size").max())
    ranked = largest.sort("mean", descending=metric.higher_is_better, maintain_order=True)
    best, worst = (ranked.row(place, named=True) for place in (0, -1))
    place = f"{best['option']} = {best['label']} at {best['train_size']:,} images"
    value = named(best["others"], f"{metric.text(best['mean'])} with {place}")
    if ranked.height == 1:
        return f"{value}, the only value that was run there."
    apart = abs(best["mean"] - worst["mean"])
    if metric.shows_none(apart):
        return f"{value}, as with each of the {ranked.height} values."
    worse = f"{metric.difference(apart)} worse"
    return f"{value}, the best mean of {ranked.height} values; that of {worst['label']} is {worse}."


def _figure(table: pl.DataFrame, metric: Metric) -> Figure:
    option, others = str(table["option"][0]), str(table["others"][0])
    title = named(others, f"{metric.heading} against {option}")
    if table["value"].null_count():
        # Values that are no numbers have no axis.
        return size_map(title, table, "label", metric)
    groups = table.sort("train_size", "value").partition_by("train_size", maintain_order=True)
    mark: Mark = "dot" if len(groups) == 1 else ""
    lines = [
        Line.of(rows, "value", "mean", metric.scale, f"n {rows['train_size'][0]:,}", ink, mark)
        for ink, rows in enumerate(groups)
    ]
    values = table["value"].to_list()
    is_log = min(values) > 0 and max(values) >= _LOG_FROM * min(values)
    return Chart(title, Axis(option, is_log=is_log), metric_axis(metric), lines)

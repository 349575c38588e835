"""What runs amount to together: options against cost, and ensembles."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from rich.text import Text

from tui_datasize.tui.analysis.curve_chart import factor, metric_scale, size_scale
from tui_datasize.tui.analysis.pages.page import Content, Request, bounded, numbers, only_words
from tui_datasize.tui.charts.lines import Series, line_chart
from tui_datasize.tui.charts.scale import Scale
from tui_datasize.tui.live.charts import TAGS
from tui_datasize.tui.widgets.palette import Palette

if TYPE_CHECKING:
    import polars as pl

    from tui_datasize.analysis.curve import Metric


def cost(request: Request) -> Content:
    """The metric against the time of training, one mark per variant and size."""
    from tui_datasize.analysis.trade_offs import cost_against_metric

    table = cost_against_metric(request.all_runs, request.metric.name)
    if table.is_empty():
        return only_words("No run has succeeded with this metric yet.")
    best = table.filter(table["is_best_for_its_time"]).sort("wall_s")
    words = [_cost_words(row, request.metric) for row in best.iter_rows(named=True)]
    return Content(
        partial(_draw_cost, table, request.metric),
        ["Nothing is better in less time than:", *words],
        "mean seconds a run",
        lambda: table,
    )


def _cost_words(row: dict[str, Any], metric: Metric) -> str:
    value = f"{row['mean'] * factor(metric):.2f}{' %' if metric.is_share else ''}"
    variant = f", {row['variant']}" if row["variant"] else ""
    return f"{row['wall_s']:,.1f} s: {value} with {row['train_size']:,} images{variant}"


def ensembles(request: Request) -> Content:
    """Accuracy of the mean of several runs' probabilities, against their number."""
    from tui_datasize.analysis.ensembles import ensembles_table

    runs, left_out = bounded(request.runs)
    table = ensembles_table(runs, request.log.predictions)
    known = table.drop_nulls("accuracy")
    failures = table["ensemble_failure"].drop_nulls().unique().sort().to_list()
    if known.is_empty():
        reason = failures[0] if failures else "needs runs that have succeeded"
        return only_words(f"No ensemble: it {reason}.")
    words = []
    for group in known.partition_by("train_size", maintain_order=True):
        last = group.row(-1, named=True)
        words.append(
            f"{last['train_size']:,} images: {last['members']} members reach {100 * last['accuracy']:.2f} %, "
            f"{100 * last['gain']:+z.2f} points over one."
        )
    return Content(
        partial(_draw_ensembles, known),
        [*left_out, *words, *(f"Left out: it {reason}." for reason in failures)],
        "mean over sets of members",
        lambda: table,
    )


def _draw_cost(table: pl.DataFrame, metric: Metric, width: int, height: int, palette: Palette) -> Text:
    series = [
        Series(
            group["variant"][0] or group["model"][0],
            numbers(group["wall_s"]),
            numbers(group["mean"], factor(metric)),
            palette.series[index % len(palette.series)],
            joined=False,
            mark=TAGS[index % len(TAGS)],
        )
        for index, group in enumerate(
            table.sort("variant", "train_size").partition_by("variant", maintain_order=True)
        )
    ]
    return line_chart(
        series,
        Scale("training time, s", log=True),
        metric_scale(metric),
        width=width,
        height=height,
        palette=palette,
    )


def _draw_ensembles(table: pl.DataFrame, width: int, height: int, palette: Palette) -> Text:
    single = table.filter(table["members"] == 1)
    whole = table.sort("members").group_by("train_size", maintain_order=True).last().sort("train_size")
    series = [
        Series(name, part["train_size"].to_list(), numbers(part["accuracy"], 100), colour, mark=mark)
        for name, part, colour, mark in (
            ("one run", single, palette.series[0], "●"),
            ("all runs of a size together", whole, palette.accent, "◆"),
        )
    ]
    return line_chart(
        series,
        size_scale(),
        Scale("test accuracy, %", floor=0, ceiling=100),
        width=width,
        height=height,
        palette=palette,
    )

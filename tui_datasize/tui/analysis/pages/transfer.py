"""What taking over layers is worth: the metric per transfer condition, one series per target size."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from rich.text import Text

from tui_datasize.tui.analysis.curve_chart import factor, metric_scale
from tui_datasize.tui.analysis.pages.page import Content, Request, numbers, only_words
from tui_datasize.tui.analysis.pages.size_map import draw_size_map
from tui_datasize.tui.charts.lines import Series, line_chart
from tui_datasize.tui.charts.scale import Scale
from tui_datasize.tui.live.charts import TAGS
from tui_datasize.tui.widgets.palette import Palette

if TYPE_CHECKING:
    import polars as pl

    from tui_datasize.analysis.curve import Metric

_VIEWS = 2
"""A line per target size, and a map of sizes and conditions."""


def conditions(request: Request) -> Content:
    """The metric per transfer condition and target size, and up to which size freezing helps."""
    from tui_datasize.analysis.transfer_conditions import crossings, layer_order, transfer_table

    table = transfer_table(request.all_runs, request.metric.name)
    if table.is_empty():
        return only_words(
            "No run of this experiment takes weights over. "
            'transfer = { from = "...", layers = 3, freeze = true } in experiments.toml makes one.'
        )
    direction = _last_direction(table)
    shown = table.filter(table["classes"] == direction)
    found = crossings(table, _classes_in(request, direction))
    view = request.view % _VIEWS
    return Content(
        partial(_draw_map if view else _draw_lines, layer_order(shown), request.metric),
        [crossing.words for crossing in found if crossing.classes == direction],
        f"{'map of sizes' if view else 'a line per size'} · classes: {direction}",
        lambda: table,
        views=_VIEWS,
    )


def _last_direction(table: pl.DataFrame) -> str:
    """The mean over both directions where there is one: it stands last."""
    return str(table["classes"].unique(maintain_order=True)[-1])


def _classes_in(request: Request, direction: str) -> int | None:
    """How many classes a target set has; None where that is unknown, or differs between the directions."""
    runs = request.all_runs.filter(state="succeeded")
    own = runs.filter(runs["classes"] == direction)
    # The mean over both directions is no direction of any run.
    examples = (runs if own.is_empty() else own).unique("classes", keep="first", maintain_order=True)
    counts = request.log.datasets(examples["run_id"]).group_by("run_id").len()["len"].unique()
    return int(counts[0]) if len(counts) == 1 else None


def _draw_lines(table: pl.DataFrame, metric: Metric, width: int, height: int, palette: Palette) -> Text:
    names = table["condition"].unique(maintain_order=True).to_list()
    series = [
        one
        for index, group in enumerate(
            table.sort("train_size", maintain_order=True).partition_by("train_size")
        )
        for one in _of_size(group, names, metric, TAGS[index % len(TAGS)], _colour(index, palette))
    ]
    return line_chart(
        series,
        Scale("transfer condition", names=names),
        metric_scale(metric),
        width=width,
        height=height,
        palette=palette,
    )


def _colour(index: int, palette: Palette) -> str:
    return palette.series[index % len(palette.series)]


def _of_size(
    group: pl.DataFrame, names: list[str], metric: Metric, tag: str, colour: str
) -> Iterable[Series]:
    """A line through the numbers of frozen layers, and single marks for what has none."""
    lines, marks = (
        group.filter(group["frozen_layers"].is_not_null() == is_frozen) for is_frozen in (True, False)
    )
    label = f"n {group['train_size'][0]:,}"
    for part, name in ((marks, "" if lines.height else label), (lines, label)):
        places: list[float] = [names.index(condition) for condition in part["condition"]]
        values = numbers(part["mean"], factor(metric))
        if places:
            joined = part is lines
            yield Series(name, places, values, colour, joined, "" if joined else tag, tag if joined else "")


def _draw_map(table: pl.DataFrame, metric: Metric, width: int, height: int, palette: Palette) -> Text:
    return draw_size_map(table, "condition", metric, width, height, palette)

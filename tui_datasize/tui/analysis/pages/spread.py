"""How far the runs of each size are apart, and whether sizes differ by more than that."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from rich.text import Text

from tui_datasize.tui.analysis.curve_chart import factor, metric_scale, size_scale
from tui_datasize.tui.analysis.pages.page import Content, Request, only_words
from tui_datasize.tui.charts.lines import Band, Series, line_chart
from tui_datasize.tui.widgets.palette import Palette

if TYPE_CHECKING:
    import polars as pl

    from tui_datasize.analysis.curve import Metric

_HALF_WIDTH = 1.07
"""Of a box on the logarithmic axis, as a factor."""


def spread(request: Request) -> Content:
    """Box plots over the runs of each size, and tests between sizes in words."""
    from tui_datasize.analysis.boxes import box_table
    from tui_datasize.analysis.groups import compare_sizes
    from tui_datasize.analysis.groups_table import groups_table

    boxes = box_table(request.runs, [request.metric.name])
    if boxes.is_empty():
        return only_words("No run has succeeded with this metric yet.")
    comparisons = compare_sizes(request.runs, request.metric.name)
    return Content(
        partial(_draw, boxes, request.metric),
        [sentence for comparison in comparisons for sentence in comparison.words],
        "box: quartiles · whiskers: within 1.5 interquartile ranges · ━ median",
        partial(groups_table, request.all_runs, request.metric.name),
    )


def _draw(boxes: pl.DataFrame, metric: Metric, width: int, height: int, palette: Palette) -> Text:
    rows = list(boxes.iter_rows(named=True))
    series = [one for row in rows for one in _whiskers(row, metric, palette)]
    return line_chart(
        [*series, *_marks(rows, metric, palette)],
        size_scale(),
        metric_scale(metric),
        width=width,
        height=height,
        palette=palette,
        bands=[_box(row, metric, palette) for row in rows],
    )


def _box(row: dict[str, Any], metric: Metric, palette: Palette) -> Band:
    size = row["train_size"]
    low, high = row["q1"] * factor(metric), row["q3"] * factor(metric)
    return Band([size / _HALF_WIDTH, size * _HALF_WIDTH], [low, low], [high, high], palette.primary)


def _whiskers(row: dict[str, Any], metric: Metric, palette: Palette) -> Iterator[Series]:
    ends = (row["whisker_low"], row["q1"]), (row["q3"], row["whisker_high"])
    for end in ends:
        yield Series("", [row["train_size"]] * 2, [v * factor(metric) for v in end], palette.primary)


def _marks(rows: list[dict[str, Any]], metric: Metric, palette: Palette) -> Iterator[Series]:
    sizes = [row["train_size"] for row in rows]
    medians = [row["median"] * factor(metric) for row in rows]
    outliers = [(row["train_size"], v * factor(metric)) for row in rows for v in row["outliers"]]
    if outliers:
        x, y = zip(*outliers, strict=True)
        yield Series("beyond", x, y, palette.accent, joined=False, mark="∘")
    yield Series("median", sizes, medians, palette.foreground, joined=False, mark="━")

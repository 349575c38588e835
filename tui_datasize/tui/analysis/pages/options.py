"""The metric against an option that was swept, such as the depth of the model: one series per size."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

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

_LOG_FROM = 20.0
"""From this ratio of the largest to the smallest value on, their axis is logarithmic."""
_NOTHING_SWEPT = (
    "No option was swept in this experiment. A list under [experiments.NAME.sweep] in experiments.toml, "
    'such as "model.depth" = [20, 32, 44], makes one.'
)


def options(request: Request) -> Content:
    """The metric against one swept option; `s` walks through the options."""
    from tui_datasize.analysis.trade_offs import option_against_metric, rest_of_variant, swept_options

    names = swept_options(request.all_runs)
    if not names:
        return only_words(_NOTHING_SWEPT)
    option = names[request.view % len(names)]
    table = option_against_metric(request.all_runs, request.metric.name, option)
    if table.is_empty():
        return only_words("No run has succeeded with this metric yet.")
    others = rest_of_variant(str(request.runs["variant"][0]), option)
    # Where other options were swept too, those of the variant in the foreground are held fixed.
    shown = table.filter(table["others"] == others)
    shown = table if shown.is_empty() else shown
    held = f" · {others}" if others else ""
    return Content(
        partial(_draw, shown, request.metric),
        [
            _best_words(group, request.metric)
            for group in shown.partition_by("train_size", maintain_order=True)
        ],
        f"against {option}{held}",
        lambda: table,
        views=len(names),
    )


def _best_words(group: pl.DataFrame, metric: Metric) -> str:
    """Which value is best at one size, and how far the worst is behind."""
    ranked = group.sort("mean", descending=metric.higher_is_better)
    best, worst = (ranked.row(place, named=True) for place in (0, -1))
    told = f"n {best['train_size']:,}: best {best['label']} ({_shown(best, metric)})"
    if group.height == 1:
        return f"{told}, no other value has been run"
    apart = abs(best["mean"] - worst["mean"])
    points = f"{100 * apart:.2f} points" if metric.is_share else f"{apart:.3f}"
    return f"{told}, worst {worst['label']} ({points} worse)"


def _shown(row: dict[str, Any], metric: Metric) -> str:
    value = f"{row['mean'] * factor(metric):.{2 if metric.is_share else 3}f}{' %' if metric.is_share else ''}"
    return value if row["se"] is None else f"{value}, SE {row['se'] * factor(metric):.2g}"


def _draw(table: pl.DataFrame, metric: Metric, width: int, height: int, palette: Palette) -> Text:
    if table["value"].null_count():
        # Values that are no numbers have no axis.
        return draw_size_map(table, "label", metric, width, height, palette)
    groups = table.sort("train_size", "value").partition_by("others", "train_size", maintain_order=True)
    several = table["others"].n_unique() > 1
    series = [
        Series(
            f"n {group['train_size'][0]:,}{' ' + group['others'][0] if several else ''}",
            group["value"].to_list(),
            numbers(group["mean"], factor(metric)),
            palette.series[index % len(palette.series)],
            mark="●" if len(groups) == 1 else "∙",
            tag=TAGS[index % len(TAGS)],
        )
        for index, group in enumerate(groups)
    ]
    values = table["value"].to_list()
    is_log = min(values) > 0 and max(values) >= _LOG_FROM * min(values)
    return line_chart(
        series,
        Scale(str(table["option"][0]), log=is_log),
        metric_scale(metric),
        width=width,
        height=height,
        palette=palette,
    )

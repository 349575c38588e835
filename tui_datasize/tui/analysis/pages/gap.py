"""Training against test, and the best evaluation against the last, over train size."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from rich.text import Text

from tui_datasize.tui.analysis.curve_chart import factor, metric_scale, size_scale
from tui_datasize.tui.analysis.pages.page import Content, Request, only_words
from tui_datasize.tui.charts.lines import Series, line_chart
from tui_datasize.tui.widgets.palette import Palette

if TYPE_CHECKING:
    import polars as pl

    from tui_datasize.analysis.curve import Metric


def gap(request: Request) -> Content:
    """Training and test metric of each size, and how far they are apart."""
    from tui_datasize.analysis.curve import METRICS_OFFERED, learning_curve

    score = request.metric.name.partition("_")[2]
    names = [name for name in (f"train_{score}", f"test_{score}") if name in METRICS_OFFERED]
    if len(names) < 2:
        return only_words("This metric is not measured on both splits. Choose another with m.")
    train, test = (learning_curve(request.runs, name) for name in names)
    if test.is_empty():
        return only_words("No run has succeeded with this metric yet.")
    both = train.join(test, on="train_size", suffix="_test").select("train_size", "mean", "mean_test")
    table = both.rename({"mean": "train", "mean_test": "test"}).with_columns(
        gap=both["mean"] - both["mean_test"]
    )
    return Content(
        partial(_draw, table, METRICS_OFFERED[names[1]]),
        [_gap_words(row, request.metric) for row in table.iter_rows(named=True)],
        "means over runs, last evaluation",
        lambda: table,
    )


def best_and_last(request: Request) -> Content:
    """The best and the last evaluation on the test split, and what the choice makes of the result."""
    from tui_datasize.analysis.curve import METRICS_OFFERED
    from tui_datasize.analysis.training_views import best_against_last
    from tui_datasize.runlog.schema import SCORES

    split, _, score = request.metric.name.partition("_")
    if score not in SCORES or split not in ("test", "train"):
        return only_words("This metric has one value a run, none to choose from. Choose another with m.")
    metric = METRICS_OFFERED[f"test_{score}"]
    better = metric.higher_is_better
    table = best_against_last(request.runs, request.metrics, score, higher_is_better=better)
    if table.is_empty():
        return only_words("No finished run has been evaluated with this metric yet.")
    return Content(
        partial(_draw_best, table, metric),
        [_worth(table, metric), *(_best_words(row, metric) for row in table.iter_rows(named=True))],
        "test split, means over runs",
        lambda: table,
    )


def _draw_best(table: pl.DataFrame, metric: Metric, width: int, height: int, palette: Palette) -> Text:
    sizes: Sequence[int] = table["train_size"].to_list()
    marks = (("last", palette.series[0], "●"), ("best", palette.series[1], "○"))
    series = [
        Series(name, sizes, [v * factor(metric) for v in table[name]], colour, mark=mark)
        for name, colour, mark in marks
    ]
    return line_chart(series, size_scale(), metric_scale(metric), width=width, height=height, palette=palette)


def _best_words(row: dict[str, float], metric: Metric) -> str:
    scale, unit, digits = (100, " points", ".2f") if metric.is_share else (1, "", ".3f")
    shown = {name: f"{row[name] * scale:{digits}}" for name in ("best", "last", "gain")}
    return (
        f"{row['train_size']:>9,}  best {shown['best']} (after {100 * row['best_at']:.0f} %), "
        f"last {shown['last']}: {shown['gain']}{unit} apart"
    )


def _worth(table: pl.DataFrame, metric: Metric) -> str:
    """What choosing the best evaluation on the test set makes of the result, in words."""
    times = max(table["n_evaluations"].to_list())
    if times <= 1:
        return "Each run has been evaluated once: its best is its last."
    runs = table["n_runs"]
    gain = float((table["gain"] * runs).sum()) / int(runs.sum())
    unit = f"{100 * gain:.2f} points" if metric.is_share else f"{gain:.3f}"
    return (
        f"The best of {times:.0f} evaluations flatters the result, by {unit} on average: the test set has "
        "chosen it, so that luck on that set counts as skill. Quote the last, or choose on another split."
    )


def _draw(table: pl.DataFrame, metric: Metric, width: int, height: int, palette: Palette) -> Text:
    sizes: Sequence[int] = table["train_size"].to_list()
    series = [
        Series(name, sizes, [v * factor(metric) for v in table[name]], colour, mark=mark)
        for name, colour, mark in (
            ("train", palette.series[1], "○"),
            ("test", palette.series[0], "●"),
        )
    ]
    return line_chart(series, size_scale(), metric_scale(metric), width=width, height=height, palette=palette)


def _gap_words(row: dict[str, float], metric: Metric) -> str:
    unit = " points" if metric.is_share else ""
    digits = ".2f" if metric.is_share else ".3f"
    return f"{row['train_size']:>9,}  training - test {row['gap'] * factor(metric):+{digits}}{unit}"

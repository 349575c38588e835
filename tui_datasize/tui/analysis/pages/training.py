"""The course of training: all sizes in one chart, single runs, and the margins."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from rich.text import Text

from tui_datasize.tui.analysis.curve_chart import factor, metric_scale
from tui_datasize.tui.analysis.pages.page import Content, Request, numbers, only_words
from tui_datasize.tui.charts.lines import Band, Series, line_chart
from tui_datasize.tui.charts.scale import Scale
from tui_datasize.tui.live.charts import TAGS
from tui_datasize.tui.widgets.palette import Palette
from tui_datasize.words import plural

if TYPE_CHECKING:
    import polars as pl

    from tui_datasize.analysis.curve import Metric

NO_COURSE = "This metric has one value a run, no course. Choose another with m."
ONE_EVALUATION = "There is one evaluation a run, and so no course."
NO_EVALUATION = "No finished run has been evaluated yet."
_MARGINS_DRAWN = 3
_COURSE_VIEWS = 2
"""Means with the range over runs, and the runs of one size one by one."""


def courses(request: Request) -> Content:
    """Mean over runs after each evaluation, one curve per size; `s` shows the runs of one size.

    The range over runs is shaded for one size, the one that `n` has come to: several hide each other.
    """
    from tui_datasize.analysis.training_views import single_courses, training_curves

    split, score = split_and_score(request.metric)
    if not score:
        return only_words(NO_COURSE)
    if request.view % _COURSE_VIEWS:
        singles = single_courses(request.runs, request.metrics, score, split)
        return _single_runs(singles, request) if singles.height else only_words(NO_EVALUATION)
    table = training_curves(request.runs, request.metrics, score, split)
    if table.is_empty():
        return only_words(NO_EVALUATION)
    size, sizes = _chosen_size(table, request)
    return Content(
        partial(_draw_courses, table, size, request.metric),
        [ONE_EVALUATION] if table["evaluation"].max() == 1 else _course_words(table, request.metric),
        f"means over runs · ░ range at n {size:,}",
        lambda: table,
        views=_COURSE_VIEWS,
        sizes=sizes,
    )


def _chosen_size(table: pl.DataFrame, request: Request) -> tuple[int, int]:
    """The train size that `n` has come to, counted from the largest, and how many there are."""
    sizes = table["train_size"].unique().sort()
    return int(sizes[(len(sizes) - 1 + request.size) % len(sizes)]), len(sizes)


def _single_runs(singles: pl.DataFrame, request: Request) -> Content:
    """Each run of one size by itself."""
    size, sizes = _chosen_size(singles, request)
    own = singles.filter(singles["train_size"] == size)
    return Content(
        partial(_draw_single_runs, own, request.metric),
        _single_words(own, request.metric),
        f"n {size:,} · {plural(own['run_id'].n_unique(), 'run')} one by one",
        lambda: singles,
        views=_COURSE_VIEWS,
        sizes=sizes,
    )


def margins(request: Request) -> Content:
    """How sure the model is where it is right and where it is wrong, over the course of training."""
    from tui_datasize.analysis.training_views import margins as margin_table

    table = margin_table(request.runs, request.metrics)
    if table.is_empty():
        return only_words(NO_EVALUATION)
    return Content(
        partial(_draw_margins, table),
        ["(C1 - C2) / C1, C1 and C2 the two largest probabilities; test split, means over runs."],
        "━ where right, ┅ where wrong",
        lambda: table,
    )


def split_and_score(metric: Metric) -> tuple[str, str]:
    """Split and score of a metric of evaluations; an empty score for others."""
    from tui_datasize.runlog.schema import SCORES

    split, _, score = metric.name.partition("_")
    return (split, score) if split in ("test", "train") and score in SCORES else ("", "")


def _draw_courses(
    table: pl.DataFrame, size: int, metric: Metric, width: int, height: int, palette: Palette
) -> Text:
    groups = table.partition_by("train_size", maintain_order=True)
    series = [
        Series(
            f"{group['train_size'][0]:,}",
            group["x"].to_list(),
            numbers(group["mean"], factor(metric)),
            palette.series[index % len(palette.series)],
            tag=TAGS[index % len(TAGS)],
        )
        for index, group in enumerate(groups)
    ]
    chosen = table.filter(table["train_size"] == size)
    low, high = (numbers(chosen[end], factor(metric)) for end in ("low", "high"))
    return line_chart(
        series,
        Scale("update", start=0),
        metric_scale(metric),
        width=width,
        height=height,
        palette=palette,
        bands=[Band(chosen["x"].to_list(), low, high, palette.faint)],
    )


def _draw_single_runs(table: pl.DataFrame, metric: Metric, width: int, height: int, palette: Palette) -> Text:
    series = [
        Series(
            _run_name(run),
            run["x"].to_list(),
            numbers(run["value"], factor(metric)),
            palette.series[index % len(palette.series)],
            tag=TAGS[index % len(TAGS)],
        )
        for index, run in enumerate(table.partition_by("run_id", maintain_order=True))
    ]
    return line_chart(
        series,
        Scale("update", start=0),
        metric_scale(metric),
        width=width,
        height=height,
        palette=palette,
    )


def _run_name(run: pl.DataFrame) -> str:
    draw, seed = run["subset_seed"][0], run["seed"][0]
    name = f"repeat {run['repeat'][0]}" if seed is None else f"s{seed}"
    return name if draw is None else f"d{draw} {name}"


def _cell_words(row: Mapping[str, Any]) -> str:
    seed = f"repeat {row['repeat']}" if row["seed"] is None else f"seed {row['seed']}"
    return seed if row["subset_seed"] is None else f"draw {row['subset_seed']}, {seed}"


def _single_words(table: pl.DataFrame, metric: Metric) -> list[str]:
    """What each run ended at, the best first, and how far they are apart."""
    ends = table.group_by("run_id", maintain_order=True).last()
    ranked = ends.sort("value", descending=metric.higher_is_better)
    unit, digits = (" %", 2) if metric.is_share else ("", 3)
    values = ranked["value"] * factor(metric)
    apart = f"{values.max() - values.min():.{digits}f}"  # type: ignore[operator]
    return [
        f"At the end {apart}{' points' if metric.is_share else ''} lie between the best and the worst run.",
        *(
            f"{_cell_words(row)}: {value:.{digits}f}{unit}"
            for row, value in zip(ranked.iter_rows(named=True), values, strict=True)
        ),
    ]


def _course_words(table: pl.DataFrame, metric: Metric) -> list[str]:
    """Where each size stood best, if that was before the end."""
    unit = " points" if metric.is_share else ""
    words = []
    for group in table.partition_by("train_size", maintain_order=True):
        best = group.sort("mean", descending=metric.higher_is_better).row(0, named=True)
        last = group.row(-1, named=True)
        lost = abs(best["mean"] - last["mean"]) * factor(metric)
        end = f"best after update {best['x']:,.0f}, the end is {lost:.2f}{unit} worse"
        words.append(f"{last['train_size']:,} images: {end if best['x'] < last['x'] else 'best at the end'}.")
    return words


def _draw_margins(table: pl.DataFrame, width: int, height: int, palette: Palette) -> Text:
    groups = table.partition_by("train_size", maintain_order=True)
    # Smallest, middle and largest: more curves than these hide each other.
    chosen = sorted({0, len(groups) // 2, len(groups) - 1})[:_MARGINS_DRAWN]
    series = []
    for slot, group in enumerate(groups[index] for index in chosen):
        size, x = f"{group['train_size'][0]:,}", group["update"].to_list()
        colour = palette.series[slot % len(palette.series)]
        series.append(Series(f"{size} right", x, numbers(group["margin_correct"], 100), colour, mark="●"))
        series.append(Series(f"{size} wrong", x, numbers(group["margin_wrong"], 100), colour, mark="○"))
    return line_chart(
        series,
        Scale("update", start=0),
        Scale("margin, %", floor=0, ceiling=100),
        width=width,
        height=height,
        palette=palette,
    )

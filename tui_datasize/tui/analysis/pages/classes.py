"""What is behind one number: the classes, and what they are taken for."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from rich.text import Text

from tui_datasize.tui.analysis.curve_chart import size_scale
from tui_datasize.tui.analysis.pages.page import Content, Request, largest_size, numbers, only_words
from tui_datasize.tui.charts.lines import Series, line_chart
from tui_datasize.tui.charts.ranked import RankedBar, ranked_bars
from tui_datasize.tui.charts.scale import Scale
from tui_datasize.tui.charts.surface import legible_digits, surface_chart
from tui_datasize.tui.live.charts import TAGS
from tui_datasize.tui.widgets.palette import Palette

if TYPE_CHECKING:
    import polars as pl

_CLASSES_DRAWN = 8
_CONFUSIONS_LISTED = 60
"""More than these no window shows."""
_CONFUSIONS_TOLD = 4
_MATRIX_WORDS = "In the matrix rows are the true classes, columns the predicted ones."
_NO_CONFUSION = "Nothing was taken for anything else."
NO_TABLE = "No finished run of this experiment has written this table yet."


def per_class(request: Request) -> Content:
    """Accuracy of each class against train size, the classes that gain most first."""
    from tui_datasize.analysis.per_class import class_curves

    table = class_curves(request.runs, request.log.per_class(request.runs["run_id"]))
    if table.is_empty():
        return only_words(NO_TABLE)
    ranked = table.unique("label", maintain_order=True)
    words = [
        f"{row['class_name']}: {100 * row['slope']:+z.2f} points for ten times the data"
        + (f" (SE {100 * row['slope_stderr']:.2f})" if row["slope_stderr"] is not None else "")
        for row in ranked.drop_nulls("slope").iter_rows(named=True)
    ]
    return Content(
        partial(_draw_classes, table),
        words or ["A slope needs more sizes."],
        "test accuracy, last evaluation",
        lambda: table,
    )


def confusions(request: Request) -> Content:
    """The confusion matrix of the largest size; the commonest confusions where it is not legible."""
    from tui_datasize.analysis.confusions import confusion_matrix, top_confusions

    runs = largest_size(request.runs)
    counts, datasets = request.log.confusion(runs["run_id"]), request.log.datasets(runs["run_id"])
    if counts.is_empty():
        return only_words(NO_TABLE)
    table = top_confusions(runs, counts, datasets, _CONFUSIONS_LISTED)
    labels, shares = confusion_matrix(counts)
    names = dict(datasets.unique("label", keep="first").select("label", "class_name").iter_rows())
    percent = [[100 * share for share in row] for row in shares.tolist()]
    words = [
        f"{row['class_name']} taken for {row['predicted_name']}: {100 * row['share']:.1f} %"
        for row in table.head(_CONFUSIONS_TOLD).iter_rows(named=True)
    ]
    return Content(
        partial(_draw_confusions, [str(names.get(one, one)) for one in labels], percent, table),
        [*(words or [_NO_CONFUSION]), _MATRIX_WORDS],
        f"n {runs['train_size'][0]:,} · % of the true class",
        lambda: table,
    )


def _draw_classes(table: pl.DataFrame, width: int, height: int, palette: Palette) -> Text:
    groups = table.partition_by("label", maintain_order=True)
    # The steepest and the flattest: those that more data helps most and least.
    half = _CLASSES_DRAWN // 2
    chosen = groups if len(groups) <= _CLASSES_DRAWN else [*groups[:half], *groups[-half:]]
    series = [
        Series(
            str(group["class_name"][0]),
            group.sort("train_size")["train_size"].to_list(),
            numbers(group.sort("train_size")["mean"], 100),
            palette.series[index % len(palette.series)],
            tag=TAGS[index % len(TAGS)],
        )
        for index, group in enumerate(chosen)
    ]
    return line_chart(
        series,
        size_scale(),
        Scale("accuracy, %", floor=0, ceiling=100),
        width=width,
        height=height,
        palette=palette,
    )


def _draw_confusions(
    names: list[str],
    percent: list[list[float]],
    table: pl.DataFrame,
    width: int,
    height: int,
    palette: Palette,
) -> Text:
    """The matrix where each of its numbers can be read, else the commonest confusions."""
    digits = legible_digits(names, percent, 1, width, height)
    if digits is not None:
        return surface_chart(
            names, names, percent, digits=digits, width=width, height=height, palette=palette
        )
    bars = [
        RankedBar(
            f"{row['class_name']} → {row['predicted_name']}",
            row["images"],
            f"{row['images']:,} {100 * row['share']:6.1f} %",
        )
        for row in table.iter_rows(named=True)
    ]
    heads = ("true → predicted", "images    share")
    return ranked_bars(bars, heads, width=width, height=height, palette=palette, empty=_NO_CONFUSION)

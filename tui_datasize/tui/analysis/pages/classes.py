"""What is behind one number: the classes, what they are taken for, and whether probabilities hold."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from rich.text import Text

from tui_datasize.tui.analysis.curve_chart import size_scale
from tui_datasize.tui.analysis.pages.page import Content, Request, largest_size, numbers, only_words
from tui_datasize.tui.charts.lines import Series, line_chart
from tui_datasize.tui.charts.scale import Scale
from tui_datasize.tui.charts.surface import surface_chart
from tui_datasize.tui.live.charts import TAGS
from tui_datasize.tui.widgets.palette import Palette

if TYPE_CHECKING:
    import polars as pl

    from tui_datasize.analysis.reliability import Reliability

_CLASSES_DRAWN = 8
_CONFUSIONS_TOLD = 12
_LARGEST_MATRIX = 30
_NOTHING = "No finished run of this experiment has written this table yet."


def per_class(request: Request) -> Content:
    """Accuracy of each class against train size, the classes that gain most first."""
    from tui_datasize.analysis.per_class import class_curves

    table = class_curves(request.runs, request.log.per_class(request.runs["run_id"]))
    if table.is_empty():
        return only_words(_NOTHING)
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
    """The confusion matrix of the largest size, and the commonest confusions."""
    from tui_datasize.analysis.confusions import confusion_matrix, top_confusions

    runs = largest_size(request.runs)
    counts, datasets = request.log.confusion(runs["run_id"]), request.log.datasets(runs["run_id"])
    if counts.is_empty():
        return only_words(_NOTHING)
    table = top_confusions(runs, counts, datasets)
    labels, shares = confusion_matrix(counts)
    names = dict(table.select("label", "class_name").iter_rows()) | dict(
        table.select("predicted", "predicted_name").iter_rows()
    )
    words = [
        f"{row['class_name']} taken for {row['predicted_name']}: {100 * row['share']:.1f} %"
        for row in table.head(_CONFUSIONS_TOLD).iter_rows(named=True)
    ]
    if len(labels) > _LARGEST_MATRIX:
        return Content(only_words("\n".join(words)).draw, words, table=lambda: table)
    return Content(
        partial(_draw_matrix, [str(names.get(int(one), one)) for one in labels], shares.tolist()),
        words or ["Nothing was taken for anything else."],
        f"n {runs['train_size'][0]:,} · rows true, columns predicted, % of the row",
        lambda: table,
    )


def calibration(request: Request) -> Content:
    """Accuracy against confidence at the largest size, and the error if only the surest are answered."""
    from tui_datasize.analysis.reliability import confidences, reliability, risk_coverage_table

    runs = largest_size(request.runs)
    scored = confidences(request.log.predictions(runs["run_id"]))
    if scored.is_empty():
        return only_words(_NOTHING)
    found = reliability(scored["confidence"], scored["is_correct"])
    risks = risk_coverage_table(scored, runs)
    words = [
        f"The surest {100 * row['coverage']:.0f} % answered: {100 * row['risk']:.2f} % wrong."
        for row in risks.iter_rows(named=True)
    ]
    return Content(
        partial(_draw_reliability, found),
        [found.words, *words],
        f"n {runs['train_size'][0]:,} · all runs together",
        lambda: risks,
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


def _draw_matrix(
    names: list[str], shares: list[list[float]], width: int, height: int, palette: Palette
) -> Text:
    percent = [[100 * share for share in row] for row in shares]
    return surface_chart(names, names, percent, digits=1, width=width, height=height, palette=palette)


def _draw_reliability(found: Reliability, width: int, height: int, palette: Palette) -> Text:
    line = Series("perfect", [0.0, 100.0], [0.0, 100.0], palette.muted)
    seen = Series(
        "accuracy", numbers(found.confidence, 100), numbers(found.accuracy, 100), palette.primary, mark="●"
    )
    return line_chart(
        [line, seen],
        Scale("confidence, %", start=0),
        Scale("accuracy, %", floor=0, ceiling=100),
        width=width,
        height=height,
        palette=palette,
    )

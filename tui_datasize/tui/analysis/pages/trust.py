"""Whether overlap explains agreement."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from rich.text import Text

from tui_datasize.tui.analysis.pages.page import Content, Request, bounded, numbers, only_words
from tui_datasize.tui.charts.lines import Series, line_chart
from tui_datasize.tui.charts.scale import Scale
from tui_datasize.tui.widgets.palette import Palette

if TYPE_CHECKING:
    import polars as pl


def agreement(request: Request) -> Content:
    """Whether runs on more alike subsets are more alike."""
    from tui_datasize.analysis.agreement import overlap_and_agreement, pairs_of_runs
    from tui_datasize.analysis.overlap import find_draws, find_overlaps

    runs, left_out = bounded(request.runs)
    draws = find_draws(runs)
    overlaps = find_overlaps(
        draws, request.log.subsets(draws["run_id"]), request.log.datasets(draws["run_id"])
    )
    predictions = request.log.predictions(runs["run_id"])
    pairs = pairs_of_runs(runs, request.metric.name, overlaps, predictions)
    table = overlap_and_agreement(runs, pairs)
    if pairs.is_empty():
        return only_words("Two runs of one size are needed to compare any.")
    return Content(
        partial(_draw_pairs, pairs),
        [*left_out, *table["words"]],
        "a mark per pair of runs",
        lambda: pairs,
    )


def _draw_pairs(pairs: pl.DataFrame, width: int, height: int, palette: Palette) -> Text:
    known = pairs.drop_nulls("agreement")
    if known.is_empty():
        return only_words("No predictions to compare.").draw(width, height, palette)
    marks = Series(
        "", numbers(known["overlap"], 100), numbers(known["agreement"], 100), palette.primary, False, "∙"
    )
    return line_chart(
        [marks],
        Scale("shared training images, %"),
        Scale("equal predictions, %", ceiling=100),
        width=width,
        height=height,
        palette=palette,
    )

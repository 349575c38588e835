"""What the subset draws have in common, as a heat map and bars."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

from rich.text import Text

from tui_datasize.tui.analysis.choice import AnalysisChoice
from tui_datasize.tui.charts.lines import sentence
from tui_datasize.tui.charts.overlap import Bar, class_bars, heat_map
from tui_datasize.tui.widgets.palette import Palette

if TYPE_CHECKING:
    from tui_datasize.analysis.overlap import DrawOverlap
    from tui_datasize.analysis.summary import Analysis


_ONE_DRAW = "Nothing to compare with one draw. More of them: subset = { seeds = [0, 1] } in experiments.toml."


def chosen_overlap(analysis: Analysis, choice: AnalysisChoice) -> DrawOverlap | None:
    """The overlap of the chosen size."""
    count = len(analysis.overlaps)
    return analysis.overlaps[(count // 2 + choice.size) % count] if count else None


def draw_matrix(overlap: DrawOverlap | None, width: int, height: int, palette: Palette) -> Text:
    """Which share of its images each pair of draws has in common."""
    empty = "No subset has been drawn yet: it is written when a run begins."
    if overlap is None:
        return sentence(empty, width, height, palette)
    if len(overlap.draws) == 1:
        return sentence(_ONE_DRAW, width, height, palette)
    caption = Text(expectation(overlap)[:width], style=palette.muted)
    matrix = heat_map(
        overlap.draws, overlap.fraction.tolist(), width=width, height=height - 2, palette=palette
    )
    return Text("\n").join([matrix, Text(), caption])


def draw_classes(overlap: DrawOverlap | None, width: int, height: int, palette: Palette) -> Text:
    """Overlap within each class, the highest first, with what independent draws would share."""
    bars = class_shares(overlap) if overlap else []
    return class_bars(bars, width=width, height=height, palette=palette, empty="")


def class_shares(overlap: DrawOverlap) -> list[Bar]:
    """Mean share per class over all pairs of draws, the highest first; none for a single draw."""
    from tui_datasize.analysis.overlap import per_class_table

    table = per_class_table([overlap]).drop_nulls("fraction")
    nan = float("nan")
    rows = table.select("class_name", "fraction", "expected").iter_rows()
    return [Bar(name, value, nan if expected is None else expected) for name, value, expected in rows]


def expectation(overlap: DrawOverlap) -> str:
    """What independent draws would share, with its interval; empty where class totals are unknown."""
    mean, low, high = (100 * value for value in overlap.expected_fraction)
    if not isfinite(mean):
        return ""
    return f"expected {mean:.1f} % ({low:.1f} to {high:.1f})"

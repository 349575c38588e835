"""What the subset draws have in common, as a heat map and bars."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

from rich.text import Text

from tui_datasize.tui.analysis.choice import AnalysisChoice
from tui_datasize.tui.charts.lines import sentence
from tui_datasize.tui.charts.overlap import Bar, class_bars, heat_map
from tui_datasize.tui.widgets.palette import Palette

if TYPE_CHECKING:
    from tui_datasize.analysis.overlap import DrawOverlap, Measure

_ONE_DRAW = "Nothing to compare with one draw. More of them: subset = { seeds = [0, 1] } in experiments.toml."
_NO_DRAW = "No subset is on record: a run writes its own when it begins, imported ones do not tell theirs."


@dataclass(frozen=True, eq=False)
class OverlapView:
    """The overlap of one size, computed and ready to be drawn; each is equal to itself alone."""

    overlap: DrawOverlap | None = None
    """None before any subset has been drawn."""
    measure: Measure = "fraction"
    bars: Sequence[Bar] = ()
    """Mean overlap per class over all pairs, the highest first; none for a single draw."""
    of_pairs: Sequence[str] = ()
    """What is expected of a pair, and of the largest of all pairs; empty where class totals are unknown."""
    of_classes: str = ""
    """What the largest overlap within a class is and would be, and how many classes are outside."""


def chosen_overlap(overlaps: Sequence[DrawOverlap], choice: AnalysisChoice) -> DrawOverlap | None:
    """The overlap of the chosen size."""
    count = len(overlaps)
    return overlaps[(count // 2 + choice.size) % count] if count else None


def view_overlap(overlap: DrawOverlap | None, measure: Measure) -> OverlapView:
    """Compute what is shown of an overlap; with many classes and pairs that takes a while."""
    if overlap is None or len(overlap.draws) == 1:
        return OverlapView(overlap, measure)
    bars = _class_shares(overlap, measure)
    of_pairs = [words for words in (_expectation(overlap, measure), _largest(overlap, measure)) if words]
    return OverlapView(overlap, measure, bars, of_pairs, _largest_of_classes(overlap, bars, measure))


def draw_matrix(view: OverlapView, width: int, height: int, palette: Palette) -> Text:
    """Which share of its images each pair of draws has in common."""
    overlap = view.overlap
    if overlap is None:
        return sentence(_NO_DRAW, width, height, palette)
    if len(overlap.draws) == 1:
        return sentence(_ONE_DRAW, width, height, palette)
    # The matrix goes before its captions: of these, as many as leave it a row per draw.
    room = max(1, height - 2 - len(overlap.draws))
    captions = [Text(words[:width], style=palette.muted) for words in view.of_pairs[:room]]
    matrix = heat_map(
        overlap.draws,
        overlap.matrix(view.measure).tolist(),
        width=width,
        height=height - len(captions) - 1,
        palette=palette,
    )
    return Text("\n").join([matrix, Text(), *captions])


def draw_classes(view: OverlapView, width: int, height: int, palette: Palette) -> Text:
    """Overlap within each class, the highest first, with what independent draws would share."""
    captions = textwrap.wrap(view.of_classes, max(width, 10))
    bars = class_bars(view.bars, width=width, height=height - len(captions), palette=palette, empty="")
    return Text("\n").join([bars, *(Text(words[:width], style=palette.muted) for words in captions)])


def _class_shares(overlap: DrawOverlap, measure: Measure) -> list[Bar]:
    import polars as pl

    from tui_datasize.analysis.overlap_tables import per_class_table

    prefix = "" if measure == "fraction" else "jaccard_"
    table = per_class_table([overlap]).drop_nulls("fraction").sort(measure, descending=True)
    columns = [measure, *(f"{prefix}{name}" for name in ("expected", "low", "high"))]
    rows = table.select("class_name", *(pl.col(name).fill_null(float("nan")) for name in columns))
    return [Bar(*row) for row in rows.iter_rows()]


def _expectation(overlap: DrawOverlap, measure: Measure) -> str:
    mean, low, high = (100 * value for value in overlap.expectation(measure))
    return f"expected {mean:.1f} % ({low:.1f} to {high:.1f})" if isfinite(mean) else ""


def _largest(overlap: DrawOverlap, measure: Measure) -> str:
    from tui_datasize.analysis.overlap_extremes import largest_expected, largest_observed

    pairs = len(overlap.pairs[0])
    if pairs == 1:
        return ""
    observed, expected = largest_observed(overlap, measure), largest_expected(overlap, measure)
    return _of_the_largest(f"{pairs} pairs", observed, expected)


def _largest_of_classes(overlap: DrawOverlap, bars: Sequence[Bar], measure: Measure) -> str:
    from tui_datasize.analysis.overlap_extremes import (
        largest_expected_of_classes,
        largest_observed_of_classes,
    )

    if not bars:
        return ""
    words = _of_the_largest(
        "classes and pairs" if len(overlap.draws) > 2 else "classes",
        largest_observed_of_classes(overlap, measure),
        largest_expected_of_classes(overlap, measure),
    )
    outside = sum(bar.outside != 0 for bar in bars)
    return f"{words} · {outside} of {len(bars)} outside" if isfinite(bars[0].low) else words


def _of_the_largest(of: str, observed: float, expected: float) -> str:
    by_chance = f", by chance {100 * expected:.1f}" if isfinite(expected) else ""
    return f"largest {100 * observed:.1f} %{by_chance} ({of})"

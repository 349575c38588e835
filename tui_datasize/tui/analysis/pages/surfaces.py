"""Metrics over train size and progress: six maps where there is room, else one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from rich.text import Text

from tui_datasize.tui.analysis.curve_chart import factor
from tui_datasize.tui.analysis.pages.page import Content, Request, only_words
from tui_datasize.tui.analysis.pages.training import NO_EVALUATION, split_and_score
from tui_datasize.tui.charts.surface import legible_digits, side_by_side, surface_chart
from tui_datasize.tui.widgets.palette import Palette

if TYPE_CHECKING:
    import polars as pl

    from tui_datasize.analysis.curve import Metric

_COLUMNS = 2
"""Of the six; fewer rows of wider maps read worse than this."""
_WORDS = "Rows: train size; columns: share of the training done. All six in a large window, else one: s."
_GAP_WORDS = "Behind these s shows the gap, train - test accuracy."
_GAP = 2
_LEAST_CELL = 2
"""Columns of a cell below which a map is a blur."""


@dataclass(frozen=True)
class _Surface:
    """One metric over size and progress."""

    metric: Metric
    table: pl.DataFrame

    @property
    def sizes(self) -> Sequence[int]:
        sizes: list[int] = self.table["train_size"].unique().sort().to_list()
        return sizes

    @property
    def shares(self) -> Sequence[float]:
        shares: list[float] = self.table["progress"].round(3).unique().sort().to_list()
        return shares

    def draw(self, width: int, height: int, palette: Palette) -> Text:
        cells = {
            (row["train_size"], round(row["progress"], 3)): row["mean"] * factor(self.metric)
            for row in self.table.iter_rows(named=True)
        }
        rows = [f"{size:,}" for size in self.sizes]
        values = [[cells.get((size, share), float("nan")) for share in self.shares] for size in self.sizes]
        return surface_chart(
            rows,
            [f"{100 * share:.0f} %" for share in self.shares],
            values,
            digits=1 if self.metric.is_share else legible_digits(rows, values, 3, width, height) or 1,
            width=width,
            height=height,
            palette=palette,
        )


def surface(request: Request) -> Content:
    """Six metrics over train size and progress, means over runs; `s` shows one by one, and the gap behind."""
    from tui_datasize.analysis.training_views import SURFACES

    chosen = [request.metric.name] if split_and_score(request.metric)[1] else []
    names = list(dict.fromkeys([*chosen, *SURFACES]))
    metrics = request.metrics
    found = [one for one in (_surface(request, metrics, name) for name in names) if one.table.height]
    if not found:
        return only_words(NO_EVALUATION)
    six = [one for name in SURFACES for one in found if one.metric.name == name]
    gap = _gap_surface(found)
    views = [*found, *gap]
    view = request.view % len(views)
    shown = views[view]
    return Content(
        shown.draw if view else partial(_draw_all, shown, six),
        [_WORDS, *([_GAP_WORDS] if gap else [])],
        f"{shown.metric.title}{', %' if shown.metric.is_share else ''} · mean over runs",
        lambda: shown.table,
        views=len(views),
    )


def _surface(request: Request, metrics: pl.DataFrame, name: str) -> _Surface:
    from tui_datasize.analysis.curve import metric_named
    from tui_datasize.analysis.training_views import surface as surface_table

    metric = metric_named(name)
    split, score = split_and_score(metric)
    return _Surface(metric, surface_table(request.runs, metrics, score, split))


def _gap_surface(found: Sequence[_Surface]) -> list[_Surface]:
    """Train - test accuracy, where both are known."""
    from tui_datasize.analysis.training_views import CURVE_KEY

    sides = {one.metric.name: one for one in found}
    train, test = sides.get("train_accuracy"), sides.get("test_accuracy")
    if train is None or test is None:
        return []
    key = [*CURVE_KEY, "evaluation"]
    both = train.table.join(test.table.select(*key, "mean"), on=key, suffix="_test", maintain_order="left")
    table = both.with_columns(mean=both["mean"] - both["mean_test"]).drop("mean_test", "sd")
    metric = replace(test.metric, title="Train - test accuracy")
    return [_Surface(metric, table)] if table.height else []


def _draw_all(first: _Surface, six: Sequence[_Surface], width: int, height: int, palette: Palette) -> Text:
    """All of them where there is room, else the first."""
    each = (width - _GAP * (_COLUMNS - 1)) // _COLUMNS
    rows = -(-len(six) // _COLUMNS)
    lines = height // max(rows, 1)
    if len(six) < _COLUMNS or not all(_fits(one, each, lines) for one in six):
        return first.draw(width, height, palette)
    # Test at the left and training at the right, the same score beside each other.
    ordered = [
        six[row + column * rows]
        for row in range(rows)
        for column in range(_COLUMNS)
        if row + column * rows < len(six)
    ]
    charts = [_titled(one, each, lines, palette) for one in ordered]
    widths = [each + _GAP] * (_COLUMNS - 1) + [each]
    pairs = [charts[place : place + _COLUMNS] for place in range(0, len(charts), _COLUMNS)]
    return Text("\n").join(side_by_side(pair, widths[: len(pair)]) for pair in pairs)


def _fits(surface: _Surface, width: int, height: int) -> bool:
    """Title, heading, and a row per size with an empty one below; cells that are more than a blur."""
    label = max(len(f"{size:,}") for size in surface.sizes) + 1
    return height >= len(surface.sizes) + 2 and width >= label + _LEAST_CELL * len(surface.shares)


def _titled(surface: _Surface, width: int, height: int, palette: Palette) -> Text:
    unit = ", %" if surface.metric.is_share else ""
    title = Text(f"{surface.metric.title}{unit}", style=f"bold {palette.foreground}")
    return Text("\n").join([title, surface.draw(width, height - 1, palette)])

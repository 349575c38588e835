"""A map of means: a row for each train size, a column for each name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from tui_datasize.tui.analysis.curve_chart import factor
from tui_datasize.tui.charts.surface import surface_chart
from tui_datasize.tui.widgets.palette import Palette

if TYPE_CHECKING:
    import polars as pl

    from tui_datasize.analysis.curve import Metric


def draw_size_map(
    table: pl.DataFrame, column: str, metric: Metric, width: int, height: int, palette: Palette
) -> Text:
    """Draw `mean` by `train_size` and the names in a column, in the order in which these come."""
    names = table[column].unique(maintain_order=True).to_list()
    sizes = table["train_size"].unique().sort().to_list()
    cells = {(r["train_size"], r[column]): r["mean"] * factor(metric) for r in table.iter_rows(named=True)}
    return surface_chart(
        [f"{size:,}" for size in sizes],
        names,
        [[cells.get((size, name), float("nan")) for name in names] for size in sizes],
        digits=1 if metric.is_share else 3,
        width=width,
        height=height,
        palette=palette,
    )

"""A map of means that answers share: a row for each train size, a column for each name."""

from __future__ import annotations

import polars as pl

from tui_datasize.answers.answer import Map
from tui_datasize.metric import Metric


def size_map(title: str, table: pl.DataFrame, column: str, metric: Metric) -> Map:
    """`mean` by `train_size` and the names in a column, in the order in which these come.

    Args:
        title: Of the map.
        table: Has these three columns, each pair of size and name once.
        column: That of the names.
        metric: What the means are of.
    """
    names = table[column].unique(maintain_order=True).to_list()
    sizes = table["train_size"].unique().sort().to_list()
    cells = {
        (size, name): mean * metric.scale
        for size, name, mean in table.select("train_size", column, "mean").iter_rows()
    }
    return Map(
        title,
        "train size",
        column,
        [f"{size:,}" for size in sizes],
        names,
        [[cells.get((size, name)) for name in names] for size in sizes],
        digits=1 if metric.is_share else 3,
    )

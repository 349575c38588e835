"""Means by train size and name that answers share, as a map and as a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl

from tui_datasize.answers.answer import Column, Map, Table
from tui_datasize.metric import Metric
from tui_datasize.text import plural

_MOST_COLUMNS = 6


def size_map(
    title: str, table: pl.DataFrame, column: str, metric: Metric, write: Callable[[Any], str] = str
) -> Map:
    """`mean` by `train_size` and the names in a column, in the order in which these come.

    `write` makes the shown name of what stands in that column; each pair of size and name is there once.
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
        [write(name) for name in names],
        [[cells.get((size, name)) for name in names] for size in sizes],
        digits=1 if metric.is_share else 3,
    )


def size_table(means: pl.DataFrame, column: str, metric: Metric, about: str = "") -> Table:
    """Means of several names at several train sizes with their 95 % intervals, the best of each size marked.

    `means` has `train_size`, the names in a column, `mean`, `low`, `high` and `n_runs`, each pair once;
    `about` is what else the title is to say.
    """
    sizes = means["train_size"].unique().sort()
    labelled = means.with_columns(place=size_label(pl.col("train_size")))
    if min(len(sizes), means[column].n_unique()) > _MOST_COLUMNS:
        labelled = labelled.filter(pl.col("train_size").is_in(sizes.tail(_MOST_COLUMNS).implode()))
    title = ", ".join(filter(None, (metric.heading, about)))
    return mean_table(labelled.sort("train_size", maintain_order=True), column, "train size", metric, title)


def size_label(size: pl.Expr) -> pl.Expr:
    """A train size as a heading, such as 12,000."""
    backwards = size.cast(pl.String).str.reverse().str.replace_all(r"\d{3}", "$0,")
    return backwards.str.strip_chars_end(",").str.reverse()


def mean_table(means: pl.DataFrame, column: str, places: str, metric: Metric, title: str) -> Table:
    """Means by name and place, the best of each place marked where it is told; the fewer are columns.

    `means` has the names in a column, `place`, `mean`, `low`, `high` and `n_runs`, each pair once, in order
    of places. `is_clear` says whether a name is told apart from all others at its place; without that column
    its interval must be apart from theirs. The title is followed by how to read a cell.
    """
    end = pl.col("mean").max() if metric.higher_is_better else pl.col("mean").min()
    runs = means["n_runs"].unique().to_list()
    clear = pl.col("is_clear") if "is_clear" in means.columns else _is_apart(metric)
    cells = means.select(
        pl.col(column).alias("name"),
        "place",
        cell=pl.struct(
            mean=pl.col("mean"),
            half=pl.max_horizontal(pl.col("high") - pl.col("mean"), pl.col("mean") - pl.col("low")),
            n_runs=pl.when(len(runs) > 1).then(pl.col("n_runs")),
            is_best=(pl.col("mean") == end.over("place")) & (pl.len().over("place") > 1) & clear,
        ),
    )
    if means["place"].n_unique() <= means[column].n_unique():
        wide, head = cells.pivot("place", index="name", values="cell", maintain_order=True), column
    else:
        wide, head = cells.pivot("name", index="place", values="cell", maintain_order=True), places
    first, *others = wide.columns
    each = f"{plural(runs[0], 'run')} each" if len(runs) == 1 else "runs in brackets"
    interval = "± 95 %, " if means["high"].is_not_null().any() else ""
    is_told = cells["cell"].struct.field("is_best").any()
    told = f"{title[:1].upper()}{title[1:]} ({interval}{each}{', * best' if is_told else ''})"
    columns = [Column(first, head, "text"), *(Column(one, one, "cell") for one in others)]
    return Table(wide, columns, metric, told)


def _is_apart(metric: Metric) -> pl.Expr:
    """Whether the interval of a mean lies beyond those of all others at its place."""
    low, high = pl.col("low"), pl.col("high")
    own, others = (low, high) if metric.higher_is_better else (-high, -low)
    nearest = pl.when(others == others.max()).then(others.top_k(2).last()).otherwise(others.max())
    return (own > nearest.over("place")) & (others.null_count().over("place") == 0)

"""What labelling strategies have chosen, beside what they are worth: a part of the question of levers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from tui_datasize.answers.answer import Column, Figure, Map, Sheet, Table
from tui_datasize.answers.columns import SIZE, of_kind
from tui_datasize.answers.record import Record
from tui_datasize.runlog.schema import is_chosen
from tui_datasize.stats.labelling import added, chosen_per_class, path_runs, shared_choices

_MOST_RUNS = 60
"""Whose images are read."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """What is said of choices; all empty where no run has chosen."""

    sentences: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()


def labelled(record: Record) -> Labelled:
    """The classes that strategies choose, what two of them both chose, and first and last images."""
    runs = path_runs(record.all_runs)
    # Whole cells of seed and draw, the first ones.
    runs = runs.sort("subset_seed", "seed", "subset_strategy", maintain_order=True).head(_MOST_RUNS)
    images, first = added(runs, record.log.table("subsets", runs["run_id"]))
    if images.is_empty():
        return Labelled()
    datasets = record.log.datasets(runs["run_id"][:1])
    classes = chosen_per_class(images, datasets, int(runs["train_size"][0]))
    shared = shared_choices(runs, images, datasets, first)
    tables = [
        Table(classes, _CLASSES, record.metric, "Chosen images of each class", is_detail=True),
        *([Table(shared, _SHARED, record.metric, "What two strategies both chose")] if shared.height else []),
    ]
    figures: list[Figure] = (
        [_map(shared), *_sheets(record, runs)] if shared.height else [*_sheets(record, runs)]
    )
    return Labelled((*_told(classes), *_alike(shared)), tuple(tables), tuple(figures))


_CLASSES = (
    *of_kind("text", strategy="strategy", class_name="class"),
    SIZE,
    *of_kind("share", share="of the chosen", pool="of all images"),
    Column("ratio", "times", "number"),
)
_SHARED = (
    *of_kind("text", first="strategy", second="and"),
    SIZE,
    *of_kind("share", share="chosen by both", by_chance="by chance"),
    Column("n_runs", "pairs of runs"),
)


def _told(classes: pl.DataFrame) -> Iterator[str]:
    """The class that a strategy favours or passes over most."""
    off = classes.filter((pl.col("strategy") != "random") & (pl.col("share") > 0))
    if off.is_empty():
        return
    row = off.sort(pl.col("ratio").log().abs(), descending=True).row(0, named=True)
    yield (
        f"{100 * row['share']:.1f} % of what {row['strategy']} adds up to {row['train_size']:,} images are "
        f"of class {row['class_name']}, of which all images have {100 * row['pool']:.1f} %."
    )


def _alike(shared: pl.DataFrame) -> Iterator[str]:
    if shared.is_empty():
        return
    row = shared.sort("share", descending=True).row(0, named=True)
    yield (
        f"{100 * row['share']:.0f} % of what {row['first']} and {row['second']} add is the same, the most of "
        f"any two; by chance it would be {100 * row['by_chance']:.0f} %."
    )


def _map(shared: pl.DataFrame) -> Map:
    names = sorted({*shared["first"], *shared["second"]})
    known: dict[Any, float] = {}
    for first, second, share in shared.select("first", "second", "share").iter_rows():
        known[first, second] = known[second, first] = 100 * share
    values = [[known.get((row, column)) for column in names] for row in names]
    return Map("images that two strategies both chose, %", "", "strategy", names, names, values)


def _sheets(record: Record, runs: pl.DataFrame) -> Iterator[Sheet]:
    """Of each strategy, a run's; only runs that a model chose for have one."""
    for (strategy,), own in runs.filter(is_chosen()).group_by("subset_strategy", maintain_order=True):
        for run_id, experiment, size in own.select("run_id", "experiment", "train_size").iter_rows():
            if png := record.log.sheet(experiment, run_id):
                yield Sheet(f"{strategy}: first and last images chosen of {size:,}", png)
                break

"""What runs have generated to learn from, beside what it was worth: a part of the question of levers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import polars as pl

from tui_datasize.answers.answer import Sheet
from tui_datasize.answers.labelling import Labelled
from tui_datasize.answers.record import Record
from tui_datasize.text import plural


def with_generated(told: Labelled, record: Record) -> Labelled:
    """What is said of choices, then of generated images: how many, what they took, and a picture of them."""
    return replace(
        told,
        sentences=(*told.sentences, *_told(record)),
        figures=(*told.figures, *_sheets(record)),
    )


def _told(record: Record) -> Iterator[str]:
    """Of each way to generate, how many images there were at the largest size, and what making them took."""
    for variant, runs in _of_variants(record):
        of_largest = runs.filter(pl.col("train_size") == pl.col("train_size").max())
        size, made = (int(of_largest[name].sort()[0]) for name in ("train_size", "generated_images"))
        beside = f"{variant}: {plural(made, 'generated image')} beside {size:,} real ones"
        share = of_largest.select(pl.col("generator_s").sum() / pl.col("wall_s").sum()).item()
        yield f"{beside}, made in {100 * share:.0f} % of the time of a run." if share else f"{beside}."


def _sheets(record: Record) -> Iterator[Sheet]:
    """Of each way to generate, those of a run at its largest size."""
    for variant, runs in _of_variants(record):
        largest = runs.sort("train_size", descending=True, maintain_order=True)
        for run_id, experiment, size in largest.select("run_id", "experiment", "train_size").iter_rows():
            if png := record.log.sheet(experiment, run_id, "generated"):
                yield Sheet(f"{variant}: generated images, a class a row, beside {size:,} real ones", png)
                break


def _of_variants(record: Record) -> Iterator[tuple[str, pl.DataFrame]]:
    made = record.all_runs.filter(pl.col("generated_images").is_not_null(), state="succeeded")
    for (variant,), runs in made.group_by("variant", maintain_order=True):
        # A single way to train has no name.
        yield str(variant) or str(runs["synthetic"][0]), runs

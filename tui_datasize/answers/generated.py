"""What runs have generated to learn from, beside what it was worth: a part of the question of levers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import polars as pl

from tui_datasize.answers.answer import Sheet
from tui_datasize.answers.labelling import Labelled
from tui_datasize.answers.record import Record
from tui_datasize.experiments.spec import held_out_of
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
        made = int(of_largest["generated_images"].sort()[0])
        beside = f"{variant}: {plural(made, 'generated image')} {_beside(of_largest)}"
        share = of_largest.select(pl.col("generator_s").sum() / pl.col("wall_s").sum()).item()
        yield f"{beside}, made in {100 * share:.0f} % of the time of a run." if share else f"{beside}."


def _sheets(record: Record) -> Iterator[Sheet]:
    """Of each way to generate, those of a run at its largest size."""
    for variant, runs in _of_variants(record):
        largest = runs.sort("train_size", descending=True, maintain_order=True)
        for place, (run_id, experiment) in enumerate(largest.select("run_id", "experiment").iter_rows()):
            if png := record.log.sheet(experiment, run_id, "generated"):
                yield Sheet(f"{variant}: generated images, a class a row, {_beside(largest[place:])}", png)
                break


def _beside(runs: pl.DataFrame) -> str:
    """The images that the first run is trained on, as they are counted."""
    size = int(runs["train_size"][0])
    held_out = held_out_of(size, runs["validation"][0] or 0)
    return f"beside {size - held_out:,} real ones" + (f" ({held_out:,} held out)" if held_out else "")


def has_generated(runs: pl.DataFrame) -> bool:
    """Whether any of some runs, schema `RUNS`, has learned from generated images."""
    return runs["generated_images"].count() > 0


def _of_variants(record: Record) -> Iterator[tuple[str, pl.DataFrame]]:
    made = record.all_runs.filter(pl.col("generated_images").is_not_null(), state="succeeded")
    for (variant,), runs in made.group_by("variant", maintain_order=True):
        # A single way to train has no name.
        yield str(variant) or str(runs["synthetic"][0]), runs

"""Runs that learn without labels: what each tells right of images held out, and who starts from it."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from tui_datasize.answers.answer import Answer, Sentence, Table, does_not_apply
from tui_datasize.answers.columns import DRAW_AND_SEED, SIZE, of_kind
from tui_datasize.answers.record import Record
from tui_datasize.experiments.pretext import IN_WORDS
from tui_datasize.metric import metric_named
from tui_datasize.runlog.schema import classifying
from tui_datasize.stats.curve import COUNTED_STATES
from tui_datasize.text import listed, plural

_NO_POINT = "These runs learn without labels: they appear in no learning curve, nor in what is made of one."
NO_POINT = does_not_apply(_NO_POINT)
"""To whatever else is asked of them."""
_BY_CHANCE = {"rotation": "25 % by chance", "simclr": "by chance one of all other views of a batch"}


def is_offered(runs: pl.DataFrame) -> bool:
    """Whether any learn without labels."""
    return classifying(runs).height < runs.height


def is_all_there_is(runs: pl.DataFrame) -> bool:
    """Whether all do."""
    return runs.height > 0 and classifying(runs).is_empty()


def ask(record: Record) -> Answer:
    """By images held out, what they tell right, and which runs take weights or features of them."""
    labelled = classifying(record.all_runs)
    starts = record.all_runs.join(labelled, on="run_id", how="anti", maintain_order="left")
    if starts.is_empty():
        return does_not_apply("No run here learns without labels.")
    ended = starts.filter(pl.col("state").is_in(COUNTED_STATES))
    if ended.is_empty():
        return does_not_apply(f"{plural(starts.height, 'run')} without labels: none has succeeded yet.")
    every = record.log.runs()
    taken = every.drop_nulls("transfer_source").group_by(run_id="transfer_source").agg(begun=pl.len())
    table = starts.join(taken, on="run_id", how="left", maintain_order="left")
    columns = [
        *of_kind("text", variant="variant", run_id="run"),
        SIZE,
        *DRAW_AND_SEED,
        *of_kind("text", state="state"),
        *of_kind("share", validation_accuracy="told right"),
        *of_kind("number", validation_loss="loss"),
        *of_kind("count", begun="runs that start from it"),
    ]
    headline, *told = _told(ended)
    return Answer(
        headline,
        [*map(Sentence, (*told, *_begun(every, table))), Sentence(_NO_POINT, "note")],
        [Table(table, columns, metric_named("validation_accuracy"))],
        about=f"{plural(ended.height, 'run')} on images held out",
        rows=lambda: table.select(column.name for column in columns),
    )


def _told(ended: pl.DataFrame) -> Iterator[str]:
    """Of each task and size."""
    metric = metric_named("validation_accuracy")
    for (task, size), runs in ended.sort("train_size").group_by("task", "train_size", maintain_order=True):
        values = runs["validation_accuracy"].drop_nulls().to_list()
        if not values:
            continue
        share, ends = metric.text(sum(values) / len(values)), ""
        if len(values) > 1:
            ends = f"runs from {metric.text(min(values))} to {metric.text(max(values))}; "
        on = f"of images held out: {plural(runs.height, 'run')} of {size:,} images"
        yield f"{share} right ({ends}{_BY_CHANCE[str(task)]}) in telling {IN_WORDS[task]}, {on}."


def _begun(every: pl.DataFrame, starts: pl.DataFrame) -> Iterator[str]:
    """Which experiments start from them."""
    begun = every.filter(pl.col("transfer_source").is_in(starts["run_id"].implode()))
    named = begun["experiment"].unique().sort().to_list()
    if named:
        whose = f"the {'experiment' if len(named) == 1 else 'experiments'} {listed(named)}"
        starting = "begins" if begun.height == 1 else "begin"
        yield f"{plural(begun.height, 'run')} of {whose} {starting} with these weights."
    else:
        name = starts["experiment"][0]
        yield f'transfer = {{ from = "{name}", layers = "all" }} in an experiment begins with these weights.'

"""Columns of every file and frame of the record: the contract between writers and readers."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias

import polars as pl
from polars.datatypes import DataTypeClass

from tui_datasize import metric
from tui_datasize.experiments.spec import recipe_columns

Schema: TypeAlias = Mapping[str, pl.DataType | DataTypeClass]
Typed: TypeAlias = tuple[pl.DataType | DataTypeClass, *tuple[str, ...]]
Event: TypeAlias = Literal["train", "evaluation", "resume"]
Split: TypeAlias = Literal["train", "test"]


def schema(*columns: Typed) -> Schema:
    """Columns from left to right, each type before the names of those that have it.

    >>> list(schema((pl.String, "variant"), (pl.Int64, "train_size", "n_runs")).items())
    [('variant', String), ('train_size', Int64), ('n_runs', Int64)]
    """
    return MappingProxyType({name: kind for kind, *names in columns for name in names})


SCORES = tuple(score.name for score in metric.SCORES)
"""What an evaluation measures."""
SHARES = tuple(score.name for score in metric.SCORES if score.is_share)
"""Those that lie in [0, 1]."""

METRICS: Schema = MappingProxyType(
    {
        "event": pl.String,
        "update": pl.Int64,
        "epoch": pl.Float64,
        "samples_seen": pl.Int64,
        "split": pl.String,
        **dict.fromkeys(SCORES, pl.Float64),
        "lr": pl.Float64,
        "grad_norm": pl.Float64,
        "images_per_s": pl.Float64,
        "wall_s": pl.Float64,
        "time": pl.String,
    }
)
"""`metrics.jsonl`. `event` is "train" (mean over the updates since the last row, split "train"),
"evaluation" (one pass over a whole split, or as published its last mini-batch) or "resume"
(`update` alone: later rows before it are void).
`wall_s` counts the seconds this run has been executing, earlier attempts included; `time` is UTC
in ISO 8601."""

TIME_COLUMNS = ("images_per_s", "wall_s", "time")
"""What two equal runs may differ in."""

SHARE_ROUNDING = 1e-6
"""How far a share computed in single precision may lie beyond [0, 1] and still be meant to lie in it."""

SUBSET: Schema = MappingProxyType(
    {"index": pl.Int64, "label": pl.Int64, "hash": pl.UInt64, "true_label": pl.Int64}
)
"""`subset.parquet`: one row per training image, in draw order; `index` counts the images of the whole data
set, also where a run sees half of its classes; `label` is the one given for training, counted within the
run's classes, `true_label` differs from it where label noise struck (null in files from before there was
any); `hash` is of the decoded pixels."""

PER_CLASS: Schema = MappingProxyType(
    {
        "evaluation": pl.String,
        "update": pl.Int64,
        "split": pl.String,
        "label": pl.Int64,
        "class_name": pl.String,
        "images": pl.Int64,
        "accuracy": pl.Float64,
    }
)
"""`per_class.parquet`: `evaluation` is "last" or "best" (highest test accuracy, earliest on ties)."""

CONFUSION: Schema = schema(
    (pl.String, "evaluation"),
    (pl.Int64, "update", "label", "predicted", "images"),
)
"""`confusion.parquet`: test images per (label, predicted), zero cells left out."""

PREDICTIONS: Schema = MappingProxyType(
    {
        "evaluation": pl.String,
        "index": pl.Int64,
        "label": pl.Int64,
        "hash": pl.UInt64,
        "classes": pl.List(pl.Int64),
        "probabilities": pl.List(pl.Float32),
    }
)
"""`predictions.parquet`: one row per test image that was measured, `index` its place in the test
split: all of them in order, or the last mini-batch where the protocol measures no more. `classes`
names the columns of `probabilities`: all classes in order, or above 100 classes the ten most
probable. Probabilities were rounded to float16 before storing."""

_KINDS: Mapping[type, DataTypeClass] = MappingProxyType({bool: pl.Boolean, int: pl.Int64, float: pl.Float64})
"""Of the columns of a recipe; all else is told in words."""

RUNS: Schema = MappingProxyType(
    {
        "run_id": pl.String,
        "experiment": pl.String,
        "variant": pl.String,
        "dataset": pl.String,
        "model": pl.String,
        "train_size": pl.Int64,
        "subset_strategy": pl.String,
        "subset_nested": pl.Boolean,
        "subset_seed": pl.Int64,
        "seed": pl.Int64,
        "repeat": pl.Int64,
        "state": pl.String,
        "reason": pl.String,
        "attempt": pl.Int64,
        "updates": pl.Int64,
        "total_updates": pl.Int64,
        "missing_evaluations": pl.Int64,
        "samples_seen": pl.Int64,
        **{f"{split}_{score}": pl.Float64 for split in ("test", "train") for score in SCORES},
        "best_test_accuracy": pl.Float64,
        "best_test_loss": pl.Float64,
        "best_update": pl.Int64,
        **{name: _KINDS.get(row.kind, pl.String) for name, row in recipe_columns().items()},
        "transfer": pl.String,
        "transfer_source": pl.String,
        "as_published": pl.Boolean,
        "parameters": pl.Int64,
        "flops_per_image": pl.Int64,
        "wall_s": pl.Float64,
        "images_per_s": pl.Float64,
        "device": pl.String,
        "threads": pl.Int64,
        "precision": pl.String,
        "pack_width": pl.Int64,
        "pack_implementation": pl.String,
        "peak_memory_bytes": pl.Int64,
        "hostname": pl.String,
        "torch": pl.String,
        "queued_at": pl.String,
        "started_at": pl.String,
        "finished_at": pl.String,
        "git_commit": pl.String,
        "git_dirty": pl.Boolean,
        "broken_lines": pl.Int64,
        "path": pl.String,
    }
)
"""The frame `runs`: one row per run directory; `test_...` and `train_...` are of the last evaluation,
`best_...` of the one with the highest test accuracy. `missing_evaluations` counts those that the
specification asks for and whose rows of both splits are not there (yet); null for imported runs. Of imported
runs whose seed nobody knows `seed` is null and `repeat` counts those of a size from 1, null for all others;
`subset_seed` is null where nobody knows the draw. `state` is told from the directory alone: queued, running,
succeeded, incomplete (it says that it succeeded, and evaluations are missing), failed, cancelled or
interrupted. `flops_per_image` are those of one forward pass, a multiplication and an addition counted as two;
`label_noise` is the share asked for; `pack_width` is how many runs were computed together in the last
updates, this one included, `pack_implementation` how."""


INCOMPLETE = "incomplete"
"""The state of a run that is told to have succeeded, but lacks evaluations: not done, it counts nowhere."""
IS_INCOMPLETE = pl.col("state") == INCOMPLETE
"""Of a frame `runs`."""


def were_imported(runs: pl.DataFrame) -> bool:
    """Whether all of some runs, schema `RUNS`, were trained elsewhere: nobody knows their batch size."""
    return runs.height > 0 and runs["batch_size"].null_count() == runs.height

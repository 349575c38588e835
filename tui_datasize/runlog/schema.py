"""Columns of every file and frame of the record: the contract between writers and readers."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias

import polars as pl
from polars.datatypes import DataTypeClass

from tui_datasize import metric
from tui_datasize.experiments.recipe_columns import recipe_columns
from tui_datasize.experiments.search import DEFAULT, LEVER
from tui_datasize.experiments.spec import CHOSEN
from tui_datasize.experiments.spec import Split as Split

Schema: TypeAlias = Mapping[str, pl.DataType | DataTypeClass]
Typed: TypeAlias = tuple[pl.DataType | DataTypeClass, *tuple[str, ...]]
Event: TypeAlias = Literal["train", "evaluation", "resume", "generator"]


def schema(*columns: Typed) -> Schema:
    """Columns from left to right, each type before the names of those that have it.

    >>> list(schema((pl.String, "variant"), (pl.Int64, "train_size", "n_runs")).items())
    [('variant', String), ('train_size', Int64), ('n_runs', Int64)]
    """
    return MappingProxyType({name: kind for kind, *names in columns for name in names})


SCORES = tuple(score.name for score in metric.SCORES)
"""What an evaluation measures."""
SPLITS: tuple[Split, ...] = ("test", "train", "validation")
SHARES = tuple(score.name for score in metric.SCORES if score.is_share)
"""Those that lie in [0, 1]."""

METRICS: Schema = schema(
    (pl.String, "event"),
    (pl.Int64, "update"),
    (pl.Float64, "epoch"),
    (pl.Int64, "samples_seen"),
    (pl.String, "split"),
    (pl.Float64, *SCORES),
    (pl.Float64, "lr", "grad_norm", "images_per_s"),
    (pl.Float64, "pseudo_accepted", "pseudo_accuracy", "elbo", "divergence"),
    (pl.Int64, "memory_bytes"),
    (pl.Float64, "wall_s"),
    (pl.String, "time"),
)
"""`metrics.jsonl`. `event` is "train" (mean over the updates since the last row, split "train"),
"evaluation" (one pass over a whole split, or as published its last mini-batch; `split` may also be the name
of a further test set), "resume" (`update` alone: later rows before it are void) or "generator": an `epoch` of
the model that generates images, before update 1, with its `elbo` (evidence lower bound) and in it the
`divergence`, means over the images in nats; of two rows of an epoch the later counts.
Of images without labels, `pseudo_accepted` is the share
that had a target, `pseudo_accuracy` the share of these targets that is the label that nobody told (null
where nobody knows it), in rows of "train" of runs that learn from such. `memory_bytes` is what the process
keeps of the GPU's memory for tensors, on a CPU all that it has in memory; rows of "train" have it, old ones
have not.
`wall_s` counts the seconds this run has been executing, earlier attempts included; `time` is UTC
in ISO 8601."""

TIME_COLUMNS = ("images_per_s", "memory_bytes", "wall_s", "time")
"""What two equal runs may differ in."""

SHARE_ROUNDING = 1e-6
"""How far a share computed in single precision may lie beyond [0, 1] and still be meant to lie in it."""

SUBSET: Schema = MappingProxyType(
    {"index": pl.Int64, "label": pl.Int64, "hash": pl.UInt64, "true_label": pl.Int64, "role": pl.String}
    | {"image_file": pl.String, "twin": pl.String, "step": pl.Int64, "score": pl.Float64}
)
"""`subset.parquet`: one row per image with a label, in draw order; `index` counts the images of the whole
data set, also where a run sees half of its classes; `label` is the one given for training, counted within the
run's classes, `true_label` differs from it where label noise struck (null in files from before there was
any); `hash` is of the decoded pixels; `role` is "train" or, of images held out to choose by, "validation"
(null in files from before some were); `twin` is a file of the test set that looks almost like the
`image_file` (both null for all others). Along a path of labelling `step` is the train size at which an image
came in, and `score` why it was chosen (null of those that were drawn, both null elsewhere)."""

PER_CLASS: Schema = schema(
    (pl.String, "evaluation"),
    (pl.Int64, "update"),
    (pl.String, "split"),
    (pl.Int64, "label"),
    (pl.String, "class_name"),
    (pl.Int64, "images"),
    (pl.Float64, "accuracy"),
)
"""`per_class.parquet`: `evaluation` is "last" or "best": of highest accuracy on the images held out, of equal
ones of least loss on them; where none are, of highest test accuracy; the earliest of equals. What was trained
anew on all images is both the last and the best."""

CONFUSION: Schema = schema((pl.String, "evaluation"), (pl.Int64, "update", "label", "predicted", "images"))
"""`confusion.parquet`: test images per (label, predicted), zero cells left out."""

PREDICTIONS: Schema = schema(
    (pl.String, "evaluation"),
    (pl.Int64, "index", "label"),
    (pl.UInt64, "hash"),
    (pl.List(pl.Int64), "classes"),
    (pl.List(pl.Float32), "probabilities"),
)
"""`predictions.parquet`: one row per test image that was measured, `index` its place in the test
split: all of them in order, or the last mini-batch where the protocol measures no more. `classes`
names the columns of `probabilities`: all classes in order, or above 100 classes the ten most
probable. Probabilities were rounded to float16 before storing."""

_KINDS: Mapping[type, DataTypeClass] = MappingProxyType({bool: pl.Boolean, int: pl.Int64, float: pl.Float64})
"""Of the columns of a recipe; all else is told in words."""

RUNS: Schema = MappingProxyType(
    {
        **schema(
            (pl.String, "run_id", "experiment", "variant", "dataset", "model"),
            (pl.Int64, "train_size"),
            (pl.String, "subset_strategy"),
            (pl.Boolean, "subset_nested"),
            (pl.Int64, "subset_seed", "seed", "repeat", "means_of"),
            (pl.String, "spreads"),
            (pl.String, "state", "reason"),
            (pl.Int64, "attempt", "updates", "total_updates", "missing_evaluations", "samples_seen"),
            (pl.Float64, *(f"{split}_{score}" for split in SPLITS for score in SCORES)),
            (pl.Float64, "best_test_accuracy", "best_test_loss"),
            (pl.Int64, "best_update", "ended_update", "refit_update"),
        ),
        **{name: _KINDS.get(row.kind, pl.String) for name, row in recipe_columns().items()},
        **schema(
            (pl.String, "transfer", "transfer_source"),
            (pl.Boolean, "as_published"),
            (pl.String, "rung"),
            (pl.Int64, "rung_candidates", "rung_candidate"),
            (pl.String, "rung_search"),
            (pl.Int64, "generated_images", "generated_missing", "generated_left_out"),
            (pl.Float64, "generator_s"),
            (pl.String, "generated_fingerprint"),
            (pl.Int64, "tests_in_training"),
            (pl.Int64, "parameters", "flops_per_image"),
            (pl.Float64, "wall_s", "images_per_s"),
            (pl.String, "device"),
            (pl.Int64, "threads"),
            (pl.String, "precision"),
            (pl.Int64, "pack_width"),
            (pl.String, "pack_implementation"),
            (pl.Int64, "peak_memory_bytes"),
            (pl.String, "hostname", "torch", "queued_at", "started_at", "finished_at", "git_commit"),
            (pl.Boolean, "git_dirty"),
            (pl.Int64, "broken_lines"),
            (pl.String, "path"),
        ),
    }
)
"""The frame `runs`: one row per run directory; `test_...` and `train_...` are of the last evaluation,
`best_...` of the best as in `PER_CLASS`; `validation_...` are null where no image is held out,
`ended_update` where the budget ended the training, `refit_update` where none followed on all images.
`missing_evaluations` counts those that the specification asks for and whose rows of both splits are not
there (yet); null for imported runs. Of imported runs whose seed nobody knows `seed` is null and `repeat`
counts those of a size from 1, null for all others; `subset_seed` is null where nobody knows the draw.
`means_of` is over how many runs an imported row is a mean, null for the row of a single run, and `spreads`
a JSON object of the standard deviations over these runs, by metric.
`state` is told from the directory alone: queued, running, succeeded, incomplete (it says that it succeeded,
and evaluations are missing), failed, cancelled or interrupted. `flops_per_image` are those of one forward
pass, a multiplication and an addition counted as two; `label_noise` is the share asked for; `rung` is
`default` of a recipe that a search is compared with, `1 of 3`, `2 of 3`, ... of its candidates, `lever` of
one that is a lever, too, null of runs of no search; `rung_candidates` is how many the rung has, of a default
or lever that is one where all train in full how many these are; `rung_candidate` is which of them it is, in
the order drawn, from 0, and `rung_search` the search that queued it: a longer one, or with other seeds, is
another one, which takes over what is there; `generated_images` were learned from beside
the `train_size` real ones, after `generator_s` of `wall_s` where the run made them; of those of a folder
`generated_missing` fewer than asked were there, `generated_left_out` are real ones or look like test images
or ones held out, `generated_fingerprint` changes with any pixel; `tests_in_training` are images of further
test sets that are learned from, null without such sets; `pack_width` is how many runs were computed together
in the last updates, this one included, `pack_implementation` how."""


INCOMPLETE = "incomplete"
"""The state of a run that is told to have succeeded, but lacks evaluations: not done, it counts nowhere."""
IS_INCOMPLETE = pl.col("state") == INCOMPLETE
"""Of a frame `runs`."""


def in_full(runs: pl.DataFrame) -> pl.DataFrame:
    """Those of some runs, schema `RUNS`, that no rung of a search has cut short."""
    if "rung" not in runs.columns:
        return runs
    rung = pl.col("rung").str.extract_groups(r"^(\d+) of (\d+)$")
    is_short = rung.struct[0].cast(pl.Int64) < rung.struct[1].cast(pl.Int64)
    return runs.filter(~is_short.fill_null(value=False))


def beside_search(runs: pl.DataFrame) -> pl.DataFrame:
    """Those of some runs, schema `RUNS`, that are no search's: of levers, and of what these are against."""
    if "rung" not in runs.columns:
        return runs
    return runs.filter(pl.col("rung").is_null() | pl.col("rung").is_in([DEFAULT, LEVER]))


def is_chosen() -> pl.Expr:
    """Of runs of schema `RUNS`, whether models chose their images, which their seeds then decide too."""
    return pl.col("subset_strategy").is_in(CHOSEN).fill_null(value=False)


def drawn_runs(runs: pl.DataFrame) -> pl.DataFrame:
    """Those of some runs whose images no model chose."""
    return runs.filter(~is_chosen()) if "subset_strategy" in runs.columns else runs


def classifying(runs: pl.DataFrame) -> pl.DataFrame:
    """Those of some runs that learn the classes of images; nobody knows it of imported ones, which do."""
    if "task" not in runs.columns:
        return runs
    return runs.filter(pl.col("task").fill_null("classification") == "classification")


def were_imported(runs: pl.DataFrame) -> bool:
    """Whether all of some runs, schema `RUNS`, were trained elsewhere: nobody knows their batch size."""
    return runs.height > 0 and runs["batch_size"].null_count() == runs.height

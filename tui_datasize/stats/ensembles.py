"""Several finished runs as one classifier: accuracy of their mean probabilities against their number."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tui_datasize.runlog.schema import Schema, schema

Floats: TypeAlias = NDArray[np.float32]
Integers: TypeAlias = NDArray[np.int64]
ReadPredictions: TypeAlias = Callable[[Collection[str]], pl.DataFrame]
"""From run ids to a frame of `run_id` and the columns of `PREDICTIONS`."""

MOST_SUBSETS = 200
"""Ensembles of one number of members that are averaged; all where there are no more."""
_VALUES_AT_ONCE = 1 << 24
_ENUMERATE_UP_TO = 20_000

ENSEMBLES: Schema = schema(
    (pl.String, "experiment", "variant"),
    (pl.Int64, "train_size", "n_runs", "members", "n_ensembles"),
    (pl.Float64, "accuracy", "accuracy_min", "accuracy_max", "gain"),
    (pl.String, "ensemble_failure"),
)
"""One number of members a row, of the runs of one variant and size, whatever their seeds and draws.
`accuracy` is the mean over `n_ensembles` sets of so many of the `n_runs` runs, `gain` what it is above that
of one member. The sets share members, so that their spread is no standard error. `ensemble_failure` says
why there is no ensemble and is null where there is one."""


@dataclass(frozen=True, slots=True)
class Members:
    """What several runs said of the same test images."""

    labels: Integers
    """Shape (N,)."""
    classes: Integers
    """What the columns of `probabilities` stand for, shape (M, N, c)."""
    probabilities: Floats
    """Shape (M, N, c)."""

    @property
    def n_classes(self) -> int:
        """K, one more than the largest class that a label or a prediction names."""
        return 1 + int(max(self.labels.max(), self.classes.max()))

    def dense(self, images: slice) -> Floats:
        """Probabilities of all classes for some of the images, shape (M, n, K).

        Above 100 classes a run keeps its ten largest probabilities alone: what they leave of 1 is
        spread evenly over the other classes. That errs by less than the smallest one kept.
        """
        classes, kept = self.classes[:, images], self.probabilities[:, images]
        others = self.n_classes - kept.shape[2]
        rest = np.maximum(1 - kept.sum(axis=2, keepdims=True), 0) / max(others, 1)
        full = np.broadcast_to(rest, (*kept.shape[:2], self.n_classes)).astype(np.float32)
        np.put_along_axis(full, classes, kept, axis=2)
        return full


@dataclass(frozen=True, slots=True)
class EnsembleFailure:
    """There is no ensemble; `reason` is the sentence that says why."""

    reason: str


def ensembles_table(
    runs: pl.DataFrame, read: ReadPredictions, seed: int = 0, members: Collection[int] | None = None
) -> pl.DataFrame:
    """Accuracy against the number of members, per experiment, variant and size; schema `ENSEMBLES`.

    Only runs that succeeded count. `read` is called once per size, to bound memory; `seed` chooses ensembles
    where there are more than `MOST_SUBSETS`; `members` are wanted besides one and all, None wants every
    number.
    """
    rows: list[dict[str, Any]] = []
    keys = ("experiment", "variant", "train_size")
    succeeded = runs.filter(pl.col("state") == "succeeded")
    for key, group in succeeded.group_by(keys, maintain_order=True):
        named = dict(zip(keys, key, strict=True)) | {"n_runs": group.height}
        found = gather_members(read(group["run_id"].to_list()))
        if isinstance(found, EnsembleFailure):
            rows.append(named | {"ensemble_failure": found.reason})
        else:
            rows += [named | row for row in accuracy_by_members(found, seed, members)]
    return pl.DataFrame(rows, schema=dict(ENSEMBLES))


def gather_members(predictions: pl.DataFrame) -> Members | EnsembleFailure:
    """The last predictions of several runs, in the order of their ids, brought into one order of images.

    `predictions` has columns `run_id` and those of `PREDICTIONS`.

    >>> gather_members(pl.DataFrame(schema={"run_id": pl.String, "evaluation": pl.String}))
    EnsembleFailure(reason='An ensemble needs at least 2 runs with predictions, got 0.')
    """
    last = predictions.filter(pl.col("evaluation") == "last")
    n_runs = last["run_id"].n_unique()
    if n_runs < 2:
        return EnsembleFailure(f"An ensemble needs at least 2 runs with predictions, got {n_runs}.")
    parts = last.sort("run_id", "index").partition_by("run_id", maintain_order=True)
    first = parts[0]
    for part in parts[1:]:
        if not part.select("hash", "label").equals(first.select("hash", "label")):
            pair = f"{first['run_id'][0]} and {part['run_id'][0]}"
            return EnsembleFailure(
                f"An ensemble cannot mix runs that were tested on different images: {pair}."
            )
    kept = {n for part in parts for column in _LISTS for n in part[column].list.len().unique()}
    if len(kept) != 1:
        return EnsembleFailure("An ensemble cannot mix predictions that keep different numbers of classes.")
    shape = (len(parts), first.height, kept.pop())
    classes, probabilities = (
        np.stack([part[column].explode().to_numpy() for part in parts]).reshape(shape) for column in _LISTS
    )
    return Members(first["label"].to_numpy(), classes, probabilities)


_LISTS = ("classes", "probabilities")


def accuracy_by_members(
    members: Members, seed: int = 0, wanted: Collection[int] | None = None
) -> list[dict[str, Any]]:
    """Accuracy of the mean probabilities, per number of members; rows by the names of `ENSEMBLES`.

    `seed` and `wanted` are `seed` and `members` of `ensembles_table`.

    >>> said = np.float32([[[0.9, 0.1], [0.6, 0.4]], [[0.6, 0.4], [0.1, 0.9]], [[0.2, 0.8], [0.2, 0.8]]])
    >>> both = np.tile([0, 1], (3, 2, 1))
    >>> rows = accuracy_by_members(Members(np.array([0, 1]), both, said))
    >>> [(row["members"], row["n_ensembles"], round(row["accuracy"], 3)) for row in rows]
    [(1, 3, 0.667), (2, 3, 0.833), (3, 1, 1.0)]
    """
    count = len(members.probabilities)
    sizes = [size for size in range(1, count + 1) if wanted is None or size in (1, count) or size in wanted]
    sets = [list(choose_sets(count, size, seed)) for size in sizes]
    # All at once: the probabilities of all classes are laid out a single time.
    flat = _accuracies(members, [chosen for of_size in sets for chosen in of_size])
    accuracies = np.split(flat, np.cumsum([len(of_size) for of_size in sets])[:-1])
    single = float(accuracies[0].mean())
    return [
        {
            "members": size,
            "n_ensembles": len(of_size),
            "accuracy": float(of_size.mean()),
            "accuracy_min": float(of_size.min()),
            "accuracy_max": float(of_size.max()),
            "gain": float(of_size.mean()) - single,
        }
        for size, of_size in zip(sizes, accuracies, strict=True)
    ]


def choose_sets(count: int, size: int, seed: int = 0, most: int = MOST_SUBSETS) -> Iterator[tuple[int, ...]]:
    """All sets of `size` out of `count` members, or `most` distinct ones drawn at random.

    >>> list(choose_sets(3, 2))
    [(0, 1), (0, 2), (1, 2)]
    >>> len(set(choose_sets(40, 20, most=50)))
    50
    """
    total = comb(count, size)
    if total <= most:
        yield from combinations(range(count), size)
        return
    generator = np.random.default_rng([seed, count, size])
    if total <= _ENUMERATE_UP_TO:
        every = list(combinations(range(count), size))
        yield from (every[i] for i in sorted(generator.choice(total, most, replace=False)))
        return
    seen: set[tuple[int, ...]] = set()
    while len(seen) < most:
        drawn = tuple(sorted(generator.choice(count, size, replace=False).tolist()))
        if drawn not in seen:
            seen.add(drawn)
            yield drawn


def disjoint_ensembles(runs: pl.DataFrame, read: ReadPredictions, members: int) -> pl.DataFrame:
    """Ensembles of so many runs of one size and draw each, which share no run, as rows of the frame `runs`.

    Their `test_accuracy` is that of the ensemble, their `seed` counts them, `wall_s` is that of their members
    together, `updates` their mean, all else that of a run.
    """
    kept = [runs.clear()]
    succeeded = runs.filter(pl.col("state") == "succeeded").sort("run_id")
    for _, every in succeeded.group_by("train_size", "subset_seed", maintain_order=True):
        predictions = read(every["run_id"].to_list())
        group = every.filter(pl.col("run_id").is_in(predictions["run_id"].to_list()))
        firsts = range(0, group.height - members + 1, members)
        found = gather_members(predictions) if firsts else EnsembleFailure("")
        if isinstance(found, EnsembleFailure):
            continue
        sets = [tuple(range(first, first + members)) for first in firsts]
        of_members = [group.slice(first, members) for first in firsts]
        together = pl.DataFrame(
            {
                "test_accuracy": _accuracies(found, sets),
                "wall_s": [one["wall_s"].sum() for one in of_members],
                # Runs that stop early make unequally many.
                "updates": [one["updates"].mean() for one in of_members],
                "seed": range(len(sets)),
            },
            schema_overrides={"wall_s": pl.Float64, "updates": pl.Float64},
        ).cast({"updates": pl.Int64})
        kept.append(group[firsts].drop(together.columns).hstack(together).select(runs.columns))
    return pl.concat(kept)


def _accuracies(members: Members, sets: Sequence[tuple[int, ...]]) -> NDArray[np.float64]:
    count, images = members.probabilities.shape[:2]
    # A mean orders the classes as a sum does.
    belongs = np.zeros((len(sets), count), np.float32)
    for row, chosen in zip(belongs, sets, strict=True):
        row[list(chosen)] = 1
    correct = np.zeros(len(sets), np.int64)
    step = max(1, _VALUES_AT_ONCE // (max(len(sets), count) * members.n_classes))
    for start in range(0, images, step):
        some = slice(start, start + step)
        labels = members.labels[some]
        full = members.dense(some)
        summed = (belongs @ full.reshape(count, -1)).reshape(len(sets), len(labels), -1)
        correct += (summed.argmax(axis=2) == labels).sum(axis=1)
    accuracies: NDArray[np.float64] = correct / images
    return accuracies

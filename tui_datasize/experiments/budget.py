"""The arithmetic of a run's length: updates, epochs and when to evaluate."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

from tui_datasize.experiments.spec import RunSpec


def total_updates(spec: RunSpec) -> int:
    """Number of optimiser steps of a run, at least 1.

    A budget in samples is the same number of updates at every train size: batches are drawn across
    epoch ends, so that no partial batch changes it (Hansson, Padban and Silwer 2025, table 2).
    """
    budget = spec.budget
    if budget.unit == "updates":
        return max(1, int(budget.amount))
    samples = budget.amount if budget.unit == "samples" else budget.amount * spec.train_size
    if spec.protocol.partial_batches:
        epochs, rest = divmod(ceil(samples), spec.train_size)
        return max(1, epochs * batches_per_epoch(spec) + ceil(rest / spec.batch_size))
    return max(1, ceil(samples / spec.batch_size))


def batches_per_epoch(spec: RunSpec) -> int:
    """Batches of one pass over the subset, the last of them smaller where the size is no multiple."""
    return ceil(spec.train_size / spec.batch_size)


def samples_at(spec: RunSpec, update: int) -> int:
    """Images trained on in the first `update` updates, each counted as often as it was seen."""
    if not spec.protocol.partial_batches:
        return update * spec.batch_size
    epochs, batches = divmod(update, batches_per_epoch(spec))
    return epochs * spec.train_size + batches * spec.batch_size


def evaluation_updates(updates: int, times: int) -> tuple[int, ...]:
    """The updates after which both splits are evaluated: ceil(k * updates / times), k = 1 .. times.

    >>> evaluation_updates(10, 4)
    (3, 5, 8, 10)
    >>> evaluation_updates(2, 4)
    (1, 2)
    """
    return tuple(sorted({ceil(k * updates / times) for k in range(1, times + 1)}))


def missing_evaluations(updates: int, times: int, evaluated: Iterable[int]) -> int:
    """How many of `evaluation_updates` are not among those that were evaluated.

    Takes no longer for the largest of numbers, which a specification from elsewhere may hold.

    >>> missing_evaluations(10, 4, (3, 5, 7, 10)), missing_evaluations(2, 4, ())
    (1, 2)
    """
    # One interval of updates / times holds an update that is due at its end, but no interval two.
    due = max(0, min(times, updates))
    made = sum(u * due // updates > (u - 1) * due // updates for u in {*evaluated} if 0 < u <= updates)
    return due - made


def epochs_at(spec: RunSpec, update: int) -> float:
    """Passes over the subset completed after `update` updates; fractional."""
    return samples_at(spec, update) / spec.train_size

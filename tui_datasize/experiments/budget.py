"""The arithmetic of a run's length: updates, epochs, when to evaluate, and whether a recipe fits into it."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

from tui_datasize.errors import ConfigError
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.text import plural


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


def check_lengths(spec: RunSpec, where: str, *, says_evaluations: bool) -> None:
    """Refuse what would quietly become something else in a run as short as this one.

    A budget in epochs makes few updates at the small sizes of a sweep: those may be evaluated less often than
    the large ones, after each of their updates. So may any run where the file does not say how often.

    Raises ConfigError: one update is more than the budget, more evaluations are asked for than there are
        updates, or stairs of the learning rate are shorter than one.
    """
    if spec.budget.unit == "samples" and spec.batch_size > spec.budget.amount:
        raise ConfigError(
            f"one update of {spec.batch_size:,} images is more than the budget of {spec.budget.amount:,g}",
            where=f"{where}.batch_size",
            fix="give a smaller batch, or a larger budget",
        )
    updates = total_updates(spec)
    runs = f"runs of {plural(spec.train_size, 'image')} make {plural(updates, 'update')}"
    if says_evaluations and spec.budget.unit != "epochs" and spec.evaluations > updates:
        raise ConfigError(
            f"{spec.evaluations} evaluations, but {runs}",
            where=f"{where}.evaluate.times",
            fix=f"ask for at most {updates}, or give a longer budget",
        )
    schedule = spec.schedule
    if schedule.name == "step" and schedule.unit == "fraction" and schedule.step * updates < 1:
        raise ConfigError(
            f"a step of {schedule.step:g} of the budget is less than one update: {runs}",
            where=f"{where}.schedule.step",
            fix=f"give at least 1/{updates}, or a longer budget",
        )

"""The arithmetic of a run's length: updates, epochs and when to evaluate."""

from __future__ import annotations

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
    if budget.unit == "samples":
        return max(1, ceil(budget.amount / spec.batch_size))
    return max(1, ceil(budget.amount * spec.train_size / spec.batch_size))


def evaluation_updates(updates: int, times: int) -> tuple[int, ...]:
    """The updates after which both splits are evaluated: ceil(k * updates / times), k = 1 .. times.

    >>> evaluation_updates(10, 4)
    (3, 5, 8, 10)
    >>> evaluation_updates(2, 4)
    (1, 2)
    """
    return tuple(sorted({ceil(k * updates / times) for k in range(1, times + 1)}))


def epochs_at(update: int, batch_size: int, train_size: int) -> float:
    """Passes over the subset completed after `update` updates; fractional."""
    return update * batch_size / train_size

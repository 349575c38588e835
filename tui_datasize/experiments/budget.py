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
    samples = budget.amount if budget.unit == "samples" else budget.amount * spec.trained_images
    if spec.protocol.partial_batches:
        epochs, rest = divmod(ceil(samples), spec.trained_images)
        return max(1, epochs * batches_per_epoch(spec) + ceil(rest / spec.batch_size))
    return max(1, ceil(samples / spec.batch_size))


def batches_per_epoch(spec: RunSpec) -> int:
    """Batches of one pass over the images trained on, the last smaller where their number is no multiple."""
    return ceil(spec.trained_images / spec.batch_size)


def samples_at(spec: RunSpec, update: int) -> int:
    """Images trained on in the first `update` updates, each counted as often as it was seen."""
    if not spec.protocol.partial_batches:
        return update * spec.batch_size
    epochs, batches = divmod(update, batches_per_epoch(spec))
    return epochs * spec.trained_images + batches * spec.batch_size


def batch_images(spec: RunSpec, update: int) -> int:
    """Images of the batch of one update."""
    return samples_at(spec, update) - samples_at(spec, update - 1)


def evaluation_updates(updates: int, times: int) -> tuple[int, ...]:
    """The updates after which both splits are evaluated: ceil(k * updates / times), k = 1 .. times.

    >>> evaluation_updates(10, 4)
    (3, 5, 8, 10)
    >>> evaluation_updates(2, 4)
    (1, 2)
    """
    return tuple(sorted({ceil(k * updates / times) for k in range(1, times + 1)}))


def missing_evaluations(
    updates: int, times: int, evaluated: Iterable[int], ended: int | None = None, refitted: int | None = None
) -> int:
    """How many of `evaluation_updates` are not among those that were evaluated.

    A run that ended early has `ended` as its last update; one that then trained anew on all images must also
    have been evaluated after `refitted`, updates of both trainings together. Takes no longer for the largest
    of numbers, which a specification from elsewhere may hold.

    >>> missing_evaluations(10, 4, (3, 5, 7, 10)), missing_evaluations(2, 4, ())
    (1, 2)
    >>> missing_evaluations(10, 4, (3, 5), ended=5), missing_evaluations(10, 4, (3, 5), 5, refitted=8)
    (0, 1)
    """
    # One interval of updates / times holds an update that is due at its end, but no interval two.
    all_due, made, last = max(0, min(times, updates)), {*evaluated}, updates if ended is None else ended
    of_due = sum(u * all_due // updates > (u - 1) * all_due // updates for u in made if 0 < u <= last)
    lacks_refit = refitted is not None and refitted not in made
    return max(0, min(last, updates)) * all_due // max(1, updates) - of_due + lacks_refit


def epochs_at(spec: RunSpec, update: int) -> float:
    """Passes over the images trained on completed after `update` updates; fractional."""
    return samples_at(spec, update) / spec.trained_images


def check_lengths(spec: RunSpec, where: str, *, says_evaluations: bool) -> None:
    """Refuse what would quietly become something else in a run as short as this one.

    A budget in epochs makes few updates at the small sizes of a sweep: those may be evaluated less often than
    the large ones, after each of their updates. So may any run where the file does not say how often.

    Raises ConfigError: one update is more than the budget, more evaluations are asked for than there are
        updates, or stairs of the learning rate are shorter than one.
    """
    if (spec.validation or spec.stop.patience or spec.refit) and not 0 < spec.held_out < spec.train_size:
        raise _no_validation(spec, where)
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


def _no_validation(spec: RunSpec, where: str) -> ConfigError:
    if not spec.validation:
        wants = "stop" if spec.stop.patience else "refit"
        return ConfigError(
            f"{wants} needs images that are held out",
            where=f"{where}.{wants}",
            fix="give validation = 0.2, or leave it out",
        )
    held_out = "all" if spec.held_out else "none"
    return ConfigError(
        f"validation = {spec.validation:g} holds {held_out} of {plural(spec.train_size, 'image')} out",
        where=f"{where}.validation",
        fix="give a share such as 0.2, or fewer images than the smallest size has"
        if spec.held_out
        else "give a larger share, or leave the smallest size out",
    )

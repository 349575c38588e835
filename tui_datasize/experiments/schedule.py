"""The learning rate over a run, as a pure function of the update."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, cos, floor, pi
from typing import Literal, TypeAlias

from tui_datasize.experiments.keys import key

ScheduleName: TypeAlias = Literal["constant", "step", "multistep", "cosine"]
ScheduleUnit: TypeAlias = Literal["fraction", "updates"]


@dataclass(frozen=True, slots=True)
class ScheduleSpec:
    """How the learning rate changes, in fractions of the budget or in updates.

    Lengths in fractions follow the budget by themselves: a sweep over fractions of a data set with
    equal updates has equal schedules, whatever its sizes are called in epochs.
    """

    name: ScheduleName = key("constant", "shape of the learning rate over the run")
    unit: ScheduleUnit = key("fraction", "what lengths count: fractions of the budget, or whole updates")
    step: float = key(
        0.0,
        "length of a stair, at least one update",
        above=0,
        at_most=1,
        is_length=True,
        only_for=("step",),
        is_required=True,
    )
    milestones: tuple[float, ...] = key(
        (),
        "where the rate falls, ascending",
        above=0,
        at_most=1,
        is_length=True,
        only_for=("multistep",),
        is_required=True,
    )
    gamma: float = key(0.1, "factor of each fall", above=0, at_most=1, only_for=("step", "multistep"))
    warmup: float = key(
        0.0, "length of a linear rise, which the schedule itself follows", at_most=1, is_length=True
    )
    warmup_start: float = key(0.0, "factor that the rise starts from", at_most=1)
    floor: float = key(0.0, "factor that it ends at", at_most=1, only_for=("cosine",))


def learning_rate_factor(schedule: ScheduleSpec, update: int, total_updates: int) -> float:
    """What the learning rate of an update is multiplied by.

    Args:
        schedule: Shape and lengths.
        update: Updates made before this one, 0 .. total_updates - 1.
        total_updates: Length of the run.

    Returns:
        A factor in [0, 1]. Warm-up rises linearly and reaches 1 at the first update after it. Step
        and multistep fall at multiples of their length from the start of the run, warm-up included;
        cosine spans the updates after the warm-up (Loshchilov and Hutter 2017, eq. 5, one period).

    >>> fall = ScheduleSpec("multistep", milestones=(0.5, 0.75))
    >>> [round(learning_rate_factor(fall, update, 8), 3) for update in (0, 3, 4, 6)]
    [1.0, 1.0, 0.1, 0.01]
    >>> warm = ScheduleSpec("cosine", unit="updates", warmup=4)
    >>> [round(learning_rate_factor(warm, update, 12), 3) for update in (0, 2, 4, 8)]
    [0.0, 0.5, 1.0, 0.5]
    """
    warmup = _updates(schedule, schedule.warmup, total_updates)
    if update < warmup:
        return schedule.warmup_start + (1 - schedule.warmup_start) * update / warmup
    if schedule.name == "step":
        return schedule.gamma ** floor(update / max(1, _updates(schedule, schedule.step, total_updates)))
    if schedule.name == "multistep":
        return schedule.gamma ** sum(
            update >= _updates(schedule, milestone, total_updates) for milestone in schedule.milestones
        )
    if schedule.name == "cosine":
        done = (update - warmup) / max(1, total_updates - warmup)
        return schedule.floor + (1 - schedule.floor) * (1 + cos(pi * done)) / 2
    return 1.0


def _updates(schedule: ScheduleSpec, length: float, total_updates: int) -> int:
    if schedule.unit == "updates":
        return int(length)
    # Rounded first: 0.3 * 10 is a little more than 3.
    return ceil(round(length * total_updates, 6))

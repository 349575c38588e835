"""What more data costs, in words: labels and hours of training, at the prices of `[costs]`."""

from __future__ import annotations

import polars as pl

from tui_datasize.answers import ahead
from tui_datasize.answers.record import Record
from tui_datasize.stats.curve import COUNTED_STATES
from tui_datasize.stats.extrapolate import Outlook
from tui_datasize.stats.planner import Plan
from tui_datasize.stats.run_costs import S_PER_HOUR, RunCosts
from tui_datasize.stats.summary import CurveAnalysis
from tui_datasize.stats.view import about
from tui_datasize.text import duration, plural

_LEAST_HOURS = 0.1
"""Less is told in minutes and seconds."""


def of_doubling(record: Record, curve: CurveAnalysis) -> str:
    """What twice the data cost, and what they are likely to bring; empty without prices or forecast."""
    outlook, largest = curve.outlook, int(curve.curve["train_size"][-1])
    if not isinstance(outlook, Outlook):
        return ""
    price = _of_more(record, curve.variant, largest, 2 * largest)
    change = curve.metric.change(outlook.doubling.gain, ahead.digits_of(curve))
    return price and f"{price}, likely {change}."


def of_target(record: Record, curve: CurveAnalysis) -> str:
    """What the images cost that the target takes beyond those that were run; empty where none are."""
    needed = curve.needed
    if needed is None or needed.is_measured or needed.train_size is None:
        return ""
    price = _of_more(record, curve.variant, needed.largest, needed.train_size, is_about=True)
    return price and f"{curve.metric.exact(needed.target)}: {price}."


def of_plan(record: Record, plan: Plan) -> str:
    """What the runs of a plan cost; empty without prices, or where nobody knows how long runs take."""
    if not record.costs.are_known:
        return ""
    hours = _hours(record, record.all_runs.filter(variant=plan.variant), plan.seconds)
    return hours and f"{plural(plan.n_added, 'run')}: about {hours}"


def of_beyond(record: Record, plan: Plan) -> str:
    """What the runs at the larger size cost that a plan speaks of; empty where it speaks of none."""
    if plan.beyond is None:
        return ""
    largest = int(plan.outlook.view.foreseen.largest)
    return _of_more(record, plan.variant, largest, plan.beyond.train_size, runs=plan.beyond.runs)


def _of_more(
    record: Record, variant: str, largest: int, train_size: int, *, runs: int = 1, is_about: bool = False
) -> str:
    """The labels between two sizes and the trainings at the larger one; empty without prices."""
    costs, more = record.costs, train_size - largest
    if not costs.are_known:
        return ""
    of_variant = record.all_runs.filter(variant=variant)
    there = min(max(0, sum(record.images_of(of_variant)) - largest), more)
    text = f"{f'about {about(more)}' if is_about else f'{more:,}'} more labels"
    if there:
        text += f" ({'all' if there == more else f'{there:,}'} of them in the data set)"
    if costs.label:
        text += f", about {costs.money(more * costs.label)}"
    hours = _hours(record, of_variant, runs * RunCosts.of(of_variant, {}).seconds_at(train_size))
    return f"{text} and {hours}" if hours else text


def _hours(record: Record, runs: pl.DataFrame, seconds: float) -> str:
    """Such as `3 GPU-hours (EUR 3.60)`; empty where nobody knows how long runs take.

    Of runs that do not say where they were trained, or were in several places, the price is one on a GPU.
    """
    if not seconds:
        return ""
    ended = runs.filter(pl.col("state").is_in(COUNTED_STATES))
    devices = {one and ("CPU" if one == "cpu" else "GPU") for one in ended["device"]}
    (device,) = devices if len(devices) == 1 else (None,)
    hours = seconds / S_PER_HOUR
    money = record.costs.money(hours * record.costs.gpu_hour) if record.costs.gpu_hour else ""
    number = f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}"
    unit = "hour" if number == "1" else "hours"
    if device is None:
        text = f"{number} {unit} of training" if hours >= _LEAST_HOURS else f"{duration(seconds)} of training"
        return f"{text} ({money} on a GPU)" if money else text
    text = f"{number} {device}-{unit}" if hours >= _LEAST_HOURS else f"{duration(seconds)} on a {device}"
    return f"{text} ({money})" if money and device == "GPU" else text

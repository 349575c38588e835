"""Which train size a target needs, with bounds, or that these runs cannot tell."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tui_datasize.analysis.laws import Loss, flipped
from tui_datasize.analysis.view import NOT_IDENTIFIABLE, View, about, first_at_most, grid, shown
from tui_datasize.words import listed


@dataclass(frozen=True, slots=True)
class SizeNeeded:
    """Which train size reaches a target."""

    target: float
    """In units of the metric."""
    train_size: int | None
    """By the default answer; None where it does not get there within the calibrated range."""
    at_least: int | None
    """One-sided bound; None where the band reaches the target from the start, or nowhere in that range."""
    at_most: int | None
    """One-sided bound; None where the band does not surely reach the target within that range."""
    one_sided: float
    """Nominal confidence of each bound."""
    at_least_measured: float | None
    """How often such a bound held on public curves of data sets left out; None where none measures it."""
    at_most_measured: float | None
    words: str


def size_needed(view: View, target: float) -> SizeNeeded:
    """Which train size reaches a target, given in units of the metric."""
    error = float(flipped(view.average.loss, target))
    beyond = grid(view.largest, view.farthest)
    every = np.concatenate([grid(float(view.train_sizes[0]), view.largest), beyond])
    least, most = view.band(beyond)
    train_size = first_at_most(every, view.average.errors_at(every), error)
    at_least, at_most = first_at_most(beyond, least, error), first_at_most(beyond, most, error)
    worth = (1 + view.level) / 2, *_one_sided_measured(view)
    if train_size is not None and train_size <= view.largest:
        smallest = math.ceil(view.train_sizes[0])
        where = (
            f"at the smallest size that was run, {smallest:,} images, if not below"
            if train_size <= smallest
            else f"within the sizes that were run, at about {about(train_size)} images"
        )
        goal = shown(target, view.metric)
        words = f"By the average of the laws {goal} is reached {where}; the means measured there say more."
        return SizeNeeded(target, train_size, None, None, *worth, words)
    is_open_below = at_least is not None and at_least <= math.ceil(view.largest)
    words = _needed_words(view, target, train_size, at_least, at_most, is_open_below)
    if view.faults:
        words = f"{words} As the curve is {listed(view.faults)}, this is less sure than on others."
    return SizeNeeded(target, train_size, None if is_open_below else at_least, at_most, *worth, words)


def _one_sided_measured(view: View) -> tuple[float | None, float | None]:
    """How often the band's lower and upper end held, at the factor where they did worst.

    Of a curve that is ill-shaped this has not been measured.
    """
    if view.average.loss is not Loss.ERROR or view.faults:
        return None, None
    return 1 - max(cell.below for cell in view.cells), 1 - max(cell.above for cell in view.cells)


def _sure(view: View) -> tuple[str, str]:
    """How sure either bound is, as measured; nominal where that has not been measured."""
    if view.average.loss is not Loss.ERROR:
        nominal = f"{100 * (1 + view.level) / 2:.0f} % nominal"
        return nominal, nominal
    if view.faults:
        # One end alone has not been measured on such curves: it holds at least as often as both.
        held = [cell.coverage_ill_shaped for cell in view.cells if cell.coverage_ill_shaped is not None]
        known = f"held on {100 * min(held):.0f} % of such curves or more" if held else "never measured"
        return known, known
    least, most = (f"{100 * share:.0f} % sure" for share in _one_sided_measured(view) if share is not None)
    return least, most


def _needed_words(
    view: View,
    target: float,
    train_size: int | None,
    at_least: int | None,
    at_most: int | None,
    is_open_below: bool,
) -> str:
    goal, (sure_of_least, sure_of_most) = shown(target, view.metric), _sure(view)
    if at_least is None:
        return (
            f"How many images {goal} needs is {NOT_IDENTIFIABLE}: more than {view.farthest:,.0f} "
            f"({sure_of_least}), beyond which no band is calibrated."
        )
    floor = "" if is_open_below else f"at least {at_least:,} images ({sure_of_least})"
    if at_most is not None and train_size is not None:
        bounds = ", ".join(part for part in (floor, f"at most {at_most:,} ({sure_of_most})") if part)
        return f"{goal} needs about {about(train_size)} images: {bounds}."
    if not floor:
        return f"How many images {goal} needs is {NOT_IDENTIFIABLE}."
    return f"{goal} needs {floor}; how many more is {NOT_IDENTIFIABLE}."

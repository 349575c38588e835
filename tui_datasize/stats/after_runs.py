"""What the forecast will be like after further runs: it is made anew for results that they may have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from tui_datasize.stats.averaging import fit_averaged
from tui_datasize.stats.fits import FitFailure
from tui_datasize.stats.fitting import curve_points, floored
from tui_datasize.stats.forecast_features import windows_of
from tui_datasize.stats.laws import Floats, Loss
from tui_datasize.stats.view import View

PAIRS = 3
"""Of results, each with its mirror image: the same ones for every plan, so that plans compare."""
LEVEL = 0.9
"""Of the band that results at new sizes are drawn from."""


@dataclass(frozen=True)
class Sizes:
    """Train sizes of a curve before and after some runs; arrays of shape (n,), ascending in size."""

    train_sizes: Floats
    run_variance: Floats
    worth_now: Floats
    """Independent runs that those there are worth; 0 at a new size."""
    worth_then: Floats


def views_after(view: View, errors: Floats, stderrs: Floats, sizes: Sizes) -> list[View]:
    """The forecasts that may be there after some runs; those that cannot be made are left out.

    The mean of a size that has runs moves as far as its own uncertainty lets it; that of a new size lies
    within the forecast as the band tells, or near the average of the laws. `errors` and `stderrs` (NaN where
    unknown) are those of the means of the view's sizes, shape (m,); `sizes` are these and new ones.
    """
    place = {float(size): i for i, size in enumerate(view.train_sizes)}
    here = np.array([place.get(float(size), -1) for size in sizes.train_sizes])
    of_runs = np.sqrt(sizes.run_variance / np.maximum(sizes.worth_now, 1))
    known = floored(stderrs)[here] if np.isfinite(stderrs).any() else of_runs
    now = np.where(here >= 0, known, np.inf)
    then = (now**-2.0 + np.maximum(sizes.worth_then - sizes.worth_now, 0) / sizes.run_variance) ** -0.5
    moves = np.sqrt(np.where(here >= 0, known**2 - then**2, then**2))
    means, below, above = _expected(view, sizes.train_sizes)
    means = np.where(here >= 0, errors[here], means)
    below, above = np.where(here >= 0, 0, below), np.where(here >= 0, 0, above)
    most = 1 if view.loss is Loss.ERROR else None
    draws = np.random.default_rng(0).standard_normal((PAIRS, 2, len(here)))
    views = []
    for of_runs, of_curve in np.concatenate([draws, -draws]):
        moved = means + moves * of_runs + of_curve * np.where(of_curve > 0, above, below)
        views.append(_view(view, sizes.train_sizes, np.clip(moved, 0, most), then))
    return [one for one in views if one is not None]


def middle_of(ends: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The median of lower and of upper ends."""
    low, high = np.median(np.array(ends), axis=0)
    return float(low), float(high)


def _expected(view: View, train_sizes: Floats) -> tuple[Floats, Floats, Floats]:
    """What is foreseen, and how far off the truth may lie below and above (standard deviations)."""
    far = np.maximum(train_sizes, view.foreseen.largest)
    is_beyond = train_sizes > view.foreseen.largest
    centre, (low, high) = view.foreseen.errors_at(far), view.foreseen.band(far, LEVEL)
    means = np.where(is_beyond, centre, view.average.errors_at(train_sizes))
    z = float(ndtri((1 + LEVEL) / 2))
    return means, np.where(is_beyond, (centre - low) / z, 0), np.where(is_beyond, (high - centre) / z, 0)


def _view(view: View, train_sizes: Floats, errors: Floats, stderrs: Floats) -> View | None:
    points = curve_points(train_sizes, errors, stderrs)
    if isinstance(points, FitFailure):
        return None
    laws = fit_averaged(points, view.loss)
    average, windows = laws.average, windows_of(laws)
    if isinstance(average, FitFailure) or isinstance(windows, FitFailure):
        return None
    foreseen = view.forecaster.foresee(points, *windows, view.loss)
    return View(average, foreseen, view.forecaster, points.train_sizes, view.metric, (), 0.0)

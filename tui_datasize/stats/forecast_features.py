"""What the forecast is learned from: what the laws foresee from two windows, and how the curve has run."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tui_datasize.stats.averaging import LEAST_ERROR, Average, FittedLaws, fit_averaged
from tui_datasize.stats.fits import FitFailure
from tui_datasize.stats.fitting import CurvePoints, LawFit, curve_points, floored
from tui_datasize.stats.laws import LAWS, Floats, Loss

KNOTS = (2.0, 4.0, 8.0)
"""Times the largest train size that the forecast is learned at."""
LAST_SIZES = 5
"""Of the second window: small sizes mislead the laws more often than they help."""
LAW_NAMES = tuple(law.name for law in LAWS if Loss.ERROR in law.averaged_for)
LEAST_NOTICED = 0.005
"""Off the laws, in the logarithm of the error: public curves that follow them more closely are mostly
still at the error of a guess, and an exact curve is not one of those."""
LEAST_STDERR = 1e-3
"""Of an error, as a share of it: what no mean is known better than."""

OF_THE_CURVE = (
    "sizes", "log range", "slope of the last 2", "slope of the last 3", "slope of the last 5", "slope of all",
    "slope of the last 3 - of the last 5", "slope of the last 5 - of all", "relative SE of the last mean",
    "scatter around the average", "scatter around the average of the last", "last mean / average",
    "last mean / average of the last", "log last mean", "last mean / least mean", "largest rise",
    "log largest size", "log step", "largest mean / last mean", "first mean / last mean",
    "largest mean - last mean", "median relative SE",
)  # fmt: skip
OF_THE_LAWS = (
    "average", "average of the last", "difference of averages", "disagreement", "disagreement of the last",
    *LAW_NAMES, *(f"{name} of the last" for name in LAW_NAMES), "median of the last", "spread of the last",
    "spread", "fall of the average", "fall of the average of the last",
)  # fmt: skip
"""At each of the knots, against the last mean where they are forecasts."""
FEATURES = (*OF_THE_CURVE, "log factor", *OF_THE_LAWS)
"""In the order of the columns of `features_of`; all are natural logarithms, or differences of those."""
LEAST_DOUBT = 0.01
CHANGE_DOUBT = 0.3
"""Per unit of change that the laws foresee."""
UNSURE = 0.05
"""Of the last mean, as a share of its error."""
NOISE_CLASSES = 5
WELL_KNOWN, UNCERTAIN, SINGLE_RUNS, THREE_SIZES, RISEN = range(NOISE_CLASSES)
"""What `noise_class` tells of the last mean: known to `UNSURE`, or not; no size has two runs, and how single
ones scatter around the laws stands for it; only three sizes, which laws of three parameters go through
however the runs scatter; well known, and a size before had a smaller error."""
UNLEARNED, OF_A_GUESS = 0.1, (0.3, 0.8)
"""A curve has hardly left the error of a guess where it fell by less than this since, in its logarithm, to
more than the first of those. More than the second takes six classes, which hardly any data hide for ever."""
_STDERR = "relative SE of the last mean"
_NOISE = tuple(
    map(
        FEATURES.index,
        (_STDERR, "scatter around the average of the last", "sizes", "last mean / least mean"),
    )
)
_FALL = tuple(map(FEATURES.index, ("largest mean / last mean", "log last mean")))
_DOUBTS = tuple(
    map(
        FEATURES.index,
        ("disagreement", "disagreement of the last", "fall of the average of the last", _STDERR),
    )
)


@dataclass(frozen=True, slots=True)
class Window:
    """What the laws foresee from some of the sizes, in logarithms; k is 1 + the number of knots."""

    laws: Floats
    """Shape (laws, k): each at the largest size and at the knots."""
    average: Floats
    """Shape (k,)."""
    spread: Floats
    """How far the laws disagree, shape (k,)."""
    off: Floats
    """Measured means less the average, at each size of the window."""


def windows_of(laws: FittedLaws) -> tuple[Window, Window] | FitFailure:
    """What the laws foresee from all sizes, and from the last few."""
    every = _window(laws)
    if isinstance(every, FitFailure) or laws.points.n_sizes <= LAST_SIZES:
        return every if isinstance(every, FitFailure) else (every, every)
    points = laws.points
    part = slice(-LAST_SIZES, None)
    last = curve_points(points.train_sizes[part], points.errors[part], points.stderrs[part])
    found = last if isinstance(last, FitFailure) else _window(fit_averaged(last, laws.loss))
    return found if isinstance(found, FitFailure) else (every, found)


def features_of(points: CurvePoints, every: Window, last: Window) -> Floats:
    """The features at each of the knots, shape (knots, FEATURES)."""
    at_last = math.log(max(float(points.errors[-1]), LEAST_ERROR))
    # A cross-entropy may be larger than any error that was learned from.
    of_curve = np.array(_of_curve(points, every, last, min(at_last, 0.0)))
    both = (every.average[1:] - at_last, last.average[1:] - at_last)
    each = (every.laws[:, 1:] - at_last, last.laws[:, 1:] - at_last)
    differ = both[1] - both[0], every.spread[1:], last.spread[1:]
    spreads = np.median(each[1], axis=0), each[1].std(axis=0), each[0].std(axis=0)
    falls = (window.average[1:] - window.average[0] for window in (every, last))
    of_laws = np.vstack([np.log(KNOTS), *both, *differ, *each, *spreads, *falls])
    return np.hstack([np.tile(of_curve, (len(KNOTS), 1)), of_laws.T])


def doubt_of(features: Floats) -> Floats:
    """How far the laws may be off by their own account, in the logarithm of the error, shape (n,).

    Features are those of `features_of`, shape (n, FEATURES).
    """
    every, last, fall, stderr = (features[:, place] for place in _DOUBTS)
    doubt: Floats = LEAST_DOUBT + every + last + CHANGE_DOUBT * np.abs(fall) + np.maximum(stderr, 0)
    return doubt


def noise_class(features: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """How badly the last mean is known, as a share of its error, and of which kind that is, shape (n,) each.

    Features are those of `features_of`, shape (n, FEATURES).
    """
    stderr, scatter, sizes, risen = (features[:, place] for place in _NOISE)
    well = np.where(risen > 0, RISEN, WELL_KNOWN)
    kind = np.where(stderr < 0, SINGLE_RUNS, np.where(stderr > UNSURE, UNCERTAIN, well))
    return np.where(stderr >= 0, stderr, scatter), np.where(sizes <= 3, THREE_SIZES, kind)


def unlearned_class(features: Floats) -> NDArray[np.int64]:
    """Whether a curve has hardly left the error of a guess, shape (n,); features as in `features_of`.

    0 where it has, 1 where it is a guess among few classes or what nobody can learn, 2 among many classes.
    """
    fall, level = (features[:, place] for place in _FALL)
    of_few, of_many = (level > math.log(error) for error in OF_A_GUESS)
    unlearned: NDArray[np.int64] = (fall < UNLEARNED) * (of_few.astype(int) + of_many)
    return unlearned


def _of_curve(points: CurvePoints, every: Window, last: Window, level: float) -> list[float]:
    x, y = np.log(points.train_sizes), _logarithms(points.errors)
    relative = floored(points.stderrs) / np.maximum(points.errors, LEAST_ERROR)
    weights = np.maximum(relative, LEAST_STDERR) ** -2.0 if points.has_stderrs else np.ones(len(x))
    of_3, of_5, of_all = (_slope(x[-n:], y[-n:], weights[-n:]) for n in (3, LAST_SIZES, len(x)))
    return [
        len(x),
        float(x[-1] - x[0]),
        float((y[-1] - y[-2]) / (x[-1] - x[-2])),
        of_3,
        of_5,
        of_all,
        of_3 - of_5,
        of_5 - of_all,
        float(relative[-1]) if points.has_stderrs else -1.0,
        _scatter(every),
        _scatter(last),
        _noticed(float(every.off[-1])),
        _noticed(float(last.off[-1])),
        level,
        float(y[-1] - y.min()),
        max(float(np.diff(y).max()), 0.0),
        float(x[-1]),
        float(np.median(np.diff(x))),
        float(y.max() - y[-1]),
        float(y[0] - y[-1]),
        min(float(points.errors.max() - points.errors[-1]), 1.0),
        float(np.nanmedian(points.stderrs) / math.exp(y[-1])) if points.has_stderrs else -1.0,
    ]


def _window(laws: FittedLaws) -> Window | FitFailure:
    average = laws.average
    if not isinstance(average, Average):
        return average
    seen = laws.points.train_sizes
    sizes = seen[-1] * np.array((1.0, *KNOTS))
    base, spread = average.with_spread_at(np.append(seen[:-1], sizes))
    fits = {law.name: fit for law, fit in laws.fits if isinstance(fit, LawFit)}
    most, ahead = 1.0 if laws.loss is Loss.ERROR else math.inf, slice(len(seen) - 1, None)
    # Where a law does not suit, or there are too few sizes for it, the average stands for it.
    each = [fits[name].errors_at(sizes) if name in fits else base[ahead] for name in LAW_NAMES]
    off = _logarithms(laws.points.errors) - _logarithms(base[: len(seen)])
    return Window(_logarithms(np.clip(np.array(each), 0, most)), _logarithms(base[ahead]), spread[ahead], off)


def _scatter(window: Window) -> float:
    scatter = math.sqrt(float(window.off @ window.off) / max(1, len(window.off) - 3))
    return max(scatter, LEAST_NOTICED)


def _noticed(off: float) -> float:
    return math.copysign(max(abs(off) - LEAST_NOTICED, 0.0), off)


def _slope(x: Floats, y: Floats, weights: Floats) -> float:
    w = weights / weights.sum()
    dx = x - w @ x
    return float(w @ (dx * (y - w @ y)) / (w @ dx**2))


def _logarithms(errors: Floats) -> Floats:
    logarithms: Floats = np.log(np.maximum(errors, LEAST_ERROR))
    return logarithms

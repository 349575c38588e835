"""The forecast beyond the largest train size: learned from public curves, evaluated in NumPy.

No law holds for all curves, and none says how far it is off. What the laws foresee, from all sizes and from
the last few, and how the curve has run so far are therefore the features of quantile regressions by boosted
trees (Friedman, *Greedy Function Approximation*, 2001), whose ends are made to hold as often as they say on
data sets left out (Romano et al., *Conformalized Quantile Regression*, 2019). `benchmarks.fit_forecast` makes
the trees.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from tui_datasize.stats import forecast_features
from tui_datasize.stats.averaging import LEAST_ERROR
from tui_datasize.stats.fitting import CurvePoints
from tui_datasize.stats.forecast_features import FEATURES, KNOTS, Window
from tui_datasize.stats.laws import Floats, Loss

FORECAST_FILE = "forecast.json"
LEVELS = (0.8, 0.9)
"""Nominal coverage of the bands."""
LEAST_WIDTH = 0.01
"""Of either half of a band before it is conformalised, in the logarithm of the error."""
LEAST_UNIT = 0.2
"""Of the ends that are learned in units of the laws' doubt, in the logarithm of the error."""
_AVERAGE = FEATURES.index("average of the last")


@dataclass(frozen=True, slots=True)
class Trees:
    """Boosted regression trees of one quantile; arrays of shape (trees, nodes)."""

    baseline: float
    feature: np.ndarray
    threshold: Floats
    left: np.ndarray
    """A leaf is its own child."""
    right: np.ndarray
    value: Floats
    """Of leaves; 0 elsewhere."""

    def predict(self, rows: Floats) -> Floats:
        """The quantile for features of shape (n, features), shape (n,)."""
        trees = np.arange(len(self.feature))[:, None]
        at = np.zeros((len(self.feature), len(rows)), dtype=np.int64)
        of_row = np.arange(len(rows))
        while True:
            goes_left = rows[of_row, self.feature[trees, at]] <= self.threshold[trees, at]
            below = np.where(goes_left, self.left[trees, at], self.right[trees, at])
            if (below == at).all():
                total: Floats = self.baseline + self.value[trees, at].sum(axis=0)
                return total
            at = below


@dataclass(frozen=True, slots=True)
class Held:
    """How often the bands of level .9 held on data sets left out, at one factor."""

    factor: float
    coverage: float
    """On means of many runs."""
    coverage_ill_shaped: float | None
    """On those of them that rise or bend the wrong way; None where they are too few to tell."""
    coverage_few_runs: float
    """On five sizes with three runs each."""
    coverage_loss: float | None = None
    """Of cross-entropy, on real trainings; None where it is not measured."""


@dataclass(frozen=True, slots=True)
class Forecaster:
    """The shipped trees with what makes their bands hold."""

    provenance: Mapping[str, Any]
    """Data set, licence, date, protocol, numbers of curves, data sets and looks at them."""
    quantiles: tuple[tuple[Trees, ...], ...]
    """The 5th, the 50th and the 95th percentile of log(error/average of the laws from the last sizes). The
    second is in units of `forecast_features.doubt_of`: laws that agree are hardly to be corrected. The ends
    are averages of what is learned as it is, and in those units: the one tells plateaus from slopes, the
    other few noisy runs from many."""
    stretch: Mapping[float, tuple[Floats, Floats]]
    """By level, how many times the lower and the upper half of a band are as wide, by the kind of
    `forecast_features.noise_class` and the knot, shape (kinds, knots)."""
    unlearned: Mapping[float, tuple[Floats, Floats]]
    """By level, how far curves that had hardly left the error of a guess fell and rose from their last mean,
    in the logarithm of the error, shape (2, knots) each, by `forecast_features.unlearned_class` less 1. With
    the noise of the last mean it bounds a curve; of many classes it is the lower end, as no tree foresees
    when those are learned."""
    loss_stretch: Mapping[float, tuple[float, float]]
    """By level, how many times as wide either half is for cross-entropy, which no tree was learned from."""
    held: tuple[Held, ...]
    """One per factor of `KNOTS`."""

    @property
    def source(self) -> str:
        return f"{self.provenance['data']}, {self.provenance['licence']}, {self.provenance['date']}"

    def foresee(self, points: CurvePoints, every: Window, last: Window, loss: Loss) -> Foreseen:
        """The forecast for one curve: what the laws foresee of it from every size, and from the last few."""
        rows = forecast_features.features_of(points, every, last)
        anchor = last.average[1:]
        middle, ends = self.ends(rows, np.arange(len(KNOTS)), loss)
        measured = math.log(max(float(points.errors[-1]), LEAST_ERROR))
        stderr = float(points.stderrs[-1]) / max(float(points.errors[-1]), LEAST_ERROR)
        falling = {}
        for level, (low, high) in ends.items():
            half = float(ndtri((1 + level) / 2)) * stderr if stderr > 0 else 0.0
            falling[level] = _falling(measured - half, anchor + low), _falling(measured + half, anchor + high)
        most = 1.0 if loss is Loss.ERROR else math.inf
        return Foreseen(float(points.train_sizes[-1]), _falling(measured, anchor + middle), falling, most)

    def ends(
        self, rows: Floats, knot: NDArray[np.int64], loss: Loss = Loss.ERROR
    ) -> tuple[Floats, Mapping[float, tuple[Floats, Floats]]]:
        """The middle and, by level, both ends of the band, in the logarithm of error/average.

        `rows` are features of shape (n, features), `knot` the place of each in `KNOTS`; ends of shape (n,).
        """
        lower, middle, upper = self.halves(rows)
        noise, kind = forecast_features.noise_class(rows)
        guess, measured = forecast_features.unlearned_class(rows) * (loss is Loss.ERROR), -rows[:, _AVERAGE]
        ends = {}
        for level, (below, above) in self.stretch.items():
            room = float(ndtri((1 + level) / 2)) * noise
            down, up = lower * below[kind, knot], upper * above[kind, knot]
            if loss is Loss.CROSS_ENTROPY:
                # Real trainings scattered little: no half gets narrower than the last mean is uncertain.
                by = self.loss_stretch[level]
                down, up = np.maximum(by[0] * down, room), np.maximum(by[1] * up, room)
            low, high = middle - down, middle + up
            least, most = (bound[guess - 1, knot] for bound in self.unlearned[level])
            least, most = measured + least - room, measured + most + room
            least = np.where(guess == 1, np.maximum(low, least), least)
            ends[level] = (
                np.where(guess > 0, np.minimum(least, middle - LEAST_WIDTH), low),
                np.where(guess > 0, np.maximum(np.minimum(high, most), middle + LEAST_WIDTH), high),
            )
        return middle, ends

    def halves(self, rows: Floats) -> tuple[Floats, Floats, Floats]:
        """Lower half width, middle and upper half width for features of shape (n, features)."""
        doubt = forecast_features.doubt_of(rows)
        lower, (centre,), upper = self.quantiles
        units = np.ones(len(rows)), np.hypot(LEAST_UNIT, doubt)
        low, high = (
            np.mean([trees.predict(rows) * unit for trees, unit in zip(end, units, strict=False)], axis=0)
            for end in (lower, upper)
        )
        middle = centre.predict(rows) * doubt
        return np.maximum(middle - low, LEAST_WIDTH), middle, np.maximum(high - middle, LEAST_WIDTH)


@dataclass(frozen=True)
class Foreseen:
    """The error beyond the largest train size, from the measured mean on."""

    largest: float
    centre: Floats
    """Logarithm of the error at 1 and at `KNOTS` times the largest size; none of the latter is above the one
    before, as more data are not foreseen to do worse."""
    ends: Mapping[float, tuple[Floats, Floats]]
    """By level, those of the lower and of the upper end, which do not rise either."""
    most: float
    """The largest error there can be."""

    @property
    def farthest(self) -> float:
        return self.largest * KNOTS[-1]

    def errors_at(self, train_sizes: Floats) -> Floats:
        """The central error at train sizes of shape (n,), from the largest measured on; beyond, NaN."""
        errors: Floats = np.minimum(np.exp(self._between(train_sizes, self.centre)), self.most)
        return errors

    def band(self, train_sizes: Floats, level: float) -> tuple[Floats, Floats]:
        """Lower and upper end of the error, shape (n,) each."""
        low, high = (np.exp(self._between(train_sizes, end)) for end in self.ends[level])
        # Errors below the least that logarithms are taken of count as that.
        return np.where(low <= LEAST_ERROR, 0.0, low), np.minimum(high, self.most)

    def _between(self, train_sizes: Floats, logarithms: Floats) -> Floats:
        places = np.log2((1.0, *KNOTS))
        doublings = np.log2(np.asarray(train_sizes, float) / self.largest)
        found = np.interp(doublings, places, logarithms)
        return np.where((doublings >= -1e-9) & (doublings <= places[-1] + 1e-9), found, np.nan)


def _falling(start: float, knots: Floats) -> Floats:
    """What starts from a measured mean, and falls or stays over the knots."""
    return np.append(start, np.minimum.accumulate(knots))


@cache
def shipped_forecaster() -> Forecaster:
    """The one in the package, made by `python -m benchmarks.fit_forecast`."""
    text = files("tui_datasize.stats").joinpath(FORECAST_FILE).read_text(encoding="utf-8")
    return forecaster_from(json.loads(text))


def forecaster_from(document: Mapping[str, Any]) -> Forecaster:
    """A forecaster from its JSON document."""
    stretch, unlearned = (
        {
            float(level): (np.array(ends["lower"], float), np.array(ends["upper"], float))
            for level, ends in document[name].items()
        }
        for name in ("stretch", "unlearned")
    )
    return Forecaster(
        MappingProxyType(dict(document["provenance"])),
        tuple(tuple(map(_trees_from, document["quantiles"][name])) for name in ("0.05", "0.5", "0.95")),
        stretch,
        unlearned,
        {float(level): (ends["lower"], ends["upper"]) for level, ends in document["loss_stretch"].items()},
        tuple(Held(**held) for held in document["held"]),
    )


def _trees_from(document: Mapping[str, Any]) -> Trees:
    trees: Sequence[Mapping[str, Sequence[float]]] = document["trees"]
    nodes = max(len(tree["feature"]) for tree in trees)

    def stacked(name: str, kind: type) -> np.ndarray:
        return np.array([list(tree[name]) + [0] * (nodes - len(tree[name])) for tree in trees], dtype=kind)

    return Trees(
        float(document["baseline"]),
        stacked("feature", np.int64),
        stacked("threshold", np.float64),
        stacked("left", np.int64),
        stacked("right", np.int64),
        stacked("value", np.float64),
    )

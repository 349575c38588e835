"""How many training images planned runs need for the forecast that a full grid gives.

`python -m benchmarks.plan LEARNING_CURVES.parquet [--repeats R] [--every K]`. Public curves of image-like
data are cut at a quarter of their largest train size; their 11 largest sizes up to there, a factor of sqrt(2)
apart, may be run. Runs scatter around the mean of their size as the splits behind it do. The grid runs every
size with 10 seeds. A plan starts with one run at every other size and spends the rest of its budget, counted
in images, by `stats.placing`; beside it stand the five largest sizes with 10 seeds, and all sizes with two.
One more row may also run twice the largest size, as a plan does where the data set has so many images.

What is compared is the forecast that is shown: of the largest train size of the curve, four times the largest
one run, by trees that have not seen the data set. Printed are images against the grid's; the mean error, its
root mean square, and that of the typical curve (geometric mean), each against the grid's, with intervals from
400 resamples of data sets; how often the 90 % band held; then the share of the grid's images at which the
error of a plan is the grid's, and how well the band after a plan was told beforehand.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.extrapolation import RESAMPLES, forecaster_for
from benchmarks.forecast_looks import SPLITS
from benchmarks.public_curves import PublicCurve, read_curves, spread_over_processes
from tui_datasize.metric import metric_named
from tui_datasize.stats.after_runs import Sizes, middle_of, views_after
from tui_datasize.stats.averaging import fit_averaged
from tui_datasize.stats.curve import moderated
from tui_datasize.stats.extrapolate import LEVEL
from tui_datasize.stats.fits import FitFailure
from tui_datasize.stats.fitting import CurvePoints, curve_points
from tui_datasize.stats.forecast_features import windows_of
from tui_datasize.stats.laws import Floats, Loss
from tui_datasize.stats.noise import noise_of
from tui_datasize.stats.placing import TWICE, Counts, place_runs
from tui_datasize.stats.view import View

N_SIZES, N_SEEDS, AHEAD = 11, 10, 4
SHARES = (0.3, 0.4, 0.5, 0.6)
"""Of the grid's images: what a plan may use."""
BEYOND_SHARE = 0.4
TOLD_SHARE = 0.5
ERROR = metric_named("test_accuracy")


@dataclass(frozen=True, slots=True)
class Judged:
    """One design on one simulated sweep."""

    data_set: int
    learner: str
    design: str
    images: float
    """Share of the grid's."""
    off: float
    """Forecast less truth, in units of the error."""
    holds: bool
    told: float
    """Width of the band that was told beforehand over that which came; NaN where none was."""


def judge(task: tuple[PublicCurve, int]) -> list[Judged]:
    """Every design on one curve, once."""
    curve, repeat = task
    part = curve.up_to(AHEAD, N_SIZES)
    sizes = np.append(part.train_sizes, TWICE * part.train_sizes[-1])
    twice = int(np.abs(curve.train_sizes - sizes[-1]).argmin())
    rng = np.random.default_rng([repeat, curve.data_set, *curve.learner.encode()])
    means = np.append(part.errors, curve.errors[twice])
    sds = np.append(part.stderrs, curve.stderrs[twice]) * np.sqrt(SPLITS)
    runs = np.clip(means + rng.normal(0, 1, (10 * N_SEEDS, len(means))) * sds, 0, 1)
    grid_images = N_SEEDS * float(part.train_sizes.sum())
    found = []
    for name, counts in _designs(sizes).items():
        view, *_ = _look(curve, sizes, runs, counts)
        at = np.array([AHEAD * part.train_sizes[-1]])
        (low,), (high,) = view.foreseen.band(at, LEVEL)
        off, true = float(view.foreseen.errors_at(at)[0] - curve.errors[-1]), float(curve.errors[-1])
        told = float("nan")
        if repeat == 0 and name == f"plan, {TOLD_SHARE:.0%}":
            told = _told(curve, sizes, runs, counts, at) / float(high - low)
        shown = curve.data_set, curve.learner, name, float(counts @ sizes) / grid_images
        found.append(Judged(*shown, off, bool(low <= true <= high), told))
    return found


def _designs(sizes: Floats) -> Mapping[str, Counts]:
    """Runs at each of the sizes of the grid and at twice the largest, by name."""
    grid = np.append(np.full(N_SIZES, N_SEEDS), 0)
    images = float(grid @ sizes)
    five, two = grid * (np.arange(len(grid)) >= N_SIZES - 5), np.minimum(grid, 2)
    designs = {"grid": grid, "5 largest sizes": five, "2 seeds": two}
    within = sizes[:-1]
    for share in SHARES:
        designs[f"plan, {share:.0%}"] = np.append(_planned(within, share * images), 0)
    designs[f"plan, {BEYOND_SHARE:.0%}, twice"] = _planned(sizes, BEYOND_SHARE * images)
    return designs


def _pilot(n_sizes: int) -> Counts:
    """One run at every other size of the grid, the largest included."""
    places = np.arange(n_sizes)
    pilot: Counts = ((places < N_SIZES) & ((N_SIZES - 1 - places) % 2 == 0)).astype(np.int64)
    return pilot


def _planned(sizes: Floats, images: float) -> Counts:
    pilot = _pilot(len(sizes))
    return pilot + place_runs(sizes, pilot, sizes, images - float(pilot @ sizes))


def _look(
    curve: PublicCurve, sizes: Floats, runs: Floats, counts: Counts
) -> tuple[View, CurvePoints, list[Floats]]:
    """What is seen of some runs."""
    kept = counts > 0
    groups = [runs[:n, i] for i, n in enumerate(counts) if n]
    n_runs = counts[kept].astype(float)
    variance = np.array([group.var(ddof=1) if len(group) > 1 else 0.0 for group in groups])
    stderrs = moderated(variance, n_runs - 1, n_runs)
    points = curve_points(sizes[kept], np.array([group.mean() for group in groups]), stderrs)
    if isinstance(points, FitFailure):
        raise RuntimeError(points.reason)
    laws = fit_averaged(points)
    average, windows = laws.average, windows_of(laws)
    if isinstance(average, FitFailure) or isinstance(windows, FitFailure):
        raise RuntimeError("a curve of eleven sizes has no forecast")
    forecaster = forecaster_for(curve.data_set)
    foreseen = forecaster.foresee(points, *windows, Loss.ERROR)
    return View(average, foreseen, forecaster, points.train_sizes, ERROR, (), 0.0), points, groups


def _told(curve: PublicCurve, sizes: Floats, runs: Floats, counts: Counts, at: Floats) -> float:
    """The width of the band that is told of a plan when a third of its runs are there."""
    pilot = np.minimum(counts, np.maximum(_pilot(len(sizes)), np.ceil(counts / 3).astype(np.int64)))
    view, points, groups = _look(curve, sizes, runs, pilot)
    kept = counts > 0
    noise = noise_of(points.train_sizes.tolist(), groups)
    spread = noise.variance_at(sizes[kept])
    worth_now, worth_then = (noise.worth(runs_of[kept]) for runs_of in (pilot, counts))
    worth = Sizes(sizes[kept], spread, worth_now, worth_then)
    views = views_after(view, points.errors, points.stderrs, worth)
    bands = [one.foreseen.band(at, LEVEL) for one in views]
    low, high = middle_of([(float(low[0]), float(high[0])) for low, high in bands])
    return high - low


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plan", description=__doc__)
    parser.add_argument("curves", type=Path, help="Parquet file of public learning curves")
    parser.add_argument("--repeats", type=int, default=20, help="sweeps simulated on each (default: 20)")
    parser.add_argument("--every", type=int, default=1, metavar="K", help="only each K-th curve")
    chosen = parser.parse_args(arguments)
    curves = [curve for curve in read_curves(chosen.curves) if curve.is_image_like][:: chosen.every]
    kept = [curve for curve in curves if len(curve.up_to(AHEAD, N_SIZES).train_sizes) == N_SIZES]
    tasks = [(curve, repeat) for curve in kept for repeat in range(chosen.repeats)]
    judged = [one for of_task in spread_over_processes(judge, tasks) for one in of_task]
    print(
        f"{len(kept)} curves of {len({curve.data_set for curve in kept})} image-like data sets "
        f"x {chosen.repeats} sweeps; the forecast at {AHEAD} times the largest size, against the grid's"
    )
    print(f"{'':16} images  mean error          RMS                 typical curve       90 % band held")
    table = _Table.of(judged, chosen.repeats)
    for name in table.designs:
        ratios = (table.told(partial(measure, of=name)) for measure in (table.mean, table.rms, table.typical))
        print(f"{name:16}  {table.images(name):4.0%}   {'  '.join(ratios)}  {table.held(name):.1%}")
    for name, measure in (("mean error", table.mean), ("RMS", table.rms), ("typical curve", table.typical)):
        print(f"the grid's {name}: at {table.told(partial(_needed, table, measure))} of its images")
    told = np.array([one.told for one in judged])
    low, middle, high = np.nanquantile(told, (0.1, 0.5, 0.9))
    print(f"band told beforehand over the one that came: {middle:.2f}, in 80 % {low:.2f} to {high:.2f}")


Resample = np.ndarray
"""Places of curves, those of a data set together."""


@dataclass(frozen=True)
class _Table:
    """Errors by design, curve and repeat."""

    designs: Mapping[str, Floats]
    """Shape (curves, repeats) each."""
    used: Mapping[str, float]
    covered: Mapping[str, float]
    data_sets: np.ndarray
    """Of each curve."""

    @classmethod
    def of(cls, judged: Sequence[Judged], repeats: int) -> _Table:
        names = list(dict.fromkeys(one.design for one in judged))
        per_design = {name: [one for one in judged if one.design == name] for name in names}
        return cls(
            {
                name: np.array([one.off for one in ones]).reshape(-1, repeats)
                for name, ones in per_design.items()
            },
            {name: float(np.mean([one.images for one in ones])) for name, ones in per_design.items()},
            {name: float(np.mean([one.holds for one in ones])) for name, ones in per_design.items()},
            np.array([one.data_set for one in per_design["grid"]][::repeats]),
        )

    def images(self, name: str) -> float:
        return self.used[name]

    def held(self, name: str) -> float:
        return self.covered[name]

    def mean(self, rows: Resample, *, of: str) -> float:
        return float(np.abs(self.designs[of][rows]).mean() / np.abs(self.designs["grid"][rows]).mean())

    def rms(self, rows: Resample, *, of: str) -> float:
        squares = ((self.designs[name][rows] ** 2).mean() for name in (of, "grid"))
        return float(np.sqrt(np.divide(*squares)))

    def typical(self, rows: Resample, *, of: str) -> float:
        squares = ((self.designs[name][rows] ** 2).mean(axis=1) for name in (of, "grid"))
        return float(np.exp(np.log(np.divide(*squares)).mean() / 2))

    def told(self, measure: Callable[[Resample], float]) -> str:
        """A measure and its 95 % interval over data sets drawn anew."""
        rng, unique = np.random.default_rng(0), np.unique(self.data_sets)
        rows = {one: np.flatnonzero(self.data_sets == one) for one in unique.tolist()}
        drawn = (rng.choice(unique, len(unique)).tolist() for _ in range(RESAMPLES))
        found = [measure(np.concatenate([rows[one] for one in sets])) for sets in drawn]
        # Of shares that may be infinite: no mean of two.
        low, high = np.quantile(found, (0.025, 0.975), method="nearest")
        return f"{measure(np.arange(len(self.data_sets))):.2f} [{low:.2f} {high:.2f}]"


def _needed(table: _Table, measure: Callable[..., float], rows: Resample) -> float:
    """Share of the grid's images at which the plan's error is the grid's; more than is tried: infinite."""
    names = [f"plan, {share:.0%}" for share in SHARES]
    ratios = np.minimum.accumulate([measure(rows, of=name) for name in names])
    images = np.array([table.used[name] for name in names])
    if ratios[-1] > 1:
        return float("inf")
    return float(np.interp(0, np.log(ratios[::-1]), images[::-1]))


if __name__ == "__main__":
    main()

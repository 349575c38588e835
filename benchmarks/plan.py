"""How many runs a planned sweep needs for the interval that a uniform grid gives.

`python -m benchmarks.plan LEARNING_CURVES.parquet [--truths T] [--repeats R] [--cost runs|samples]`. Power
laws with floor are fitted to public curves of image-like data sets over a 16-fold range of train sizes and
taken for the truth, with the scatter of a single run seen there. The uniform grid runs 11 sizes x 10 seeds;
the plan starts from a pilot of six runs at four sizes, adds runs in batches, fits again and plans again, a
fifth of its budget kept for checks of the law. Compared are the answer's true error at four times the largest
size (root mean square over repeats) and the interval that each design claims, at equal cost per run or at a
cost that grows with the train size.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.public_curves import PublicCurve, read_curves, spread_over_processes
from tui_datasize.stats.design import LAW, Counts, Design
from tui_datasize.stats.fitting import LawFit, curve_points, fit_law
from tui_datasize.stats.laws import LAWS, Floats
from tui_datasize.stats.noise import Noise
from tui_datasize.stats.planner import allocate, design_of
from tui_datasize.stats.question import CHECK_SHARE

N_SIZES, N_SEEDS, RANGE, AHEAD = 11, 10, 16, 4
PILOT = {0: 2, 3: 1, 7: 1, 10: 2}
"""Runs by number of the size: as few sizes as the law can be fitted to."""
BATCH = 0.08
"""Of the uniform grid's cost: what is spent between two plans."""
Z = 1.96
SPLITS = 25
"""Behind each point of a public curve; its standard error is of their mean."""
STEPS = np.linspace(0.2, 1.0, 17)
"""Shares of the uniform grid's cost at which the plan is judged."""


@dataclass(frozen=True, slots=True)
class Truth:
    """A learning curve to sample runs from."""

    sizes: Floats
    law: LawFit
    noise: Noise

    def sample(self, size: float, runs: int, rng: np.random.Generator) -> Floats:
        """Errors of some runs at one size."""
        spread = float(np.sqrt(self.noise.variance_at([size])[0]))
        errors: Floats = float(self.law.errors_at([size])[0]) + rng.normal(0, spread, runs)
        return errors

    @property
    def answer(self) -> float:
        """The error at the train size that is asked about."""
        return float(self.law.errors_at([self.at])[0])

    @property
    def at(self) -> float:
        """The train size that is asked about."""
        return AHEAD * float(self.sizes[-1])


@dataclass(frozen=True, slots=True)
class Judged:
    """Squared error and claimed variance: of the uniform grid, and of the plan at each of `STEPS`."""

    grid: tuple[float, float]
    plan: Floats
    """Shape (STEPS, 2)."""


def truth_of(curve: PublicCurve) -> Truth | None:
    """A power law with floor like a public curve, on a 16-fold range of sizes; None where it is none."""
    sizes = np.geomspace(curve.train_sizes[-1] / RANGE, curve.train_sizes[-1], N_SIZES).round()
    kept = curve.train_sizes >= 0.99 * sizes[0]
    points = curve_points(curve.train_sizes[kept], curve.errors[kept], curve.stderrs[kept])
    law = fit_law(next(law for law in LAWS if law.name == LAW), points)  # type: ignore[arg-type]
    spread = np.median(curve.stderrs[kept]) * np.sqrt(SPLITS)
    if isinstance(law, LawFit) and law.scale > 0 and 0.1 < law.shapes[0] < 1.5 and spread > 0:
        middle = float(np.sqrt(sizes[0] * sizes[-1]))
        return Truth(sizes, law, Noise(float(spread) * middle**0.2, -0.2, 1))
    return None


def judge(task: tuple[Truth, int], by_samples: bool, check_share: float) -> Judged:
    """Run the grid and the plan once."""
    truth, seed = task
    rng = np.random.default_rng(seed)
    costs = truth.sizes / truth.sizes.mean() if by_samples else np.ones(N_SIZES)
    every = [truth.sample(size, N_SEEDS, rng) for size in truth.sizes]
    total = N_SEEDS * float(costs.sum())
    grid = _answer(truth, every)
    runs = [truth.sample(size, PILOT.get(i, 0), rng) for i, size in enumerate(truth.sizes)]
    found: list[tuple[float, float]] = []
    for share in STEPS:
        while True:
            counts = np.array([len(group) for group in runs])
            rest = share * total - float(counts @ costs)
            if rest < costs.min():
                break
            for i, add in enumerate(
                _next_batch(truth, runs, counts, costs, min(rest, BATCH * total), check_share)
            ):
                runs[i] = np.concatenate([runs[i], truth.sample(truth.sizes[i], int(add), rng)])
        found.append(_answer(truth, runs))
    return Judged(grid, np.array(found))


def needed_share(ratios: Floats) -> float:
    """Share of the grid's cost at which the plan's variance is that of the grid; infinite where it never is.

    Args:
        ratios: Of the two at each of `STEPS`; made to fall, then interpolated.
    """
    falling = np.minimum.accumulate(ratios)
    if falling[-1] > 1:
        return float("inf")
    return float(np.interp(0, np.log(falling[::-1]), STEPS[::-1]))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the shares."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plan", description=__doc__)
    parser.add_argument("curves", type=Path, help="Parquet file of public learning curves")
    parser.add_argument("--truths", type=int, default=12, help="public curves taken (default: 12)")
    parser.add_argument("--repeats", type=int, default=60, help="sweeps simulated on each (default: 60)")
    parser.add_argument("--cost", choices=("runs", "samples"), default="runs", help="default: runs")
    parser.add_argument("--check-share", type=float, default=CHECK_SHARE, help=f"default: {CHECK_SHARE}")
    chosen = parser.parse_args(arguments)
    curves = [curve for curve in read_curves(chosen.curves) if curve.is_image_like]
    truths = [truth for truth in map(truth_of, curves) if truth is not None]
    picked = [truths[i] for i in np.linspace(0, len(truths) - 1, chosen.truths).astype(int)]
    tasks = [(truth, seed) for truth in picked for seed in range(chosen.repeats)]
    work = partial(judge, by_samples=chosen.cost == "samples", check_share=chosen.check_share)
    judged = spread_over_processes(work, tasks)
    groups = [judged[i : i + chosen.repeats] for i in range(0, len(judged), chosen.repeats)]
    print(
        f"{len(picked)} truths x {chosen.repeats} sweeps, cost by {chosen.cost}, "
        f"{chosen.check_share:.0%} checks"
    )
    for column, name in enumerate(("true error at 4x (RMS)", "claimed interval")):
        ratios = np.stack([_ratio(group, column) for group in groups])
        shares = [needed_share(ratio) for ratio in ratios]
        print(
            f"{name:24} needs {100 * needed_share(ratios.mean(axis=0)):.0f} % of the uniform grid's cost "
            f"over all truths, {100 * float(np.median(shares)):.0f} % in the median truth, "
            f"at most 60 % in {np.mean(np.array(shares) <= 0.6):.0%} of them"
        )
    grid = np.array([judge.grid for judge in judged])
    plan = np.stack([judge.plan for judge in judged])
    held = np.mean(plan[:, :, 0] <= Z**2 * plan[:, :, 1], axis=0)
    print(f"the 95 % interval held {np.mean(grid[:, 0] <= Z**2 * grid[:, 1]):.0%} for the grid,", end=" ")
    print(", ".join(f"{h:.0%} for the plan at {s:.0%}" for s, h in list(zip(STEPS, held, strict=True))[::4]))


def _ratio(group: list[Judged], column: int) -> Floats:
    """Mean square of the plan at each step over that of the grid."""
    plan = np.mean([judged.plan[:, column] for judged in group], axis=0)
    ratio: Floats = plan / float(np.mean([judged.grid[column] for judged in group]))
    return ratio


def _next_batch(
    truth: Truth, runs: list[Floats], counts: Counts, costs: Floats, budget: float, check_share: float
) -> Counts:
    design = _design(truth, runs)
    added, _ = allocate(design, truth.at, truth.sizes, counts, costs, budget, check_share)
    return added if added.any() else (costs == costs.min()).astype(np.int64)


def _design(truth: Truth, runs: list[Floats]) -> Design:
    used = [i for i, group in enumerate(runs) if len(group)]
    groups = [runs[i] for i in used]
    design = design_of(truth.sizes[used].tolist(), groups, np.array([max(0.0, g.mean()) for g in groups]))
    if not isinstance(design, Design):
        raise RuntimeError(design.reason)
    return design


def _answer(truth: Truth, runs: list[Floats]) -> tuple[float, float]:
    """Squared error of the answer, and its claimed variance."""
    design = _design(truth, runs)
    counts = [len(group) for group in runs]
    error = float(design.errors_at([truth.at])[0]) - truth.answer
    return error**2, design.variance_at(truth.at, truth.sizes, counts)


if __name__ == "__main__":
    main()

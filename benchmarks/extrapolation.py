"""How well the laws extrapolate public learning curves, and what the calibrated bands are worth.

`python -m benchmarks.extrapolation LEARNING_CURVES.parquet [--factor F] [--every K] [--sizes S]`. Each curve
is fitted up to 1/F of its largest train size (a quarter) and compared with the mean error seen there. Printed
are median and mean of |predicted - observed| per law, on image-like data sets and on all; the coverage of the
shipped bands, and of bands calibrated on all other data sets; the bounds of "n needed" for the error seen;
and the time of the default answer.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.calibrate import coverage_left_out
from benchmarks.public_curves import PublicCurve, read_curves, spread_over_processes
from tui_datasize.metric import metric_named
from tui_datasize.stats.averaging import LEAST_ERROR, Average, FittedLaws, default_answer, fit_laws
from tui_datasize.stats.calibration import LEVEL, band_scale, error_band, shipped_calibration
from tui_datasize.stats.extrapolate import Outlook, look_ahead
from tui_datasize.stats.fits import LogLinearFit, fit_log_linear
from tui_datasize.stats.fitting import LawFit
from tui_datasize.stats.laws import LAWS
from tui_datasize.stats.size_needed import SizeNeeded

DEFAULT = "AICc average"
PUBLISHED = "log-linear, OLS"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One curve: what was predicted at its largest size, and what was seen."""

    data_set: int
    is_image_like: bool
    train_size: float
    observed: float
    predicted: dict[str, float]
    score: float
    """log(observed/predicted) of the default answer in units of the band's scale."""
    covered: bool
    """By the shipped band."""
    needed: SizeNeeded | None
    """For the error that was seen."""
    wall_ms: float
    cpu_ms: float
    """Of the default answer with its prediction and band."""


def evaluate(curve: PublicCurve, factor: int, n_sizes: int | None) -> Outcome | None:
    """Extrapolate one curve; None where too few sizes are left of it."""
    seen = curve.up_to(factor, n_sizes)
    at, observed = curve.train_sizes[-1:], float(curve.errors[-1])
    wall, cpu = time.perf_counter(), time.process_time()
    average = default_answer(seen.train_sizes, seen.errors, seen.stderrs)
    if not isinstance(average, Average):
        return None
    from_size = float(seen.train_sizes[-1])
    cells = shipped_calibration().of_length(len(seen.train_sizes))
    error = float(average.errors_at(at)[0])
    low, high = (
        float(end[0]) for end in error_band(average, from_size, np.minimum(at, factor * from_size), cells)
    )
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    laws = fit_laws(seen.train_sizes, seen.errors, seen.stderrs)
    off = np.log(max(observed, LEAST_ERROR) / max(error, LEAST_ERROR))
    return Outcome(
        data_set=curve.data_set,
        is_image_like=curve.is_image_like,
        train_size=float(at[0]),
        observed=observed,
        predicted={DEFAULT: error, PUBLISHED: _published(seen, at[0]), **_each_law(laws, at[0])},
        score=float(off / band_scale(average, from_size, at)[0]),
        covered=low <= observed <= high,
        needed=_needed(laws, observed),
        wall_ms=1000 * wall,
        cpu_ms=1000 * cpu,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.extrapolation", description=__doc__)
    parser.add_argument("curves", type=Path, help="Parquet file of public learning curves")
    parser.add_argument("--factor", type=int, default=4, choices=(2, 4, 8), help="default: 4")
    parser.add_argument("--every", type=int, default=1, metavar="K", help="only each K-th curve")
    parser.add_argument("--sizes", type=int, metavar="S", help="only the largest S sizes (default: all)")
    chosen = parser.parse_args(arguments)
    curves = read_curves(chosen.curves)[:: chosen.every]
    found = spread_over_processes(partial(evaluate, factor=chosen.factor, n_sizes=chosen.sizes), curves)
    outcomes = [outcome for outcome in found if outcome is not None]
    image_like = [outcome for outcome in outcomes if outcome.is_image_like]
    print(f"{len(outcomes)} curves, fitted up to 1/{chosen.factor} of their largest size")
    _print_errors({"image-like": image_like, "all": outcomes})
    _print_coverage({"image-like": image_like, "all": outcomes})
    _print_needed(outcomes)
    wall, cpu = ([getattr(outcome, name) for outcome in outcomes] for name in ("wall_ms", "cpu_ms"))
    print(
        f"default answer: median {np.median(cpu):.2f} ms of CPU a curve "
        f"(95 % below {np.quantile(cpu, 0.95):.2f}), {np.median(wall):.2f} ms on the clock"
    )


def _published(seen: PublicCurve, at: float) -> float:
    fit = fit_log_linear(seen.train_sizes, seen.errors)
    return fit.predict(at).value if isinstance(fit, LogLinearFit) else float(seen.errors[-1])


def _each_law(laws: object, at: float) -> dict[str, float]:
    if not isinstance(laws, FittedLaws):
        return {}
    return {law.name: float(fit.errors_at([at])[0]) for law, fit in laws.fits if isinstance(fit, LawFit)}


def _needed(laws: object, observed: float) -> SizeNeeded | None:
    if not isinstance(laws, FittedLaws):
        return None
    outlook = look_ahead(laws, metric_named("test_accuracy"), target=1 - observed)
    return outlook.needed if isinstance(outlook, Outlook) else None


def _print_errors(groups: dict[str, list[Outcome]]) -> None:
    heads = "".join(f"{f'{name}, {len(group)} curves':>28}" for name, group in groups.items())
    print(f"\n|predicted - observed|{heads}\n{'':22}" + f"{'median':>18}{'mean':>10}" * len(groups))
    for name in (DEFAULT, PUBLISHED, *(law.name for law in LAWS)):
        cells = ""
        for group in groups.values():
            off = [
                abs(min(max(outcome.predicted[name], 0), 1) - outcome.observed)
                for outcome in group
                if name in outcome.predicted
            ]
            cells += f"{np.median(off):18.4f}{np.mean(off):10.4f}" if off else f"{'-':>18}{'-':>10}"
        print(f"{name:22}{cells}")


def _print_coverage(groups: dict[str, list[Outcome]]) -> None:
    print(f"\ncoverage of the {100 * LEVEL:.0f} % band")
    for name, group in groups.items():
        if not group:
            continue
        scores, sets = (np.array([getattr(o, key) for o in group]) for key in ("score", "data_set"))
        shipped = np.mean([outcome.covered for outcome in group])
        line = f"  {name:10}  shipped table {100 * shipped:.1f} %"
        if len(np.unique(sets)) > 1:
            inside = coverage_left_out(scores, sets)[0]
            line += f", calibrated on all other data sets of the group {100 * inside:.1f} %"
        print(line)


def _print_needed(outcomes: Sequence[Outcome]) -> None:
    answers = [(o.needed, o.train_size) for o in outcomes if o.needed is not None]
    below = [n >= needed.at_least * 0.99 for needed, n in answers if needed.at_least]
    above = [n <= needed.at_most * 1.01 for needed, n in answers if needed.at_most]
    within = [0.5 <= needed.train_size / n <= 2 for needed, n in answers if needed.train_size]
    print(f"\nn needed for the error seen, {len(answers)} curves")
    print(f"  a lower bound for {_share(below, answers)}, right in {_right(below)}")
    print(f"  an upper bound for {_share(above, answers)}, right in {_right(above)}")
    print(f"  a value for {_share(within, answers)}, within a factor of 2 in {_right(within)}\n")


def _right(judged: Sequence[bool]) -> str:
    return f"{100 * np.mean(judged):.1f} %" if judged else "none"


def _share(some: Sequence[object], every: Sequence[object]) -> str:
    return f"{100 * len(some) / max(1, len(every)):.0f} %"


if __name__ == "__main__":
    main()

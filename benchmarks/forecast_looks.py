"""What a user may have seen of a public learning curve, and what came after: to train and to judge forecasts.

A look is a curve cut at a half, a quarter or an eighth of its largest train size: as it is (means over 25
splits), or as a few sizes with a few runs each that scatter around those means. What the laws foresee of
looks is kept in `~/.cache/datasize-benchmarks`, by what was seen and the code that fits: a command that was
stopped goes on where it was.
"""

from __future__ import annotations

import hashlib
import inspect
import math
import pickle
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from benchmarks.public_curves import PublicCurve
from tui_datasize.stats import averaging, fitting, forecast_features, laws, shape
from tui_datasize.stats.averaging import FittedLaws, fit_averaged
from tui_datasize.stats.curve import moderated
from tui_datasize.stats.fits import FitFailure
from tui_datasize.stats.fitting import CurvePoints, curve_points
from tui_datasize.stats.forecast_features import KNOTS, LAST_SIZES, Window, windows_of
from tui_datasize.stats.laws import Floats, Loss
from tui_datasize.stats.shape import describe_shape

KEPT_BELOW = Path.home() / ".cache" / "datasize-benchmarks"

CUTS = (2, 4, 8)
SPLITS = 25
"""Behind each point of a public curve; its standard error is of their mean."""
SIZES_SEEN = (3, 12)
SEEDS_SEEN = (1, 1, 2, 3, 3, 4, 5, 10)
FEW_LOOKS = 3
"""Of each cut, beside the whole curve."""

Kind: TypeAlias = Literal["means", "few means", "runs", "3 seeds", "3 seeds, SD .04"]
JUDGED: tuple[Kind, ...] = ("means", "3 seeds", "3 seeds, SD .04")
"""What forecasts are judged on; the others are for training alone."""


@dataclass(frozen=True, slots=True)
class Look:
    """Some sizes of a curve, and its errors beyond them."""

    data_set: int
    learner: str
    is_image_like: bool
    cut: int
    """Of the largest train size of the curve to the largest of the look."""
    kind: Kind
    train_sizes: Floats
    errors: Floats
    stderrs: Floats
    """NaN where no size has two runs."""
    beyond: Floats
    """Mean errors at `KNOTS` times the largest size of the look; NaN beyond the curve."""
    true_last: float
    """The mean error at the largest size of the look, without the scatter of its runs."""


@dataclass(frozen=True, slots=True)
class FittedLook:
    """A look with what the laws foresee of it."""

    look: Look
    points: CurvePoints
    windows: tuple[Window, Window]
    is_ill_shaped: bool
    cpu_ms: float
    """Of the fits, when they were made."""


def fitted_looks(looks: Iterable[Look], loss: Loss = Loss.ERROR) -> list[FittedLook]:
    """Those of one curve that have enough sizes, fitted now or kept from before."""
    seen = list(looks)
    told = hashlib.sha256(repr((_code_that_fits(), KNOTS, LAST_SIZES, loss)).encode())
    for look in seen:
        told.update(np.concatenate([look.train_sizes, look.errors, look.stderrs]).tobytes())
    path = KEPT_BELOW / f"{told.hexdigest()[:32]}.pickle"
    if path.exists():
        kept = pickle.loads(path.read_bytes())
    else:
        kept = [_fitted(look, loss) for look in seen]
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_bytes(pickle.dumps(kept))
        part.replace(path)
    return [FittedLook(look, *found) for look, found in zip(seen, kept, strict=True) if found]


@cache
def _code_that_fits() -> str:
    parts = averaging, fitting, laws, shape, Window, windows_of, forecast_features._window
    return "".join(inspect.getsource(part) for part in parts)


def _fitted(look: Look, loss: Loss) -> tuple[CurvePoints, tuple[Window, Window], bool, float] | None:
    start = time.process_time()
    points = curve_points(look.train_sizes, look.errors, look.stderrs)
    windows = points if isinstance(points, FitFailure) else windows_of(fit_averaged(points, loss))
    spent = time.process_time() - start
    if isinstance(points, FitFailure) or isinstance(windows, FitFailure):
        return None
    return points, windows, bool(describe_shape(FittedLaws(points, loss, ())).faults), 1000 * spent


def looks_for_training(curve: PublicCurve) -> Iterator[Look]:
    """The whole curve and some random looks at each cut, the same ones each time."""
    for cut in CUTS:
        rng = np.random.default_rng([curve.data_set, *curve.learner.encode(), cut])
        yield _look(curve, curve.up_to(cut), cut, "means")
        yield _look(curve, _some_sizes(curve.up_to(cut), rng), cut, "few means")
        for _ in range(FEW_LOOKS - 1):
            part = _some_sizes(curve.up_to(cut), rng)
            yield _seen(curve, part, cut, "runs", _scatter(part, rng), int(rng.choice(SEEDS_SEEN)), rng)


def looks_for_judging(curve: PublicCurve) -> Iterator[Look]:
    """The whole curve and five sizes with three seeds each, at each cut, the same ones each time."""
    for cut in CUTS:
        rng = np.random.default_rng([1, curve.data_set, *curve.learner.encode(), cut])
        part = curve.up_to(cut, 5)
        yield _look(curve, curve.up_to(cut), cut, "means")
        yield _seen(curve, part, cut, "3 seeds", part.stderrs * math.sqrt(SPLITS), 3, rng)
        yield _seen(curve, part, cut, "3 seeds, SD .04", np.full(len(part.errors), 0.04), 3, rng)


def looks_at_losses(curve: PublicCurve) -> Iterator[Look]:
    """The whole curve up to each of its sizes from the fifth on that half of a later one is."""
    for n in range(5, len(curve.train_sizes) - 1):
        arrays = (each[:n] for each in (curve.train_sizes, curve.errors, curve.stderrs))
        yield _look(curve, PublicCurve(curve.data_set, curve.learner, *arrays), CUTS[0], "means")


def _some_sizes(curve: PublicCurve, rng: np.random.Generator) -> PublicCurve:
    """A few of its largest sizes, next to each other or every other one."""
    step, most = int(rng.integers(1, 3)), int(rng.integers(SIZES_SEEN[0], SIZES_SEEN[1] + 1))
    kept = np.arange(len(curve.train_sizes))[::-step][:most][::-1]
    if len(kept) < SIZES_SEEN[0]:
        kept = np.arange(len(curve.train_sizes))[-most:]
    return PublicCurve(
        curve.data_set, curve.learner, curve.train_sizes[kept], curve.errors[kept], curve.stderrs[kept]
    )


def _scatter(curve: PublicCurve, rng: np.random.Generator) -> Floats:
    """Standard deviations of single runs: as the splits scatter, by test images, or the same at all sizes."""
    errors = np.clip(curve.errors, 1e-4, 1 - 1e-4)
    kind = rng.random()
    if kind < 0.5:
        sd: Floats = curve.stderrs * math.sqrt(SPLITS) * 2 ** rng.uniform(-2, 0.5)
    elif kind < 0.75:
        sd = np.sqrt(errors * (1 - errors) / np.exp(rng.uniform(math.log(60), math.log(20_000))))
    else:
        sd = np.full(len(errors), np.exp(rng.uniform(math.log(0.002), math.log(0.05))))
    return sd


def _seen(
    curve: PublicCurve,
    part: PublicCurve,
    cut: int,
    kind: Kind,
    run_sd: Floats,
    seeds: int,
    rng: np.random.Generator,
) -> Look:
    """A look at runs that scatter."""
    runs = np.clip(part.errors + rng.normal(0, 1, (seeds, len(part.errors))) * run_sd, 0, 1)
    variance = runs.var(axis=0, ddof=1) if seeds > 1 else np.zeros(runs.shape[1])
    counts = np.full(runs.shape[1], float(seeds))
    stderrs = moderated(variance, counts - 1, counts)
    seen = PublicCurve(part.data_set, part.learner, part.train_sizes, runs.mean(axis=0), stderrs)
    return _look(curve, seen, cut, kind)


def _look(curve: PublicCurve, seen: PublicCurve, cut: int, kind: Kind) -> Look:
    return Look(
        curve.data_set,
        curve.learner,
        curve.is_image_like,
        cut,
        kind,
        seen.train_sizes,
        seen.errors,
        seen.stderrs,
        _beyond(curve, float(seen.train_sizes[-1])),
        float(curve.errors[curve.train_sizes == seen.train_sizes[-1]][0]),
    )


def _beyond(curve: PublicCurve, largest: float) -> Floats:
    """Errors at the knots; sizes are rounded to whole images, so that the nearest within 2 % is the one."""
    sizes = largest * np.array(KNOTS)
    nearest = np.abs(np.log(curve.train_sizes[:, None] / sizes)).argmin(axis=0)
    is_there = np.abs(np.log(curve.train_sizes[nearest] / sizes)) < 0.02
    return np.where(is_there, curve.errors[nearest], np.nan)

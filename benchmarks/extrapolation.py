"""How well forecasts of public learning curves hold, today's beside frozen ones.

`python -m benchmarks.extrapolation LEARNING_CURVES.parquet [--every K] [--frozen FILE]`. Each curve is cut at
a half, a quarter and an eighth of its largest train size, and what is foreseen of the latter is
compared with the mean error seen there: from all sizes as means over 25 splits, and from five sizes with
three runs each that scatter as the splits do, or by .04. Curves of data sets that the shipped forecast was
learned from are foreseen by trees grown without them (`forecast_folds.json`). The frozen forecasts, of the
average of laws with one band for all curves, are in `frozen_forecasts.parquet`.

Printed are the interval score of the 90 % band (Gneiting and Raftery, 2007: its width, and 20 times what lies
outside), its ratio with an interval from 400 resamples of data sets, and without the curve that adds most to
both scores, coverage, median width and median error. Of few data sets, as image-like are four, resamples make
intervals too narrow: that of the coverage is widened until it holds for 95 % of bands that hold exactly. In
how many cells 90 % is not within it, nor within the one of resamples alone, follows; then the size that a
target needs: how far off, by how far the target lies; then bands of cross-entropy, which public curves have
none of, on those of `benchmarks.loss_curves`; then the time of a forecast.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.fit_forecast import FOLDS_FILE, of_losses
from benchmarks.forecast_looks import CUTS, JUDGED, FittedLook, fitted_looks, looks_for_judging
from benchmarks.public_curves import PublicCurve, read_curves, spread_over_processes
from tui_datasize.metric import metric_named
from tui_datasize.stats.averaging import Average
from tui_datasize.stats.extrapolate import LEVEL
from tui_datasize.stats.forecast import Forecaster, forecaster_from, shipped_forecaster
from tui_datasize.stats.laws import Floats, Loss
from tui_datasize.stats.size_needed import size_needed
from tui_datasize.stats.view import View

FROZEN_FILE = Path(__file__).with_name("frozen_forecasts.parquet")
RESAMPLES = 400
EXACT = 200
"""Times that bands are drawn which hold exactly."""
KEYS = ("openml_id", "learner", "kind", "cut")
ERROR = metric_named("test_accuracy")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One look: what was foreseen at the largest size of the curve, and what was seen."""

    openml_id: int
    learner: str
    kind: str
    cut: int
    is_image_like: bool
    observed: float
    low: float
    value: float
    high: float
    images: int | None
    """By what factor of the true size the target is placed, in thousandths; None where it is not reached."""
    images_low: int | None
    images_high: int | None
    has_target: bool
    """Whether the error at the largest size is below the last one seen, so that its size can be asked for."""
    cpu_ms: float


def foresee_all(curve: PublicCurve) -> list[Outcome]:
    """Every look at one curve that is judged."""
    forecaster = forecaster_for(curve.data_set)
    looks = fitted_looks(looks_for_judging(curve))
    found = (foresee(seen, forecaster) for seen in looks)
    return [outcome for outcome in found if np.isfinite(outcome.observed)]


@cache
def forecaster_for(data_set: int) -> Forecaster:
    """The trees that were grown without a data set."""
    for document, forecaster in _folds():
        if data_set in document["left_out"]:
            return forecaster
    return shipped_forecaster()


def foresee(seen: FittedLook, forecaster: Forecaster) -> Outcome:
    """Forecast one look."""
    look, points, start = seen.look, seen.points, time.process_time()
    foreseen = forecaster.foresee(points, *seen.windows, Loss.ERROR)
    at = foreseen.largest * np.array([float(look.cut)])
    (low,), (high,) = foreseen.band(at, LEVEL)
    value, observed = float(foreseen.errors_at(at)[0]), float(look.beyond[CUTS.index(look.cut)])
    spent = 1000 * (time.process_time() - start) + seen.cpu_ms
    # Of the average, which is for sizes within the runs, only the loss is asked.
    view = View(Average((), Loss.ERROR), foreseen, forecaster, points.train_sizes, ERROR, (), 0.0)
    needed = size_needed(view, 1 - observed, 1 - points.errors)
    images, images_low, images_high = (
        None if size is None else round(1000 * size / float(at[0]))
        for size in (needed.train_size, needed.at_least, needed.at_most)
    )
    return Outcome(
        look.data_set,
        look.learner,
        look.kind,
        look.cut,
        look.is_image_like,
        observed,
        float(low),
        value,
        float(high),
        images,
        images_low,
        images_high,
        bool(observed < look.true_last) and not needed.is_measured,
        spent,
    )


def interval_score(low: Floats, high: Floats, observed: Floats) -> Floats:
    """The width of a band of level `LEVEL`, and what lies outside it weighed by the odds; shape (n,)."""
    outside = np.maximum(low - observed, 0) + np.maximum(observed - high, 0)
    score: Floats = high - low + 2 / (1 - LEVEL) * outside
    return score


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.extrapolation", description=__doc__)
    parser.add_argument("curves", type=Path, help="Parquet file of public learning curves")
    parser.add_argument("--every", type=int, default=1, metavar="K", help="only each K-th curve")
    parser.add_argument("--frozen", type=Path, default=FROZEN_FILE, help=f"default: {FROZEN_FILE.name}")
    chosen = parser.parse_args(arguments)
    curves = read_curves(chosen.curves)[:: chosen.every]
    found = spread_over_processes(foresee_all, curves)
    outcomes = pl.DataFrame([asdict(outcome) for of_curve in found for outcome in of_curve])
    frozen = pl.read_parquet(chosen.frozen).rename(
        {name: f"{name}_frozen" for name in ("low", "value", "high")}
    )
    joined = outcomes.join(frozen, on=KEYS, how="left", nulls_equal=True)
    without = joined["value_frozen"].null_count()
    print(f"{len(curves)} curves of {joined['openml_id'].n_unique()} data sets", end="")
    print(f"; {without} looks have no frozen forecast" if without else "")
    covers = []
    for kind in JUDGED:
        of_kind = joined.filter(kind=kind)
        print(f"\n{kind}{_HEAD}")
        for name, group in (("all", of_kind), ("image-like", of_kind.filter("is_image_like"))):
            for cut in CUTS:
                text, cover = _line(group.filter(cut=cut))
                print(f"{name:>10} {cut}x " + text)
                covers += [cover] if cover else []
            print(f"{name:>10}    " + _line(group, is_pooled=True)[0])
    print(
        f"\n{LEVEL:.0%} is outside the interval of {sum(map(_is_missed, covers))} cells; that of "
        f"resamples alone of {sum(cover.is_missed_plainly for cover in covers)}, and of bands that hold "
        f"exactly of {sum(cover.by_chance for cover in covers):.1f}"
    )
    for kind in JUDGED:
        _print_needed(kind, joined.filter("has_target", kind=kind))
    of_loss = of_losses(shipped_forecaster())
    print("\ncross-entropy of real trainings: 90 % band as learned, as shipped, |off| in logarithms, looks")
    for told in zip(CUTS, of_loss.plain, of_loss.held, of_loss.off, of_loss.looks, strict=True):
        print("           {}x  {:.1%}  {:.1%}  {:.3f}  {}".format(*told))
    print(f"           halves by {of_loss.stretch}")
    cpu = joined["cpu_ms"].to_numpy()
    print(
        f"\na forecast with its fits: median {np.median(cpu):.1f} ms of CPU, "
        f"95 % below {np.quantile(cpu, 0.95):.1f}"
    )


_HEAD = (
    "\n               score frozen  ratio [95 %]      less one  covered [95 %]      frozen  width frozen"
    "  |off|  frozen  looks"
)


@dataclass(frozen=True, slots=True)
class Cover:
    """The 95 % interval of how often bands hold."""

    low: float
    high: float
    is_missed_plainly: bool
    """Whether the interval of resamples alone is without the level asked for."""
    by_chance: float
    """How often that of bands that hold exactly would be."""


def _line(looks: pl.DataFrame, *, is_pooled: bool = False) -> tuple[str, Cover | None]:
    """Scores, coverage, widths and median errors of some looks, now and frozen."""
    if looks.is_empty():
        return "none", None
    observed = looks["observed"].to_numpy()
    now, frozen = (_judged(looks, suffix) for suffix in ("", "_frozen"))
    sets = looks["openml_id"].to_numpy()
    cover = _cover(sets, now["covered"])
    text = ""
    if not is_pooled:
        scores = now["score"], frozen["score"]
        ratios = _resampled(sets, *scores)
        rest = np.delete(np.array(scores), np.argmax(sum(one / one.sum() for one in scores)), axis=1)
        text = (
            f"{now['score'].mean():.3f} {frozen['score'].mean():6.3f}  "
            f"{now['score'].mean() / frozen['score'].mean():.2f} [{ratios[0]:.2f} {ratios[1]:.2f}]  "
            f"{rest[0].sum() / rest[1].sum():.2f}"
        )
    return (
        f"{text:34}  {100 * now['covered'].mean():.1f} % [{100 * cover.low:.1f} {100 * cover.high:.1f}]  "
        f"{100 * np.nanmean(frozen['covered']):.1f} %  {np.median(now['width']):.3f} "
        f"{np.nanmedian(frozen['width']):.3f}  "
        f"{np.median(now['off']):.4f} {np.nanmedian(frozen['off']):.4f}  {len(observed)}"
    ), cover


def _judged(looks: pl.DataFrame, suffix: str) -> Mapping[str, Floats]:
    observed = looks["observed"].to_numpy()
    low, value, high = (
        looks[f"{name}{suffix}"].cast(pl.Float64).fill_null(np.nan).to_numpy()
        for name in ("low", "value", "high")
    )
    covered = np.where(np.isnan(low), np.nan, (low <= observed) & (observed <= high))
    return {
        "score": interval_score(low, high, observed),
        "covered": covered,
        "width": high - low,
        "off": np.abs(value - observed),
    }


def _resampled(sets: Floats, above: Floats, below: Floats) -> Floats:
    """The 95 % interval of the ratio of two means over data sets drawn anew, shape (2,)."""
    unique, index = np.unique(sets, return_inverse=True)
    sums = np.stack([np.bincount(index, values) for values in (above, below)])
    drawn = np.random.default_rng(0).integers(0, len(unique), (RESAMPLES, len(unique)))
    totals = sums[:, drawn].sum(axis=2)
    ends: Floats = np.quantile(totals[0] / totals[1], (0.025, 0.975))
    return ends


def _cover(sets: Floats, covered: Floats) -> Cover:
    """How often bands hold, from data sets drawn anew."""
    exact = (np.random.default_rng(0).random((EXACT, len(sets))) < LEVEL).astype(float)
    by_chance = [_to_widen(one.mean(), _resampled(sets, one, np.ones(len(one)))) for one in exact]
    held, plain = covered.mean(), _resampled(sets, covered, np.ones(len(covered)))
    ends = held + max(1.0, float(np.quantile(by_chance, 0.95))) * (plain - held)
    return Cover(
        max(0.0, float(ends[0])),
        min(1.0, float(ends[1])),
        _to_widen(held, plain) > 1,
        float(np.mean(np.array(by_chance) > 1)),
    )


def _to_widen(held: float, ends: Floats) -> float:
    """How many times as wide an interval has to be for the level asked for to lie within."""
    side = held - ends[0] if held > LEVEL else ends[1] - held
    return float(abs(held - LEVEL) / max(side, 1e-9))


def _is_missed(cover: Cover) -> bool:
    return not cover.low <= LEVEL <= cover.high


def _print_needed(kind: str, looks: pl.DataFrame) -> None:
    """How well the size of a target is told: of the error seen at 2, 4 and 8 times the largest size."""
    print(
        f"\nimages for a target, {kind}: factor off (median), within 2x, in the 80 % interval, no upper end"
    )
    for name, group in (("all", looks), ("image-like", looks.filter("is_image_like"))):
        for cut in CUTS:
            part = group.filter(cut=cut)
            if part.is_empty():
                continue
            # A size that is not reached within eight times the largest is off by more than any other.
            size = part["images"].cast(pl.Float64).fill_null(np.inf).to_numpy() / 1000
            low, high = (
                part["images_low"].to_numpy(),
                part["images_high"].cast(pl.Float64).fill_null(np.inf).to_numpy(),
            )
            inside = (low <= 1010) & (high >= 990)
            off = np.exp(np.median(np.abs(np.log(size))))
            print(
                f"{name:>10} {cut}x  {off:.2f}  {100 * np.mean((size >= 0.5) & (size <= 2)):.0f} %  "
                f"{100 * inside.mean():.0f} %  {100 * np.mean(np.isinf(high)):.0f} %  of {part.height}"
            )


@cache
def _folds() -> list[tuple[dict[str, Any], Forecaster]]:
    documents = json.loads(FOLDS_FILE.read_text(encoding="utf-8"))
    return [(document, forecaster_from(document)) for document in documents]


if __name__ == "__main__":
    main()

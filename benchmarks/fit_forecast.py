"""Grow the trees of the forecast, `tui_datasize/stats/forecast.json`, from public curves.

`python -m benchmarks.fit_forecast LEARNING_CURVES.parquet`. Looks at each curve are those of
`benchmarks.forecast_looks`. Quantiles of log(error/average of the laws from the last sizes) are learned by
boosted trees, once from all data sets and once for each fifth of them from the others; with the latter
(`benchmarks/forecast_folds.json`) the bands are made to hold, and `benchmarks.extrapolation` judges forecasts
of data sets that were not learned from. About twelve minutes of one core.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor

from benchmarks.forecast_looks import (
    CUTS,
    FittedLook,
    fitted_looks,
    looks_at_losses,
    looks_for_judging,
    looks_for_training,
)
from benchmarks.public_curves import PublicCurve, read_curves, read_loss_curves, spread_over_processes
from tui_datasize.stats import forecast
from tui_datasize.stats.averaging import LEAST_ERROR
from tui_datasize.stats.forecast import LEAST_UNIT, LEVELS, Forecaster, Held, forecaster_from
from tui_datasize.stats.forecast_features import (
    FEATURES,
    KNOTS,
    NOISE_CLASSES,
    SINGLE_RUNS,
    THREE_SIZES,
    doubt_of,
    features_of,
    noise_class,
    unlearned_class,
)
from tui_datasize.stats.laws import Floats, Loss

FOLDS_FILE = Path(__file__).with_name("forecast_folds.json")
CHECK_FILE = Path(__file__).with_name("forecast_check.json")
CHECKED = 24
"""Rows whose quantiles by scikit-learn are kept, to tell that the shipped trees say the same."""
FOLDS = 5
NOISY_EVERY = 2
"""Few sizes and few runs are looked at on each second curve: half of the time for nearly the same trees."""
PARTS = 10
"""Of data sets, to find which quantile holds on those left out."""
SHARES = np.arange(-0.01, 0.0425, 0.0025)
"""More than is asked for that a quantile may have to be."""
TREES, LEAVES, LEARNING_RATE, LEAST_ROWS = 40, 6, 0.2, 60
CODES = 120
"""Different values that a feature keeps."""
FOR_ENDS = (
    "largest mean / last mean",
    "first mean / last mean",
    "largest mean - last mean",
    "median relative SE",
)
"""Features that the middle does without: with them it corrects laws that agree."""
MOST_DOUBTS = 3.0
"""How far the laws are corrected, in units of their own doubt: a plateau that a few curves leave by a cliff
shall not make a cliff of every plateau."""
LEAST_ILL_SHAPED = 50
"""Of fewer curves no coverage is written down: it would be known to ten points at best."""


@dataclass(frozen=True)
class Rows:
    """One row per look and knot whose error is known; arrays of shape (n,)."""

    features: Floats
    """Shape (n, FEATURES)."""
    off: Floats
    """Logarithm of the error seen less that of the anchor."""
    knot: NDArray[np.int64]
    data_set: NDArray[np.int64]
    weight: Floats
    """Root of the last mean: misses count in units of the error, but not by that alone."""
    kind: NDArray[np.str_]
    is_whole: NDArray[np.bool_]
    """Whether the knot is as far as the curve goes, as in the judging."""
    is_ill_shaped: NDArray[np.bool_]


def rows_of(task: tuple[PublicCurve, bool]) -> list[tuple[Any, ...]]:
    """The rows of one curve, each in the order of the fields of `Rows`; few sizes and runs if asked for."""
    curve, is_noisy = task
    seen = fitted_looks(looks_for_judging(curve))
    if is_noisy:
        seen += fitted_looks(look for look in looks_for_training(curve) if look.kind != "means")
    return [row for fitted in seen for row in _rows(fitted)]


def grow(task: tuple[Rows, NDArray[np.bool_]]) -> dict[str, list[HistGradientBoostingRegressor]]:
    """The trees of each quantile from some of the rows, in the order of `Forecaster.quantiles`."""
    rows, kept = task
    features, off, weights = rows.features[kept], rows.off[kept], rows.weight[kept]
    doubt = doubt_of(features)
    unit = np.hypot(LEAST_UNIT, doubt)
    in_doubts = np.clip(off / doubt, -MOST_DOUBTS, MOST_DOUBTS)
    ends = ((off, weights), (off / unit, weights * unit))
    without = np.where(np.isin(FEATURES, FOR_ENDS), 0.0, features)
    return {
        "0.05": [fitted(features, values, weight, 0.05) for values, weight in ends],
        "0.5": [fitted(without, in_doubts, weights, 0.5)],
        "0.95": [fitted(features, values, weight, 0.95) for values, weight in ends],
    }


def fitted(
    features: Floats, values: Floats, weights: Floats, quantile: float
) -> HistGradientBoostingRegressor:
    """scikit-learn's trees of one quantile; a feature keeps `CODES` values, which saves most of the time."""
    coded = np.empty_like(features)
    for j, column in enumerate(features.T):
        codes = np.unique(np.quantile(column, np.linspace(0, 1, CODES)))
        coded[:, j] = codes[np.minimum(np.searchsorted(codes, column), len(codes) - 1)]
    trees = HistGradientBoostingRegressor(
        loss="quantile",
        quantile=quantile,
        max_iter=TREES,
        max_leaf_nodes=LEAVES,
        learning_rate=LEARNING_RATE,
        min_samples_leaf=LEAST_ROWS,
        early_stopping=False,
    )
    return trees.fit(coded, values, sample_weight=weights)


def exported(model: HistGradientBoostingRegressor) -> dict[str, Any]:
    """What `forecast.Trees` reads. scikit-learn has no public way to these numbers."""
    trees = []
    for (predictor,) in model._predictors:
        nodes, own = predictor.nodes, np.arange(len(predictor.nodes))
        leaf = nodes["is_leaf"].astype(bool)
        trees.append(
            {
                "feature": np.where(leaf, 0, nodes["feature_idx"]).tolist(),
                "threshold": np.where(leaf, 0.0, nodes["num_threshold"]).tolist(),
                "left": np.where(leaf, own, nodes["left"]).tolist(),
                "right": np.where(leaf, own, nodes["right"]).tolist(),
                "value": [float(f"{value:.6g}") for value in np.where(leaf, nodes["value"], 0.0)],
            }
        )
    return {"baseline": float(model._baseline_prediction.item()), "trees": trees}


def fold_of(data_sets: NDArray[np.int64], folds: int = FOLDS, seed: int = 0) -> NDArray[np.int64]:
    """To which fold each data set belongs: all its curves to one."""
    unique = np.unique(data_sets)
    fold: NDArray[np.int64] = np.random.default_rng(seed).permutation(len(unique)) % folds
    return fold[np.searchsorted(unique, data_sets)]


def stretch(
    below: Floats, above: Floats, place: tuple[NDArray[np.int64], NDArray[np.int64]], part: NDArray[np.int64]
) -> dict[str, dict[str, list[list[float]]]]:
    """By level, the factors on either half of the bands that make it hold: by kind of noise, at each knot.

    Args:
        below: How far each error lies below the middle, in lower half widths; shape (n,).
        above: The same above it.
        place: The kind of noise, see `forecast_features.noise_class`, and the knot of each, shape (n,) both.
        part: Of the data sets, of each, shape (n,).
    """
    kind, knot = place
    groups = [[(kind == noise) & (knot == k) for k in range(len(KNOTS))] for noise in range(NOISE_CLASSES)]
    return {
        str(level): {
            name: [
                [round(conformal(scores[each], part[each], (1 + level) / 2), 4) for each in of_kind]
                for of_kind in groups
            ]
            for name, scores in (("lower", below), ("upper", above))
        }
        for level in LEVELS
    }


def conformal(scores: Floats, part: NDArray[np.int64], share: float) -> float:
    """The score that a share of such scores of further data sets is not above.

    The quantile is the least that, taken from all parts of the data sets but one, holds as often as asked on
    that one: data sets differ, so that the plain quantile of some holds less on others.
    """
    shares = np.minimum(share + SHARES, 1)
    held = np.zeros(len(shares))
    for one in np.unique(part):
        held += (scores[part == one, None] <= _quantiles(scores[part != one], shares)).sum(axis=0)
    enough = np.append(np.flatnonzero(held >= share * len(scores)), len(shares) - 1)
    return float(_quantiles(scores, shares)[enough[0]])


def _quantiles(scores: Floats, shares: Floats) -> Floats:
    """As many scores as asked for, out of one more; 1 where there are none."""
    if not len(scores):
        return np.ones(len(shares))
    rank = np.ceil((len(scores) + 1) * shares - 1e-9).astype(int)
    found: Floats = np.sort(scores)[np.minimum(rank, len(scores)) - 1]
    return found


@dataclass(frozen=True)
class OfLosses:
    """How bands that were learned from error rates do on cross-entropy, and what makes them hold."""

    stretch: dict[str, dict[str, float]]
    """By level, how many times the lower and the upper half have to be as wide."""
    plain: list[float]
    """How often the bands of level .9 held as they are, at each knot."""
    held: list[float]
    """The same of those made to hold, without the data set."""
    off: list[float]
    """Median error of the middle, in logarithms."""
    looks: list[int]


def of_losses(forecaster: Forecaster) -> OfLosses:
    """Measure a forecaster on every curve of cross-entropy."""
    plainly = replace(forecaster, loss_stretch=dict.fromkeys(LEVELS, (1.0, 1.0)))
    rows = []
    for curve in read_loss_curves():
        for seen in fitted_looks(looks_at_losses(curve), Loss.CROSS_ENTROPY):
            features, average = features_of(seen.points, *seen.windows), seen.windows[1].average[1:]
            middle, ends = plainly.ends(features, np.arange(len(KNOTS)), Loss.CROSS_ENTROPY)
            off = np.log(seen.look.beyond) - average - middle
            halves = [(off / (ends[level][end] - middle)) for level in LEVELS for end in (0, 1)]
            rows += [
                (k, curve.data_set, abs(off[k]), *(half[k] for half in halves))
                for k in np.flatnonzero(np.isfinite(off))
            ]
    knot, data_set, off, *sides = map(np.array, zip(*rows, strict=True))

    def made_to_hold(kept: NDArray[np.bool_]) -> list[float]:
        shares = [(1 + level) / 2 for level in LEVELS for _ in (0, 1)]
        return [
            conformal(side[kept], data_set[kept], share) for side, share in zip(sides, shares, strict=True)
        ]

    plain, held = (sides[-2] <= 1) & (sides[-1] <= 1), np.zeros(len(knot), bool)
    for one in np.unique(data_set):
        *_, lower, upper = made_to_hold(data_set != one)
        held |= (data_set == one) & (sides[-2] <= lower) & (sides[-1] <= upper)
    ends_of = iter(round(by, 3) for by in made_to_hold(knot >= 0))
    at = [knot == k for k in range(len(KNOTS))]
    return OfLosses(
        {str(level): {"lower": next(ends_of), "upper": next(ends_of)} for level in LEVELS},
        [round(float(plain[each].mean()), 4) for each in at],
        [round(float(held[each].mean()), 4) for each in at],
        [round(float(np.median(off[each])), 4) for each in at],
        [int(each.sum()) for each in at],
    )


def _unlearned(rows: Rows, kept: NDArray[np.bool_]) -> dict[str, dict[str, list[list[float]]]]:
    """By level, how far curves that had hardly left the error of a guess fell and rose: by class and knot."""
    judged, guess = kept & (rows.kind == "means"), unlearned_class(rows.features)
    change = rows.off + rows.features[:, FEATURES.index("average of the last")]
    groups = [[judged & (guess == one) & (rows.knot == k) for k in range(len(KNOTS))] for one in (1, 2)]
    tails = {level: (1 - level) / 4 for level in LEVELS}
    return {
        str(level): {
            name: [
                [round(float(np.quantile(np.append(change[each], 0), tail)), 4) for each in of_class]
                for of_class in groups
            ]
            for name, tail in (("lower", tails[level]), ("upper", 1 - tails[level]))
        }
        for level in LEVELS
    }


def documents(rows: Rows) -> tuple[dict[str, Any], list[dict[str, Any]], dict[str, Any]]:
    """The forecaster from all data sets, those from all but a fifth of them, and a check of the first."""
    fold, part = fold_of(rows.data_set), fold_of(rows.data_set, PARTS, 3)
    every = np.ones(len(fold), bool)
    parts = [*(fold != k for k in range(FOLDS)), every]
    *of_folds, models = spread_over_processes(grow, [(rows, kept) for kept in parts])
    grown = [{"quantiles": _exported(without)} for without in of_folds]
    below, above = np.empty(len(fold)), np.empty(len(fold))
    place = noise_class(rows.features)[1], rows.knot
    empty: dict[str, Any] = {"provenance": {}, "stretch": {}, "unlearned": {}, "loss_stretch": {}, "held": []}
    for k, document in enumerate(grown):
        out = fold == k
        lower, middle, upper = forecaster_from(document | empty).halves(rows.features[out])
        below[out], above[out] = (middle - rows.off[out]) / lower, (rows.off[out] - middle) / upper

    def made_to_hold(kept: NDArray[np.bool_]) -> dict[str, Any]:
        # Nearer knots of long curves are held more often than they count, but where there are few curves.
        far = kept & (rows.is_whole | np.isin(place[0], (SINGLE_RUNS, THREE_SIZES)))
        among = place[0][far], place[1][far]
        return {
            "stretch": stretch(below[far], above[far], among, part[far]),
            "unlearned": _unlearned(rows, kept),
        }

    folds = []
    holds = np.empty(len(fold), bool)
    for k, document in enumerate(grown):
        out = fold == k
        left_out = sorted({int(data_set) for data_set in rows.data_set[out]})
        folds.append({"left_out": left_out, **empty, **document, **made_to_hold(~out)})
        _, ends = forecaster_from(folds[-1]).ends(rows.features[out], rows.knot[out])
        low, high = ends[max(LEVELS)]
        holds[out] = (low <= rows.off[out]) & (rows.off[out] <= high)
    whole = {
        **empty,
        **made_to_hold(every),
        "held": [asdict(_held(rows, holds, k)) for k in range(len(KNOTS))],
        "held_by": _held_by(rows, holds),
        "features": list(FEATURES),
        "quantiles": _exported(models),
    }
    return whole, folds, _check(rows, models)


def _check(rows: Rows, models: dict[str, list[HistGradientBoostingRegressor]]) -> dict[str, Any]:
    sample = rows.features[:: len(rows.off) // CHECKED][:CHECKED]
    told = {name: [model.predict(sample).tolist() for model in each] for name, each in models.items()}
    return {"features": sample.tolist(), **told}


def _exported(models: dict[str, list[HistGradientBoostingRegressor]]) -> dict[str, list[dict[str, Any]]]:
    return {name: [exported(model) for model in each] for name, each in models.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Write both files and print what held."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fit_forecast", description=__doc__)
    parser.add_argument("curves", type=Path, help="Parquet file of public learning curves")
    default = Path(forecast.__file__).with_name(forecast.FORECAST_FILE)
    parser.add_argument("-o", "--output", type=Path, default=default, help="default: the file in the package")
    parser.add_argument("--folds", type=Path, default=FOLDS_FILE, help=f"default: {FOLDS_FILE.name}")
    parser.add_argument("--check", type=Path, default=CHECK_FILE, help=f"default: {CHECK_FILE.name}")
    chosen = parser.parse_args(arguments)
    curves = read_curves(chosen.curves)
    tasks = [(curve, i % NOISY_EVERY == 0) for i, curve in enumerate(curves)]
    rows = stacked([row for of_curve in spread_over_processes(rows_of, tasks) for row in of_curve])
    whole, folds, check = documents(rows)
    whole["provenance"] = _provenance(rows, curves)
    of_loss = of_losses(forecaster_from(whole))
    whole["loss_stretch"] = of_loss.stretch
    for held, share in zip(whole["held"], of_loss.held, strict=True):
        held["coverage_loss"] = share
    for path, document in ((chosen.output, whole), (chosen.folds, folds), (chosen.check, check)):
        path.write_text(json.dumps(document, separators=(",", ":")) + "\n", encoding="utf-8")
    told = ("provenance", "stretch", "unlearned", "loss_stretch", "held", "held_by")
    print(json.dumps({name: whole[name] for name in told}, indent=1))


def stacked(rows: Sequence[tuple[Any, ...]]) -> Rows:
    """Rows of many curves as arrays."""
    return Rows(*(np.array(column) for column in zip(*rows, strict=True)))


def _held(rows: Rows, holds: NDArray[np.bool_], k: int) -> Held:
    judged = (rows.knot == k) & rows.is_whole
    means = judged & (rows.kind == "means")
    ill, few = means & rows.is_ill_shaped, judged & (rows.kind == "3 seeds")
    share = round(float(holds[ill].mean()), 4) if ill.sum() >= LEAST_ILL_SHAPED else None
    return Held(KNOTS[k], round(float(holds[means].mean()), 4), share, round(float(holds[few].mean()), 4))


def _held_by(rows: Rows, holds: NDArray[np.bool_]) -> dict[str, list[float]]:
    """How often bands held of what users may have: at each knot, by sizes and by runs a size."""
    sizes, stderr = (
        rows.features[:, FEATURES.index(name)] for name in ("sizes", "relative SE of the last mean")
    )
    few = np.isin(rows.kind, ("few means", "runs"))
    groups = {
        "one run a size": (rows.kind == "runs") & (stderr < 0),
        "several runs a size": (rows.kind == "runs") & (stderr >= 0),
        **{f"{n} sizes": few & (sizes == n) for n in (3, 4, 5)},
        "6 to 8 sizes": few & (sizes >= 6) & (sizes <= 8),
        "9 to 12 sizes": few & (sizes >= 9),
    }
    return {
        name: [round(float(holds[kept & (rows.knot == k)].mean()), 4) for k in range(len(KNOTS))]
        for name, kept in groups.items()
        if all((kept & (rows.knot == k)).any() for k in range(len(KNOTS)))
    }


def _provenance(rows: Rows, curves: Sequence[PublicCurve]) -> dict[str, Any]:
    return {
        "data": "LCDB 1.1 (Learning Curve Database; Mohr, Viering et al.), a half of its data sets",
        "licence": "CC BY 4.0",
        "date": datetime.now(UTC).date().isoformat(),
        "metric": "test error rate, mean over 25 splits",
        "protocol": (
            f"curves of 2,000 and more, cut at 1/{', 1/'.join(map(str, CUTS))} of their largest size: all "
            "sizes from 32 on, a factor of sqrt(2) apart, as means; 5 sizes with 3 runs that scatter as the "
            "splits do, or by .04; on each other curve 3 to 12 sizes as means and, twice, with 1 to 10 runs "
            "that scatter as the splits do, as 60 to 20,000 test images would, or by .002 to .05; "
            f"{TREES} trees of {LEAVES} leaves a quantile; bands conformalised, and their coverage measured, "
            f"on data sets left out, in {FOLDS} folds"
        ),
        "curves": len(curves),
        "data_sets": len(np.unique(rows.data_set)),
        "rows": len(rows.off),
    }


def _rows(seen: FittedLook) -> list[tuple[Any, ...]]:
    look, last = seen.look, seen.windows[1]
    features = features_of(seen.points, *seen.windows)
    weight = float(np.sqrt(max(look.errors[-1], LEAST_ERROR)))
    return [
        (
            features[k],
            float(np.log(max(look.beyond[k], LEAST_ERROR)) - last.average[k + 1]),
            k,
            look.data_set,
            weight,
            look.kind,
            KNOTS[k] == look.cut,
            seen.is_ill_shaped,
        )
        for k in range(len(KNOTS))
        if np.isfinite(look.beyond[k])
    ]


if __name__ == "__main__":
    main()

"""Grow the trees of the forecast, `tui_datasize/stats/forecast.json`, from public curves.

`python -m benchmarks.fit_forecast LEARNING_CURVES.parquet [--rows FILE]`. Looks at each curve are those of
`benchmarks.forecast_looks`. Quantiles of log(error/average of the laws from the last sizes) are learned by
boosted trees, once from all data sets and once for each fifth of them from the others; with the latter
(`benchmarks/forecast_folds.json`) the bands are made to hold, and `benchmarks.extrapolation` judges forecasts
of data sets that were not learned from. About twelve minutes of one core; `--rows` keeps the features.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor

from benchmarks.forecast_looks import CUTS, Look, looks_for_judging, looks_for_training
from benchmarks.public_curves import PublicCurve, read_curves, spread_over_processes
from tui_datasize.stats import forecast
from tui_datasize.stats.averaging import LEAST_ERROR, FittedLaws, fit_averaged
from tui_datasize.stats.fits import FitFailure
from tui_datasize.stats.fitting import curve_points
from tui_datasize.stats.forecast import LEVELS, Held, forecaster_from
from tui_datasize.stats.forecast_features import FEATURES, KNOTS, doubt_of, features_of, is_unsure, windows_of
from tui_datasize.stats.laws import Floats, Loss
from tui_datasize.stats.shape import describe_shape

FOLDS_FILE = Path(__file__).with_name("forecast_folds.json")
CHECK_FILE = Path(__file__).with_name("forecast_check.json")
CHECKED = 24
"""Rows whose quantiles by scikit-learn are kept, to tell that the shipped trees say the same."""
FOLDS = 5
NOISY_EVERY = 2
"""Few sizes and few runs are looked at on each second curve: half of the time for nearly the same trees."""
QUANTILES = (0.05, 0.5, 0.95)
TREES, LEAVES, LEARNING_RATE, LEAST_ROWS = 40, 6, 0.2, 60
CODES = 120
"""Different values that a feature keeps."""
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


def rows_of(curve: PublicCurve, *, is_noisy: bool = True) -> list[tuple[Any, ...]]:
    """The rows of one curve, each in the order of the fields of `Rows`."""
    looks = list(looks_for_judging(curve))
    if is_noisy:
        looks += [look for look in looks_for_training(curve) if look.kind != "means"]
    return [row for look in looks for row in _rows(look)]


def grow(rows: Rows, kept: NDArray[np.bool_]) -> dict[str, HistGradientBoostingRegressor]:
    """The trees of each quantile from some of the rows."""
    features, off, weights = rows.features[kept], rows.off[kept], rows.weight[kept]
    in_doubts = np.clip(off / doubt_of(features), -MOST_DOUBTS, MOST_DOUBTS)
    return {
        str(quantile): fitted(features, in_doubts if quantile == 0.5 else off, weights, quantile)
        for quantile in QUANTILES
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


def fold_of(data_sets: NDArray[np.int64]) -> NDArray[np.int64]:
    """To which fold each data set belongs: all its curves to one."""
    unique = np.unique(data_sets)
    fold: NDArray[np.int64] = np.random.default_rng(0).permutation(len(unique)) % FOLDS
    return fold[np.searchsorted(unique, data_sets)]


def stretch(
    below: Floats, above: Floats, knot: NDArray[np.int64], unsure: NDArray[np.bool_]
) -> dict[str, dict[str, list[list[float]]]]:
    """By level, the factors on either half of the bands that make it hold: at each knot, sure and unsure.

    Args:
        below: How far each error lies below the middle, in lower half widths; shape (n,).
        above: The same above it.
        knot: Of each, shape (n,).
        unsure: See `forecast_features.is_unsure`, shape (n,).
    """
    return {
        str(level): {
            name: [
                [
                    round(_conformal(scores[(knot == k) & (unsure == noise)], (1 + level) / 2), 4)
                    for k in range(len(KNOTS))
                ]
                for noise in (False, True)
            ]
            for name, scores in (("lower", below), ("upper", above))
        }
        for level in LEVELS
    }


def documents(rows: Rows) -> tuple[dict[str, Any], list[dict[str, Any]], dict[str, Any]]:
    """The forecaster from all data sets, those from all but a fifth of them, and a check of the first."""
    fold = fold_of(rows.data_set)
    every = np.ones(len(fold), bool)
    grown = [{"quantiles": _exported(grow(rows, fold != k))} for k in range(FOLDS)]
    below, above, unsure = np.empty(len(fold)), np.empty(len(fold)), is_unsure(rows.features)
    empty: dict[str, Any] = {"provenance": {}, "stretch": {}, "held": []}
    for k, document in enumerate(grown):
        out = fold == k
        lower, middle, upper = forecaster_from(document | empty).halves(rows.features[out])
        below[out], above[out] = (middle - rows.off[out]) / lower, (rows.off[out] - middle) / upper
    folds = []
    holds = np.empty(len(fold), bool)
    for k, document in enumerate(grown):
        others, out = fold != k, fold == k
        ends = stretch(below[others], above[others], rows.knot[others], unsure[others])
        widest = ends[str(max(LEVELS))]
        place = unsure[out].astype(int), rows.knot[out]
        holds[out] = below[out] <= np.array(widest["lower"])[place]
        holds[out] &= above[out] <= np.array(widest["upper"])[place]
        left_out = sorted({int(data_set) for data_set in rows.data_set[out]})
        folds.append({"left_out": left_out, **document, **empty, "stretch": ends})
    models, sample = grow(rows, every), rows.features[:: len(rows.off) // CHECKED][:CHECKED]
    check = {"features": sample.tolist(), **{name: m.predict(sample).tolist() for name, m in models.items()}}
    whole = {
        "provenance": {},
        "stretch": stretch(below, above, rows.knot, unsure),
        "held": [asdict(_held(rows, holds, k)) for k in range(len(KNOTS))],
        "held_by": _held_by(rows, holds),
        "features": list(FEATURES),
        "quantiles": _exported(models),
    }
    return whole, folds, check


def _exported(models: dict[str, HistGradientBoostingRegressor]) -> dict[str, dict[str, Any]]:
    return {name: exported(model) for name, model in models.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Write both files and print what held."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fit_forecast", description=__doc__)
    parser.add_argument("curves", type=Path, help="Parquet file of public learning curves")
    parser.add_argument("--rows", type=Path, help="keep the features here (.npz), or take them from here")
    default = Path(forecast.__file__).with_name(forecast.FORECAST_FILE)
    parser.add_argument("-o", "--output", type=Path, default=default, help="default: the file in the package")
    parser.add_argument("--folds", type=Path, default=FOLDS_FILE, help=f"default: {FOLDS_FILE.name}")
    parser.add_argument("--check", type=Path, default=CHECK_FILE, help=f"default: {CHECK_FILE.name}")
    chosen = parser.parse_args(arguments)
    curves = read_curves(chosen.curves)
    if chosen.rows and chosen.rows.exists():
        with np.load(chosen.rows) as kept:
            rows = Rows(**kept)
    else:
        tasks = [(curve, i % NOISY_EVERY == 0) for i, curve in enumerate(curves)]
        rows = stacked([row for of_curve in spread_over_processes(_rows_of, tasks) for row in of_curve])
        if chosen.rows:
            np.savez(chosen.rows, **{field.name: getattr(rows, field.name) for field in fields(rows)})
    whole, folds, check = documents(rows)
    whole["provenance"] = _provenance(rows, curves)
    for path, document in ((chosen.output, whole), (chosen.folds, folds), (chosen.check, check)):
        path.write_text(json.dumps(document, separators=(",", ":")) + "\n", encoding="utf-8")
    told = ("provenance", "stretch", "held", "held_by")
    print(json.dumps({name: whole[name] for name in told}, indent=1))


def stacked(rows: Sequence[tuple[Any, ...]]) -> Rows:
    """Rows of many curves as arrays."""
    return Rows(*(np.array(column) for column in zip(*rows, strict=True)))


def _rows_of(task: tuple[PublicCurve, bool]) -> list[tuple[Any, ...]]:
    curve, is_noisy = task
    return rows_of(curve, is_noisy=is_noisy)


def _conformal(scores: Floats, share: float) -> float:
    """The score that a share of such scores is not above: as many as asked for, out of one more."""
    rank = math.ceil((len(scores) + 1) * share)
    return float(np.sort(scores)[min(rank, len(scores)) - 1])


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


def _rows(look: Look) -> list[tuple[Any, ...]]:
    points = curve_points(look.train_sizes, look.errors, look.stderrs)
    windows = points if isinstance(points, FitFailure) else windows_of(fit_averaged(points))
    if isinstance(points, FitFailure) or isinstance(windows, FitFailure):
        return []
    every, last = windows
    features = features_of(points, every, last)
    ill = bool(describe_shape(FittedLaws(points, Loss.ERROR, ())).faults)
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
            ill,
        )
        for k in range(len(KNOTS))
        if np.isfinite(look.beyond[k])
    ]


if __name__ == "__main__":
    main()

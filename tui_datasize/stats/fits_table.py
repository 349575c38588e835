"""The fits of learning curves as a table."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, astuple
from typing import Any

import polars as pl

from tui_datasize.runlog.schema import Schema, schema
from tui_datasize.stats.averaging import FittedLaws
from tui_datasize.stats.diagnostics import Diagnostics
from tui_datasize.stats.fits import FitFailure, LackOfFit, LogLinearFit
from tui_datasize.stats.fitting import LawFit
from tui_datasize.stats.summary import CurveAnalysis

_OF_INTERCEPT = ("intercept", *(f"intercept_{name}" for name in ("stderr", "t", "p", "low", "high")))
_OF_SLOPE = ("slope", "stderr", "t", "p", "slope_low", "slope_high")
_OF_FIT = ("r2", "r2_adjusted", "f", "f_p", "residual_sd")
_OF_RESIDUALS = (
    *("aic", "bic", "durbin_watson", "omnibus", "omnibus_p", "jarque_bera", "jarque_bera_p"),
    "condition_number",
)
FITS: Schema = schema(
    (pl.String, "experiment", "variant", "metric", "law", "fitted_to"),
    (pl.Float64, *_OF_INTERCEPT),
    (pl.Float64, *_OF_SLOPE, *_OF_FIT, *_OF_RESIDUALS, "largest_cooks_distance"),
    (pl.Float64, "lack_of_fit_f"),
    (pl.Int64, "lack_of_fit_df1"),
    (pl.Float64, "lack_of_fit_df2", "lack_of_fit_p"),
    (pl.Int64, "n_points"),
    (pl.String, "formula", "parameters"),
    (pl.Float64, "rmse", "aicc", "weight"),
    (pl.String, "fit_failure"),
)
"""One fit a row. `fitted_to` is "means" (of the runs of each size), "means, weighted" (by 1/SE^2, as all
laws but the log-linear one are) or "runs". That SE is not the one of the table of means, but drawn towards
the scatter of all sizes together, see `curve.moderated_stderrs`. Of the log-linear law, fitted to the metric:
`intercept` to `residual_sd`; `stderr`, `t` and `p` are those of the slope; `aic` to `largest_cooks_distance`
are of its residuals, see `diagnostics.Diagnostics`, and null where these cannot be judged; `lack_of_fit_...`
tests the line through all runs and stands in that row alone. Of the others, fitted to the error: `parameters`
of `formula`, `rmse`, `aicc` (up to a constant of the curve) and `weight` in the average. `fit_failure` says
why there is no fit and is null where there is one."""


def fits_table(curves: Iterable[CurveAnalysis]) -> pl.DataFrame:
    """The fits of each curve, the published law first, then one row per law; schema `FITS`."""
    rows = [
        {"experiment": curve.experiment, "variant": curve.variant, "metric": curve.metric.name, **row}
        for curve in curves
        for row in _fit_rows(curve)
    ]
    return pl.DataFrame(rows, schema=dict(FITS))


def fit_values(fit: LogLinearFit | FitFailure) -> dict[str, Any]:
    """A fit under the names of `FITS`; of a failure, the reason alone."""
    names = (*_OF_INTERCEPT, *_OF_SLOPE, *_OF_FIT, "n_points", "formula")
    if isinstance(fit, FitFailure):
        return dict.fromkeys(names) | {"fit_failure": fit.reason}
    parameters = (*asdict(fit.intercept).values(), *asdict(fit.slope).values())
    values = (*parameters, *(getattr(fit, name) for name in (*_OF_FIT, "n_points", "formula")))
    return dict(zip(names, values, strict=True)) | {"fit_failure": None}


def _fit_rows(curve: CurveAnalysis) -> list[dict[str, Any]]:
    rows = []
    for one in curve.published:
        row = {"law": "log-linear", "fitted_to": one.fitted_to, **fit_values(one.fit)}
        found, test = one.diagnostics, curve.lack_of_fit
        if isinstance(found, Diagnostics):
            row |= {name: getattr(found, name) for name in _OF_RESIDUALS}
            row["largest_cooks_distance"] = max(point.cooks_distance for point in found.points)
        if isinstance(test, LackOfFit) and one.fitted_to == "runs":
            names = (f"lack_of_fit_{name}" for name in ("f", "df1", "df2", "p"))
            row |= dict(zip(names, astuple(test), strict=True))
        rows.append(row)
    if isinstance(curve.laws, FitFailure):
        return rows
    for law in law_dicts(curve.laws):
        parameters = "; ".join(f"{name}={value:.6g}" for name, value in law["parameters"].items())
        rows.append({**law, "fitted_to": "means, weighted", "parameters": parameters or None})
    return rows


def law_dicts(laws: FittedLaws) -> list[dict[str, Any]]:
    """One per law, the lowest AICc first."""
    return [
        {
            "law": law.name,
            "formula": law.formula,
            "parameters": fit.parameters if isinstance(fit, LawFit) else {},
            "rmse": fit.rmse if isinstance(fit, LawFit) else None,
            "aicc": fit.aicc if isinstance(fit, LawFit) and math.isfinite(fit.aicc) else None,
            "weight": weight,
            "n_points": laws.points.n_sizes,
            "fit_failure": fit.reason if isinstance(fit, FitFailure) else None,
        }
        for law, fit, weight in laws.ranked
    ]

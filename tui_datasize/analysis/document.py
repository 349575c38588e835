"""An analysis as a table of fits and as plain nested values, for export and scripts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

import polars as pl

from tui_datasize.analysis.averaging import FittedLaws
from tui_datasize.analysis.diagnostics import Diagnostics
from tui_datasize.analysis.extrapolate import Outlook
from tui_datasize.analysis.fits import FitFailure, LackOfFit, LogLinearFit
from tui_datasize.analysis.fitting import LawFit
from tui_datasize.analysis.overlap import DrawOverlap
from tui_datasize.analysis.shape import CurveShape
from tui_datasize.analysis.summary import Analysis, CurveAnalysis
from tui_datasize.runlog.schema import Schema

FITS: Schema = MappingProxyType(
    {
        "experiment": pl.String,
        "variant": pl.String,
        "metric": pl.String,
        "law": pl.String,
        "fitted_to": pl.String,
        "intercept": pl.Float64,
        "intercept_stderr": pl.Float64,
        "intercept_t": pl.Float64,
        "intercept_p": pl.Float64,
        "intercept_low": pl.Float64,
        "intercept_high": pl.Float64,
        "slope": pl.Float64,
        "stderr": pl.Float64,
        "t": pl.Float64,
        "p": pl.Float64,
        "slope_low": pl.Float64,
        "slope_high": pl.Float64,
        "r2": pl.Float64,
        "r2_adjusted": pl.Float64,
        "f": pl.Float64,
        "f_p": pl.Float64,
        "residual_sd": pl.Float64,
        "aic": pl.Float64,
        "bic": pl.Float64,
        "durbin_watson": pl.Float64,
        "omnibus": pl.Float64,
        "omnibus_p": pl.Float64,
        "jarque_bera": pl.Float64,
        "jarque_bera_p": pl.Float64,
        "condition_number": pl.Float64,
        "largest_cooks_distance": pl.Float64,
        "lack_of_fit_f": pl.Float64,
        "lack_of_fit_df1": pl.Int64,
        "lack_of_fit_df2": pl.Float64,
        "lack_of_fit_p": pl.Float64,
        "n_points": pl.Int64,
        "formula": pl.String,
        "parameters": pl.String,
        "rmse": pl.Float64,
        "aicc": pl.Float64,
        "weight": pl.Float64,
        "fit_failure": pl.String,
    }
)
"""One fit a row. `fitted_to` is "means" (of the runs of each size), "means, weighted" (by 1/SE^2, as all
laws but the log-linear one are) or "runs". That SE is not the one of the table of means, but drawn towards
the scatter of all sizes together, see `curve.moderated_stderrs`. Of the log-linear law, fitted to the metric:
`intercept` to `residual_sd`; `stderr`, `t` and `p` are those of the slope; `aic` to `largest_cooks_distance`
are of its residuals, see `diagnostics.Diagnostics`, and null where these cannot be judged; `lack_of_fit_...`
tests the line through all runs and stands in that row alone. Of the others, fitted to the error: `parameters`
of `formula`, `rmse`, `aicc` (up to a constant of the curve) and `weight` in the average. `fit_failure` says
why there is no fit and is null where there is one."""

_OF_RESIDUALS = (
    *("aic", "bic", "durbin_watson", "omnibus", "omnibus_p", "jarque_bera", "jarque_bera_p"),
    "condition_number",
)
_NOT_OF_FITS = ("parameters", "rmse", "aicc", "weight", "largest_cooks_distance", *_OF_RESIDUALS)
_FIT_VALUES = tuple(
    name for name in tuple(FITS)[5:] if name not in _NOT_OF_FITS and not name.startswith("lack_of_fit")
)


def fits_table(curves: Iterable[CurveAnalysis]) -> pl.DataFrame:
    """The fits of each curve, the published law first, then one row per law; schema `FITS`."""
    rows = [
        {
            "experiment": curve.experiment,
            "variant": curve.variant,
            "metric": curve.metric.name,
            **row,
        }
        for curve in curves
        for row in _fit_rows(curve)
    ]
    return pl.DataFrame(rows, schema=dict(FITS))


def to_dict(analysis: Analysis) -> dict[str, Any]:
    """The analysis as nested plain values, NaN and infinity as None, ready for JSON.

    The values of the first variant stand at the top, and again with the others under `variants`.
    """
    variants = [_curve_dict(curve) for curve in analysis.curves]
    document = {
        "experiment": analysis.experiment,
        "metric": analysis.metric.name,
        **(variants[0] if variants else _NO_CURVE),
        "n_runs": analysis.n_runs,
        "n_left_out": analysis.n_left_out,
        "variants": variants,
        "overlap": {key: _overlap_dict(overlap) for key, overlap in _keyed(analysis.overlaps).items()},
    }
    plain: dict[str, Any] = finite(document)
    return plain


def _fit_values(fit: LogLinearFit | FitFailure) -> dict[str, Any]:
    """A fit under the names of `FITS`; of a failure, the reason alone."""
    if isinstance(fit, FitFailure):
        return dict.fromkeys(_FIT_VALUES) | {"fit_failure": fit.reason}
    intercept, slope = fit.intercept, fit.slope
    return {
        "intercept": intercept.value,
        "intercept_stderr": intercept.stderr,
        "intercept_t": intercept.t,
        "intercept_p": intercept.p,
        "intercept_low": intercept.low,
        "intercept_high": intercept.high,
        "slope": slope.value,
        "stderr": slope.stderr,
        "t": slope.t,
        "p": slope.p,
        "slope_low": slope.low,
        "slope_high": slope.high,
        "r2": fit.r2,
        "r2_adjusted": fit.r2_adjusted,
        "f": fit.f,
        "f_p": fit.f_p,
        "residual_sd": fit.residual_sd,
        "n_points": fit.n_points,
        "formula": fit.formula,
        "fit_failure": None,
    }


def _fit_rows(curve: CurveAnalysis) -> list[dict[str, Any]]:
    rows = [
        {
            "law": "log-linear",
            "fitted_to": one.fitted_to,
            **_fit_values(one.fit),
            **_residual_values(one.diagnostics),
            **(_lack_values(curve.lack_of_fit) if one.fitted_to == "runs" else {}),
        }
        for one in curve.published
    ]
    if isinstance(curve.laws, FitFailure):
        return rows
    for law in _law_dicts(curve.laws):
        parameters = "; ".join(f"{name}={value:.6g}" for name, value in law["parameters"].items())
        rows.append({**law, "fitted_to": "means, weighted", "parameters": parameters or None})
    return rows


def _residual_values(found: Diagnostics | FitFailure) -> dict[str, float | None]:
    if isinstance(found, FitFailure):
        return {}
    values = {name: getattr(found, name) for name in _OF_RESIDUALS}
    return values | {"largest_cooks_distance": max(point.cooks_distance for point in found.points)}


def _lack_values(test: LackOfFit | FitFailure) -> dict[str, float]:
    if isinstance(test, FitFailure):
        return {}
    return {
        "lack_of_fit_f": test.f,
        "lack_of_fit_df1": test.sizes_df,
        "lack_of_fit_df2": test.runs_df,
        "lack_of_fit_p": test.p,
    }


def _law_dicts(laws: FittedLaws) -> list[dict[str, Any]]:
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


_NO_CURVE: Mapping[str, Any] = MappingProxyType(
    {"variant": "", **_fit_values(FitFailure("there are no runs")), "table": []}
)


def _curve_dict(curve: CurveAnalysis) -> dict[str, Any]:
    law = curve.fit if isinstance(curve.fit, LogLinearFit) else None
    test = curve.lack_of_fit
    return {
        "variant": curve.variant,
        "n_runs": curve.points.height,
        **_fit_values(curve.fit),
        "formula": law.formula if law else None,
        "gain_of_next_doubling": asdict(law.doubling) if law else None,
        "lack_of_fit": asdict(test) if isinstance(test, LackOfFit) else None,
        "caveat": curve.caveat,
        "fit_on_runs": _fit_values(curve.fit_on_runs),
        "fit_weighted": _fit_values(curve.fit_weighted),
        "diagnostics": _diagnostics_dict(curve.diagnostics),
        "diagnostics_on_runs": _diagnostics_dict(curve.diagnostics_on_runs),
        "diagnostics_weighted": _diagnostics_dict(curve.diagnostics_weighted),
        "laws": _law_dicts(curve.laws) if isinstance(curve.laws, FittedLaws) else [],
        "laws_failure": curve.laws.reason if isinstance(curve.laws, FitFailure) else None,
        **_outlook_dict(curve.outlook),
        "shape": list(curve.shape.words) if isinstance(curve.shape, CurveShape) else [],
        "table": curve.curve.drop("experiment", "variant", "metric").to_dicts(),
    }


def _diagnostics_dict(found: Diagnostics | FitFailure) -> dict[str, Any] | None:
    return asdict(found) if isinstance(found, Diagnostics) else None


def _outlook_dict(outlook: Outlook | FitFailure) -> dict[str, Any]:
    if isinstance(outlook, FitFailure):
        return {
            "extrapolations": [],
            "n_needed": None,
            "doubling": None,
            "bands": None,
            "doubt": None,
            "outlook_failure": outlook.reason,
        }
    return {
        "extrapolations": [asdict(extrapolation) for extrapolation in outlook.extrapolations],
        "n_needed": asdict(outlook.needed) if outlook.needed else None,
        "doubling": asdict(outlook.doubling),
        "bands": outlook.words,
        "doubt": outlook.doubt,
        "outlook_failure": None,
    }


def _keyed(overlaps: Iterable[DrawOverlap]) -> dict[str, DrawOverlap]:
    """Overlaps by size; where an experiment has changed its data set, by size and data set."""
    keyed: dict[str, DrawOverlap] = {}
    for overlap in overlaps:
        size = str(overlap.train_size)
        keyed[f"{size} {overlap.dataset}" if size in keyed else size] = overlap
    return keyed


def _overlap_dict(overlap: DrawOverlap) -> dict[str, Any]:
    mean, low, high = overlap.expected_fraction
    return {
        "draws": list(overlap.draws),
        "matrix": overlap.fraction.tolist(),
        "jaccard": overlap.jaccard.tolist(),
        "expected": mean,
        "expected_low": low,
        "expected_high": high,
    }


def finite(value: Any) -> Any:
    """Nested lists and dictionaries with NaN and infinity replaced by None."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

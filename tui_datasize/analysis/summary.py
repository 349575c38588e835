"""One experiment's answer: its learning curves, what is fitted to them, and the overlap of its draws."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import polars as pl

from tui_datasize.analysis.curve import Metric, learning_curve, metric_named, points
from tui_datasize.analysis.fits import FitFailure, LackOfFit, LogLinearFit, fit_log_linear, lack_of_fit
from tui_datasize.analysis.overlap import DrawOverlap
from tui_datasize.runlog.schema import Schema

SIGNIFICANT = 0.05
"""A lack of fit less probable than this is spoken of."""


@dataclass(frozen=True)
class CurveAnalysis:
    """One learning curve and the log-linear law through it."""

    experiment: str
    variant: str
    metric: Metric
    points: pl.DataFrame
    """One row per run, see `curve.points`."""
    curve: pl.DataFrame
    """One row per train size, schema `CURVE`."""
    fit: LogLinearFit | FitFailure
    """Through the means over runs of each size, as published."""
    fit_on_runs: LogLinearFit | FitFailure
    """Through all runs."""
    lack_of_fit: LackOfFit | FitFailure

    @property
    def caveat(self) -> str:
        """Why the law should not be believed, or why nobody can tell; empty where it holds as far as seen."""
        test = self.lack_of_fit
        if isinstance(self.fit, FitFailure):
            return ""
        if isinstance(test, FitFailure):
            return f"Whether the log-linear law holds cannot be tested: it {test.reason}."
        if test.p >= SIGNIFICANT:
            return ""
        return (
            f"The log-linear law does not hold (lack of fit F({test.sizes_df},{test.runs_df}) = {test.f:.3g},"
            f" p = {test.p:.2g}): what it says of the next doubling is a rough guide at best."
        )


@dataclass(frozen=True)
class Analysis:
    """What the runs of one experiment say of one metric."""

    experiment: str
    metric: Metric
    curves: tuple[CurveAnalysis, ...]
    """One per variant, at least one."""
    overlaps: tuple[DrawOverlap, ...]
    """One per train size."""
    n_runs: int
    """Runs that count."""
    n_left_out: int
    """Runs that do not: unfinished, failed, or without the metric."""


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
        "n_points": pl.Int64,
        "fit_failure": pl.String,
    }
)
"""One fit a row. `fitted_to` is "means" (of the runs of each size) or "runs"; `stderr`, `t` and `p` are those
of the slope; `fit_failure` says why there is no fit and is null where there is one."""

_FIT_VALUES = tuple(FITS)[5:]


def analyse(runs: pl.DataFrame, metric: str, overlaps: Sequence[DrawOverlap] = ()) -> Analysis:
    """Put together what the runs of one experiment say of one metric.

    Args:
        runs: Schema `RUNS`, of one experiment.
        metric: A key of `METRICS_OFFERED`.
        overlaps: What `find_overlaps` made of the same runs.

    Raises:
        ConfigError: There is no such metric.
    """
    curves = analyse_curves(runs, metric)
    n_runs = sum(curve.points.height for curve in curves)
    return Analysis(
        experiment=runs["experiment"][0] if runs.height else "",
        metric=metric_named(metric),
        curves=curves,
        overlaps=tuple(overlaps),
        n_runs=n_runs,
        n_left_out=runs.height - n_runs,
    )


def analyse_curves(runs: pl.DataFrame, metric: str) -> tuple[CurveAnalysis, ...]:
    """The learning curve of each experiment and variant among some runs, in the order of their names.

    Args:
        runs: Schema `RUNS`.
        metric: A key of `METRICS_OFFERED`.

    Raises:
        ConfigError: There is no such metric.
    """
    offered = metric_named(metric)
    groups = runs.sort("experiment", "variant", maintain_order=True).group_by(
        "experiment", "variant", maintain_order=True
    )
    return tuple(
        _analyse_curve(str(experiment), str(variant), offered, group)
        for (experiment, variant), group in groups
    )


def fits_table(curves: Iterable[CurveAnalysis]) -> pl.DataFrame:
    """Both fits of each curve, schema `FITS`."""
    rows = [
        {
            "experiment": curve.experiment,
            "variant": curve.variant,
            "metric": curve.metric.name,
            "law": "log-linear",
            "fitted_to": fitted_to,
            **_fit_values(fit),
        }
        for curve in curves
        for fitted_to, fit in (("means", curve.fit), ("runs", curve.fit_on_runs))
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
    plain: dict[str, Any] = _finite(document)
    return plain


def _analyse_curve(experiment: str, variant: str, metric: Metric, runs: pl.DataFrame) -> CurveAnalysis:
    counted = points(runs, metric.name)
    curve = learning_curve(runs, metric.name)
    return CurveAnalysis(
        experiment,
        variant,
        metric,
        counted,
        curve,
        fit=fit_log_linear(curve["train_size"], curve["mean"]),
        fit_on_runs=fit_log_linear(counted["train_size"], counted["value"]),
        lack_of_fit=lack_of_fit(counted["train_size"], counted["value"]),
    )


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
        "fit_failure": None,
    }


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
        "table": curve.curve.drop("experiment", "variant", "metric").to_dicts(),
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


def _finite(value: Any) -> Any:
    """Nested lists and dictionaries with NaN and infinity replaced by None."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

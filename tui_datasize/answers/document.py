"""The analysis of one experiment as plain nested values, for scripts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

from tui_datasize.answers import ahead
from tui_datasize.answers.values import finite
from tui_datasize.stats.averaging import FittedLaws
from tui_datasize.stats.diagnostics import Diagnostics
from tui_datasize.stats.fits import FitFailure, LackOfFit, LogLinearFit
from tui_datasize.stats.fits_table import fit_values, law_dicts
from tui_datasize.stats.overlap import DrawOverlap
from tui_datasize.stats.shape import CurveShape
from tui_datasize.stats.summary import Analysis, CurveAnalysis


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


_NO_CURVE: Mapping[str, Any] = MappingProxyType(
    {"variant": "", **fit_values(FitFailure("there are no runs")), "table": []}
)


def _curve_dict(curve: CurveAnalysis) -> dict[str, Any]:
    law = curve.fit if isinstance(curve.fit, LogLinearFit) else None
    test = curve.lack_of_fit
    return {
        "variant": curve.variant,
        "n_runs": curve.points.height,
        **fit_values(curve.fit),
        "formula": law.formula if law else None,
        "gain_of_next_doubling": asdict(law.doubling) if law else None,
        "lack_of_fit": asdict(test) if isinstance(test, LackOfFit) else None,
        "caveat": ahead.of_the_law(curve) if curve.is_law_rejected else "",
        "fit_on_runs": fit_values(curve.fit_on_runs),
        "fit_weighted": fit_values(curve.fit_weighted),
        "diagnostics": _diagnostics_dict(curve.diagnostics),
        "diagnostics_on_runs": _diagnostics_dict(curve.diagnostics_on_runs),
        "diagnostics_weighted": _diagnostics_dict(curve.diagnostics_weighted),
        "laws": law_dicts(curve.laws) if isinstance(curve.laws, FittedLaws) else [],
        "laws_failure": curve.laws.reason if isinstance(curve.laws, FitFailure) else None,
        **_outlook_dict(curve),
        "shape": list(curve.shape.words) if isinstance(curve.shape, CurveShape) else [],
        "table": curve.curve.drop("experiment", "variant", "metric").to_dicts(),
    }


def _diagnostics_dict(found: Diagnostics | FitFailure) -> dict[str, Any] | None:
    return asdict(found) if isinstance(found, Diagnostics) else None


def _outlook_dict(curve: CurveAnalysis) -> dict[str, Any]:
    outlook = curve.outlook
    needed = asdict(curve.needed) | {"words": ahead.target(curve)} if curve.needed else None
    if isinstance(outlook, FitFailure):
        return {
            "extrapolations": [],
            "n_needed": needed,
            "doubling": None,
            "bands": None,
            "doubt": None,
            "outlook_failure": outlook.reason,
        }
    return {
        "extrapolations": [asdict(extrapolation) for extrapolation in outlook.extrapolations],
        "n_needed": needed,
        "doubling": asdict(outlook.doubling) | {"words": _doubling_words(curve)},
        "bands": ahead.of_the_bands(outlook),
        "doubt": " ".join(sentence.text for sentence in ahead.doubts(curve)),
        "outlook_failure": None,
    }


def _doubling_words(curve: CurveAnalysis) -> str:
    return f"{ahead.next_doubling(curve)} {ahead.small_gains(curve)}"


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

"""The analysis of one experiment as plain nested values, for scripts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

from tui_datasize.answers import ahead
from tui_datasize.answers.answer import Answer
from tui_datasize.answers.catalogue import QUESTIONS
from tui_datasize.answers.record import Record
from tui_datasize.stats.averaging import FittedLaws
from tui_datasize.stats.diagnostics import Diagnostics
from tui_datasize.stats.fits import FitFailure, LackOfFit, LogLinearFit
from tui_datasize.stats.fits_table import fit_values, law_dicts
from tui_datasize.stats.overlap import DrawOverlap
from tui_datasize.stats.summary import CurveAnalysis


def to_dict(record: Record, answers: Mapping[str, Answer]) -> dict[str, Any]:
    """What the answers rest on, as nested plain values; NaN and infinity are what they are.

    The values of the first variant stand at the top, and again with the others under `variants`.
    """
    n_runs = sum(curve.points.height for curve in record.all_curves)
    return {
        "experiment": record.experiment,
        "metric": record.metric.name,
        **curves_dict(record.all_curves),
        "n_runs": n_runs,
        "n_left_out": record.all_runs.height - sum(c.points["run_id"].n_unique() for c in record.all_curves),
        "overlap": {key: _overlap_dict(overlap) for key, overlap in _keyed(record.reading.overlaps).items()},
        "audit": [{**asdict(finding), "words": finding.words} for finding in record.reading.findings],
        "groups": record.comparisons.table.to_dicts(),
        "comparisons": [text for name in ("spread", "variants") for text in _told(answers[name])],
        "variance": [
            {
                "variant": split.variant,
                "design": split.design,
                "components": [asdict(component) | {"sd": component.sd} for component in split.components],
                "words": _told(QUESTIONS["variance"].ask(record.of_variant(split.variant))),
            }
            for split in record.scatter
        ],
    }


def curves_dict(curves: Sequence[CurveAnalysis]) -> dict[str, Any]:
    """The learning curves alone: see `to_dict`."""
    variants = [_curve_dict(curve) for curve in curves]
    return {**(variants[0] if variants else _NO_CURVE), "variants": variants}


def _told(answer: Answer) -> list[str]:
    if not answer.applies:
        return [answer.why_not]
    return [answer.headline, *(sentence.text for sentence in answer.sentences)]


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
        "shape": list(ahead.shape_told(curve)),
        "table": curve.curve.drop("experiment", "variant", "metric").to_dicts(),
    }


def _diagnostics_dict(found: Diagnostics | FitFailure) -> dict[str, Any] | None:
    return asdict(found) if isinstance(found, Diagnostics) else None


def _outlook_dict(curve: CurveAnalysis) -> dict[str, Any]:
    outlook = curve.outlook
    needed = asdict(curve.needed) | {"words": ahead.target(curve)} if curve.needed else None
    if isinstance(outlook, FitFailure):
        unknown = dict.fromkeys(("doubling", "bands", "doubt"))
        return {"extrapolations": [], "n_needed": needed, **unknown, "outlook_failure": outlook.reason}
    return {
        "extrapolations": [asdict(extrapolation) for extrapolation in outlook.extrapolations],
        "n_needed": needed,
        "doubling": asdict(outlook.doubling)
        | {"words": f"{ahead.next_doubling(curve)} {ahead.small_gains(curve)}"},
        "bands": ahead.of_the_bands(outlook),
        "doubt": " ".join(sentence.text for sentence in ahead.doubts(curve)),
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
    mean, low, high = overlap.expectation("fraction")
    return {
        "draws": list(overlap.draws),
        "matrix": overlap.fraction.tolist(),
        "jaccard": overlap.jaccard.tolist(),
        "expected": mean,
        "expected_low": low,
        "expected_high": high,
    }

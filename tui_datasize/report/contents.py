"""What stands in a report: the answer first, then the evidence, and last where the numbers come from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tui_datasize.analysis.averaging import FittedLaws
from tui_datasize.analysis.boxes import box_table
from tui_datasize.analysis.curve import Metric
from tui_datasize.analysis.diagnostics import Diagnostics
from tui_datasize.analysis.extrapolate import Outlook
from tui_datasize.analysis.fits import Estimate, FitFailure, LackOfFit, LogLinearFit
from tui_datasize.analysis.fitting import LawFit
from tui_datasize.analysis.shape import CurveShape
from tui_datasize.analysis.summary import POOLED_SE, CurveAnalysis
from tui_datasize.analysis.view import shown
from tui_datasize.answers.catalogue import QUESTIONS
from tui_datasize.report.answer import answer_blocks as first_blocks
from tui_datasize.report.blocks import Block, Figure, Heading, Table, Words
from tui_datasize.report.evidence import Evidence
from tui_datasize.report.figures import courses_chart, curve_chart, spread_chart
from tui_datasize.report.framed import answer_blocks, view_blocks
from tui_datasize.report.inside import class_blocks, overlap_blocks, surface_blocks
from tui_datasize.report.sources import provenance_blocks
from tui_datasize.words import plural

_MOST_FLAGGED = 3
_MOST_RUNS = 500
"""Rows of the table of runs; `export` writes all."""


def contents(evidence: Evidence, page: Mapping[str, str]) -> list[Block]:
    """The blocks of a report.

    Args:
        evidence: What it is of.
        page: Facts of the page itself, for its provenance.
    """
    analysis = evidence.analysis
    is_or_are = "is" if analysis.n_left_out == 1 else "are"
    left_out = f"; {analysis.n_left_out} {is_or_are} left out (not succeeded, or without it)"
    counts = "counts" if analysis.n_runs == 1 else "count"
    return [
        Heading(f"{analysis.experiment}: {analysis.metric.title.lower()} against train size", 1),
        Words(f"{plural(analysis.n_runs, 'run')} {counts}{left_out if analysis.n_left_out else ''}."),
        *first_blocks(evidence),
        *(block for curve in analysis.curves for block in _curve(curve)),
        *_views(evidence, "plan", "audit"),
        Heading("Spread over runs"),
        *_spread(evidence),
        *_views(evidence, "groups", "variance"),
        *_courses(evidence),
        *_views(evidence, "gap", "best", "margins"),
        *surface_blocks(evidence),
        *class_blocks(evidence),
        *_views(evidence, "confusions", "calibration"),
        *overlap_blocks(analysis.overlaps),
        *_views(evidence, "agreement", "conditions", "options", "cost", "ensembles"),
        Heading("Runs"),
        *_runs(evidence),
        Heading("Provenance"),
        *provenance_blocks(evidence, page),
    ]


def _views(evidence: Evidence, *names: str) -> Iterator[Block]:
    for name in names:
        if name in QUESTIONS:
            yield from answer_blocks(QUESTIONS[name].title, QUESTIONS[name].ask(evidence.record))
        for view in evidence.views.get(name, ()):
            yield from view_blocks(view)


def _curve(curve: CurveAnalysis) -> Iterator[Block]:
    metric = curve.metric
    yield Heading(f"Learning curve{f', {curve.variant}' if curve.variant else ''}")
    if curve.curve.is_empty():
        yield Words(f"No run has succeeded with {metric.title.lower()}.")
        return
    yield Figure(
        curve_chart(curve),
        "A dot per run; means with their 95 % interval; the laws, and what they say beyond the runs.",
    )
    rows = [_curve_row(row, metric) for row in curve.curve.iter_rows(named=True)]
    heads = ("train size", "runs", "mean", "SD", "95 % from", "to", "min", "max")
    yield Table(f"{metric.title}{', %' if metric.is_share else ''}", heads, rows, left=0)
    yield from _published(curve)
    yield from _laws(curve)
    if not isinstance(curve.outlook, FitFailure):
        yield from _outlook(curve.outlook, metric)
    if isinstance(curve.shape, CurveShape):
        yield from (Words(words) for words in curve.shape.words)


def _curve_row(row: Mapping[str, Any], metric: Metric) -> list[str]:
    """One row of schema `CURVE`; runs that are all equal have no interval."""
    mean, sd, low, high, least, most = (
        _value(row[name], metric) for name in ("mean", "sd", "low", "high", "min", "max")
    )
    if not low and row["n_runs"] > 1:
        low = high = "all runs equal"
    return [f"{row['train_size']:,}", str(row["n_runs"]), mean, sd, low, high, least, most]


def _published(curve: CurveAnalysis) -> Iterator[Block]:
    fits = (
        ("means", curve.fit),
        ("means, weighted by 1/SE² (pooled)", curve.fit_weighted),
        ("runs", curve.fit_on_runs),
    )
    rows = [
        [
            f"{name}, {to}",
            *_estimate(estimate),
            *(f"{fit.r2:.3f}", f"{fit.r2_adjusted:.3f}"),
            *(f"{fit.f:.2f}", f"{fit.f_p:.2e}"),
        ]
        for to, fit in fits
        if isinstance(fit, LogLinearFit)
        for name, estimate in (("slope", fit.slope), ("intercept", fit.intercept))
    ]
    if isinstance(curve.fit, FitFailure):
        yield Words(f"No log-linear fit: it {curve.fit.reason}.")
    if rows:
        heads = ("log-linear law, fitted to", "value", "SE", "t", "p", "95 % from", "to", "r²", "adjusted r²",
                 "F", "p of F")  # fmt: skip
        formula = f": {curve.fit.formula}" if isinstance(curve.fit, LogLinearFit) else ""
        yield Table(f"The log-linear law{formula}", heads, rows)
        if isinstance(curve.fit_weighted, LogLinearFit):
            yield Words(f"Pooled SE: {POOLED_SE}.")
    yield from _residuals(curve)
    if curve.caveat:
        yield Words(curve.caveat)
    elif isinstance(curve.lack_of_fit, LackOfFit):
        yield Words(f"All runs together do not speak against this law: {curve.lack_of_fit.words}.")


def _residuals(curve: CurveAnalysis) -> Iterator[Block]:
    """What the residuals of each fit say, and the points that sway it, the gravest first."""
    judged = [(one.fitted_to, one.diagnostics) for one in curve.published]
    rows = [[name, *_diagnostics(found)] for name, found in judged if isinstance(found, Diagnostics)]
    if rows:
        heads = ("residuals of the fit to", "points", "AIC", "BIC", "Durbin-Watson", "omnibus", "p",
                 "Jarque-Bera", "p", "condition number", "largest Cook's distance")  # fmt: skip
        yield Table("Residuals of the log-linear law", heads, rows)
        yield Words("Durbin-Watson of all runs is taken by train size, and within a size as recorded.")
    for name, found in judged:
        if isinstance(found, FitFailure):
            if isinstance(curve.fit, LogLinearFit):
                yield Words(f"Residuals of the fit to {name} are not judged: the line {found.reason}.")
            continue
        flagged = sorted(found.flagged, key=lambda point: -point.cooks_distance)
        for point in flagged[:_MOST_FLAGGED]:
            yield Words(
                f"{'A run of ' if name == 'runs' else ''}{point.train_size:,.0f} images "
                f"{'sways' if name == 'runs' else 'sway'} the fit to {name}: Cook's distance "
                f"{point.cooks_distance:.2f}, leverage {point.leverage:.2f}, studentised residual "
                f"{point.studentised_deleted:.2f}."
            )
        if len(flagged) > _MOST_FLAGGED:
            yield Words(f"{len(flagged) - _MOST_FLAGGED:,} more sway it; `analyze --json` has all of them.")


def _diagnostics(found: Diagnostics) -> list[str]:
    omnibus = ("-", "-")
    if found.omnibus is not None:
        omnibus = (f"{found.omnibus:.2f}", f"{found.omnibus_p:.2g}")
    return [
        str(len(found.points)),
        *(f"{value:.2f}" for value in (found.aic, found.bic, found.durbin_watson)),
        *omnibus,
        f"{found.jarque_bera:.2f}",
        f"{found.jarque_bera_p:.2g}",
        f"{found.condition_number:.1f}",
        f"{max(point.cooks_distance for point in found.points):.2f}",
    ]


def _estimate(estimate: Estimate) -> list[str]:
    return [
        f"{estimate.value:.4f}",
        f"{estimate.stderr:.4f}",
        f"{estimate.t:.2f}",
        f"{estimate.p:.2e}",
        f"{estimate.low:.4f}",
        f"{estimate.high:.4f}",
    ]


def _laws(curve: CurveAnalysis) -> Iterator[Block]:
    if not isinstance(curve.laws, FittedLaws):
        yield Words(f"No other law: it {curve.laws.reason}.")
        return
    rows = []
    for law, fit, weight in curve.laws.ranked:
        if isinstance(fit, LawFit):
            aicc = f"{fit.aicc:.1f}" if math.isfinite(fit.aicc) else "-"
            parameters = ", ".join(f"{name} = {value:.4g}" for name, value in fit.parameters.items())
            share = f"{100 * weight:.0f} %" if curve.laws.loss in law.averaged_for else "-"
            rows.append([law.name, law.formula, parameters, f"{fit.rmse:.4f}", aicc, share])
        else:
            rows.append([law.name, law.formula, f"none: it {fit.reason}", "", "", ""])
    heads = ("law", "formula", "parameters", "RMSE", "AICc", "weight in the average")
    yield Table(f"Laws of the {curve.laws.loss}, by their weight in the average", heads, rows, left=3)
    yield from (Words(sentence) for sentence in curve.laws.words)


def _outlook(outlook: Outlook, metric: Metric) -> Iterator[Block]:
    rows = [
        [
            f"{point.train_size:,}",
            f"{point.factor:g}",
            *(shown(value, metric) for value in (point.value, point.low, point.high)),
            f"{100 * point.nominal:.0f} %",
            "" if point.measured is None else f"{100 * point.measured:.0f} %",
        ]
        for point in outlook.extrapolations
    ]
    heads = (
        "train size",
        "times the largest",
        "value",
        "band from",
        "to",
        "nominal",
        "held on public curves",
    )
    yield Table("Beyond the runs, by the average of the laws", heads, rows, left=0)
    yield Words(outlook.words)


def _spread(evidence: Evidence) -> Iterator[Block]:
    metric = evidence.analysis.metric
    for boxes in box_table(evidence.runs, [metric.name]).partition_by("variant", maintain_order=True):
        variant = f"{boxes['variant'][0]}: " if boxes["variant"][0] else ""
        caption = f"{variant}quartiles, whiskers within 1.5 interquartile ranges, runs beyond as rings."
        yield Figure(spread_chart(boxes, metric), caption)
    for sizes in evidence.sizes:
        yield from _named_words(sizes.variant, sizes.words)
    for variants in evidence.variants:
        yield from _named_words("", variants.words if variants.train_size is None else ())


def _named_words(variant: str, words: Iterable[str]) -> Iterator[Block]:
    for sentence in words:
        yield Words(f"{variant}: {sentence}" if variant else sentence)


def _courses(evidence: Evidence) -> Iterator[Block]:
    courses, metric = evidence.courses, evidence.analysis.metric
    if courses is None or courses["evaluation"].max() in (None, 1):
        return
    yield Heading("Courses of training")
    for group in courses.partition_by("variant", maintain_order=True):
        variant = f"{group['variant'][0]}: " if group["variant"][0] else ""
        caption = f"{variant}means over the runs of each train size; shaded: all runs of the largest."
        yield Figure(courses_chart(group, metric), caption)


def _runs(evidence: Evidence) -> Iterator[Block]:
    metric, shown_runs = evidence.analysis.metric, evidence.runs.head(_MOST_RUNS)
    columns = ("train_size", "subset_seed", "seed", "updates")
    rows = [
        [
            row["run_id"],
            row["state"],
            *("" if row[name] is None else f"{row[name]:,}" for name in columns),
            _value(row[metric.name], metric),
            "" if row["wall_s"] is None else f"{row['wall_s']:,.1f}",
        ]
        for row in shown_runs.iter_rows(named=True)
    ]
    title = f"{metric.title.lower()}{', %' if metric.is_share else ''}"
    heads = ("run", "state", "train size", "draw", "seed", "updates", title, "s")
    yield Table("", heads, rows, left=2)
    if evidence.runs.height > _MOST_RUNS:
        yield Words(f"The first {_MOST_RUNS} of {evidence.runs.height:,} runs; `export` writes all of them.")


def _value(value: float | None, metric: Metric) -> str:
    if value is None or not math.isfinite(value):
        return ""
    return f"{100 * value:.2f}" if metric.is_share else f"{value:.4f}"

"""The laws: the log-linear one as it was published, all others, and what their residuals say."""

from __future__ import annotations

import math
from collections.abc import Iterator

import polars as pl

from tui_datasize.answers import ahead
from tui_datasize.answers.answer import Answer, Column, Sentence, Table, does_not_apply
from tui_datasize.answers.columns import of_kind
from tui_datasize.answers.learning_curve import chart
from tui_datasize.answers.record import NO_RUN, Record, named, said_once
from tui_datasize.stats.averaging import FittedLaws
from tui_datasize.stats.diagnostics import Diagnostics
from tui_datasize.stats.fits import FitFailure, LogLinearFit
from tui_datasize.stats.fits_table import fits_table
from tui_datasize.stats.fitting import LawFit, parameters_counted
from tui_datasize.stats.summary import CurveAnalysis
from tui_datasize.text import listed

_FLAGGED_TOLD = 3
_LEAST_SHOWN = 0.005
"""Weight of a law that is told."""
_PUBLISHED = (
    Column("fitted_to", "fitted to", "text"),
    *of_kind("number", slope="slope", stderr="SE", t="t"),
    Column("p", "p", "p"),
    *of_kind("number", slope_low="95 % from", slope_high="to", intercept="intercept", intercept_stderr="SE"),
    *of_kind("number", r2="r²", r2_adjusted="adjusted r²", f="F"),
    Column("f_p", "p of F", "p"),
)
_RESIDUALS = (
    Column("fitted_to", "residuals of the fit to", "text"),
    Column("n_points", "points"),
    *of_kind("number", aic="AIC", bic="BIC", durbin_watson="Durbin-Watson", omnibus="omnibus"),
    Column("omnibus_p", "p", "p"),
    Column("jarque_bera", "Jarque-Bera", "number"),
    Column("jarque_bera_p", "p", "p"),
    *of_kind("number", condition_number="condition number", largest_cooks_distance="largest Cook's distance"),
)
_LAWS = (
    *of_kind("text", law="law", formula="formula", parameters="parameters", fit_failure="why not fitted"),
    *of_kind("number", rmse="RMSE", aicc="AICc"),
    Column("weight", "weight in the average", "share"),
)


def ask(record: Record) -> Answer:
    """The published law with its tables, and all laws by their weight in the forecast."""
    curves = record.curves
    if not curves:
        return does_not_apply(NO_RUN)
    table = fits_table(curves)
    published = pl.col("law") == "log-linear"
    is_fitted = pl.col("slope").is_not_null()
    judged = said_once((curve.variant, text) for curve in curves for text in _judged(curve))
    residuals = [named(curve.variant, text) for curve in curves for text in _residuals(curve)]
    return Answer.of_each(
        (named(curve.variant, _law_told(curve)) for curve in curves),
        [*judged, *(Sentence(text, "aside") for text in residuals)],
        tables=[
            Table(table.filter(published & is_fitted), _PUBLISHED, record.metric, "Log-linear law", True),
            Table(table.filter(published & is_fitted), _RESIDUALS, record.metric, "Its residuals", True),
            Table(table.filter(~published), _LAWS, record.metric, "All laws, of the error", True),
        ],
        figures=[chart(curve, with_laws=True) for curve in curves],
        about="log-linear law, and the laws of the forecast",
        rows=lambda: table,
    )


def _law_told(curve: CurveAnalysis) -> str:
    fit, metric = curve.fit, curve.metric
    if isinstance(fit, FitFailure):
        return f"No log-linear law. {fit.sentence}"
    gain, digits = fit.doubling, ahead.digits_of(curve)
    change, low, high = (metric.change(value, digits) for value in (gain.value, gain.low, gain.high))
    return (
        f"{change} a doubling by the log-linear law, 95 % sure of {ahead.bare(low)} to {ahead.bare(high)}: "
        f"{metric.in_words} = {fit.formula}, r² {fit.r2:.3f}."
    )


def _judged(curve: CurveAnalysis) -> Iterator[str]:
    if text := ahead.of_the_law(curve):
        yield text
    if isinstance(curve.laws, FittedLaws):
        yield from average_told(curve.laws)
    elif isinstance(curve.fit, LogLinearFit):
        yield f"No other law. {curve.laws.sentence}"


def average_told(laws: FittedLaws) -> Iterator[str]:
    """What the default answer is made of, and which laws have no say in it for want of sizes."""
    if isinstance(laws.average, FitFailure):
        yield f"No averaged curve. {laws.average.sentence}"
        return
    shares = [(law.name, weight) for law, _, weight in laws.ranked if weight >= _LEAST_SHOWN]
    if not any(math.isfinite(member.fit.aicc) for member in laws.average.members):
        usual = "the exponent that curves usually have, as these sizes are too few to distinguish laws"
        yield f"The averaged curve is the law {shares[0][0]} alone: {usual}."
    elif len(shares) == 1:
        yield f"The averaged curve is the law {shares[0][0]}, which has nearly all the weight."
    else:
        parts = [f"{name} ({100 * weight:.0f} %)" for name, weight in shares]
        yield f"The averaged curve is an average of laws, weighed by AICc: {listed(parts)}."
    yield "Laws with - for a weight are shown beside it and not averaged."
    fits = [fit for _, fit, _ in laws.ranked if isinstance(fit, LawFit)]
    unrated = [fit.law for fit in fits if not math.isfinite(fit.aicc)]
    if unrated:
        counted = "" if laws.points.has_stderrs else ", the scatter counted as one"
        parts = [f"{law.name} ({parameters_counted(law, laws.points)})" for law in unrated]
        yield (
            f"Without an AICc, which takes two sizes more than parameters{counted}: {listed(parts)}; there "
            f"are {laws.points.n_sizes} sizes."
        )


def _residuals(curve: CurveAnalysis) -> Iterator[str]:
    """What the columns mean, and the points that sway a fit, the gravest first."""
    if isinstance(curve.fit_weighted, LogLinearFit):
        yield (
            "Weighted by 1/SE²: the standard error of each mean is drawn towards the scatter of all sizes "
            "together."
        )
    for one in curve.published:
        found = one.diagnostics
        if not isinstance(found, Diagnostics):
            if isinstance(one.fit, LogLinearFit):
                yield f"Residuals of the fit to {one.fitted_to} cannot be judged. {found.sentence}"
            continue
        flagged = sorted(found.flagged, key=lambda point: -point.cooks_distance)
        for point in flagged[:_FLAGGED_TOLD]:
            whose = "one run of " if one.fitted_to == "runs" else ""
            yield (
                f"The fit to {one.fitted_to} leans on {whose}{point.train_size:,.0f} images: Cook's distance "
                f"{point.cooks_distance:.2f}, leverage {point.leverage:.2f}, studentised residual "
                f"{point.studentised_deleted:.2f}."
            )
        if len(flagged) > _FLAGGED_TOLD:
            yield f"{len(flagged) - _FLAGGED_TOLD:,} more such points: `analyze --json`."

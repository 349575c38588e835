"""The learning curve: mean and spread of a metric at each train size, with the laws and what lies beyond."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from tui_datasize.answers import ahead
from tui_datasize.answers.answer import Answer, Band, Chart, Column, Line, Sentence, Table, does_not_apply
from tui_datasize.answers.checks.sweep import means_told
from tui_datasize.answers.columns import INTERVAL, SIZE_AND_RUNS, SIZE_AXIS, metric_axis, of_kind
from tui_datasize.answers.record import NO_RUN, Record, named, numbers, said_once
from tui_datasize.stats.averaging import FittedLaws
from tui_datasize.stats.curve import learning_curve
from tui_datasize.stats.extrapolate import Extrapolation
from tui_datasize.stats.fits import FitFailure, LogLinearFit
from tui_datasize.stats.fitting import LawFit
from tui_datasize.stats.laws import flipped
from tui_datasize.stats.summary import CurveAnalysis, average_curve
from tui_datasize.text import plural

_LEAST_WEIGHT = 0.1
"""Laws that count less in the average are not drawn by themselves."""


def ask(record: Record) -> Answer:
    """The means over the runs of each train size, and their intervals."""
    curves = record.curves
    if not curves:
        return does_not_apply(NO_RUN)
    means = pl.concat([curve.curve for curve in curves])
    shapes = said_once((curve.variant, text) for curve in curves for text in ahead.shape_told(curve))
    return Answer.of_each(
        (named(curve.variant, _told(curve)) for curve in curves),
        [Sentence(text, "note") for text in [*means_told(record.runs), *shapes]],
        # Of several variants a detail: what comes first has their means side by side.
        tables=[Table(means, _COLUMNS, record.metric, is_detail=len(curves) > 1)],
        figures=[chart(curve) for curve in curves],
        about="a dot per run, means with their 95 % interval, forecast with its band",
        rows=lambda: learning_curve(record.all_runs, record.metric.name),
    )


_COLUMNS = (
    *SIZE_AND_RUNS,
    Column("mean", "mean", "value"),
    Column("sd", "SD", "spread"),
    *of_kind("value", **INTERVAL, min="min", max="max"),
)


def _told(curve: CurveAnalysis) -> str:
    metric, (first, *_) = curve.metric, curve.curve.iter_rows(named=True)
    last = curve.curve.row(-1, named=True)
    if curve.curve.height == 1:
        return ahead.now(curve)
    start, end = (metric.text(row["mean"], ahead.digits_of(curve)) for row in (first, last))
    sizes = f"from {first['train_size']:,} to {plural(last['train_size'], 'image')}"
    return f"{ahead.bare(start)} to {end} {sizes}."


def chart(curve: CurveAnalysis, *, with_laws: bool = False) -> Chart:
    """Runs, means, the average of the laws along them, the forecast beyond with its band, the target.

    Of at least one run; `with_laws` draws the log-linear law and each law of the average too.
    """
    beyond = extrapolations(curve)
    lines = [
        *(_laws(curve) if with_laws else ()),
        *_average(curve, beyond),
        *(_published(curve) if with_laws else ()),
        *_target(curve, beyond),
        *_measured(curve),
    ]
    title = f"{curve.metric.in_words} against train size{', with the laws' * with_laws}"
    bands = [_band_beyond(curve), _interval(curve)]
    return Chart(named(curve.variant, title), SIZE_AXIS, metric_axis(curve.metric), lines, bands)


def extrapolations(curve: CurveAnalysis) -> Sequence[Extrapolation]:
    """What is foreseen beyond the runs; nothing where there is no forecast."""
    return () if isinstance(curve.outlook, FitFailure) else curve.outlook.extrapolations


def _measured(curve: CurveAnalysis) -> Iterator[Line]:
    scale = curve.metric.scale
    runs = curve.points.filter(~pl.col("of_mean"))
    yield Line.of(runs, "train_size", "value", scale, "run", "run", "small", is_joined=False)
    yield Line.of(curve.curve, "train_size", "mean", scale, "mean", "mean", "dot")


def _published(curve: CurveAnalysis) -> Iterator[Line]:
    if isinstance(curve.fit, LogLinearFit):
        sizes = curve.fitted_sizes
        ends = [sizes[0], 2 * sizes[-1]]
        for name, fit in (("log-linear, all runs", curve.fit_on_runs), ("log-linear", curve.fit)):
            if isinstance(fit, LogLinearFit):
                values = [fit.predict(size).value for size in ends]
                yield Line(name, ends, numbers(values, curve.metric.scale), "law")


def _target(curve: CurveAnalysis, beyond: Sequence[Extrapolation]) -> Iterator[Line]:
    target = curve.question.target
    if target is not None:
        sizes = [*curve.curve["train_size"], *(point.train_size for point in beyond)]
        yield Line("target", [min(sizes), max(sizes)], [curve.metric.scale * target] * 2, "target")


def _average(curve: CurveAnalysis, beyond: Sequence[Extrapolation]) -> Iterator[Line]:
    """The laws' average along the runs, and the forecast from the last mean on."""
    scale, outlook = curve.metric.scale, curve.outlook
    if isinstance(outlook, FitFailure):
        return
    known = average_curve(curve, curve.fitted_sizes[-1])
    if known is not None:
        yield Line.of(known, "train_size", "value", scale, "average of the laws", "muted", is_thin=True)
    sizes, values, _, _ = outlook.line()
    yield Line("forecast", sizes.tolist(), numbers(values.tolist(), scale), "forecast")
    places = [point.train_size for point in beyond]
    yield Line("", places, numbers([p.value for p in beyond], scale), "forecast", "diamond", is_joined=False)


def _laws(curve: CurveAnalysis) -> Iterator[Line]:
    beyond = extrapolations(curve)
    known = average_curve(curve, (beyond[-1].train_size if beyond else curve.fitted_sizes[-1]))
    if known is None or not isinstance(curve.laws, FittedLaws):
        return
    sizes = known["train_size"].to_numpy()
    for _, fit, weight in curve.laws.ranked:
        if isinstance(fit, LawFit) and weight > _LEAST_WEIGHT:
            values = np.asarray(flipped(curve.laws.loss, fit.errors_at(sizes)), dtype=float)
            y = numbers(values.tolist(), curve.metric.scale)
            yield Line(fit.law.name, sizes.tolist(), y, "muted", is_thin=True)


def _interval(curve: CurveAnalysis) -> Band:
    known, scale = curve.curve.drop_nulls("low"), curve.metric.scale
    name = "95 % interval of the mean" if known.height > 1 else ""
    sizes = known["train_size"].to_list()
    return Band(sizes, numbers(known["low"], scale), numbers(known["high"], scale), "mean", name)


def _band_beyond(curve: CurveAnalysis) -> Band:
    if isinstance(curve.outlook, FitFailure):
        return Band([], [], [], "forecast")
    sizes, _, low, high = curve.outlook.line()
    lower, upper = (numbers(end.tolist(), curve.metric.scale) for end in (low, high))
    name = f"{100 * curve.outlook.bands.nominal:.0f} % band of the forecast"
    return Band(sizes.tolist(), lower, upper, "forecast", name)

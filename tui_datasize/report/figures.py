"""The charts of a report, from what the analysis has found; no statistics of their own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl

from tui_datasize.analysis.averaging import FittedLaws
from tui_datasize.analysis.curve import Metric
from tui_datasize.analysis.extrapolate import Extrapolation
from tui_datasize.analysis.fits import FitFailure, LogLinearFit
from tui_datasize.analysis.fitting import LawFit
from tui_datasize.analysis.laws import flipped
from tui_datasize.analysis.summary import CurveAnalysis, average_curve
from tui_datasize.answers.answer import Band, Box, Chart, Line
from tui_datasize.answers.axes import SIZE_AXIS, UPDATE_AXIS, metric_axis

_LAW_POINTS = 80
_LEAST_WEIGHT = 0.1
"""Laws that count less in the average are not drawn by themselves."""


def curve_chart(curve: CurveAnalysis) -> Chart:
    """The learning curve: runs, means, the published law, the average of laws and its band beyond."""
    metric, beyond = curve.metric, _extrapolations(curve)
    bands = [_beyond(beyond, metric), _interval(curve)]
    lines = [
        *_laws(curve),
        *_average(curve, beyond),
        *_published(curve),
        *_target(curve, beyond),
        *_measured(curve),
    ]
    return Chart(
        f"{metric.title} against train size",
        SIZE_AXIS,
        metric_axis(metric),
        lines,
        bands,
    )


def spread_chart(boxes: pl.DataFrame, metric: Metric) -> Chart:
    """Box plots over the runs of each size.

    Args:
        boxes: Schema `BOXES`, of one curve.
        metric: What they are of.
    """
    scale = _scale(metric)
    drawn = [
        Box(
            row["train_size"],
            row["whisker_low"] * scale,
            row["q1"] * scale,
            row["median"] * scale,
            row["q3"] * scale,
            row["whisker_high"] * scale,
            [value * scale for value in row["outliers"]],
        )
        for row in boxes.iter_rows(named=True)
    ]
    return Chart(f"Spread of {metric.title.lower()}", SIZE_AXIS, metric_axis(metric), boxes=drawn)


def courses_chart(courses: pl.DataFrame, metric: Metric) -> Chart:
    """Means over runs after each evaluation, one line per size; the range of the largest size as a band.

    Args:
        courses: The frame of `training_curves`, of one curve, at least one row.
        metric: What it is of.
    """
    groups = courses.partition_by("train_size", maintain_order=True)
    lines = [
        Line(
            f"{group['train_size'][0]:,}",
            group["x"].to_list(),
            _scaled(group["mean"], metric),
            index,
        )
        for index, group in enumerate(groups)
    ]
    last = groups[-1]
    low, high = (_scaled(last[end], metric) for end in ("low", "high"))
    band = Band(last["x"].to_list(), low, high, lines[-1].ink)
    return Chart(
        f"{metric.title} in the course of training",
        UPDATE_AXIS,
        metric_axis(metric),
        lines,
        [band],
    )


def _measured(curve: CurveAnalysis) -> list[Line]:
    runs, means = curve.points, curve.curve
    return [
        Line(
            "run",
            runs["train_size"].to_list(),
            _scaled(runs["value"], curve.metric),
            "run",
            "small",
            is_joined=False,
        ),
        Line("mean", means["train_size"].to_list(), _scaled(means["mean"], curve.metric), "mean", "dot"),
    ]


def _published(curve: CurveAnalysis) -> list[Line]:
    if not isinstance(curve.fit, LogLinearFit):
        return []
    sizes = curve.fitted_sizes
    ends = [sizes[0], 2 * sizes[-1]]
    values = _scaled([curve.fit.predict(size).value for size in ends], curve.metric)
    return [Line("log-linear", ends, values, "law")]


def _target(curve: CurveAnalysis, beyond: Sequence[Extrapolation]) -> list[Line]:
    target = curve.question.target
    if target is None:
        return []
    sizes = [*curve.curve["train_size"], *(point.train_size for point in beyond)]
    return [Line("target", [min(sizes), max(sizes)], _scaled([target] * 2, curve.metric), "target")]


def _average(curve: CurveAnalysis, beyond: Sequence[Extrapolation]) -> list[Line]:
    known = average_curve(curve, _LAW_POINTS)
    if known is None:
        return []
    line = Line(
        "average of laws", known["train_size"].to_list(), _scaled(known["value"], curve.metric), "forecast"
    )
    marks = _scaled([point.value for point in beyond], curve.metric)
    return [line, Line("", [p.train_size for p in beyond], marks, "forecast", "diamond", is_joined=False)]


def _laws(curve: CurveAnalysis) -> list[Line]:
    """The laws that make up the average, thin."""
    known = average_curve(curve, _LAW_POINTS)
    if known is None or not isinstance(curve.laws, FittedLaws):
        return []
    sizes, loss = known["train_size"].to_numpy(), curve.laws.loss
    chosen = [
        fit for _, fit, weight in curve.laws.ranked if isinstance(fit, LawFit) and weight > _LEAST_WEIGHT
    ]
    values = [np.asarray(flipped(loss, fit.errors_at(sizes)), dtype=float) for fit in chosen]
    return [
        Line(fit.law.name, sizes.tolist(), _scaled(y.tolist(), curve.metric), "muted", is_thin=True)
        for fit, y in zip(chosen, values, strict=True)
    ]


def _interval(curve: CurveAnalysis) -> Band:
    known = curve.curve.drop_nulls("low")
    low, high = (_scaled(known[end], curve.metric) for end in ("low", "high"))
    name = "95 % interval of the mean" if known.height > 1 else ""
    return Band(known["train_size"].to_list(), low, high, "mean", name)


def _beyond(beyond: Sequence[Extrapolation], metric: Metric) -> Band:
    low, high = (_scaled([getattr(point, end) for point in beyond], metric) for end in ("low", "high"))
    nominal = f"{100 * beyond[0].nominal:.0f} % band beyond" if beyond else ""
    return Band([point.train_size for point in beyond], low, high, "forecast", nominal)


def _extrapolations(curve: CurveAnalysis) -> Sequence[Extrapolation]:
    return () if isinstance(curve.outlook, FitFailure) else curve.outlook.extrapolations


def _scale(metric: Metric) -> float:
    """From values of a metric to what is shown: percent for shares."""
    return 100.0 if metric.is_share else 1.0


def _scaled(values: Iterable[float | None], metric: Metric) -> list[float | None]:
    return [None if value is None else value * _scale(metric) for value in values]

"""The charts of a report, from what the analysis has found; no statistics of their own."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from tui_datasize.analysis.curve import Metric
from tui_datasize.answers.answer import Band, Chart, Line
from tui_datasize.answers.axes import UPDATE_AXIS, metric_axis

_LAW_POINTS = 80
_LEAST_WEIGHT = 0.1
"""Laws that count less in the average are not drawn by themselves."""


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


def _scale(metric: Metric) -> float:
    """From values of a metric to what is shown: percent for shares."""
    return 100.0 if metric.is_share else 1.0


def _scaled(values: Iterable[float | None], metric: Metric) -> list[float | None]:
    return [None if value is None else value * _scale(metric) for value in values]

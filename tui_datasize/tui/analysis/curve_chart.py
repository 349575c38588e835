"""Scales that the pages share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui_datasize.tui.charts.scale import Scale

if TYPE_CHECKING:
    from tui_datasize.analysis.curve import Metric


def size_scale() -> Scale:
    """The axis of train sizes."""
    return Scale("train size, images", log=True, room=0.03)


def metric_scale(metric: Metric) -> Scale:
    """The axis of a metric, in percent for shares."""
    if metric.is_share:
        return Scale(f"{metric.title.lower()}, %", floor=0, ceiling=100)
    return Scale(metric.title.lower(), floor=0)


def factor(metric: Metric) -> float:
    """From values of a metric to what is shown: percent for shares."""
    return 100.0 if metric.is_share else 1.0

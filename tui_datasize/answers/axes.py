"""Axes and columns that many answers share."""

from __future__ import annotations

from tui_datasize.answers.answer import Axis, Column
from tui_datasize.metric import Metric

SIZE = Column("train_size", "train size")
SIZE_AND_RUNS = (SIZE, Column("n_runs", "runs"))
SIZE_AXIS = Axis("train size, images", is_log=True)
UPDATE_AXIS = Axis("update", start=0)


def metric_axis(metric: Metric) -> Axis:
    """The axis of a metric's shown values."""
    return Axis(metric.heading, floor=0, ceiling=100 if metric.is_share else None)


def share_axis(title: str) -> Axis:
    """An axis of percentages."""
    return Axis(f"{title}, %", floor=0, ceiling=100)

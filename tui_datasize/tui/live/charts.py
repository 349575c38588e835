"""Training curves as series: which rows, which axis, which colour. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from rich.text import Text

from tui_datasize.metric import SCORES
from tui_datasize.tui.charts.lines import Series, line_chart
from tui_datasize.tui.charts.scale import Scale
from tui_datasize.tui.polling.snapshot import Part, TrainingCurve
from tui_datasize.tui.widgets.palette import Palette

if TYPE_CHECKING:
    import polars as pl

TAGS = "abcdefghijklmnopqrstuvwxyz"
SMOOTHINGS = (0.0, 0.6, 0.9)
"""Shares of the past in the moving average of the batch means; evaluations are never smoothed."""


@dataclass(frozen=True, slots=True)
class LiveMetric:
    """A column that can be drawn against the course of training."""

    column: str
    title: str
    factor: float = 1.0
    """What values are multiplied by: 100 for shares."""
    floor: float | None = None
    ceiling: float | None = None
    may_be_log: bool = False
    is_of_batches: bool = False
    """Whether only training rows hold it, not evaluations."""


METRICS: tuple[LiveMetric, ...] = (
    *(
        LiveMetric(score.name, f"{score.title}, %", 100, 0, 100)
        if score.is_share
        else LiveMetric(score.name, score.title, floor=0, may_be_log=True)
        for score in SCORES
    ),
    LiveMetric("grad_norm", "gradient norm", floor=0, may_be_log=True, is_of_batches=True),
    LiveMetric("lr", "learning rate", floor=0, may_be_log=True, is_of_batches=True),
    LiveMetric("images_per_s", "images per second", floor=0, is_of_batches=True),
)
LOSS = next(metric for metric in METRICS if metric.column == "loss")

AXES: Mapping[str, str] = MappingProxyType(
    {
        "update": "update",
        "epoch": "epoch",
        "samples_seen": "samples seen",
        "wall_s": "wall time, s",
    }
)
"""What may be the horizontal axis, and its label."""


@dataclass(frozen=True, slots=True)
class LiveView:
    """How the curves are drawn."""

    axis: str = "update"
    """A key of `AXES`."""
    is_log: bool = False
    """Whether metrics that allow it have a logarithmic axis."""
    smoothing: float = 0.0
    """One of `SMOOTHINGS`."""


@dataclass(frozen=True, slots=True)
class DrawnRun:
    """A run on the chart; `slot` keeps its colour and letter while it is there."""

    curve: TrainingCurve
    slot: int


def one_run_series(
    curve: TrainingCurve, metric: LiveMetric, view: LiveView, palette: Palette
) -> list[Series]:
    """Batch means in a muted colour, whole passes over the training and the test split on top."""
    batches = smooth(curve.column("batches", metric.column), view.smoothing)
    label = "batches" if not view.smoothing else f"batches, smoothed {view.smoothing:g}"
    x = curve.column("batches", view.axis)
    if metric.is_of_batches:
        return [Series("", x.to_list(), _scaled(batches, metric), palette.series[0])]
    series = []
    if batches.is_finite().any():
        series.append(Series(label, x.to_list(), _scaled(batches, metric), palette.muted))
    series.append(_pass(curve, "train", metric, view, palette.series[1], "○"))
    series.append(_pass(curve, "test", metric, view, palette.series[0], "●"))
    return [one for one in series if len(one.x)]


def _pass(
    curve: TrainingCurve, part: Part, metric: LiveMetric, view: LiveView, colour: str, mark: str
) -> Series:
    values = _scaled(curve.column(part, metric.column), metric)
    return Series(part, curve.column(part, view.axis).to_list(), values, colour, mark=mark)


def many_run_series(
    runs: Sequence[DrawnRun], metric: LiveMetric, view: LiveView, palette: Palette
) -> list[Series]:
    """Per run a line of its test split that ends in its letter, and points of its training split."""
    series = []
    for run in runs:
        colour = palette.series[run.slot % len(palette.series)]
        tag = TAGS[run.slot % len(TAGS)]
        main: Part = "batches" if metric.is_of_batches else "test"
        if not metric.is_of_batches:
            train = _scaled(run.curve.column("train", metric.column), metric)
            x = run.curve.column("train", view.axis).to_list()
            series.append(Series("", x, train, colour, joined=False, mark="·"))
        values = _scaled(run.curve.column(main, metric.column), metric)
        x = run.curve.column(main, view.axis).to_list()
        series.append(Series(tag, x, values, colour, tag=tag))
    return series


def draw_live(
    series: Sequence[Series],
    metric: LiveMetric,
    view: LiveView,
    *,
    width: int,
    height: int,
    palette: Palette,
    empty: str,
) -> Text:
    """The chart of one metric."""
    is_log = view.is_log and metric.may_be_log
    title = f"{metric.title} (log)" if is_log else metric.title
    floor = None if is_log else metric.floor
    return line_chart(
        series,
        Scale(AXES[view.axis], start=0, room=0.0),
        Scale(title, log=is_log, floor=floor, ceiling=metric.ceiling),
        width=width,
        height=height,
        palette=palette,
        empty=empty,
    )


def _scaled(values: pl.Series, metric: LiveMetric) -> list[float]:
    return (values * metric.factor).to_list()


def smooth(values: pl.Series, weight: float) -> pl.Series:
    """Exponential moving average without the pull of the start (Kingma and Ba 2015, section 3).

    Args:
        values: Numbers; one that is not finite breaks nothing and stays as it is.
        weight: Share of the past in [0, 1); 0 leaves the values as they are.
    """
    is_finite = values.is_finite()
    means = values.set(~is_finite, None).ewm_mean(alpha=1 - weight, adjust=True, ignore_nulls=True)
    return means.zip_with(is_finite, values)


def assign_slots(run_ids: Sequence[str], before: Mapping[str, int]) -> dict[str, int]:
    """A colour slot per run: one that is on the chart keeps its own, a new one takes the first free.

    >>> assign_slots(["b", "c"], {"a": 0, "b": 1})
    {'b': 1, 'c': 0}
    """
    slots = {run_id: before[run_id] for run_id in run_ids if run_id in before}
    for run_id in run_ids:
        if run_id not in slots:
            taken = set(slots.values())
            slots[run_id] = next(slot for slot in range(len(taken) + 1) if slot not in taken)
    return {run_id: slots[run_id] for run_id in run_ids}

"""Training curves as series: which rows, which axis, which colour. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from types import MappingProxyType
from typing import TYPE_CHECKING

from tui_datasize.metric import SCORES
from tui_datasize.text import plural
from tui_datasize.tui.charts.figures import colour, mark_of
from tui_datasize.tui.charts.lines import Drawing, Series, ShadedBand, line_chart
from tui_datasize.tui.charts.scale import Point, Scale, interpolate
from tui_datasize.tui.charts.window import ChartWindow
from tui_datasize.tui.live.runs import group_curve
from tui_datasize.tui.polling.snapshot import Part, TrainingCurve
from tui_datasize.tui.widgets.palette import Palette

if TYPE_CHECKING:
    from tui_datasize.tui.polling.trouble import Kind, Trouble


@dataclass(frozen=True, slots=True)
class LiveMetric:
    """A column that can be drawn against the updates of a run."""

    column: str
    title: str
    factor: float = 1.0
    """What values are multiplied by: 100 for shares."""
    floor: float | None = None
    ceiling: float | None = None
    may_be_log: bool = False
    part: Part | None = None
    """The only rows that hold it; none where those of splits do."""
    is_of_some: bool = False
    """Whether it is offered only where a run that is drawn holds it."""

    @property
    def name(self) -> str:
        """The title without its unit."""
        return self.title.partition(",")[0]


METRICS: tuple[LiveMetric, ...] = (
    *(
        LiveMetric(score.name, f"{score.title}, %", 100, 0, 100)
        if score.is_share
        else LiveMetric(score.name, score.title, floor=0, may_be_log=True)
        for score in SCORES
    ),
    LiveMetric("grad_norm", "gradient norm", floor=0, may_be_log=True, part="batches"),
    LiveMetric("lr", "learning rate", floor=0, may_be_log=True, part="batches"),
    LiveMetric("images_per_s", "images per second", floor=0, part="batches"),
    LiveMetric("memory_bytes", "memory, GiB", 2.0**-30, floor=0, part="batches"),
    *(
        LiveMetric(column, title, 100, 0, 100, part="batches", is_of_some=True)
        for column, title in (
            ("pseudo_accepted", "images without labels accepted, %"),
            ("pseudo_accuracy", "accepted ones that are right, %"),
        )
    ),
    LiveMetric("elbo", "bound of the generator, nats", part="generator", is_of_some=True),
    LiveMetric("divergence", "divergence of the generator, nats", part="generator", is_of_some=True),
)
LOSS = next(metric for metric in METRICS if metric.column == "loss")

AXES: Mapping[str, str] = MappingProxyType(
    {"update": "update", "epoch": "epoch", "samples_seen": "samples seen", "wall_s": "wall time, s"}
)
"""What may be the horizontal axis, and its label."""


MOST_CHARTS = 9
_BESIDE = (
    *("loss", "accuracy", "pseudo_accepted", "pseudo_accuracy", "elbo", "lr", "grad_norm"),
    *("images_per_s", "memory_bytes", "f1_macro", "ece", "top5"),
)
"""What a grid of charts shows first beside the chosen metric, as far as it is recorded; then all others."""


def chart_layout(width: int, height: int, *, is_grid: bool) -> tuple[int, int]:
    """Columns and rows of charts in a window.

    >>> [chart_layout(*size, is_grid=True) for size in ((80, 24), (160, 48), (200, 60))]
    [(2, 1), (3, 2), (3, 3)]
    >>> [chart_layout(*size, is_grid=False) for size in ((80, 24), (80, 48), (160, 48))]
    [(1, 1), (1, 2), (2, 1)]
    """
    if is_grid:
        return (3 if width >= 150 else 2), (3 if height >= 58 else 2 if height >= 34 else 1)
    if width >= 120:
        return 2, 1
    return 1, 2 if height >= 34 else 1


def metrics_offered(curves: Sequence[TrainingCurve]) -> list[LiveMetric]:
    """All but those of some runs that none of these holds."""
    return [one for one in METRICS if not one.is_of_some or any(curve.holds(one.column) for curve in curves)]


def metrics_shown(chosen: LiveMetric, count: int, curves: Sequence[TrainingCurve]) -> list[LiveMetric]:
    """What so many charts show: the chosen metric, with the loss before it, and what else runs record."""
    if count == 1:
        return [chosen]
    first = [LOSS, chosen if chosen != LOSS else METRICS[0]]
    by_name = {metric.column: metric for metric in metrics_offered(curves)}
    names = dict.fromkeys((*(name for name in _BESIDE if name in by_name), *by_name))
    others = [by_name[name] for name in names if by_name[name] not in first]
    if count > len(first):
        first += [one for one in others if not curves or any(curve.holds(one.column) for curve in curves)]
    return first[:count]


@dataclass(frozen=True, slots=True)
class LiveView:
    """How the curves are drawn."""

    axis: str = "update"
    """A key of `AXES`."""
    is_log: bool = False
    """Whether metrics that allow it have a logarithmic axis."""


@dataclass(frozen=True, slots=True)
class DrawnRun:
    """A run on the chart; `slot` keeps its colour and mark while it is there."""

    curve: TrainingCurve
    slot: int
    name: str
    """What sets it apart from the others."""
    group: str = ""
    """What those that are put together with it have in common."""
    troubles: Sequence[Trouble] = ()


def one_run_series(
    curve: TrainingCurve, metric: LiveMetric, view: LiveView, palette: Palette
) -> list[Series]:
    """Batch means in a muted colour, whole passes over the splits on top."""
    if metric.part:
        return [_part(curve, metric.part, metric, view, palette.muted, metric.part)]
    series = [
        _part(curve, "batches", metric, view, palette.muted, "batches"),
        _part(curve, "train", metric, view, palette.series[1], "train", "○"),
        _part(curve, "validation", metric, view, palette.series[2], "validation", "◆"),
        _part(curve, "test", metric, view, palette.series[0], "test", "●"),
    ]
    return [one for one in series if any(map(isfinite, one.y))]


def many_run_series(
    runs: Sequence[DrawnRun], metric: LiveMetric, view: LiveView, palette: Palette
) -> list[Series]:
    """One line per run: of the split that judges it, or of the only part that has the metric."""
    return [
        _part(
            run.curve,
            metric.part or run.curve.judged_by,
            *(metric, view, colour(run.slot, palette), run.name, mark_of(run.slot)),
        )
        for run in runs
    ]


def _part(
    curve: TrainingCurve, part: Part, metric: LiveMetric, view: LiveView, ink: str, name: str, mark: str = ""
) -> Series:
    # A generator is trained before update 1.
    x = curve.column(part, "epoch" if part == "generator" else view.axis).to_list()
    y = (curve.column(part, metric.column) * metric.factor).to_list()
    return Series(name, x, y, ink, mark=mark, is_training=True)


TROUBLE_MARKS: Mapping[Kind, str] = MappingProxyType({"NaN": "?", "spike": "!", "stall": "…"})


def trouble_series(
    runs: Sequence[DrawnRun], lines: Sequence[Series], view: LiveView, palette: Palette
) -> list[Series]:
    """Marks on the lines of runs where something went wrong; among several runs in their colours.

    Of several runs there is one line each, of a single one all that it has.
    """
    found: dict[tuple[Kind, str], list[Point]] = {}
    for place, run in enumerate(runs):
        own = lines if len(runs) == 1 else lines[place : place + 1]
        shade = palette.error if len(runs) == 1 else own[0].colour
        for trouble in run.troubles:
            x = float(run.curve.column(trouble.part, view.axis)[trouble.row])
            line = next((line for line in own if line.label == trouble.part), own[-1] if own else None)
            if line and (y := _height(line, x)) is not None:
                found.setdefault((trouble.kind, shade), []).append((x, y))
    series: list[Series] = []
    for (kind, shade), at in found.items():
        # The legend names each kind once.
        label = "" if any(one.label == kind for one in series) else kind
        x_values, y_values = zip(*at, strict=True)
        series.append(Series(label, x_values, y_values, shade, joined=False, mark=TROUBLE_MARKS[kind]))
    return series


def _height(line: Series, x: float) -> float | None:
    """Where a line is at an x, or was last before it."""
    known = [(a, b) for a, b in zip(line.x, line.y, strict=True) if isfinite(a) and isfinite(b)]
    if not known:
        return None
    within = interpolate(x, known)
    return within if within is not None else known[0][1] if x < known[0][0] else known[-1][1]


def last_position(curves: Sequence[TrainingCurve], axis: str) -> float | None:
    """How far the furthest of some curves has come on an axis; None where none has begun."""
    parts: Sequence[Part] = ("test", "train", "validation", "batches")
    reached = [curve.column(part, axis).max() for curve in curves for part in parts]
    return max((x for x in reached if isinstance(x, float) and isfinite(x)), default=None)


def group_series(
    runs: Sequence[DrawnRun], metric: LiveMetric, view: LiveView, palette: Palette
) -> tuple[list[Series], list[ShadedBand]]:
    """The mean of each group of runs, with the range between its lowest and its highest run."""
    series, bands = [], []
    slots = slots_of_groups(runs)
    for place, group in enumerate(dict.fromkeys(run.group for run in runs)):
        own = [run for run in runs if slots[run.curve.run_id] == place]
        lines = many_run_series(own, metric, view, palette)
        curve = group_curve(group, [(line.x, line.y) for line in lines])
        shade = colour(place, palette)
        name = f"{group} ({plural(curve.n_runs, 'run')})"
        series.append(Series(name, curve.x, curve.mean, shade, mark=mark_of(place), is_training=True))
        bands.append(ShadedBand(curve.x, curve.low, curve.high, shade))
    return series, bands


def slots_of_groups(runs: Sequence[DrawnRun]) -> dict[str, int]:
    """Which colour and mark each run has where its group is drawn."""
    groups = list(dict.fromkeys(run.group for run in runs))
    return {run.curve.run_id: groups.index(run.group) for run in runs}


def draw_live(
    series: Sequence[Series],
    bands: Sequence[ShadedBand],
    metric: LiveMetric,
    view: LiveView,
    width: int,
    height: int,
    palette: Palette,
    window: ChartWindow,
    *,
    empty: str,
    end: float | None,
) -> Drawing:
    """The chart of one metric, as far along the axis as the one beside it."""
    is_log = view.is_log and metric.may_be_log
    title = f"{metric.title} (log)" if is_log else metric.title
    floor = None if is_log else metric.floor
    is_before = metric.part == "generator"
    axis, end = ("epoch of the generator", None) if is_before else (AXES[view.axis], end)
    x_scale = Scale(axis, start=0, end=end, room=0.0)
    y_scale = Scale(title, log=is_log, floor=floor, ceiling=metric.ceiling)
    return line_chart(series, x_scale, y_scale, width, height, palette, bands, empty, window)


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

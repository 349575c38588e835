"""How far the runs of each size are apart, and whether sizes differ by more than that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from rich.text import Text

from tui_datasize.tui.analysis.curve_chart import factor, metric_scale, size_scale
from tui_datasize.tui.analysis.pages.page import Content, Request, only_words
from tui_datasize.tui.analysis.pages.training import split_and_score
from tui_datasize.tui.charts.lines import Band, Series, line_chart
from tui_datasize.tui.widgets.palette import Palette

if TYPE_CHECKING:
    import polars as pl

    from tui_datasize.analysis.curve import Metric
    from tui_datasize.runlog.reader import RunLog

_HALF_WIDTH = 1.07
"""Of a box on the logarithmic axis, as a factor."""


_NOTHING = "No run has succeeded with this metric yet."
_LEGEND = "Box: quartiles; whiskers: within 1.5 interquartile ranges; ━ median; ∘ runs beyond."


@dataclass(frozen=True, slots=True)
class _View:
    """What of a run the boxes are made of."""

    metric: Metric
    is_best: bool = False
    """Its best evaluation on this split, not its last."""

    @property
    def split(self) -> str:
        """Empty for a metric that is not of an evaluation."""
        return split_and_score(self.metric)[0]

    @property
    def words(self) -> str:
        which = "best" if self.is_best else "last"
        return f"{which} value, {self.split} split" if self.split else "one value a run"

    @property
    def shown(self) -> Metric:
        """The metric with the title of its axis."""
        title = self.metric.title
        return replace(self.metric, title=f"Best {title.lower()}") if self.is_best else self.metric

    def of(self, runs: pl.DataFrame, log: RunLog) -> pl.DataFrame:
        """The runs with the values in view in the column of the metric."""
        from tui_datasize.analysis.boxes import best_values

        if not self.is_best:
            return runs
        name, score = self.metric.name, split_and_score(self.metric)[1]
        metrics = log.metrics(runs["run_id"])
        best = best_values(metrics, score, higher_is_better=self.metric.higher_is_better)
        values = best.select("run_id", best[f"best_{name}"].alias(name))
        return runs.drop(name).join(values, on="run_id", how="left", maintain_order="left")


def spread(request: Request) -> Content:
    """Box plots over the runs of each size, and tests between sizes in words.

    `s` walks through the last and the best value on the split of the metric, then on the other one.
    """
    from tui_datasize.analysis.boxes import box_table
    from tui_datasize.analysis.groups import compare_sizes
    from tui_datasize.analysis.groups_table import groups_table

    views = _views(request)
    if not views:
        return only_words(_NOTHING)
    view = views[request.view % len(views)]
    name = view.metric.name
    runs = view.of(request.runs, request.log)
    boxes = box_table(runs, [name])
    if boxes.is_empty():
        return replace(only_words(_NOTHING), note=view.words, views=len(views))
    comparisons = compare_sizes(runs, name)
    return Content(
        partial(_draw, boxes, view.shown),
        [*(sentence for comparison in comparisons for sentence in comparison.words), _LEGEND],
        view.words,
        lambda: groups_table(view.of(request.all_runs, request.log), name),
        views=len(views),
    )


def _views(request: Request) -> list[_View]:
    """Those that have runs, that of the metric itself first."""
    from tui_datasize.analysis.curve import METRICS_OFFERED, points

    split, score = split_and_score(request.metric)
    other = METRICS_OFFERED.get(f"{'train' if split == 'test' else 'test'}_{score}")
    metrics = [request.metric, *([other] if other else [])]
    measured = [metric for metric in metrics if points(request.runs, metric.name).height]
    kinds = (False, True) if score else (False,)
    return [_View(metric, is_best) for metric in measured for is_best in kinds]


def _draw(boxes: pl.DataFrame, metric: Metric, width: int, height: int, palette: Palette) -> Text:
    rows = list(boxes.iter_rows(named=True))
    series = [one for row in rows for one in _whiskers(row, metric, palette)]
    return line_chart(
        [*series, *_marks(rows, metric, palette)],
        size_scale(),
        metric_scale(metric),
        width=width,
        height=height,
        palette=palette,
        bands=[_box(row, metric, palette) for row in rows],
    )


def _box(row: dict[str, Any], metric: Metric, palette: Palette) -> Band:
    size = row["train_size"]
    low, high = row["q1"] * factor(metric), row["q3"] * factor(metric)
    return Band([size / _HALF_WIDTH, size * _HALF_WIDTH], [low, low], [high, high], palette.primary)


def _whiskers(row: dict[str, Any], metric: Metric, palette: Palette) -> Iterator[Series]:
    ends = (row["whisker_low"], row["q1"]), (row["q3"], row["whisker_high"])
    for end in ends:
        yield Series("", [row["train_size"]] * 2, [v * factor(metric) for v in end], palette.primary)


def _marks(rows: list[dict[str, Any]], metric: Metric, palette: Palette) -> Iterator[Series]:
    sizes = [row["train_size"] for row in rows]
    medians = [row["median"] * factor(metric) for row in rows]
    outliers = [(row["train_size"], v * factor(metric)) for row in rows for v in row["outliers"]]
    if outliers:
        x, y = zip(*outliers, strict=True)
        yield Series("beyond", x, y, palette.accent, joined=False, mark="∘")
    yield Series("median", sizes, medians, palette.foreground, joined=False, mark="━")

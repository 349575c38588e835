"""Where the scatter between runs comes from: training seed, subset draw, what is left, and the test set.

Random effects by the method of moments (Searle, Casella and McCulloch, *Variance Components*, 1992, chapter
4): mean squares are set equal to their expectations. For the balanced tables taken here that is REML as long
as no estimate is negative; a negative one is shown as 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias

import numpy as np
import polars as pl
from scipy.special import fdtrc

from tui_datasize.metric import Metric, metric_named
from tui_datasize.runlog.schema import Schema, schema
from tui_datasize.stats.curve import apart, points
from tui_datasize.stats.laws import Floats

VARIANCE: Schema = schema(
    (pl.String, "experiment", "variant", "metric", "design", "source"),
    (pl.Float64, "sd", "variance", "estimate", "share", "p"),
)
"""A source of scatter a row, see `Component`; curves of which nothing can be told have none."""

UNTOLD = "seed, or seed and draw"
"""The source of scatter where nobody knows which runs share their images."""
TEST_SAMPLING = "test sampling"
"""What another test set would change; all runs share theirs."""

Design: TypeAlias = Literal["crossed", "nested", "seeds only", "draws only", "none"]


@dataclass(frozen=True, slots=True)
class Component:
    """One source of scatter."""

    name: str
    variance: float
    """In squared units of the metric, at least 0."""
    estimate: float
    """Before it was raised to 0."""
    share: float
    """Of all variance between runs, in [0, 1]; NaN for the test set, which all runs share."""
    p: float | None
    """Probability of so large an effect if the source had none; None where nothing tests it."""

    @property
    def sd(self) -> float:
        """Standard deviation, in units of the metric."""
        return math.sqrt(self.variance)


@dataclass(frozen=True)
class VarianceSplit:
    """The sources of scatter of one curve, all its sizes together."""

    experiment: str
    variant: str
    metric: Metric
    design: Design
    components: tuple[Component, ...]

    def component(self, name: str) -> Component | None:
        return next((component for component in self.components if component.name == name), None)


def split_variance(
    runs: pl.DataFrame, metric: str, test_images: int | None = None
) -> tuple[VarianceSplit, ...]:
    """Split the variance of each curve.

    Per size the seeds that ran on every draw are taken, and sums of squares are pooled over sizes; each size
    has effects of its own. Where every draw has seeds of its own, seeds are nested in draws.

    Args:
        runs: Schema `RUNS`.
        metric: A key of `METRICS_OFFERED`.
        test_images: Size of the test set, for the part that another test set would add to a share.
    """
    offered = metric_named(metric)
    curves = points(runs, metric).group_by("experiment", "variant", maintain_order=True)
    return tuple(
        _split(str(experiment), str(variant), offered, values, test_images)
        for (experiment, variant), values in curves
    )


def variance_table(splits: Iterable[VarianceSplit]) -> pl.DataFrame:
    """The sources of scatter as a frame, schema `VARIANCE`."""
    rows = [
        {"experiment": split.experiment, "variant": split.variant, "metric": split.metric.name}
        | {"design": split.design, "source": one.name, "sd": one.sd, **asdict(one)}
        for split in splits
        for one in split.components
    ]
    return pl.DataFrame(rows, schema=dict(VARIANCE)).with_columns(pl.col("share").fill_nan(None))


def _split(
    experiment: str, variant: str, metric: Metric, values: pl.DataFrame, test_images: int | None
) -> VarianceSplit:
    values = apart(values)
    known = values.drop_nulls("subset_seed").group_by("train_size", maintain_order=True)
    tables = [_crossed(group) for _, group in known]
    crossed = [table for table in tables if min(table.shape) > 1]
    if crossed:
        design: Design = "crossed"
        between_runs = _crossed_components(crossed)
    else:
        design, between_runs = _one_way(values)
    components = [*between_runs, *_test_sampling(metric, values, test_images)]
    return VarianceSplit(experiment, variant, metric, design, tuple(components))


def _crossed(values: pl.DataFrame) -> Floats:
    """Values of the seeds that ran on every draw of one size, shape (seeds, draws)."""
    cells = values.group_by("seed", "subset_seed").agg(pl.col("value").mean()).sort("seed", "subset_seed")
    draws = cells["subset_seed"].n_unique()
    whole = cells.filter(pl.len().over("seed") == draws)
    return whole["value"].to_numpy().reshape(-1, draws)


def _crossed_components(tables: Iterable[Floats]) -> list[Component]:
    """Seed, draw and rest from tables (seeds, draws), one per size."""
    squares, degrees, repeats = np.zeros(3), np.zeros(3), np.zeros(3)
    for table in tables:
        seeds, draws = table.shape
        seed, draw = table.mean(axis=1, keepdims=True), table.mean(axis=0, keepdims=True)
        rest = table - seed - draw + table.mean()
        df = np.array([seeds - 1, draws - 1, (seeds - 1) * (draws - 1)])
        squares += [draws * seed.var() * seeds, seeds * draw.var() * draws, float((rest**2).sum())]
        degrees += df
        # Sizes may differ in seeds and draws: each counts by its degrees of freedom.
        repeats += df * np.array([draws, seeds, 1])
    mean_squares = squares / degrees
    seed_ms, draw_ms, rest_ms = (float(ms) for ms in mean_squares)
    per_seed, per_draw = (float(r) for r in (repeats / degrees)[:2])
    estimates = {
        "training seed": ((seed_ms - rest_ms) / per_seed, _f_test(seed_ms, rest_ms, degrees[0], degrees[2])),
        "subset draw": ((draw_ms - rest_ms) / per_draw, _f_test(draw_ms, rest_ms, degrees[1], degrees[2])),
        "seed on draw": (rest_ms, None),
    }
    return _components(estimates)


def _one_way(values: pl.DataFrame) -> tuple[Design, list[Component]]:
    """Components where no seed ran on two draws."""
    per_size = values.group_by("train_size").agg(pl.col("seed", "subset_seed").n_unique())
    counts = per_size.select("seed", "subset_seed").to_numpy()
    most_seeds, most_draws = counts.max(axis=0).tolist()
    within = [g.to_numpy() for g in _values_by(values, "train_size", "subset_seed") if len(g) > 1]
    if counts[:, 1].mean() > 1 and within:
        return "nested", _nested_components(values)
    spread = [group.to_numpy() for group in _values_by(values, "train_size") if len(group) > 1]
    if not spread:
        return "none", []
    pooled = _pooled_variance(spread)
    if values["subset_seed"].null_count():
        return "none", _components({UNTOLD: (pooled, None)})
    if most_draws == 1:
        return "seeds only", _components({"training seed": (pooled, None)})
    if most_seeds == 1:
        return "draws only", _components({"subset draw": (pooled, None)})
    return "none", _components({"seed and draw together": (pooled, None)})


def _nested_components(values: pl.DataFrame) -> list[Component]:
    """Draw, and seed within draw, from runs whose seeds differ between draws (one-way, unbalanced)."""
    between = within = between_df = within_df = repeats = 0.0
    for _, of_size in values.group_by("train_size", maintain_order=True):
        groups = [group.to_numpy() for group in _values_by(of_size, "subset_seed")]
        counts, mean = np.array([len(group) for group in groups]), float(np.concatenate(groups).mean())
        between += float(sum(len(group) * (group.mean() - mean) ** 2 for group in groups))
        within += float(sum(((group - group.mean()) ** 2).sum() for group in groups))
        between_df += len(groups) - 1
        within_df += int(counts.sum()) - len(groups)
        repeats += float(counts.sum() - (counts**2).sum() / counts.sum())
    draw_ms, seed_ms = between / between_df, within / within_df
    draw = (draw_ms - seed_ms) / (repeats / between_df)
    estimates = {
        "training seed": (seed_ms, None),
        "subset draw": (draw, _f_test(draw_ms, seed_ms, between_df, within_df)),
    }
    return _components(estimates)


def _components(estimates: dict[str, tuple[float, float | None]]) -> list[Component]:
    variances = {name: max(0.0, estimate) for name, (estimate, _) in estimates.items()}
    total = sum(variances.values())
    return [
        Component(name, variances[name], estimate, variances[name] / total if total else math.nan, p)
        for name, (estimate, p) in estimates.items()
    ]


def _test_sampling(metric: Metric, values: pl.DataFrame, test_images: int | None) -> list[Component]:
    """What another test set of the same size would change: binomial, p(1 - p)/m."""
    if test_images is None or not metric.name.endswith(("test_accuracy", "test_top5")):
        return []
    means = values.group_by("train_size").agg(pl.col("value").mean())["value"].to_numpy()
    variance = float(np.mean(means * (1 - means))) / test_images
    return [Component(TEST_SAMPLING, variance, variance, math.nan, None)]


def _values_by(values: pl.DataFrame, *by: str) -> pl.Series:
    return values.group_by(by, maintain_order=True).agg("value")["value"]


def _pooled_variance(groups: list[Floats]) -> float:
    degrees = sum(len(group) - 1 for group in groups)
    return sum(float(((group - group.mean()) ** 2).sum()) for group in groups) / degrees


def _f_test(mean_square: float, against: float, df: float, against_df: float) -> float | None:
    return float(fdtrc(df, against_df, mean_square / against)) if against > 0 else None

"""Where the scatter between runs comes from: training seed, subset draw, what is left, and the test set.

Random effects by the method of moments (Searle, Casella and McCulloch, *Variance Components*, 1992, chapter
4): mean squares are set equal to their expectations. For the balanced tables taken here that is REML as long
as no estimate is negative; a negative one is shown as 0. Intervals of a source on its own are those of chi
square, those of a difference of mean squares the modified large sample ones of Ting, Burdick, Graybill,
Jeyaratnam and Lu (1990, *Journal of Statistical Computation and Simulation* 35, 135), made for few degrees of
freedom. Draws and seeds that come back at several sizes tell less than new ones would, see `MeanSquare`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import polars as pl
from scipy.special import fdtrc

from tui_datasize.metric import Metric, metric_named
from tui_datasize.runlog.schema import Schema, schema
from tui_datasize.stats.curve import apart, points
from tui_datasize.stats.laws import Floats
from tui_datasize.stats.mean_squares import MeanSquare, difference_interval

VARIANCE: Schema = schema(
    (pl.String, "experiment", "variant", "metric", "design", "source"),
    (pl.Float64, "sd", "sd_low", "sd_high", "variance", "estimate", "share", "p"),
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
    sd_low: float = math.nan
    """95 % interval of the standard deviation; NaN of the test set, or where nothing scatters."""
    sd_high: float = math.nan

    @property
    def sd(self) -> float:
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
    has effects of its own. Where every draw has seeds of its own, seeds are nested in draws. `test_images` is
    the size of the test set, for the part that another one would add to a share.
    """
    offered = metric_named(metric)
    curves = points(runs, metric).group_by("experiment", "variant", maintain_order=True)
    return tuple(_split(str(e), str(v), offered, values, test_images) for (e, v), values in curves)


def variance_table(splits: Iterable[VarianceSplit]) -> pl.DataFrame:
    """The sources of scatter as a frame, schema `VARIANCE`."""
    rows = [
        {"experiment": split.experiment, "variant": split.variant, "metric": split.metric.name}
        | {"design": split.design, "source": one.name, "sd": one.sd, **asdict(one)}
        for split in splits
        for one in split.components
    ]
    table = pl.DataFrame(rows, schema=dict(VARIANCE))
    return table.with_columns(pl.col("share", "sd_low", "sd_high").fill_nan(None))


def _split(
    experiment: str, variant: str, metric: Metric, values: pl.DataFrame, test_images: int | None
) -> VarianceSplit:
    values = apart(values)
    known = values.drop_nulls("subset_seed").group_by("train_size", maintain_order=True)
    tables = [_crossed(group) for _, group in known]
    crossed = [table for table in tables if min(table[2].shape) > 1]
    if crossed:
        design: Design = "crossed"
        between_runs = _crossed_components(crossed)
    else:
        design, between_runs = _one_way(values)
    components = [*_components(between_runs, metric.most), *_test_sampling(metric, values, test_images)]
    return VarianceSplit(experiment, variant, metric, design, tuple(components))


_Crossed: TypeAlias = tuple[Sequence[int], Sequence[int], Floats]
"""Seeds, draws, and values of shape (seeds, draws)."""


def _crossed(runs: pl.DataFrame) -> _Crossed:
    cells = runs.group_by("seed", "subset_seed").agg(pl.col("value").mean()).sort("seed", "subset_seed")
    draws = cells["subset_seed"].unique().sort().to_list()
    whole = cells.filter(pl.len().over("seed") == len(draws))
    seeds = whole["seed"].unique().sort().to_list()
    return seeds, draws, whole["value"].to_numpy().reshape(-1, len(draws))


def _crossed_components(tables: Iterable[_Crossed]) -> Mapping[str, _Estimated]:
    of_seed, of_draw, of_rest = MeanSquare(), MeanSquare(), MeanSquare()
    for names, draws, table in tables:
        seed, draw = table.mean(axis=1, keepdims=True), table.mean(axis=0, keepdims=True)
        rest, mean = table - seed - draw + table.mean(), table.mean()
        n_seeds, n_draws = table.shape
        of_seed.add(names, (seed - mean).ravel() * math.sqrt(n_draws), n_seeds - 1, n_draws)
        of_draw.add(draws, (draw - mean).ravel() * math.sqrt(n_seeds), n_draws - 1, n_seeds)
        cells = list(itertools.product(names, draws))
        of_rest.add(cells, rest.ravel(), (n_seeds - 1) * (n_draws - 1), 1)
    return {
        "training seed": _Estimated.apart(of_seed, of_rest),
        "subset draw": _Estimated.apart(of_draw, of_rest),
        "seed on draw": _Estimated.alone(of_rest),
    }


def _one_way(values: pl.DataFrame) -> tuple[Design, Mapping[str, _Estimated]]:
    per_size = values.group_by("train_size").agg(pl.col("seed", "subset_seed").n_unique())
    counts = per_size.select("seed", "subset_seed").to_numpy()
    most_seeds, most_draws = counts.max(axis=0).tolist()
    is_repeated = values.select("train_size", "subset_seed").is_duplicated().any()
    if counts[:, 1].mean() > 1 and is_repeated:
        return "nested", _nested_components(values)
    pooled = MeanSquare()
    for _, runs in values.group_by("train_size", maintain_order=True):
        if runs.height > 1:
            cells = list(runs.select("subset_seed", "seed").iter_rows())
            own = runs["value"].to_numpy()
            pooled.add(cells, own - own.mean(), len(own) - 1, 1)
    if not pooled.degrees:
        return "none", {}
    alone = _Estimated.alone(pooled)
    if values["subset_seed"].null_count():
        return "none", {UNTOLD: alone}
    if most_draws == 1:
        return "seeds only", {"training seed": alone}
    if most_seeds == 1:
        return "draws only", {"subset draw": alone}
    return "none", {"seed and draw together": alone}


def _nested_components(values: pl.DataFrame) -> Mapping[str, _Estimated]:
    """Draw, and seed within draw, from runs whose seeds differ between draws (one-way, unbalanced)."""
    of_draw, of_seed = MeanSquare(), MeanSquare()
    for _, of_size in values.group_by("train_size", maintain_order=True):
        draws = of_size.group_by("subset_seed", maintain_order=True).agg("seed", "value")
        groups = [group.to_numpy() for group in draws["value"]]
        counts, mean = np.array([len(group) for group in groups]), float(np.concatenate(groups).mean())
        between = np.array([math.sqrt(len(group)) * (group.mean() - mean) for group in groups])
        per_draw = float(counts.sum() - (counts**2).sum() / counts.sum()) / max(1, len(groups) - 1)
        of_draw.add(draws["subset_seed"].to_list(), between, len(groups) - 1, per_draw)
        within = np.concatenate([group - group.mean() for group in groups])
        cells = [(draw, seed) for draw, seeds, _ in draws.iter_rows() for seed in seeds]
        of_seed.add(cells, within, int(counts.sum()) - len(groups), 1)
    return {"training seed": _Estimated.alone(of_seed), "subset draw": _Estimated.apart(of_draw, of_seed)}


class _Estimated(NamedTuple):
    value: float
    p: float | None
    low: float = math.nan
    high: float = math.nan

    @classmethod
    def alone(cls, square: MeanSquare) -> _Estimated:
        return cls(square.value, None, *square.interval)

    @classmethod
    def apart(cls, square: MeanSquare, rest: MeanSquare) -> _Estimated:
        """Of what expects `repeats` times the variance more than the rest."""
        value = (square.value - rest.value) / square.repeats
        if not rest.value:
            return cls(value, None)
        # What does nothing has nothing in common at several sizes.
        p = float(fdtrc(square.degrees, rest.degrees, square.value / rest.value))
        return cls(value, p, *(end / square.repeats for end in difference_interval(square, rest)))


def _components(estimates: Mapping[str, _Estimated], most: float) -> list[Component]:
    """The sources; `most` is the largest value of the metric, values up to which have at most half as SD."""
    variances = {name: max(0.0, one.value) for name, one in estimates.items()}
    total = sum(variances.values())
    return [
        Component(
            name,
            variances[name],
            one.value,
            variances[name] / total if total else math.nan,
            one.p,
            *(min(math.sqrt(end), most / 2) for end in (one.low, one.high)),
        )
        for name, one in estimates.items()
    ]


def _test_sampling(metric: Metric, values: pl.DataFrame, test_images: int | None) -> list[Component]:
    """What another test set of the same size would change: binomial, p(1 - p)/m."""
    if test_images is None or not metric.name.endswith(("test_accuracy", "test_top5")):
        return []
    means = values.group_by("train_size").agg(pl.col("value").mean())["value"].to_numpy()
    variance = float(np.mean(means * (1 - means))) / test_images
    return [Component(TEST_SAMPLING, variance, variance, math.nan, None)]

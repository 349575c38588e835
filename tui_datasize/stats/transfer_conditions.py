"""What taking over layers is worth: the metric per transfer condition and target size.

After Soekhoe, van der Putten and Plaat, *On the Impact of Data Set Size in Transfer Learning using Deep
Neural Networks* (2016): base, FTall and S1T to S7T, run in both directions between two halves of the classes.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from tui_datasize.metric import metric_named
from tui_datasize.runlog.schema import Schema, schema
from tui_datasize.stats.curve import learning_curve, with_interval
from tui_datasize.stats.groups import compare_variants
from tui_datasize.stats.paired import untested
from tui_datasize.stats.pairwise import Difference, corrected, mean_difference

BASE = "base"
BOTH = "mean of both directions"

_HALVES = 2
_OF_GAIN = ("gain", "gain_se", "gain_low", "gain_high", "p")

CONDITIONS: Schema = schema(
    (pl.String, "experiment", "classes"),
    (pl.Int64, "train_size"),
    (pl.String, "condition"),
    (pl.Int64, "frozen_layers", "n_runs"),
    (pl.Float64, "mean", "se", "low", "high", *_OF_GAIN),
)
"""A transfer condition at a target size a row: base first, then FT..., then S1T, S2T, ... `classes` is the
half trained on, or `BOTH`: the mean of both halves with equal weight, where both have the condition. `gain`
is over base at the same size, paired as variants are, with `p` corrected for all pairs, null where it is not
tested; standard errors and 95 % intervals are null where runs do not tell. Runs on one draw are a cluster."""


@dataclass(frozen=True, slots=True)
class Crossing:
    """Up to which target size freezing some layers helps."""

    experiment: str
    classes: str
    frozen_layers: int
    until: float | None
    """Train size, interpolated in log n; None where it helps at every size or at none."""
    helps_at: tuple[int, ...]
    """Sizes at which the gain over base is above 0."""
    is_steady: bool
    """Whether it helps at every size below `until`."""


def transfer_table(runs: pl.DataFrame, metric: str) -> pl.DataFrame:
    """The metric per condition and target size, schema `CONDITIONS`; of experiments that transfer alone.

    Of what else is swept there only what runs with transfer have, too.
    """
    higher = metric_named(metric).higher_is_better
    else_ = pl.struct("experiment", others=_beside_transfer())
    transferring = runs.filter((pl.col("transfer") != BASE).any().over(else_))
    if transferring.is_empty():
        return pl.DataFrame(schema=dict(CONDITIONS))
    named = transferring.with_columns(variant="transfer")
    halves = pl.concat([_means(half, metric) for half in named.partition_by("classes", maintain_order=True)])
    table = with_interval(pl.concat([halves, _both_directions(halves)]), metric)
    cell, is_base = ["experiment", "classes", "train_size"], pl.col("condition") == BASE
    base = table.filter(is_base).select(*cell, base="mean")
    sign = 1 if higher else -1
    plain = pl.when(~is_base).then(sign * (pl.col("mean") - pl.col("base")))
    compared = _gains(named, metric, sign)
    gains = (
        table.join(base, on=cell, how="left")
        .join(compared, on=[*cell, "condition"], how="left")
        .with_columns(pl.coalesce("gain", plain), pl.when(pl.col("se") > 0).then(pl.col("low", "high")))
    )
    layers = pl.col("condition").str.extract(r"^S(\d+)T$").cast(pl.Int64)
    order = pl.when(is_base).then(0).when(layers.is_null()).then(1).otherwise(2)
    key = [*cell, "order", "frozen_layers", "condition"]
    return gains.with_columns(frozen_layers=layers, order=order).sort(key).select(*CONDITIONS)


def crossings(table: pl.DataFrame) -> tuple[Crossing, ...]:
    """The heuristic "freeze l layers until n images per class" for every l, from schema `CONDITIONS`."""
    frozen = table.drop_nulls(["frozen_layers", "gain"])
    groups = frozen.group_by("experiment", "classes", "frozen_layers", maintain_order=True)
    found = (_crossing(str(e), str(c), int(str(n)), rows.sort("train_size")) for (e, c, n), rows in groups)
    return tuple(sorted(found, key=lambda one: (one.experiment, one.classes, one.frozen_layers)))


def layer_order(table: pl.DataFrame) -> pl.DataFrame:
    """Schema `CONDITIONS` in the order of an axis: S1T, S2T, ..., then base, then what freezes nothing."""
    order = pl.col("frozen_layers").fill_null(2**31), pl.col("condition") != BASE
    return table.sort(*order, "condition", "train_size", maintain_order=True)


def varies_alone(runs: pl.DataFrame) -> bool:
    """Whether transfer is all that sets the variants of runs, schema `RUNS`, apart."""
    return runs.select(_beside_transfer()).n_unique() == 1


def _beside_transfer() -> pl.Expr:
    words = pl.col("variant").str.split(" ")
    return words.list.set_difference(pl.concat_list("transfer")).list.sort().list.join(" ")


def _means(half: pl.DataFrame, metric: str) -> pl.DataFrame:
    """Of the runs of one half of classes, named by their condition; runs on one draw are a cluster."""
    found = learning_curve(half, metric).select(
        "experiment", "train_size", "n_runs", "mean", "se", "df", condition="variant"
    )
    return found.with_columns(classes=pl.lit(half["classes"][0], pl.String))


def _gains(named: pl.DataFrame, metric: str, sign: int) -> pl.DataFrame:
    """Each condition against base, as variants are compared; over both halves the mean of theirs."""
    found: dict[tuple[str, str, int, str], Difference] = {}
    both: dict[tuple[str, str, int, str], list[Difference]] = defaultdict(list)
    for half in named.partition_by("classes", maintain_order=True):
        classes = half["classes"][0]
        for at in compare_variants(half, metric):
            for pair in at.pairs if at.train_size is not None else ():
                if BASE in (pair.first, pair.second) and not pair.is_same:
                    gain, condition = _over_base(pair, sign)
                    found[at.experiment, classes, int(at.train_size or 0), condition] = gain
                    both[at.experiment, BOTH, int(at.train_size or 0), condition].append(gain)
    twice = {key: pair for key, pair in both.items() if len(pair) == _HALVES}
    found |= zip(twice, corrected([_mean_of(pair) for pair in twice.values()]), strict=True)
    rows = [(*key, one.value, one.stderr, one.low, one.high, one.p_adjusted) for key, one in found.items()]
    columns = ("experiment", "classes", "train_size", "condition", *_OF_GAIN)
    kinds = {name: CONDITIONS[name] for name in columns}
    return pl.DataFrame(rows, schema=kinds, orient="row").with_columns(pl.col("p").fill_nan(None))


def _over_base(pair: Difference, sign: int) -> tuple[Difference, str]:
    """A comparison with base turned into the condition's gain, and the condition."""
    turned = sign if pair.first == BASE else -sign
    low, high = sorted((turned * pair.low, turned * pair.high))
    gain = replace(pair, value=turned * pair.value, low=low, high=high)
    return gain, pair.second if pair.first == BASE else pair.first


def _mean_of(halves: Sequence[Difference]) -> Difference:
    found = mean_difference(halves)
    assert isinstance(found, Difference)
    return untested(found) if any(math.isnan(one.p) for one in halves) else found


def _both_directions(halves: pl.DataFrame) -> pl.DataFrame:
    """The mean over the halves of classes, where an experiment has two and both have the condition.

    Its interval counts the degrees of freedom of the half with fewer runs, which is never too narrow.
    """
    directions = pl.col("classes").n_unique().over("experiment")
    square = (pl.col("se") ** 2).sum().sqrt() / pl.len()
    se = pl.when(pl.col("se").null_count() == 0).then(square)
    both = (
        halves.filter(directions == _HALVES)
        .group_by("experiment", "train_size", "condition")
        .agg(pl.sum("n_runs"), pl.mean("mean"), pl.min("df"), halves=pl.len(), se=se)
        .filter(pl.col("halves") == _HALVES)
    )
    return both.with_columns(classes=pl.lit(BOTH)).select(halves.columns)


def _crossing(experiment: str, classes: str, layers: int, rows: pl.DataFrame) -> Crossing:
    sizes, gains = rows["train_size"].to_numpy(), rows["gain"].to_numpy()
    helps = tuple(sizes[gains > 0].tolist())
    until: float | None = None
    is_steady = True
    if helps and gains[-1] <= 0:
        last = int(np.flatnonzero(gains > 0)[-1])
        share = gains[last] / (gains[last] - gains[last + 1])
        until = math.exp(math.log(sizes[last]) + share * math.log(sizes[last + 1] / sizes[last]))
        is_steady = len(helps) == last + 1
    return Crossing(experiment, classes, layers, until, helps, is_steady)

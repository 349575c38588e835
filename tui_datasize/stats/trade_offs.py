"""What a better value costs: training time against the metric, and a swept option against the metric."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from itertools import combinations

import polars as pl

from tui_datasize.experiments.variants import AS_PUBLISHED, CONDITION
from tui_datasize.metric import metric_named
from tui_datasize.runlog.schema import Schema, schema
from tui_datasize.stats.curve import OVER_RUNS, points, with_interval

COSTS: Schema = schema(
    (pl.String, "experiment", "variant", "model"),
    (pl.Int64, "train_size", "n_runs"),
    (pl.Float64, "wall_s"),
    (pl.Int64, "parameters"),
    (pl.Float64, "flops", "mean", "se"),
    (pl.Boolean, "is_best_for_its_time"),
)
"""A variant at a train size a row, means over runs. `flops` of the whole training: three forward passes (one
forward, about two backward) times the samples seen; null where not recorded. `is_best_for_its_time`: no other
row of the experiment is at least as good in less time (the Pareto front)."""

OPTIONS: Schema = schema(
    (pl.String, "experiment", "others", "option", "label"),
    (pl.Float64, "value"),
    (pl.Int64, "train_size", "n_runs"),
    (pl.Float64, "mean", "se", "low", "high"),
)
"""A value of a swept option at a train size a row. `others` is what else was swept: rows that
agree in it form one series; `value` is null where the option is no number."""

_PART = re.compile(r"(?:^|(?<=\s))([\w.-]+)=((?:\[.*?\]|\(.*?\)|\{.*?\}|.)*?)(?=\s+[\w.-]+=|\s*$)")
"""An option with its value, which goes on to the next option: values may hold spaces."""
_MODEL = "model"
"""The option whose value stands alone, before the others."""
_TRANSFER = "transfer"
STAND_ALONE = (_MODEL, _TRANSFER)
"""Options whose value says enough."""
_CONDITION = re.compile(rf"(?:^|\s)(base|{CONDITION})\s*$")
"""A transfer condition, which stands alone behind the model."""
_NAME = ".name"
"""Ends an option that brings others along: those of the model, or of another part, that it names."""


def cost_against_metric(runs: pl.DataFrame, metric: str) -> pl.DataFrame:
    """Training time and size of each variant beside its metric, schema `COSTS`."""
    sign = 1 if metric_named(metric).higher_is_better else -1
    # Samples are those with labels: of images that are seen beside them, or to generate some, it is not told
    # how many.
    flops = pl.when(unlabelled="none", synthetic="none").then(pl.col("flops_per_image"))
    told = runs.select("run_id", "model", "wall_s", "parameters", flops, "samples_seen")
    costs = points(runs, metric).join(told, on="run_id")
    table = costs.group_by("experiment", "variant", "model", "train_size").agg(
        *OVER_RUNS,
        pl.col("wall_s").mean(),
        pl.col("parameters").max(),
        (3.0 * pl.col("flops_per_image") * pl.col("samples_seen")).mean().alias("flops"),
    )
    # In order of time, only what beats everything before it is on the front.
    ordered = table.with_columns(good=sign * pl.col("mean")).sort(
        *("experiment", "wall_s", "good", "variant", "train_size"),
        descending=[False, False, True, False, False],
        nulls_last=True,
    )
    before = pl.col("good").cum_max().shift(1).over("experiment")
    is_best = pl.col("wall_s").is_finite() & (before.is_null() | (pl.col("good") > before))
    front = ordered.with_columns(is_best_for_its_time=is_best.fill_null(False))
    return front.sort("experiment", "variant", "train_size").select(
        pl.col(name).cast(kind) for name, kind in COSTS.items()
    )


def swept_options(runs: pl.DataFrame) -> tuple[str, ...]:
    """The options that were swept, such as `model.depth`; in name order.

    Options that another one brings along, such as those that one model alone has, set variants apart too and
    were not swept: two variants differ in such an option only where they also differ in what brought it.

    >>> swept_options(pl.DataFrame({"variant": ["mlp lr=0.1", "cnn3 lr=0.1", "cnn3 lr=1"]}))
    ('lr', 'model')
    >>> swept_options(pl.DataFrame({"variant": ["base half=source", "S2T half=source"]}))
    ('transfer',)
    """
    variants = [dict(parts_of_variant(variant)) for variant in runs["variant"].unique()]
    names = sorted({key for variant in variants for key in variant})
    return tuple(name for name in names if any(_is_swept(name, a, b) for a, b in combinations(variants, 2)))


def _is_swept(name: str, a: Mapping[str, str], b: Mapping[str, str]) -> bool:
    """Whether two variants differ in one option, and in others only as that one brings them along."""
    if name not in a or name not in b or a[name] == b[name]:
        return False
    brought = name.removesuffix("name") if name.endswith(_NAME) else None
    return all(
        a[key] == b[key] or (brought is not None and key.startswith(brought))
        for key in a.keys() & b.keys() - {name}
    )


def option_against_metric(runs: pl.DataFrame, metric: str, option: str) -> pl.DataFrame:
    """The metric against one swept option, one series per size and rest of the recipe, schema `OPTIONS`.

    `option` is one of `swept_options`; runs without it are left out.
    """
    metric_named(metric)
    swept = swept_options(runs)
    parts = []
    for variant in runs["variant"].unique(maintain_order=True):
        label = next((value for name, value, *_ in _parts(variant) if name == option), None)
        parts.append((variant, label, rest_of_variant(variant, option, swept)))
    schema = {"variant": pl.String, "label": pl.String, "others": pl.String}
    named = points(runs, metric).join(pl.DataFrame(parts, schema=schema, orient="row"), on="variant")
    table = (
        named.drop_nulls("label")
        .group_by("experiment", "others", "label", "train_size")
        .agg(*OVER_RUNS)
        .with_columns(option=pl.lit(option), value=pl.col("label").cast(pl.Float64, strict=False))
    )
    return (
        with_interval(table, metric)
        .sort("experiment", "others", "train_size", "value", "label", nulls_last=True)
        .select(*OPTIONS)
    )


def rest_of_variant(variant: str, option: str, options: Collection[str] | None = None) -> str:
    """What sets a variant apart besides one option.

    Options other than `options` are left out, too; None keeps all.

    >>> rest_of_variant("model.depth=20 optimizer.lr=0.1", "model.depth")
    'optimizer.lr=0.1'
    >>> rest_of_variant("optimizer=SGD with momentum (0.9) lr=0.1", "lr")
    'optimizer=SGD with momentum (0.9)'
    >>> rest_of_variant("mlp hidden=64 lr=0.1", "lr", ["lr", "model"])
    'mlp'
    >>> rest_of_variant("mlp S2T half=source", "transfer"), rest_of_variant("base lr=0.1", "lr")
    ('mlp half=source', 'base')
    """
    for name, _, start, end in reversed(_parts(variant)):
        if name == option or (options is not None and name not in options):
            variant = variant[:start] + variant[end:]
    return " ".join(variant.split())


def parts_of_variant(variant: str) -> list[tuple[str, str]]:
    """The options that set a variant apart with their values, in the order of its name.

    >>> parts_of_variant("mlp lr=0.1")
    [('model', 'mlp'), ('lr', '0.1')]
    """
    return [(name, value) for name, value, *_ in _parts(variant)]


def _parts(variant: str) -> list[tuple[str, str, int, int]]:
    found = [(part[1], part[2], part.start(), part.end()) for part in _PART.finditer(variant)]
    start = len(AS_PUBLISHED) if variant.startswith(AS_PUBLISHED) else 0
    end = found[0][2] if found else len(variant)
    if condition := _CONDITION.search(variant, start, end):
        found.insert(0, (_TRANSFER, condition[1], condition.start(1), condition.end(1)))
        end = condition.start(1)
    model = variant[start:end].strip()
    return [(_MODEL, model, start, end), *found] if model else found

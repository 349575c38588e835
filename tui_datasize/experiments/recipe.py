"""How a run trains: the part of an experiment's table that a sweep may vary."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, TypeVar

from tui_datasize.errors import ConfigError
from tui_datasize.experiments.architectures import layer_count
from tui_datasize.experiments.augmentation import AugmentationSpec
from tui_datasize.experiments.recipe_tables import (
    MOST_BATCH,
    MOST_PX,
    TransferRecipe,
    named_table,
    read_augmentation,
    read_budget,
    read_classes,
    read_evaluations,
    read_label_noise,
    read_model,
    read_optimizer,
    read_protocol,
    read_schedule,
    read_transfer,
)
from tui_datasize.experiments.schedule import ScheduleSpec
from tui_datasize.experiments.spec import (
    PRECISIONS,
    Budget,
    ClassSplit,
    LabelNoise,
    ModelSpec,
    OptimizerSpec,
    Precision,
    Protocol,
)
from tui_datasize.experiments.toml_table import Table, is_number, nearest

Read = TypeVar("Read")

RECIPE_KEYS = frozenset(
    {
        *("model", "budget", "batch_size", "optimizer", "clip_grad_norm", "evaluate"),
        *("schedule", "augmentation", "label_smoothing", "ema_decay", "precision"),
        *("classes", "label_noise", "imbalance", "image_px", "transfer", "protocol"),
    }
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides a training beside its images and its seeds."""

    model: ModelSpec
    budget: Budget
    batch_size: int
    optimizer: OptimizerSpec
    clip_grad_norm: float | None
    evaluations: int | None
    """None where the file leaves it to the default: shorter runs are then evaluated after each update."""
    schedule: ScheduleSpec
    augmentation: AugmentationSpec
    label_smoothing: float
    ema_decay: float | None
    precision: Precision
    classes: ClassSplit
    label_noise: LabelNoise
    imbalance: float
    image_px: int
    transfer: TransferRecipe | None
    protocol: Protocol


def read_recipes(table: Table, sweep: Table) -> tuple[Recipe, ...]:
    """Every combination of the swept keys, laid over the recipe of the experiment's table.

    Raises:
        ConfigError: A value, or a combination of swept values, is not a valid recipe.
    """
    base = {key: table.take(key) for key in sorted(RECIPE_KEYS) if table.has(key)}
    axes = [(key, _swept_values(sweep, key)) for key, _ in sorted(sweep.take_all().items())]
    sweep.finish()
    recipes = []
    for values in product(*(values for _, values in axes)):
        overlaid = deepcopy(base)
        for (key, _), value in zip(axes, values, strict=True):
            _set_dotted(overlaid, key, value)
        recipes.append(_read_recipe(table.with_values(overlaid)))
    return tuple(recipes)


def count_combinations(sweep: Table) -> int:
    """How many recipes `read_recipes` would make of a sweep; what is no list counts once."""
    values = sweep.take_all().values()
    return prod(len(one) if isinstance(one, list) else 1 for one in values)


def _swept_values(sweep: Table, key: str) -> list[Any]:
    if key.split(".")[0] not in RECIPE_KEYS:
        raise ConfigError(f"cannot sweep {key!r}", where=sweep.where(), fix=nearest(key, set(RECIPE_KEYS)))
    values = sweep.take(key)
    if isinstance(values, dict):
        inner = f'"{key}.{next(iter(values), "...")}"'
        raise ConfigError(
            "expected a list of values, got a table",
            where=sweep.where(key),
            fix=f"write a key with a dot in quotes: {inner} = [...]",
        )
    if not isinstance(values, list) or not values:
        raise sweep.error(key, "a list of values")
    return values


_SHORT_FOR = {"classes": "half"}
"""The key that a word alone stands for, where it is not the name."""


def _set_dotted(values: dict[str, Any], dotted: str, value: Any) -> None:
    """Set `a.b` in nested tables; a model or optimiser given by name alone becomes a table first."""
    *parents, last = dotted.split(".")
    for parent in parents:
        inner = values.get(parent, {})
        values[parent] = inner if isinstance(inner, dict) else {_SHORT_FOR.get(parent, "name"): inner}
        values = values[parent]
    values[last] = value


def _read_recipe(table: Table) -> Recipe:
    recipe = Recipe(
        model=read_model(table),
        budget=read_budget(table.table("budget")),
        batch_size=table.integer("batch_size", 64, least=1, most=MOST_BATCH),
        optimizer=read_optimizer(named_table(table, "optimizer", default="adamw")),
        clip_grad_norm=table.number("clip_grad_norm", above=0) if table.has("clip_grad_norm") else None,
        evaluations=read_evaluations(table.table("evaluate")),
        schedule=read_schedule(named_table(table, "schedule", default="constant")),
        augmentation=_read_switched(table, "augmentation", read_augmentation) or AugmentationSpec(),
        label_smoothing=table.number("label_smoothing", 0.0, below=1),
        ema_decay=table.number("ema_decay", above=0, below=1) if table.has("ema_decay") else None,
        precision=table.choice("precision", PRECISIONS, "auto"),
        classes=read_classes(named_table(table, "classes", short="half")),
        label_noise=_read_noise(table),
        imbalance=table.number("imbalance", 1.0, at_least=1),
        image_px=table.integer("image_px", 0, most=MOST_PX),
        transfer=_read_switched(table, "transfer", read_transfer),
        protocol=read_protocol(table.table("protocol")),
    )
    _check_together(recipe, table)
    table.finish()
    return recipe


def _read_switched(table: Table, key: str, read: Callable[[Table], Read]) -> Read | None:
    """A table that may be left out or switched off with the word none."""
    if not table.has(key) or table.take(key) == "none":
        return None
    return read(table.table(key))


def _read_noise(table: Table) -> LabelNoise:
    """`label_noise = 0.2` is short for `label_noise = { fraction = 0.2 }`."""
    value = table.take("label_noise", 0.0)
    return read_label_noise(table.nested("label_noise", {"fraction": value} if is_number(value) else value))


def _check_together(recipe: Recipe, table: Table) -> None:
    """Refuse settings that contradict each other."""
    if recipe.augmentation.repeats > recipe.batch_size:
        raise ConfigError(
            f"{recipe.augmentation.repeats} repeats do not fit a batch of {recipe.batch_size}",
            where=table.where("augmentation.repeats"),
        )
    if recipe.protocol.partial_batches and recipe.augmentation.repeats > 1:
        raise ConfigError("partial batches and repeats exclude each other", where=table.where("protocol"))
    count, taken = layer_count(recipe.model), recipe.transfer.layers if recipe.transfer else None
    if count is not None and taken is not None and taken >= count:
        raise ConfigError(
            f"cannot take over {taken} layers: {recipe.model} has {count}, and its classifier is always new",
            where=table.where("transfer.layers"),
            fix=f"use at most {count - 1}",
        )

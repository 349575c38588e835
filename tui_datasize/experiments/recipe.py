"""How a run trains: the part of an experiment's table that a sweep may vary."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType
from typing import Any

from tui_datasize.errors import ConfigError
from tui_datasize.experiments.catalogue import MODELS
from tui_datasize.experiments.spec import (
    BUDGET_UNITS,
    OPTIMIZERS,
    Budget,
    ModelSpec,
    OptimizerSpec,
    OptionValue,
)
from tui_datasize.experiments.toml_table import Table, is_number, is_whole, nearest

RECIPE_KEYS = frozenset({"model", "budget", "batch_size", "optimizer", "clip_grad_norm", "evaluate"})


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides a training beside its data and its seed."""

    model: ModelSpec
    budget: Budget
    batch_size: int
    optimizer: OptimizerSpec
    clip_grad_norm: float | None
    evaluations: int


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


def _swept_values(sweep: Table, key: str) -> list[Any]:
    if key.split(".")[0] not in RECIPE_KEYS:
        raise ConfigError(f"cannot sweep {key!r}", where=sweep.where(), fix=nearest(key, set(RECIPE_KEYS)))
    values = sweep.take(key)
    if not isinstance(values, list) or not values:
        raise sweep.error(key, "a list of values")
    return values


def _set_dotted(values: dict[str, Any], dotted: str, value: Any) -> None:
    """Set `a.b` in nested tables; a model or optimiser given by name alone becomes a table first."""
    *parents, last = dotted.split(".")
    for parent in parents:
        inner = values.get(parent, {})
        values[parent] = inner if isinstance(inner, dict) else {"name": inner}
        values = values[parent]
    values[last] = value


def _read_recipe(table: Table) -> Recipe:
    recipe = Recipe(
        model=_read_model(table),
        budget=_read_budget(table.table("budget")),
        batch_size=table.integer("batch_size", 64, least=1),
        optimizer=_read_optimizer(_named(table, "optimizer", default="adamw")),
        clip_grad_norm=table.number("clip_grad_norm", above=0) if table.has("clip_grad_norm") else None,
        evaluations=_read_evaluations(table.table("evaluate")),
    )
    table.finish()
    return recipe


def _named(table: Table, key: str, default: str) -> Table:
    """A table with a name; `model = "cnn3"` is short for `model = { name = "cnn3" }`."""
    value = table.take(key, {})
    values = {"name": value} if isinstance(value, str) else value
    if isinstance(values, Mapping) and "name" not in values:
        values = {"name": default, **values}
    return table.nested(key, values)


def _read_model(table: Table) -> ModelSpec:
    if not table.has("model"):
        raise table.error("model", f"a model, one of {', '.join(MODELS)}")
    model = _named(table, "model", default="")
    info = MODELS[model.choice("name", tuple(MODELS))]
    options: dict[str, OptionValue] = {}
    for key, default in info.options.items():
        value = _read_option(model, key, default, info.ranges.get(key))
        if value != default:
            options[key] = value
    model.finish()
    return ModelSpec(info.name, MappingProxyType(options))


def _read_option(
    model: Table, key: str, default: OptionValue, bounds: tuple[float, float] | None
) -> OptionValue:
    if isinstance(default, bool):
        return model.boolean(key, default)
    if isinstance(default, str):
        return model.text(key, default)
    value = model.take(key, default)
    fits = is_whole(value) if isinstance(default, int) else is_number(value)
    kind = "a whole number" if isinstance(default, int) else "a number"
    low, high = bounds or (float("-inf"), float("inf"))
    if not fits or not low <= value <= high:
        raise model.error(key, f"{kind} from {low:g} to {high:g}")
    return type(default)(value)


def _read_budget(table: Table) -> Budget:
    given = [unit for unit in BUDGET_UNITS if table.has(unit)]
    if len(given) != 1:
        found = ", ".join(given) or "none"
        raise ConfigError(
            f"expected exactly one of {', '.join(BUDGET_UNITS)}, got {found}", where=table.where()
        )
    (unit,) = given
    amount = table.number(unit, above=0) if unit == "epochs" else table.integer(unit, least=1)
    table.finish()
    return Budget(unit, amount)


def _read_optimizer(table: Table) -> OptimizerSpec:
    defaults = OptimizerSpec()
    name = table.choice("name", OPTIMIZERS, defaults.name)
    optimizer = OptimizerSpec(
        name=name,
        lr=table.number("lr", defaults.lr, above=0),
        weight_decay=table.number("weight_decay", defaults.weight_decay),
        momentum=table.number("momentum", defaults.momentum),
        nesterov=table.boolean("nesterov", defaults.nesterov),
    )
    if name != "sgd" and (table.has("momentum") or table.has("nesterov")):
        raise ConfigError("momentum and nesterov belong to sgd", where=table.where())
    if optimizer.momentum >= 1:
        raise table.error("momentum", "a number from 0 to below 1")
    if optimizer.nesterov and not optimizer.momentum:
        raise ConfigError("nesterov needs a momentum above 0", where=table.where())
    table.finish()
    return optimizer


def _read_evaluations(table: Table) -> int:
    times = table.integer("times", 12, least=1)
    table.finish()
    return times

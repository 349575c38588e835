"""How a run trains: the part of an experiment's table that a sweep may vary."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext, suppress
from copy import deepcopy
from dataclasses import MISSING, dataclass
from itertools import chain, product
from types import MappingProxyType
from typing import Any, get_args

from tui_datasize.errors import ConfigError
from tui_datasize.experiments.architectures import MODELS, layer_count, model_info
from tui_datasize.experiments.augmentation import AugmentationSpec
from tui_datasize.experiments.images.reading import ImageReading
from tui_datasize.experiments.keys import Row, rows
from tui_datasize.experiments.pretext import refuse_beside_task
from tui_datasize.experiments.spec import (
    CHOSEN,
    IN_FEATURES,
    MOST_AMOUNT,
    NAME_PATTERN,
    Budget,
    BudgetUnit,
    Confusion,
    ModelSpec,
    OptimizerSpec,
    OptionValue,
    RunSpec,
    Split,
    Strategy,
    SubsetSpec,
    TestSets,
)
from tui_datasize.experiments.synthetic import Synthetic
from tui_datasize.experiments.toml import MOST_WHOLE, Problems, TomlTable, nearest
from tui_datasize.experiments.unlabelled import TEACHER_NEEDS

BUDGET_UNITS: tuple[BudgetUnit, ...] = get_args(BudgetUnit)
ON_A_PATH: tuple[Strategy, ...] = (*CHOSEN, "random")
MOST_STEPS = 100
"""Of a path."""
SWEPT_STRATEGY = "subset.strategy"
SWEPT_FEATURES = "subset.features"
MODEL_NAMES = (*MODELS, "torchvision:NAME", "timm:NAME")


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides a training beside its images and its seeds."""

    spec: RunSpec
    """A run of the recipe; size, seed and draw stand for any, a transfer names what the file does."""
    says_evaluations: bool
    """Whether the file does; shorter runs than the default suits are evaluated after each update."""


def recipe_keys() -> frozenset[str]:
    """The keys of an experiment's table that a recipe is made of."""
    return frozenset(row.name.partition(".")[0] for row in rows(RunSpec))


def near_key(key: str, known: Collection[str]) -> str:
    """A hint for a key that no recipe has: what it is behind a dot, else the nearest of those known.

    >>> near_key("depth", {"model", "budget"}), near_key("lr", {"model", "budget"})
    ("did you mean 'model.depth'?", 'known are budget, model')
    """
    inner = [(row.name, one) for row in rows(RunSpec) for one in rows(row.kind)]
    inner += [("model", option) for info in MODELS.values() for option in info.rows]
    table = next((table for table, one in inner if one.name == key and table in known), None)
    return f"did you mean {f'{table}.{key}'!r}?" if table else nearest(key, set(known))


def read_recipes(
    table: TomlTable,
    sweep: TomlTable,
    levers: TomlTable | None = None,
    default: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[Recipe, ...]:
    """Every combination of the swept keys, laid over the recipe of the experiment's table.

    Each without a lever first, then with one value of one of them at a time; `default` has values of dotted
    keys that the table leaves to a search.

    Raises ConfigError: a value, or a combination of swept values, is not a valid recipe.
    """
    base = {key: table.take(key) for key in ("subset", *sorted(recipe_keys())) if table.has(key)}
    levers = levers or table.with_values({})
    axes, pulled = (
        [[(key, value) for value in _swept_values(each, key)] for key in sorted(each.take_all())]
        for each in (sweep, levers)
    )
    _refuse_swept_levers(sweep, levers)
    is_chosen = any(key in (SWEPT_STRATEGY, SWEPT_FEATURES) for axis in (*axes, *pulled) for key, _ in axis)
    recipes = []
    problems = Problems()
    for values, lever in product(product(*axes), [(), *((one,) for one in chain(*pulled))]):
        with problems.part():
            given = {**default, **dict((*values, *lever))}
            recipes.append(read_recipe_with(table, base, given, needs_path=is_chosen))
    problems.raise_all()
    return tuple(recipes)


def read_recipe_with(
    table: TomlTable, base: Mapping[str, Any], values: Mapping[str, Any], *, needs_path: bool = False
) -> Recipe:
    """A recipe with values of dotted keys laid over it; raises ConfigError: they are no valid recipe."""
    overlaid = deepcopy(dict(base))
    for key, value in values.items():
        set_dotted(overlaid, key, value)
    return _read_recipe(table.with_values(overlaid), needs_path=needs_path)


def _refuse_swept_levers(sweep: TomlTable, levers: TomlTable) -> None:
    """A lever would take the place of each value that is swept: the same runs again."""
    for lever in sorted(levers.take_all()):
        swept = next((key for key in sorted(sweep.take_all()) if f"{key}.".startswith(f"{lever}.")), None)
        if swept:
            raise ConfigError(
                f"{swept} is swept too", where=levers.where(lever), fix="keep it in sweep or in levers"
            )


def _swept_values(sweep: TomlTable, key: str) -> list[Any]:
    if key.split(".")[0] not in recipe_keys() and key not in (SWEPT_STRATEGY, SWEPT_FEATURES):
        raise ConfigError(f"cannot sweep {key!r}", where=sweep.where(), fix=near_key(key, recipe_keys()))
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


def set_dotted(values: dict[str, Any], dotted: str, value: Any) -> None:
    """Set a key in a table within tables; `model.depth` makes one of `model = "resnet"`."""
    *parents, last = dotted.split(".")
    short_for = {row.name: row.key.short for row in rows(RunSpec)}
    for parent in parents:
        inner = values.get(parent, {})
        values[parent] = inner if isinstance(inner, dict) else {short_for.get(parent) or "name": inner}
        values = values[parent]
    values[last] = value


def _read_recipe(table: TomlTable, *, needs_path: bool) -> Recipe:
    problems = Problems()
    values = problems.of(lambda: _read_rows(RunSpec, table), {})
    values |= problems.of(lambda: _read_path(table.table("subset"), is_needed=needs_path), {})
    problems.raise_all()
    for table_of, kind in (("subset", SubsetSpec), ("images", ImageReading)):
        keys = [name for name in values if name.startswith(f"{table_of}.")]
        values[table_of] = kind(**{name.partition(".")[2]: values.pop(name) for name in keys})
    recipe = Recipe(
        RunSpec(experiment="", dataset="", train_size=1, seed=0, **values),
        says_evaluations=table.table("evaluate").has("times"),
    )
    _check_together(recipe.spec, table)
    table.finish()
    return recipe


def _read_path(table: TomlTable, *, is_needed: bool) -> dict[str, Any]:
    """Strategy and path of images that are labelled step by step; nothing where they are drawn."""
    features = "" if table.take("features", "none") == "none" else table.text("features")
    if not table.has("path"):
        strategy = table.take("strategy", "")
        if features:
            raise ConfigError(
                "features are chosen by along a path", where=table.where("features"), fix=_GIVE_PATH
            )
        if is_needed or strategy in CHOSEN:
            what = "strategies are swept along a path" if is_needed else f"{strategy} chooses along a path"
            raise ConfigError(what, where=table.where(), fix=_GIVE_PATH)
        return {}
    strategy = table.choice("strategy", ON_A_PATH, "random")
    path = table.numbers("path", whole=True)
    if path != sorted(path) or len(path) > MOST_STEPS:
        raise table.error("path", f"at most {MOST_STEPS} numbers in ascending order")
    if not table.take("nested", True):
        raise ConfigError("each step of a path keeps the images before it", where=table.where("nested"))
    uses = strategy in IN_FEATURES
    if features and not uses and not is_needed:
        named = " and ".join(IN_FEATURES)
        raise ConfigError(
            f"{strategy} looks at no features", where=table.where("features"), fix=f"{named} do"
        )
    return {
        "subset.strategy": strategy,
        "subset.path": tuple(path),
        "subset.features": features if uses else "",
    }


_GIVE_PATH = "give its sizes: path = [100, 200, 400]"


def _check_together(spec: RunSpec, table: TomlTable) -> None:
    refuse_beside_task(spec, table.where())
    if spec.augmentation.repeats > spec.batch_size:
        raise ConfigError(
            f"{spec.augmentation.repeats} repeats do not fit a batch of {spec.batch_size}",
            where=table.where("augmentation.repeats"),
        )
    if spec.subset.path and spec.subset.imbalance != 1:
        raise ConfigError("an imbalance and a path exclude each other", where=table.where("imbalance"))
    if spec.protocol.partial_batches and spec.augmentation.repeats > 1:
        raise ConfigError("partial batches and repeats exclude each other", where=table.where("protocol"))
    if spec.protocol.partial_batches and spec.synthetic.is_on:
        problem = "partial batches and generated images exclude each other: an epoch counts real ones alone"
        raise ConfigError(problem, where=table.where("protocol"))
    if spec.unlabelled.method == "mean-teacher" and spec.ema_decay is None:
        raise ConfigError(TEACHER_NEEDS, where=table.where("ema_decay"), fix="give ema_decay = 0.99")
    count, taken = layer_count(spec.model), spec.transfer.layers if spec.transfer else None
    if count is not None and taken is not None and taken >= count:
        raise ConfigError(
            f"cannot take over {taken} layers: {spec.model} has {count}, and its classifier is always new",
            where=table.where("transfer.layers"),
            fix=f"use at most {count - 1}",
        )


def _read_rows(kind: Any, table: TomlTable, short: str = "") -> dict[str, Any]:
    problems = Problems()
    values: dict[str, Any] = {}
    for row in rows(kind):
        with problems.part():
            if not row.key.only_for or values.get(short) in row.key.only_for:
                values[row.attribute] = _read_row(row, table)
            elif short in values and table.has(row.name):
                named = " or ".join(row.key.only_for)
                problem = f"{row.name} belongs to {short} = {named}"
                raise ConfigError(problem, where=table.where(row.name), fix="leave it out")
            else:
                values[row.attribute] = row.default
    problems.raise_all()
    return values


def _read_row(row: Row, table: TomlTable) -> Any:
    outer, dot, inner = row.name.partition(".")
    if dot:
        nested = table.table(outer)
        value = _read_value(row, inner, nested)
        nested.finish()
        return value
    with suppress(ConfigError) if row.kind is float and row.key.expected else nullcontext():
        value = _read_value(row, row.name, table)
        if not row.key.holds or row.key.holds(table.take(row.name, value)):
            return value
    raise table.error(row.name, row.key.expected)


def _read_value(row: Row, name: str, table: TomlTable) -> Any:
    key = row.key
    if row.kind in _READERS:
        return _READERS[row.kind](table, name)
    left_out = None if row.default is MISSING else row.default
    if key.none and table.take(name, key.none) == key.none:
        return left_out
    if row.kind is bool:
        return table.boolean(name, bool(left_out))
    if not table.has(name) and not (key.is_required or row.default is MISSING):
        return left_out
    if row.is_table:
        return _read_table(row, name, table)
    if row.choices:
        return table.choice(name, row.choices)
    if row.kind is str:
        return table.text(name)
    if key.is_length:
        return _read_length(row, name, table)
    if row.kind is int:
        most = MOST_WHOLE if key.at_most is None else int(key.at_most)
        return table.integer(name, least=int(key.at_least), most=most, also=key.none)
    return table.number(name, at_least=key.at_least, above=key.above, below=key.below, at_most=key.at_most)


def _read_table(row: Row, name: str, table: TomlTable) -> Any:
    """A table of keys; `optimizer = "sgd"` is short for `optimizer = { name = "sgd" }`."""
    short, value = row.key.short, table.take(name)
    nested = table.nested(name, {short: value} if short and not isinstance(value, Mapping) else value)
    problems = Problems()
    with problems.part():
        nested.refuse_unknown({inner.name for inner in rows(row.kind)})
    with problems.part():
        made = row.kind(**_read_rows(row.kind, nested, short))
        _check_within(made, nested)
    problems.raise_all()
    return made


def _read_length(row: Row, name: str, table: TomlTable) -> Any:
    """A share of the budget, or whole updates where the table says so; of several the list."""
    in_updates = table.take("unit") == "updates"
    least, most = row.key.above, MOST_AMOUNT["updates"] if in_updates else 1
    if row.kind is not float:
        lengths = tuple(table.numbers(name, whole=in_updates, at_most=most))
        if list(lengths) != sorted(lengths):
            raise table.error(name, "numbers in ascending order")
        return lengths
    if in_updates:
        return float(table.integer(name, least=0 if least is None else 1, most=most))
    return table.number(name, above=least, at_most=most)


def _check_within(made: Any, table: TomlTable) -> None:
    problem = ""
    if isinstance(made, OptimizerSpec) and made.nesterov and not made.momentum:
        problem = "nesterov needs a momentum above 0"
    if isinstance(made, AugmentationSpec) and made.resized_crop and not made.crop_px:
        problem = "resized_crop needs crop_px, the side it is resized to"
    if isinstance(made, AugmentationSpec) and made.crop_padding_px and made.crop_px:
        problem = "crop_padding_px and crop_px exclude each other"
    if isinstance(made, Synthetic):
        problem = made.problem(says_ratio=table.has("ratio"))
    if problem:
        raise ConfigError(problem, where=table.where())


def _read_model(table: TomlTable, key: str) -> ModelSpec:
    value = table.take(key)
    if value is None:
        raise table.error(key, f"a model, one of {', '.join(MODEL_NAMES)}")
    model = table.nested(key, value if isinstance(value, Mapping) else {"name": value})
    name = model.text("name")
    info = model_info(name)
    if info is None:
        raise model.error("name", f"one of {', '.join(MODEL_NAMES)}")
    options: dict[str, OptionValue] = {}
    problems = Problems()
    for row in info.rows:
        with problems.part():
            given = _read_row(row, model)
            if given != row.default:
                options[row.name] = given
    with problems.part():
        model.finish()
    problems.raise_all()
    return ModelSpec(name, MappingProxyType(options))


def _read_budget(table: TomlTable, key: str) -> Budget:
    budget = table.table(key)
    budget.refuse_unknown(set(BUDGET_UNITS))
    given = [unit for unit in BUDGET_UNITS if budget.has(unit)]
    if len(given) != 1:
        found = ", ".join(given) or "none"
        expected = f"expected exactly one of {', '.join(BUDGET_UNITS)}, got {found}"
        raise ConfigError(expected, where=budget.where())
    (unit,) = given
    most = MOST_AMOUNT[unit]
    if unit == "epochs":
        return Budget(unit, budget.number(unit, above=0, at_most=most))
    return Budget(unit, budget.integer(unit, least=1, most=most))


def _read_confusion(table: TomlTable, key: str) -> Confusion:
    confusion = table.table(key)
    return tuple(
        (label, str(becomes), float(weight))
        for label in sorted(confusion.take_all())
        for becomes, weight in _weights(confusion, label)
    )


def _weights(confusion: TomlTable, label: str) -> list[tuple[str, float]]:
    value = confusion.take(label)
    if isinstance(value, str):
        return [(value, 1.0)]
    table = confusion.table(label)
    return [(becomes, table.number(becomes, above=0, at_most=1e9)) for becomes in sorted(table.take_all())]


def _read_tests(table: TomlTable, key: str) -> TestSets:
    tests = table.table(key)
    for name in tests.take_all():
        is_taken = name in get_args(Split)
        if is_taken or not NAME_PATTERN.fullmatch(name):
            fix = "use letters, digits, dots and dashes, beginning with a letter or digit"
            fix = f"each run has a {name} split; choose another name" if is_taken else fix
            raise ConfigError(f"{name!r} cannot name a test set", where=tests.where(), fix=fix)
    return tuple((name, tests.text(name)) for name in sorted(tests.take_all()))


_READERS: Mapping[Any, Callable[[TomlTable, str], Any]] = MappingProxyType(
    {ModelSpec: _read_model, Budget: _read_budget, Confusion: _read_confusion, TestSets: _read_tests}
)
"""Of the fields whose keys are no rows."""

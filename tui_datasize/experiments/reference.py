"""What may stand in `experiments.toml`: a JSON Schema for editors, and every key in words for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, replace
from types import MappingProxyType
from typing import Any, TypeAlias

from tui_datasize.experiments.architectures import (
    MODELS,
    TORCHVISION,
    TORCHVISION_MODELS,
    ModelInfo,
    model_info,
)
from tui_datasize.experiments.catalogue import DATASETS, IMAGE_FOLDER
from tui_datasize.experiments.device_settings import DeviceSettings, written
from tui_datasize.experiments.keys import KeyInWords, Row, rows
from tui_datasize.experiments.load import (
    EXPERIMENT_KEYS,
    KEEPS,
    LONGEST_NAME,
    ORDER_WORDS,
    PROJECT_KEYS,
    SIZE_UNITS,
    STRATEGIES,
)
from tui_datasize.experiments.spec import MOST_AMOUNT, NAME_PATTERN, Budget, Confusion, ModelSpec, RunSpec
from tui_datasize.experiments.toml import MOST_IMAGES, MOST_NUMBER, MOST_VALUES
from tui_datasize.metric import METRICS_OFFERED

Schema: TypeAlias = dict[str, Any]

_TEXT: Schema = {"type": "string", "minLength": 1}
_FLAG: Schema = {"type": "boolean"}
_SEED: Schema = {"type": "integer", "minimum": 0}
_COUNT: Schema = {"type": "integer", "minimum": 1}


def json_schema() -> Schema:
    """What an `experiments.toml` may hold, as a JSON Schema of draft 2020-12.

    Every right file is valid. What tables forbid each other, what a data set forbids its experiments and what
    swept values complete is left to reading the file.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "experiments.toml of datasize-tui",
        **_object(
            {
                "notify": _TEXT,
                "paths": _object({"data": _TEXT}),
                "devices": _object({row.name: _schema(row) for row in rows(DeviceSettings)}),
                "checkpoints": _object({"keep": {"enum": list(KEEPS), "default": "none"}}),
                "project": _object({"shared": _FLAG | {"default": False}}),
                "experiments": {
                    "type": "object",
                    "propertyNames": {"pattern": f"^{NAME_PATTERN.pattern}$", "maxLength": LONGEST_NAME},
                    "additionalProperties": {"$ref": "#/$defs/experiment"},
                },
            },
            {one.name.partition(".")[0]: one.meaning for one in PROJECT_KEYS},
        ),
        "$defs": {"experiment": _experiment()},
    }


def _object(properties: Mapping[str, Schema], meanings: Mapping[str, str] = MappingProxyType({})) -> Schema:
    described = {
        name: {"description": meanings[name]} | schema if name in meanings else schema
        for name, schema in properties.items()
    }
    return {"type": "object", "properties": described, "additionalProperties": False}


def _experiment() -> Schema:
    recipe = {row.name.partition(".")[0]: _schema(row) for row in rows(RunSpec)}
    seeds = {
        "anyOf": [
            {"type": "array", "items": _SEED, "minItems": 1, "uniqueItems": True},
            _object(
                {"count": {"type": "integer", "minimum": 1}, "step": _SEED | {"minimum": 1}, "start": _SEED}
            )
            | {"required": ["count"]},
        ]
    }
    own: dict[str, Schema] = {
        "title": _TEXT,
        "dataset": {"anyOf": [{"enum": list(DATASETS)}, {"type": "string", "pattern": f"^{IMAGE_FOLDER}."}]},
        "sizes": _numbers(_COUNT | {"maximum": MOST_IMAGES}),
        "fractions": _numbers({"type": "number", "exclusiveMinimum": 0, "maximum": 1}),
        "per_class": _numbers(_COUNT | {"maximum": MOST_IMAGES}),
        "subset": _object({"strategy": {"enum": list(STRATEGIES)}, "nested": _FLAG, "seeds": seeds}),
        "seeds": seeds,
        "order": {"enum": list(ORDER_WORDS)},
        "sweep": _sweep(recipe),
    }
    rules = {row.name: found for row in rows(RunSpec) if (found := _rules(row))}
    needed = [row.name for row in rows(RunSpec) if row.default is MISSING]
    return {
        **_object(own | recipe, {one.name: one.meaning for one in EXPERIMENT_KEYS}),
        "required": ["dataset"],
        "oneOf": [{"required": [unit]} for unit in SIZE_UNITS],
        # A swept value may complete a table, or change what counts in it.
        "if": {"not": {"required": ["sweep"]}},
        "then": {"required": needed, "properties": rules},
    }


def _numbers(one: Schema) -> Schema:
    return {"type": "array", "items": one, "minItems": 1, "maxItems": MOST_VALUES, "uniqueItems": True}


def _sweep(recipe: dict[str, Schema]) -> Schema:
    """Lists of values for every key of a recipe, and for every key within its tables."""
    inner = {
        f"{name}.{key}": value
        for name, schema in recipe.items()
        for part in (schema, *schema.get("anyOf", ()))
        for key, value in part.get("properties", {}).items()
    }
    options = {option for model in MODELS for option in MODELS[model].options} | {"weights"}
    lists = {
        name: {"type": "array", "minItems": 1, "items": schema}
        for name, schema in (recipe | inner | {f"model.{option}": {} for option in sorted(options)}).items()
    }
    return _object(lists) | {"patternProperties": {r"^label_noise\.confusion\.": {"type": "array"}}}


def _schema(row: Row) -> Schema:
    """What a key may hold, alone; `_rules` tells what the keys of a table ask of each other."""
    schema: Schema = {"description": row.key.meaning} | _alternatives(row)
    if isinstance(row.default, bool | int | float | str):
        schema["default"] = row.default
    inner = row.name.partition(".")[2]
    return _object({inner: schema}) if inner else schema


def _alternatives(row: Row) -> Schema:
    """The forms of a value: a table, what it is short for, or the word that leaves it out."""
    forms = [_form(row)]
    if row.is_table and row.key.short:
        (short,) = (inner for inner in rows(row.kind) if inner.name == row.key.short)
        alone = [word for word in short.choices if not any(_needed_for(row, word))]
        forms.append({"enum": alone} if alone else _form(short))
    if row.key.none:
        forms.append({"const": row.key.none})
    return forms[0] if len(forms) == 1 else {"anyOf": forms}


def _form(row: Row) -> Schema:
    if row.kind is ModelSpec:
        return _model()
    if row.kind is Budget:
        amounts: dict[str, Schema] = {unit: _COUNT | {"maximum": most} for unit, most in MOST_AMOUNT.items()}
        amounts["epochs"] = {"type": "number", "exclusiveMinimum": 0, "maximum": MOST_AMOUNT["epochs"]}
        return _object(amounts) | {"minProperties": 1, "maxProperties": 1}
    if row.kind == Confusion:
        weights = {"type": "object", "additionalProperties": {"type": "number", "exclusiveMinimum": 0}}
        return {"type": "object", "additionalProperties": {"anyOf": [_TEXT, weights]}}
    if row.is_table:
        return _object({inner.name: _schema(inner) for inner in rows(row.kind)})
    if row.choices:
        return {"enum": list(row.choices)}
    if row.kind in (bool, str):
        return _FLAG if row.kind is bool else _TEXT
    number = _number(row)
    return number if row.kind in (int, float) else _numbers(number)


def _number(row: Row) -> Schema:
    key = row.key
    at_most = MOST_AMOUNT["updates"] if key.is_length else key.at_most
    bounds = {
        "minimum": key.at_least if key.above is None else None,
        "exclusiveMinimum": key.above,
        "exclusiveMaximum": key.below,
        "maximum": MOST_NUMBER if at_most is None and row.kind is float else at_most,
    }
    given = {name: bound for name, bound in bounds.items() if bound is not None}
    return {"type": "integer" if row.kind is int else "number", **given}


def _rules(row: Row) -> Schema:
    """What the keys of a table ask of each other."""
    if row.kind is ModelSpec:
        return _of_table([{"required": ["name"]}])
    short, inner = row.key.short, rows(row.kind)
    rules: list[Schema] = []
    for word in next((one.choices for one in inner if one.name == short), ()):
        needed = [*_needed_for(row, word)]
        rules += [{"if": _says(short, word), "then": {"required": needed}}] if needed else []
    for one in inner:
        if one.key.only_for:
            named = {"properties": {short: {"enum": list(one.key.only_for)}}, "required": [short]}
            rules.append({"if": {"required": [one.name]}, "then": named})
    if lengths := [one.name for one in inner if one.key.is_length]:
        whole = {"properties": {name: _each({"type": "integer"}) for name in lengths}}
        share = {"properties": {name: _each({"maximum": 1}) for name in lengths}}
        rules.append({"if": _says("unit", "updates"), "then": whole, "else": share})
    if needed := [*_needed_for(row, "")]:
        rules.append({"required": needed})
    return _of_table(rules) if rules else {}


def _of_table(rules: Sequence[Schema]) -> Schema:
    """Rules for the keys of a table, of which a word that is short for one has none."""
    return {"if": {"type": "object"}, "then": {"allOf": list(rules)}}


def _each(rule: Schema) -> Schema:
    """A rule for a number, or for each of a list."""
    return {"if": {"type": "array"}, "then": {"items": rule}, "else": rule}


def _needed_for(row: Row, word: str) -> Iterator[str]:
    """The keys that a table must hold where its short key is a word, beyond those that it must always."""
    for inner in rows(row.kind):
        can_be_left_out = inner.kind is bool or inner.key.none or inner.default is not MISSING
        if (inner.key.is_required or not can_be_left_out) and (
            word in inner.key.only_for if word else not inner.key.only_for
        ):
            yield inner.name


def _says(name: str, word: str) -> Schema:
    return {"properties": {name: {"const": word}}, "required": [name]}


def _model() -> Schema:
    of_torchvision = [f"{TORCHVISION}{name}" for name in TORCHVISION_MODELS]
    named = {name: {"const": name} for name in MODELS} | {of_torchvision[0]: {"enum": of_torchvision}}
    return {
        "anyOf": [
            {"enum": [*MODELS, *of_torchvision]},
            *(_object({"name": name, **_options(model)}) for model, name in named.items()),
        ]
    }


def _options(model: str) -> dict[str, Schema]:
    info = model_info(model)
    return {name: _option(info.options[name], info.ranges.get(name)) for name in info.options} if info else {}


def _option(default: Any, bounds: tuple[float, float] | None) -> Schema:
    if isinstance(default, bool | str):
        return {**(_FLAG if isinstance(default, bool) else {"type": "string"}), "default": default}
    low, high = bounds or (None, None)
    kind = "integer" if isinstance(default, int) else "number"
    return {"type": kind, "minimum": low, "maximum": high, "default": default}


def sections() -> Iterator[tuple[str, Sequence[KeyInWords]]]:
    """Every key of `experiments.toml` in words, by the table that it stands in."""
    yield "experiments.toml", PROJECT_KEYS
    yield "[devices]", [_in_words(row) for row in rows(DeviceSettings)]
    yield "[experiments.NAME]", EXPERIMENT_KEYS
    yield "[experiments.NAME], or as a list in [experiments.NAME.sweep]", [*_recipe_in_words()]
    for model in (*MODELS, f"{TORCHVISION}{TORCHVISION_MODELS[0]}"):
        if info := model_info(model):
            title = f"{model}: {info.title}" if model in MODELS else f"{TORCHVISION}NAME"
            yield f"model {title}", [_option_in_words(info, option) for option in info.options]
    yield "data sets", [KeyInWords(info.name, info.title, info.how_to_get) for info in DATASETS.values()]
    yield "metrics", [KeyInWords(one.name, one.title, "") for one in METRICS_OFFERED.values()]


def _recipe_in_words() -> Iterator[KeyInWords]:
    for row in rows(RunSpec):
        yield _in_words(row)
        yield from (
            _in_words(replace(inner, key=replace(inner.key, name=f"{row.name}.{inner.name}")))
            for inner in rows(row.kind)
        )


def _in_words(row: Row) -> KeyInWords:
    default = row.default
    if default is None:
        default = row.key.none or row.key.unset
    if row.is_table:
        default = row.key.none or (getattr(row.default, row.key.short) if row.key.short else MISSING)
    shown = "" if default is MISSING or default == () else f" [{written(default)}]"
    counts = f"; for {' or '.join(row.key.only_for)} alone" if row.key.only_for else ""
    return KeyInWords(row.name, _takes(row) + shown, row.key.meaning + counts)


def _takes(row: Row) -> str:
    """What may be written: a kind of value, and its bounds."""
    if row.is_table or row.kind in (ModelSpec, Budget, Confusion):
        return "a table" if not row.key.short else f"its {row.key.short}, or a table"
    if row.choices:
        return ", ".join(row.choices)
    if row.kind in (bool, str):
        return "true or false" if row.kind is bool else "a name"
    key = row.key
    bounds = (
        ("of at least", key.at_least if key.above is None else None),
        ("above", key.above),
        ("below", key.below),
        ("at most", key.at_most),
    )
    kind = "a whole number" if row.kind is int else "a number" if row.kind is float else "a list of numbers"
    told = " and ".join(f"{word} {bound:,}" for word, bound in bounds if bound is not None)
    if key.is_length:
        told += ", or updates"
    return f"{kind} {told}" + (f", or {key.none}" if key.none else "")


def _option_in_words(info: ModelInfo, name: str) -> KeyInWords:
    default = info.options[name]
    low, high = info.ranges.get(name, (0, 0))
    kind = f"{'a whole number' if isinstance(default, int) else 'a number'} from {low:,g} to {high:,g}"
    if isinstance(default, bool | str):
        kind = "true or false" if isinstance(default, bool) else "a name"
    if expected := info.expected.get(name):
        kind = expected.words
    return KeyInWords(f"model.{name}", f"{kind} [{written(default) or 'none'}]", "")

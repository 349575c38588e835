"""What may stand in `experiments.toml`: a JSON Schema for editors, and every key in words for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING
from math import inf
from types import MappingProxyType
from typing import Any, TypeAlias

from tui_datasize.experiments.architectures import MODELS, TIMM, TORCHVISION, TORCHVISION_MODELS, model_info
from tui_datasize.experiments.catalogue import DATASETS, IMAGE_FOLDER
from tui_datasize.experiments.cluster_settings import ClusterSettings
from tui_datasize.experiments.costs import Costs
from tui_datasize.experiments.device_settings import DeviceSettings, as_in_file
from tui_datasize.experiments.images.reading import FIRST_RULES, NEWEST_RULES
from tui_datasize.experiments.keys import Row, rows
from tui_datasize.experiments.load import LONGEST_NAME, ORDER_WORDS, PLACES, SIZE_UNITS, STRATEGIES
from tui_datasize.experiments.project_tables import DATA_VARIABLE, KEEPS
from tui_datasize.experiments.recipe import SWEPT_FEATURES, SWEPT_STRATEGY
from tui_datasize.experiments.search import DEFAULT, MOST_CANDIDATES
from tui_datasize.experiments.spec import (
    MOST_AMOUNT,
    NAME_PATTERN,
    Budget,
    Confusion,
    ModelSpec,
    RunSpec,
    TestSets,
)
from tui_datasize.experiments.toml import MOST_IMAGES, MOST_NUMBER, MOST_VALUES
from tui_datasize.metric import METRICS_OFFERED

Schema: TypeAlias = dict[str, Any]

_TEXT: Schema = {"type": "string", "minLength": 1}
_FLAG: Schema = {"type": "boolean"}
_SEED: Schema = {"type": "integer", "minimum": 0}
_STRATEGY: Schema = {"enum": list(STRATEGIES)}
_COUNT: Schema = {"type": "integer", "minimum": 1}
_NAMED: Schema = {"anyOf": [{"enum": list(DATASETS)}, {"type": "string", "pattern": f"^{IMAGE_FOLDER}."}]}


def json_schema() -> Schema:
    """What an `experiments.toml` may hold, as a JSON Schema of draft 2020-12.

    Every right file is valid. What tables forbid each other, what a data set forbids its experiments and what
    swept values complete is left to reading the file.
    """
    beside = {
        "notify": _told("run when an experiment ends or a job fails", _TEXT),
        "paths": _object({"data": _told(f"where data sets lie; {DATA_VARIABLE} wins over it", _TEXT)}),
        "devices": _object({row.name: _schema(row) for row in rows(DeviceSettings)}),
        "cluster": _object({row.name: _schema(row) for row in rows(ClusterSettings)}),
        "checkpoints": _object(
            {"keep": _told("weights that stay when the disk is freed", {"enum": list(KEEPS)}, "none")}
        ),
        "costs": _object({row.name: _schema(row) for row in rows(Costs)}),
        "project": _object({"shared": _told("the group of runs/ may run jobs in it, too", _FLAG, False)}),
    }
    experiments = {
        "type": "object",
        "propertyNames": {"pattern": f"^{NAME_PATTERN.pattern}$", "maxLength": LONGEST_NAME},
        "additionalProperties": {"$ref": "#/$defs/experiment"},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "experiments.toml of datasize-tui",
        **_object(beside | {"experiments": experiments}),
        "$defs": {"experiment": _experiment()},
    }


def _object(properties: Mapping[str, Schema]) -> Schema:
    return {"type": "object", "properties": dict(properties), "additionalProperties": False}


def _told(meaning: str, schema: Schema, default: Any = None) -> Schema:
    return {"description": meaning, **schema, **({} if default is None else {"default": default})}


def _experiment() -> Schema:
    recipe = {row.name.partition(".")[0]: _schema(row) for row in rows(RunSpec)}
    spread = _object({"count": _COUNT, "step": _COUNT, "start": _SEED}) | {"required": ["count"]}
    seeds = {"anyOf": [{"type": "array", "items": _SEED, "minItems": 1, "uniqueItems": True}, spread]}
    images = _numbers(_COUNT | {"maximum": MOST_IMAGES})
    share = {"type": "number", "exclusiveMinimum": 0, "maximum": 1}
    own: dict[str, Schema] = {
        "title": _told("what it is called on screens and in reports", _TEXT),
        "dataset": _told("its name; a folder has train/CLASS/ and test/CLASS/, or CLASS/ and split", _NAMED),
        "image_rules": _image_rules(),
        "sizes": _told("how many training images", images),
        "fractions": _told("or shares of the training set", _numbers(share)),
        "per_class": _told("or images of each class", images),
        "subset": _subset(images, seeds),
        "seeds": _told("training seeds, a list or { count = 10, step = 101, start = 0 }", seeds, [0]),
        "also": _further(images, seeds),
        "groups": _told("file of lines `file name,group` of test images, which are told apart", _TEXT),
        "order": _told("in which the runs are queued", {"enum": list(ORDER_WORDS)}, "curve-first"),
        "on": _places(),
        "sweep": _told("keys of the recipe, in quotes where they have a dot, with lists", _sweep(recipe)),
        "levers": _told(
            "likewise, but one value at a time, beside none, with all that is swept", _sweep(recipe)
        ),
        "search": _told(
            "a sample of combinations over the recipe without levers: keys with { low = 8, high = 64, "
            "log = true, integer = true } or { choices = [...] }",
            _search(recipe),
        ),
    }
    rules = {row.name: found for row in rows(RunSpec) if (found := _rules(row))}
    needed = [row.name for row in rows(RunSpec) if row.default is MISSING]
    return {
        **_object(own | recipe),
        "required": ["dataset"],
        "oneOf": [{"required": [unit]} for unit in SIZE_UNITS],
        # A swept value may complete a table, or change what counts in it.
        "if": {"not": {"anyOf": [{"required": [table]} for table in ("sweep", "search")]}},
        "then": {"required": needed, "properties": rules},
    }


def _subset(images: Schema, seeds: Schema) -> Schema:
    keys = {
        "strategy": _told(
            "how images are drawn; first takes the first rows. The last five choose, along a path", _STRATEGY
        ),
        "path": _told(
            "train sizes at which images are added, each time those that the model of the run before chooses",
            images,
        ),
        "features": _told(
            "an experiment without labels, in whose features k-center and typiclust choose",
            {"anyOf": [_TEXT, {"const": "none"}]},
            "none",
        ),
        "nested": _told("a smaller subset is part of each larger one", _FLAG, True),
        "seeds": _told("draws of the subset", seeds, [0]),
    }
    return _object(keys)


def _image_rules() -> Schema:
    return _told(
        "version of the rules by which image folders are listed and decoded: 1 goes on with runs from "
        "before there were others",
        {"type": "integer", "minimum": FIRST_RULES, "maximum": NEWEST_RULES},
        NEWEST_RULES,
    )


def _places() -> Schema:
    return _told("where its runs are made: by this machine, or by [cluster]", {"enum": list(PLACES)}, "local")


def _further(images: Schema, seeds: Schema) -> Schema:
    keys = {
        "sizes": _told("how many training images", images),
        "seeds": _told("with these seeds, else with those above", seeds),
        "draws": _told("on these draws, else on those above", seeds),
        "variant": _told("of one variant alone, named as in tables", _TEXT),
    }
    runs = {"type": "array", "items": _object(keys) | {"required": ["sizes"]}}
    return _told("further runs, as [[experiments.NAME.also]], beside the product of the lists", runs)


def _numbers(one: Schema) -> Schema:
    return {"type": "array", "items": one, "minItems": 1, "maxItems": MOST_VALUES, "uniqueItems": True}


def _sweep(recipe: dict[str, Schema]) -> Schema:
    inner = {
        f"{name}.{key}": value
        for name, schema in recipe.items()
        for part in (schema, *schema.get("anyOf", ()))
        for key, value in part.get("properties", {}).items()
    }
    lists = {
        # An option means something else in each model.
        name: {"type": "array", "minItems": 1} | ({} if name.startswith("model.") else {"items": schema})
        for name, schema in (recipe | inner | {SWEPT_STRATEGY: _STRATEGY, SWEPT_FEATURES: _TEXT}).items()
    }
    return _object(lists) | {"patternProperties": {r"^label_noise\.confusion\.": {"type": "array"}}}


def _search(recipe: dict[str, Schema]) -> Schema:
    lists = _sweep(recipe)["properties"]
    share = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
    ends = _object({"low": {"type": "number"}, "high": {"type": "number"}, "log": _FLAG, "integer": _FLAG})
    own = {
        "count": _told(
            "candidates, all different; more begin with the same", _COUNT | {"maximum": MOST_CANDIDATES}
        ),
        "seed": _told("another sample", _SEED, 0),
        DEFAULT: _told(
            "values of what is searched, and not swept, in the recipe that the search is compared with; else "
            "their defaults",
            {"type": "object", "propertyNames": {"enum": list(lists)}},
        ),
        "halving": _told(
            "successive halving: all train for a part of the budget, then a share of them for longer, from "
            "scratch, by the images held out",
            _object(
                {
                    "keep": _told("share that goes on; budgets grow by its inverse", share, 0.5),
                    "from": _told("part of the budget at first", share, 0.25),
                }
            ),
        ),
    }
    ends["required"] = ["low", "high"]
    searched = {
        name: {"anyOf": [_object({"choices": one}) | {"required": ["choices"]}, ends]}
        for name, one in lists.items()
    }
    return _object(own | searched) | {"required": ["count"]}


def _schema(row: Row) -> Schema:
    meaning, default = row.key.meaning, row.default
    if row.key.only_for:
        meaning += f"; for {' or '.join(row.key.only_for)} alone"
    if default is None and not row.key.none:
        meaning += f"; default: {row.key.unset}"
    if row.is_table:
        default = row.key.none or (getattr(default, row.key.short) if row.key.short else None)
    schema = _told(meaning, _alternatives(row), None if default in (MISSING, ()) else default)
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
    if row.kind == TestSets:
        return {"type": "object", "additionalProperties": _NAMED}
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
        "maximum": MOST_NUMBER if row.kind is float and at_most is None and key.below is None else at_most,
    }
    given = {name: bound for name, bound in bounds.items() if bound is not None}
    return {"type": "integer" if row.kind is int else "number", **given}


def _rules(row: Row) -> Schema:
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
    return {"if": {"type": "object"}, "then": {"allOf": list(rules)}}


def _each(rule: Schema) -> Schema:
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
    of_timm = {"type": "string", "pattern": f"^{TIMM}."}
    named[f"{TIMM}NAME"] = of_timm
    return {
        "anyOf": [
            {"enum": [*MODELS, *of_torchvision]},
            of_timm,
            *(_object({"name": name, **_options(model)}) for model, name in named.items()),
        ]
    }


def _options(model: str) -> dict[str, Schema]:
    info = model_info(model)
    return {row.name: _schema(row) for row in info.rows} if info else {}


def sections() -> Iterator[tuple[str, Sequence[tuple[str, str]]]]:
    """Every key of `experiments.toml` in words, by the table that it stands in."""
    schema = json_schema()
    yield "experiments.toml", [*_in_words(schema)]
    experiment = schema["$defs"]["experiment"]
    keys = {name: [*_in_words(_object({name: one}))] for name, one in experiment["properties"].items()}
    swept = experiment["properties"]["sweep"]["properties"].keys()
    yield "[experiments.NAME]", [word for name in keys if name not in swept for word in keys[name]]
    recipe = [word for name in keys if name in swept and name != "model" for word in keys[name]]
    yield "[experiments.NAME], and as a list in [experiments.NAME.sweep]", keys["model"][:1] + recipe
    for model in (*MODELS, f"{TORCHVISION}{TORCHVISION_MODELS[0]}", f"{TIMM}NAME"):
        title = f"{model}: {MODELS[model].title}" if model in MODELS else f"{model.partition(':')[0]}:NAME"
        yield f"model {title}", [*_in_words(_object(_options(model)), "model.")]
    yield "data sets", [(info.name, f"{info.title}; {info.how_to_get}") for info in DATASETS.values()]
    yield "metrics", [(metric.name, metric.title) for metric in METRICS_OFFERED.values()]


def _in_words(table: Schema, before: str = "") -> Iterator[tuple[str, str]]:
    """The keys of a table, and what may be written, the default in brackets, and what it means."""
    for name, schema in table["properties"].items():
        forms = schema.get("anyOf", [schema])
        takes = " or ".join(dict.fromkeys(map(_takes, forms)))
        default = f" [{as_in_file(schema['default'])}]" if schema.get("default", "") != "" else ""
        if before == "search." and "description" not in schema:
            # Whatever may be swept; how is told once.
            continue
        if meaning := schema.get("description"):
            yield f"{before}{name}", f"{takes}{default}: {meaning}"
        elif takes != _KINDS["object"]:
            yield f"{before}{name}", f"{takes}{default}"
        for form in (*forms, schema.get("items", {})):
            if name not in ("sweep", "levers") and "properties" in form:
                yield from _in_words(form, f"{before}{name}.")


def _takes(schema: Schema) -> str:
    if words := schema.get("enum") or ([schema["const"]] if "const" in schema else []):
        return ", ".join(words) if len(words) <= _MOST_WORDS else "a name"
    kind = schema["type"]
    if kind == "array":
        return f"a list, each {_takes(schema['items'])}"
    if kind in _KINDS:
        return (
            schema["pattern"].strip("^.") + _NAMES[schema["pattern"]] if "pattern" in schema else _KINDS[kind]
        )
    bounds = [
        f"{word} {schema[name]:,}" for name, word in _BOUNDS.items() if schema.get(name, inf) < MOST_IMAGES
    ]
    return " ".join(("a whole number" if kind == "integer" else "a number", " and ".join(bounds))).strip()


_MOST_WORDS = 12
_NAMES = MappingProxyType({f"^{IMAGE_FOLDER}.": "PATH", f"^{TIMM}.": "NAME"})
_KINDS = MappingProxyType({"object": "a table", "string": "a text", "boolean": "true or false"})
_BOUNDS = MappingProxyType(
    {"minimum": "of at least", "exclusiveMinimum": "above", "exclusiveMaximum": "below", "maximum": "at most"}
)

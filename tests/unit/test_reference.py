"""What may stand in experiments.toml, as an editor and a person are told, is what is read."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import tomli

from tests.unit.test_frozen_ids import EVERY_KEY, SHIPPED
from tui_datasize.cli.dispatch import main
from tui_datasize.errors import ConfigError
from tui_datasize.experiments.architectures import MODELS
from tui_datasize.experiments.augmentation import AugmentationSpec
from tui_datasize.experiments.catalogue import DATASETS
from tui_datasize.experiments.load import EXPERIMENT_KEYS, load_project
from tui_datasize.experiments.recipe import recipe_keys
from tui_datasize.experiments.reference import json_schema, sections
from tui_datasize.metric import METRICS_OFFERED

MINIMAL = """
[experiments.small]
dataset = "digits"
model   = "mlp"
sizes   = [40, 80]
budget  = { updates = 10 }
"""
TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
}


def problems(schema: dict[str, Any], value: Any, root: dict[str, Any]) -> list[str]:
    """What a JSON Schema finds wrong, as far as it has the keywords that ours is made of."""
    wrong = [word for word, holds in KEYWORDS.items() if word in schema and not holds(schema, value, root)]
    unknown = (
        schema.keys()
        - KEYWORDS.keys()
        - {"description", "default", "then", "else", "$schema", "title", "$defs"}
    )
    assert not unknown
    return wrong


def is_of(kind: str, value: Any) -> bool:
    return isinstance(value, TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def is_number(value: Any) -> bool:
    return is_of("number", value)


def fits(schema: dict[str, Any], value: Any, root: dict[str, Any]) -> bool:
    return not problems(schema, value, root)


def properties_fit(schema: dict[str, Any], value: Any, root: dict[str, Any]) -> bool:
    named = schema.get("properties", {})
    return not isinstance(value, dict) or all(
        fits(named[key], value[key], root) for key in named.keys() & value.keys()
    )


def others_fit(schema: dict[str, Any], value: Any, root: dict[str, Any]) -> bool:
    if not isinstance(value, dict):
        return True
    patterns = schema.get("patternProperties", {})
    others = [key for key in value if key not in schema.get("properties", {})]
    others = [key for key in others if not any(re.search(pattern, key) for pattern in patterns)]
    rule = schema["additionalProperties"]
    return not others if rule is False else all(fits(rule, value[key], root) for key in others)


def condition_holds(schema: dict[str, Any], value: Any, root: dict[str, Any]) -> bool:
    branch = "then" if fits(schema["if"], value, root) else "else"
    return fits(schema.get(branch, {}), value, root)


KEYWORDS: dict[str, Any] = {
    "type": lambda s, v, _: is_of(s["type"], v),
    "const": lambda s, v, _: v == s["const"] and type(v) is type(s["const"]),
    "enum": lambda s, v, _: any(v == one and type(v) is type(one) for one in s["enum"]),
    "minimum": lambda s, v, _: not is_number(v) or v >= s["minimum"],
    "exclusiveMinimum": lambda s, v, _: not is_number(v) or v > s["exclusiveMinimum"],
    "maximum": lambda s, v, _: not is_number(v) or v <= s["maximum"],
    "exclusiveMaximum": lambda s, v, _: not is_number(v) or v < s["exclusiveMaximum"],
    "minLength": lambda s, v, _: not isinstance(v, str) or len(v) >= s["minLength"],
    "maxLength": lambda s, v, _: not isinstance(v, str) or len(v) <= s["maxLength"],
    "pattern": lambda s, v, _: not isinstance(v, str) or bool(re.search(s["pattern"], v)),
    "minItems": lambda s, v, _: not isinstance(v, list) or len(v) >= s["minItems"],
    "maxItems": lambda s, v, _: not isinstance(v, list) or len(v) <= s["maxItems"],
    "uniqueItems": lambda _s, v, _: not isinstance(v, list) or len({*map(json.dumps, v)}) == len(v),
    "items": lambda s, v, r: not isinstance(v, list) or all(fits(s["items"], one, r) for one in v),
    "required": lambda s, v, _: not isinstance(v, dict) or v.keys() >= {*s["required"]},
    "minProperties": lambda s, v, _: not isinstance(v, dict) or len(v) >= s["minProperties"],
    "maxProperties": lambda s, v, _: not isinstance(v, dict) or len(v) <= s["maxProperties"],
    "properties": properties_fit,
    "patternProperties": lambda _s, _v, _r: True,
    "additionalProperties": others_fit,
    "propertyNames": lambda s, v, r: (
        not isinstance(v, dict) or all(fits(s["propertyNames"], k, r) for k in v)
    ),
    "anyOf": lambda s, v, r: any(fits(one, v, r) for one in s["anyOf"]),
    "oneOf": lambda s, v, r: sum(fits(one, v, r) for one in s["oneOf"]) == 1,
    "allOf": lambda s, v, r: all(fits(one, v, r) for one in s["allOf"]),
    "not": lambda s, v, r: not fits(s["not"], v, r),
    "if": condition_holds,
    "$ref": lambda s, v, r: fits(r["$defs"][s["$ref"].rpartition("/")[2]], v, r),
}


def is_valid(text: str) -> bool:
    schema = json_schema()
    return fits(schema, tomli.loads(text), schema)


@pytest.mark.parametrize(
    "text",
    [
        SHIPPED.read_text(),
        EVERY_KEY,
        "",
        "notify = 'mail me'\n[devices]\nslots_per_gpu = 2\npacks = 'off'\ncpu = true\n"
        "[costs]\nlabel = 0.08\ngpu_hour = 1.2\ncurrency = 'EUR'\n"
        "[cluster]\nkind = 'slurm'\ngpus = 0\npartition = 'main'\ntime = '1-12'\narray_width = 4\n"
        "[checkpoints]\nkeep = 'best'\n[paths]\ndata = 'data'\n[project]\nshared = true\n",
        MINIMAL + "schedule = { name = 'step', unit = 'updates', step = 250 }\nseeds = { count = 3 }\n",
        MINIMAL + "transfer = { from = 'x' }\nlabel_noise = { fraction = 0.1, confusion = { 1 = '7' } }\n",
        MINIMAL.replace("model ", "# ") + "[experiments.small.sweep]\nmodel = ['mlp', { name = 'cnn3' }]\n",
        MINIMAL + "schedule = { name = 'step' }\n[experiments.small.sweep]\n'schedule.step' = [0.1, 0.2]\n",
        MINIMAL + "[experiments.small.sweep]\n'model.hidden' = [8, 16]\n'evaluate.times' = [1, 2]\n",
        MINIMAL + "[experiments.small.sweep]\n'model.name' = ['mlp', 'cnn3']\n'budget.updates' = [10, 20]\n",
        MINIMAL + "[experiments.small.sweep]\naugmentation = ['none', { flip = 0.5 }]\ntransfer = ['none']\n",
    ],
)  # fmt: skip
def test_what_is_read_is_valid_for_an_editor(tmp_path, text):
    file = tmp_path / "experiments.toml"
    file.write_text(text)
    load_project(file, environment={})
    assert is_valid(text)


WRONG = [
    "optimiser = 'sgd'",
    "batch_size = 0",
    "batch_size = true",
    "batch_size = 1.5",
    "optimizer = 'adam'",
    "optimizer = { lr = '1e-3' }",
    "optimizer = { learning_rate = 1 }",
    "optimizer = { momentum = 0.9 }",
    "optimizer = { name = 'sgd', momentum = 1 }",
    "clip_grad_norm = 0",
    "fractions = [0.5]",
    "seeds = 3",
    "seeds = []",
    "seeds = [1, 1]",
    "seeds = { count = 2, stride = 5 }",
    "subset = { strategy = 'stratifed' }",
    "evaluate = { times = 0 }",
    "order = 'random'",
    "schedule = { name = 'multistep' }",
    "schedule = { name = 'multistep', milestones = [30] }",
    "schedule = { name = 'cosine', step = 0.1 }",
    "schedule = { name = 'step' }",
    "schedule = 'step'",
    "schedule = { name = 'step', unit = 'updates', step = 0.5 }",
    "augmentation = { flipp = 0.5 }",
    "augmentation = { flip = 2 }",
    "augmentation = 'nothing'",
    "label_noise = 1.5",
    "label_noise = { confusion = { 1 = '7' } }",
    "classes = 'both'",
    "classes = { seed = 5 }",
    "transfer = { layers = 1 }",
    "transfer = { from = 'x', layers = 0 }",
    "transfer = { from = 'x', layers = 'some' }",
    "protocol = { measured = 'half' }",
    "label_smoothing = 1",
    "ema_decay = 1",
    "imbalance = 0.5",
    "precision = 'fp16'",
    "image_px = -1",
    "[experiments.small.sweep]\n'seed' = [1]",
    "[experiments.small.sweep]\nbatch_size = 3",
    "[experiments.small.sweep]\nbatch_size = [1, 'x']",
    "[experiments.'no space']\ndataset = 'digits'",
    "[experiment.other]",
    "[paths]\ndata = 5",
    "[devices]\nslots_per_gpu = 65",
    "[devices]\ncpu = 'yes'",
    "[cluster]\nkind = 'pbs'",
    "[cluster]\ngpus = 2",
    "on = 'pbs'",
    "[checkpoints]\nkeep = 'all'",
    "[costs]\nlabel = -1",
    "[costs]\ncurrency = 5",
    "[costs]\nhour = 1",
]


@pytest.mark.parametrize("line", WRONG)
def test_what_is_refused_is_invalid_for_an_editor_too(tmp_path, line):
    file = tmp_path / "experiments.toml"
    file.write_text(f"{MINIMAL}{line}\n")
    with pytest.raises(ConfigError):
        load_project(file, environment={})
    assert not is_valid(file.read_text())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"mlp"', '"vgg"'),
        ('"mlp"', '{ name = "mlp", dropout = 2 }'),
        ('"mlp"', '{ name = "mlp", depth = 2 }'),
        ('"mlp"', '{ hidden = 2 }'),
        ('"digits"', '"digit"'),
        ("[40, 80]", "[40, 0]"),
        ("{ updates = 10 }", "{ updates = 10, epochs = 1 }"),
        ("{ updates = 10 }", "{}"),
        ("{ updates = 10 }", "10"),
        ("budget", "# budget"),
        ("model ", "# model"),
        ("sizes ", "# sizes"),
    ],
)  # fmt: skip
def test_required_keys_are_checked_in_an_editor(old, new):
    assert is_valid(MINIMAL)
    assert not is_valid(MINIMAL.replace(old, new))


def test_the_schema_knows_the_keys_of_an_experiment_and_the_words_all_of_the_schema():
    schema = json_schema()
    experiment = schema["$defs"]["experiment"]["properties"]
    assert experiment.keys() == EXPERIMENT_KEYS | recipe_keys()
    told = {name.partition(".")[0] for _, keys in sections() for name, _ in keys}
    assert not (schema["properties"].keys() | experiment.keys()) - told - {"experiments"}


def test_the_command_line_tells_every_key_model_data_set_and_metric(capsys):
    assert main(["experiments", "--keys"]) == 0
    named = set(re.findall(r"[\w.-]+", capsys.readouterr().out))
    options = {f"model.{option}" for info in MODELS.values() for option in info.options}
    inner = {f"augmentation.{f.name}" for f in fields(AugmentationSpec)}
    for words in ({*recipe_keys()} - {"evaluate"}, DATASETS, MODELS, METRICS_OFFERED, options, inner):
        assert sorted({*words} - named) == []
    assert main(["experiments", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json_schema()


def test_the_schema_knows_every_table_of_the_file(tmp_path):
    file = tmp_path / "experiments.toml"
    file.write_text("[nothing-alike]")
    with pytest.raises(ConfigError) as caught:
        load_project(file, environment={})
    known = caught.value.fix.removeprefix("known are ").split(", ")
    assert known == sorted(json_schema()["properties"])


CHECKED = f"""
[devices]
slots_per_gpu = 0
cpus = 2
{MINIMAL}
batch_size = 0
optimizer = {{ name = "sgd", momentum = 2, learning_rate = 1 }}
sises = [1]
[experiments.large]
dataset = "digits"
model = "mlp"
sizes = [40, 4000]
budget = {{ updates = 10 }}
[experiments.named]
dataset = "digit"
model = "mlp"
sizes = [40]
budget = {{ updates = 10 }}
[experiments.takes]
dataset = "digits"
model = "mlp"
sizes = [40]
budget = {{ updates = 10 }}
transfer = {{ from = "small" }}
[experiments.swept]
dataset = "digits"
model = "mlp"
sizes = [40]
budget = {{ updates = 10 }}
[experiments.swept.sweep]
"optimizer.lr" = ["x", 0.1, -1]
batch_size = [8, 16]
[experiments.twice]
dataset = "digitz"
model = "mlp"
sizes = [40]
seeds = [0, 0]
budget = {{ updates = 10 }}
"""


def test_every_mistake_of_a_file_is_one_line_with_its_place(tmp_path, capsys):
    file = tmp_path / "experiments.toml"
    file.write_text(CHECKED)
    assert main(["experiments", "--check", "--project", str(tmp_path)]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    lines = [line.removeprefix(f"{file}: ") for line in told.err.splitlines()]
    starts = [
        "devices.slots_per_gpu: expected a whole number from 1 to 64, got 0",
        "devices: unknown key 'cpus'; did you mean 'cpu'?",
        "experiments.small: unknown key 'sises'; did you mean 'sizes'?",
        "experiments.small.batch_size: expected a whole number of at least 1, got 0",
        "experiments.small.optimizer: unknown key 'learning_rate'",
        "experiments.small.optimizer.momentum: expected a number of at least 0 and below 1, got 2",
        "experiments.swept.optimizer.lr: expected a number above 0, got 'x'",
        "experiments.swept.optimizer.lr: expected a number above 0, got -1",
        "experiments.twice.seeds: expected each seed once",
        "experiments.twice.dataset: unknown data set 'digitz'; known are digits, ",
        "experiments.named.dataset: unknown data set 'digit'; known are digits, ",
        "experiments.large.sizes: 4000 images, but digits has 1437 to train on",
        "experiments.toml: 12 errors",
    ]
    assert len(lines) == len(starts)
    for line, start in zip(lines, starts, strict=True):
        assert line.startswith(start)


def test_a_right_file_is_told_with_its_counts_and_what_is_not_here(tmp_path, capsys):
    text = MINIMAL + "[experiments.photos]\ndataset = 'imagefolder:photos'\nmodel = 'mlp'\nfractions = [1]\n"
    (tmp_path / "experiments.toml").write_text(text + "seeds = [0, 1]\nbudget = { epochs = 1 }\n")
    assert main(["experiments", "--check", "--project", str(tmp_path)]) == 0
    told = capsys.readouterr()
    assert told.out == "experiments.toml is right: 2 experiments, 4 runs\n"
    assert told.err.count("\n") == 1
    assert told.err.startswith("imagefolder:photos cannot be read here")
    assert told.err.endswith(": photos\n")


def test_a_file_that_is_no_toml_has_one_error_with_its_line(tmp_path, capsys):
    (tmp_path / "experiments.toml").write_text("[experiments.x]\nsizes = 1 2\n")
    assert main(["experiments", "--check", "--project", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert "line 2" in told
    assert told.count("\n") == 1


def test_the_documentation_says_how_to_have_the_keys_told():
    text = (Path(SHIPPED).parent / "docs" / "experiments.md").read_text()
    assert all(f"experiments --{option}" in text for option in ("keys", "schema", "check"))

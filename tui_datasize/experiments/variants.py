"""What sets the runs of one experiment apart beside size, draw and seed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

from tui_datasize.experiments.architectures import model_info
from tui_datasize.experiments.keys import rows
from tui_datasize.experiments.plain_values import to_plain
from tui_datasize.experiments.pretext import TaskName
from tui_datasize.experiments.spec import CELL, BudgetUnit, RunSpec
from tui_datasize.experiments.synthetic import Synthetic
from tui_datasize.experiments.unlabelled import Unlabelled

_BUDGET = "budget.amount"
_UNITS = get_args(BudgetUnit)
_MODEL = "model.name"
_TRANSFER = "transfer"
_UNNAMED = (_MODEL, _TRANSFER)
AS_PUBLISHED = "as published"
"""The mark of runs that are measured or trained as a study's code did it, not as its text says."""
_LONGEST_LABEL = 24
"""That is shown as it is."""
_BROUGHT_BY = {"subset.features": "subset.strategy", "images.rules": "synthetic.model"}
_ONCE_TOLD = {f"{row.name}={row.default}" for table in (Synthetic, Unlabelled) for row in rows(table)}
"""In labels of runs to which it meant nothing; the version of the rules for folders was, too."""
_AXES = ("experiment", "train_size", "seed", "subset.seed", "subset.path")


def recipe_of(spec: RunSpec) -> RunSpec:
    """What runs have in common that differ in size, draw, seed and the run that they take weights from."""
    transfer = replace(spec.transfer, source="") if spec.transfer else None
    return replace(spec, train_size=1, seed=0, subset=spec.subset.of_recipe, transfer=transfer)


def variant_labels(specs: Iterable[RunSpec]) -> dict[str, str]:
    """By run id what sets runs of one experiment apart beside size, draw and seed, such as `cnn3 lr=0.01`.

    Keys are written without their table where that leaves them apart, a model and a transfer condition, which
    come first, by their names alone. Options that come along with a model, since no other has them or each
    has its own default, are no part of a label, nor those of what a run does not do, such as of a generator.
    Runs that repeat on purpose what a study's code did other than its text carry that mark always.
    """
    shapes: dict[Hashable, RunSpec] = {}
    shape_of: dict[str, Hashable] = {}
    for spec in specs:
        shape = _shape(spec)
        shapes.setdefault(shape, spec)
        shape_of[spec.run_id] = shape
    # Tens of thousands of runs have a few of them.
    flat = {shape: dict(_flatten(_complete(spec))) for shape, spec in shapes.items()}
    off = {shape: {*_of_what_is_off(spec)} for shape, spec in shapes.items()}
    keys = sorted({key for values in flat.values() for key in values} - set(_AXES))
    varying = [key for key in keys if len({repr(values.get(key)) for values in flat.values()}) > 1]
    brought = {
        key
        for key in varying
        for by in (_BROUGHT_BY.get(key, _MODEL if key.startswith("model.") else ""),)
        if by in varying and _comes_along(key, by, flat.values())
    }
    varying = [key for key in varying if key not in brought]
    varying = sorted(varying, key=lambda key: _UNNAMED.index(key) if key in _UNNAMED else len(_UNNAMED))
    names = dict(_short_names(varying))
    if _BUDGET in varying and "budget.unit" not in varying:
        # As it is written in experiments.toml.
        names[_BUDGET] = f"{next(iter(flat.values()))['budget.unit']}="
    labels = {
        shape: " ".join(
            ([AS_PUBLISHED] if shapes[shape].is_as_published else [])
            + [f"{names[key]}{values[key]}" for key in varying if key in values and key not in off[shape]]
        )
        for shape, values in flat.items()
    }
    return {run_id: labels[shape] for run_id, shape in shape_of.items()}


def variant_named(name: str, labels: Collection[str]) -> str:
    """The label that a name means, which may be as labels were; the name itself where it is none.

    They told what a run does not do, and options of a generator without that word.

    >>> labels = ["synthetic=none", "synthetic=cvae synthetic.epochs=40"]
    >>> [variant_named(name, labels) for name in ("epochs=40 synthetic=cvae", "epochs=200 synthetic=none")]
    ['synthetic=cvae synthetic.epochs=40', 'synthetic=none']
    >>> variant_named("epochs=41 synthetic=cvae", labels)
    'epochs=41 synthetic=cvae'
    """
    asked = _bare(name)
    is_old = lambda part: part in _ONCE_TOLD or part.startswith("rules=")  # noqa: E731
    meant = [one for one in labels if _bare(one) <= asked and all(map(is_old, asked - _bare(one)))]
    return meant[0] if name not in labels and len(meant) == 1 else name


def _bare(label: str) -> set[str]:
    return {re.sub(r"^[\w.]*\.(?=\w+=)", "", part) for part in label.split()}


def short_labels(labels: Collection[str]) -> dict[str, str]:
    """Of long labels of one experiment without the values that most of them have; of the usual one nothing.

    >>> labels = [f"rotation_deg={own} depth=8" for own in ("0 width=8", "9 width=8", "0 width=9")]
    >>> list(short_labels(labels).values())
    ['', 'rotation_deg=9', 'width=9']
    >>> list(short_labels(["cnn3", "mlp lr=1", "mlp lr=2"]).values())
    ['cnn3', 'mlp lr=1', 'mlp lr=2']
    """
    if max(map(len, labels), default=0) <= _LONGEST_LABEL:
        return {label: label for label in labels}
    count = Counter(part for label in labels for part in set(label.split()) if "=" in part)
    return {
        label: " ".join(part for part in label.split() if 2 * count[part] <= len(labels)) for label in labels
    }


def on_screen(labels: Collection[str]) -> dict[str, str]:
    """Labels of one experiment in few words, see `short_labels`, that a person would say.

    >>> list(on_screen(["base", "FTall", "SallT lr=0.1", "S3T", "FT3", "rotation-SallT"]).values())
    ['base', 'fine-tuned', 'frozen lr=0.1', '3 layers frozen', '3 layers fine-tuned', 'rotation frozen']
    """
    return {label: plain_words(short) for label, short in short_labels(labels).items()}


def plain_words(text: str) -> str:
    """A text with the transfer conditions in it in the fewest words; in quotes they stay as a file has them.

    >>> plain_words('FTall lr=0.1: 90 %, S1T: 80 %; variant = "FTall lr=0.1"')
    'fine-tuned lr=0.1: 90 %, 1 layer frozen: 80 %; variant = "FTall lr=0.1"'
    """
    return _ANYWHERE.sub(_in_few_words, text)


def _in_few_words(found: re.Match[str]) -> str:
    count, done = found["tuned"] or found["frozen"], "fine-tuned" if found["tuned"] else "frozen"
    layers = "" if count == "all" else f"{count} layer{'s' * (count != '1')} "
    return f"{found['task'] + ' ' if found['task'] else ''}{layers}{done}"


def in_words(label: str, source: str = "") -> str:
    """A label as a person would say it, with the experiment that weights are taken from.

    >>> in_words("FTall", "letters"), in_words("S3T lr=0.1", "letters"), in_words("depth=14")
    ('all layers fine-tuned from letters', 'the first 3 layers frozen from letters, lr=0.1', '14 layers deep')
    >>> in_words("cnn3 lr=0.1"), in_words("rotation-SallT", "turned")
    ('cnn3 lr=0.1', 'all layers frozen after rotation from turned')
    """
    parts = label.split(" ")
    told = [
        _WORDS.sub(_said, part) + (f" from {source}" if source and _TAKEN.match(part) else "")
        for part in parts
    ]
    return label if told == parts else ", ".join(told)


_TASK = "|".join(task for task in get_args(TaskName) if task != "classification")
CONDITION = rf"(?:(?P<task>{_TASK})-)?(?:FT(?P<tuned>all|\d+)|S(?P<frozen>all|\d+)T)"
"""Of a transfer, as `RunSpec.condition` has it where there is one."""
_TAKEN = re.compile(rf"{CONDITION}$")
_ANYWHERE = re.compile(rf'(?<![\w"-]){CONDITION}(?![\w"])')
_WORDS = re.compile(rf"^(?:{CONDITION}|depth=(?P<depth>\d+))$")


def _said(found: re.Match[str]) -> str:
    if found["depth"]:
        return f"{found['depth']} layers deep"
    count, done = found["tuned"] or found["frozen"], "fine-tuned" if found["tuned"] else "frozen"
    after = f" after {found['task']}" if found["task"] else ""
    return f"{'all layers' if count == 'all' else f'the first {count} layers'} {done}{after}"


def _comes_along(key: str, by: str, shapes: Iterable[Mapping[str, Any]]) -> bool:
    """Whether another value alone, such as the model's name, decides an option: then nobody swept it."""
    found: dict[str, set[str]] = {}
    for values in shapes:
        found.setdefault(str(values[by]), set()).add(repr(values.get(key)))
    return key != by and all(len(own) == 1 for own in found.values())


def _short_names(keys: Sequence[str]) -> Mapping[str, str]:
    """What stands before the value of each key.

    >>> _short_names(["model.name", "optimizer.lr", "schedule.name"])
    {'model.name': '', 'optimizer.lr': 'lr=', 'schedule.name': 'schedule='}
    >>> _short_names(["synthetic.epochs"])
    {'synthetic.epochs': 'synthetic.epochs='}
    >>> _short_names(["label_noise.fraction"])
    {'label_noise.fraction': 'label_noise='}
    >>> _short_names(["unlabelled.method", "unlabelled.ratio", "synthetic.model", "synthetic.lr"]).values()
    dict_values(['unlabelled=', 'ratio=', 'synthetic=', 'synthetic.lr='])
    """
    # Short forms of the file stand for a name, or for the fraction of labels that are wrong.
    shorts = (".name", ".fraction", ".method", ".model")
    whole = {key: key.removesuffix(next(filter(key.endswith, shorts), "")) for key in keys}
    short = {key: name.rpartition(".")[2] for key, name in whole.items()}
    # What else has epochs is no budget, nor is the rate of a generator that of the run.
    short |= {key: whole[key] for key in keys if short[key] in _UNITS or key.startswith("synthetic.")}
    counts = Counter(short.values())
    return {
        key: "" if key in _UNNAMED else f"{name if counts[name] == 1 else key}="
        for key, name in short.items()
    }


def _shape(spec: RunSpec) -> Hashable:
    recipe = replace(recipe_of(spec), experiment="", transfer=None)
    return spec.condition, recipe


def _of_what_is_off(spec: RunSpec) -> Iterator[str]:
    """Keys of options that mean nothing to a run."""
    for name, table, on in (
        ("unlabelled", Unlabelled, spec.unlabelled.method),
        ("synthetic", Synthetic, spec.synthetic.model),
    ):
        for row in rows(table):
            if row.key.only_for and on not in row.key.only_for:
                yield f"{name}.{row.attribute}"
    if not spec.synthetic.is_on:
        yield "synthetic.ratio"


def _complete(spec: RunSpec) -> dict[str, Any]:
    """A specification as a dictionary, model options at their default included, transfer as one word."""
    info = model_info(spec.model.name)
    defaults = info.options if info else {}
    return spec.to_dict() | {
        "model": {"name": spec.model.name, **defaults, **spec.model.options},
        "transfer": spec.condition,
        "subset.features": CELL.sub("", spec.subset.features) or "none",
        # One word, as every part of a label.
        "tests": ",".join(f"{name}:{tests}" for name, tests in spec.tests) or "none",
        "synthetic": to_plain(replace(spec.synthetic, source="")) | {"model": spec.synthetic.named},
    }


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value

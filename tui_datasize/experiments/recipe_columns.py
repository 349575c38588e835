"""The recipe of a run in tables: its columns in the frame of all runs, and what is not at its default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, replace
from functools import cache
from operator import attrgetter
from types import MappingProxyType
from typing import Any

from tui_datasize.experiments.keys import Row, rows
from tui_datasize.experiments.spec import RunSpec


@cache
def recipe_columns() -> Mapping[str, Row]:
    """The keys that have a column in the frame of all runs, by its name, attributes as of a `RunSpec`."""
    found: dict[str, Row] = {}
    for row in rows(RunSpec):
        if row.key.column is not None:
            found[row.key.column or row.name] = row
        elif row.is_table:
            found |= {
                inner.key.column: replace(inner, attribute=f"{row.attribute}.{inner.attribute}")
                for inner in rows(row.kind)
                if inner.key.column
            }
    return MappingProxyType(found)


def recipe_values(spec: RunSpec) -> dict[str, Any]:
    """What stands in these columns; a table in the words that set it apart from its default.

    >>> from tui_datasize.experiments.augmentation import AugmentationSpec
    >>> from tui_datasize.experiments.spec import Budget, ClassSplit, ModelSpec
    >>> run = RunSpec("e", "digits", ModelSpec("mlp"), 40, 0, Budget("updates", 1))
    >>> changed = replace(run, augmentation=AugmentationSpec(flip=0.5), classes=ClassSplit("source"))
    >>> [recipe_values(changed)[name] for name in ("lr", "schedule", "augmentation", "classes")]
    [0.001, 'constant', 'flip=0.5', 'half=source']
    """
    return {name: _words(row, attrgetter(row.attribute)(spec)) for name, row in recipe_columns().items()}


def recipe_defaults() -> dict[str, Any]:
    """What stands there where a file says nothing of the recipe."""
    return {name: _words(row, row.default) for name, row in recipe_columns().items()}


def recipe_changes(spec: RunSpec) -> dict[str, str]:
    """The fields of a recipe that are not at their default, in words.

    >>> from tui_datasize.experiments.spec import Budget, ModelSpec
    >>> run = RunSpec("e", "digits", ModelSpec("mlp"), 40, 0, Budget("updates", 1), ema_decay=0.99)
    >>> recipe_changes(run)
    {'ema_decay': '0.99'}
    """
    values = {row: attrgetter(row.attribute)(spec) for row in rows(RunSpec) if row.default is not MISSING}
    return {
        row.attribute.rpartition(".")[2]: str(_words(row, value))
        for row, value in values.items()
        if value != row.default
    }


def _words(row: Row, value: Any) -> Any:
    if not row.is_table or value is None:
        return value
    given = [(f.name, getattr(value, f.name)) for f in fields(value) if getattr(value, f.name) != f.default]
    if not given:
        return row.key.none or getattr(value, row.key.short)
    return " ".join(f"{name}={inner}" for name, inner in given)

"""Frozen tables as plain values, from them and to them; in the form of an identity defaults are left out."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from types import MappingProxyType
from typing import Any, Literal, get_origin

from tui_datasize.experiments.keys import kinds_of


def hashable(value: Any) -> Any:
    """The same value, its lists as tuples."""
    return tuple(hashable(inner) for inner in value) if isinstance(value, list) else value


def check_types(table: Any) -> None:
    """Raises TypeError: a field of a frozen table holds a value of another type than it says."""
    for name, kinds in _types_of(table.__class__):
        value = getattr(table, name)
        if value.__class__ not in kinds:
            raise TypeError(f"{name} has a value of the wrong type: {reprlib.repr(value)}")


@cache
def _types_of(table: Any) -> tuple[tuple[str, frozenset[type[Any]]], ...]:
    """The types that each field of a table may have; those within a sequence are anybody's guess."""
    return tuple((name, frozenset(_types_in(kinds))) for name, kinds in kinds_of(table).items())


def _types_in(kinds: tuple[Any, ...]) -> Iterator[type[Any]]:
    for kind in kinds:
        origin = get_origin(kind)
        if origin is Literal:
            yield str
        else:
            yield MappingProxyType if origin is Mapping else origin or kind
        if kind is float:
            yield int


@cache
def fields_of(kind: Any) -> tuple[tuple[str, Any], ...]:
    """Names and defaults of the fields of a table; none of anything else.

    Looked up for every value of every run: `fields` itself takes most of the time of queueing thousands.
    """
    return tuple((f.name, f.default) for f in fields(kind)) if is_dataclass(kind) else ()


def to_plain(value: Any) -> Any:
    """A frozen table as nested dictionaries and lists."""
    if named := fields_of(value.__class__):
        return {name: to_plain(getattr(value, name)) for name, _ in named}
    if isinstance(value, Mapping):
        return {key: to_plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple):
        return [to_plain(inner) for inner in value]
    return value


def without_defaults(value: Any) -> Any:
    """Nested dictionary of the fields that have no default or differ from it, numbers normalised."""
    if named := fields_of(value.__class__):
        given = ((name, getattr(value, name), default) for name, default in named)
        return {name: without_defaults(inner) for name, inner, default in given if inner != default}
    if isinstance(value, Mapping):
        return {key: without_defaults(inner) for key, inner in value.items()}
    if isinstance(value, tuple):
        return [without_defaults(inner) for inner in value]
    # 1 and 1.0 are one learning rate; True is not 1.
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value

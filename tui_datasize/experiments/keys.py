"""A key of `experiments.toml` is declared once: with the field that it sets.

The field of a dataclass gives name, type and default, its `Key` the rest. What reads and checks the file,
completes it in an editor, documents it and makes columns of it goes through these rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

_KEY = "key"


@dataclass(frozen=True, slots=True)
class Key:
    """What a field does not tell by itself of its key in the file."""

    meaning: str
    """For a person; the default stands beside it."""
    at_least: float = 0
    above: float | None = None
    below: float | None = None
    at_most: float | None = None
    name: str = ""
    """In the file, where it is not that of the field; `evaluate.times` is the only key of a table."""
    short: str = ""
    """Of a table: the key that a word or a number alone stands for, as in `optimizer = "sgd"`."""
    none: str = ""
    """The word that leaves it out, as in `augmentation = "none"`."""
    only_for: tuple[str, ...] = ()
    """Within a table: what its key `short` says where this one counts; of devices: which of them."""
    is_required: bool = False
    """Whether it must be given where it counts; that may hold for a key whose field has a default, too."""
    is_length: bool = False
    """Whether it is a share of the budget, or whole updates where `unit` says so."""
    column: str | None = ""
    """In the frame of all runs; empty for its name, None for no column."""
    unset: str = "none"
    """What it means that there is no value, where the default is none."""
    expected: str = ""
    """What a value must be beyond its kind and range, behind "expected" in an error."""
    holds: Callable[[Any], bool] | None = None
    """Whether it is that."""
    hint: str = ""
    """What may be written, in a few words, beside a field of a dialog."""


@dataclass(frozen=True, slots=True)
class Row:
    """A key and the field that it sets."""

    attribute: str
    """Name of the field; `subset.imbalance` is one of a table that has no key itself."""
    kind: Any
    """Type of the field, None aside."""
    default: Any
    """`dataclasses.MISSING` where the field has none."""
    key: Key

    @property
    def name(self) -> str:
        """The key in the file."""
        return self.key.name or self.attribute.rpartition(".")[2]

    @property
    def choices(self) -> tuple[str, ...]:
        """The words that it may be; empty where it is no word of a few."""
        return get_args(self.kind) if get_origin(self.kind) is Literal else ()

    @property
    def is_table(self) -> bool:
        """Whether it is a table of keys that are declared likewise."""
        return bool(rows(self.kind))


def key(default: Any, meaning: str, **details: Any) -> Any:
    """A field that a key of the file sets, with the default of a file that leaves it out.

    The default is also that of runs older than the field, so that none gets another id. `details` are other
    fields of `Key`.
    """
    return field(default=default, metadata=of_key(meaning, **details))


def of_key(meaning: str, **details: Any) -> dict[str, Key]:
    """Metadata of a field without a default that a key of the file sets, for `dataclasses.field`."""
    return {_KEY: Key(meaning, **details)}


@cache
def rows(table: Any) -> tuple[Row, ...]:
    """The keys that set fields of a dataclass, in the order of these; none of anything else."""
    return tuple(_rows(table)) if is_dataclass(table) else ()


def _rows(table: Any) -> Iterator[Row]:
    for one in fields(table):
        kind = kinds_of(table)[one.name][0]
        if _KEY in one.metadata:
            yield Row(one.name, kind, one.default, one.metadata[_KEY])
        elif is_dataclass(kind):
            yield from (replace(row, attribute=f"{one.name}.{row.attribute}") for row in _rows(kind))


@cache
def kinds_of(table: Any) -> dict[str, tuple[Any, ...]]:
    """The types that each field of a dataclass may have, in the order of its hint."""
    hints = get_type_hints(table).items()
    return {
        name: get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,) for name, hint in hints
    }

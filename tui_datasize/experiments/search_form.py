"""A search as a person types it: `count=20 model.width=8..64 optimizer.lr=1e-4..0.1,log halving.keep=0.5`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from tui_datasize.errors import ConfigError
from tui_datasize.experiments.keys import Row
from tui_datasize.experiments.search import DEFAULT
from tui_datasize.experiments.toml import is_number
from tui_datasize.experiments.typed_values import (
    as_terms,
    as_typed,
    listed_values,
    literal,
    terms_of,
    value_of,
)

OWN_KEYS: Mapping[str, str] = MappingProxyType(
    {
        "count": "how many combinations are drawn, all different",
        "seed": "another sample; a longer one begins with the same",
        "halving.keep": "share that goes on to a longer budget, such as 0.5",
        "halving.from": "part of the budget that all have at first, such as 0.25",
        f"{DEFAULT}.": "a searched key's value in what the search is compared with",
    }
)
"""Those of a search that are no keys of a recipe, and what they mean."""
_FLAGS = ("log", "integer")


def read_search_form(text: str, known: Mapping[str, Row]) -> dict[str, Any]:
    """The table that terms mean, `known` being the keys of a recipe; nothing of an empty text.

    Raises ConfigError: a term is no `key=value`, or its range is none.

    >>> read_search_form("count=20 model.width=8..64,log halving.keep=0.5 model.kind=a,b", {})["model.width"]
    {'low': 8, 'high': 64, 'log': True, 'integer': True}
    """
    search, ranges = dict[str, Any](), {}
    for key, value in terms_of(text):
        table, dot, inner = key.partition(".")
        if key in search or not isinstance(search.get(table, {}), dict):
            raise ConfigError(f"{table} is there twice")
        if table in ("halving", DEFAULT) and dot:
            search.setdefault(table, {})[inner] = value_of(value)
        elif table in ("halving", DEFAULT, "count", "seed"):
            search[key] = value_of(value)
        else:
            search[key] = ranges[key] = _range(key, value, known.get(key))
    if search and not ranges:
        raise ConfigError("nothing is searched", fix="such as model.width=8..64")
    if search and "count" not in search:
        raise ConfigError("how many combinations are to be drawn?", fix="such as count=20")
    return search


def _range(key: str, text: str, row: Row | None) -> dict[str, Any]:
    ends, *flags = text.split(",")
    low, dots, high = ends.partition("..")
    if not dots or low[:1] not in tuple("+-.0123456789"):
        return {"choices": listed_values(text)}
    numbers = [value_of(one) if one else None for one in (low, high)]
    if not all(map(is_number, numbers)):
        raise ConfigError(f"{key}: expected numbers, low..high, got {ends}", fix="such as 8..64")
    if unknown := next((one for one in flags if one not in _FLAGS), ""):
        raise ConfigError(f"{key}: expected {' or '.join(_FLAGS)} behind {ends}, got {unknown!r}")
    is_whole = _is_whole(numbers, row) or "integer" in flags
    found = dict(zip(("low", "high"), numbers, strict=True))
    return found | ({"log": True} if "log" in flags else {}) | ({"integer": True} if is_whole else {})


def _is_whole(ends: list[Any], row: Row | None) -> bool:
    """Whether a range without a word for it is one of whole numbers."""
    return all(isinstance(end, int) for end in ends) and (row is None or row.kind is not float)


def search_as_typed(search: Mapping[str, Any], known: Mapping[str, Row]) -> str:
    """The terms that mean a search of a file."""
    return " ".join(_terms(search, known))


def _terms(search: Mapping[str, Any], known: Mapping[str, Row]) -> Iterator[str]:
    for key, one in search.items():
        if key in ("count", "seed", "halving"):
            yield from as_terms({key: one}) if one != {} else (f"{key}={{}}",)
        elif key == DEFAULT:
            yield from (f"{key}.{inner}={as_typed(value)}" for inner, value in one.items())
        elif "choices" in one:
            words = (literal(value) if ".." in str(value) else as_typed(value) for value in one["choices"])
            yield f"{key}={','.join(words)}"
        else:
            yield f"{key}={_range_as_typed(one, known.get(key))}"


def _range_as_typed(one: Mapping[str, Any], row: Row | None) -> str:
    ends, is_whole = [one["low"], one["high"]], one.get("integer", False)
    would_be = _is_whole(ends, row)
    # A dot tells that numbers in between are meant.
    low, high = (float(end) if would_be and not is_whole else end for end in ends)
    flags = ("log", one.get("log", False)), ("integer", is_whole and not would_be)
    return ",".join((f"{as_typed(low)}..{as_typed(high)}", *(name for name, holds in flags if holds)))

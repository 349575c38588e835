"""Typed reading of TOML tables, with errors that name the file, the key path and what was expected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from math import inf, isfinite
from operator import ge, gt, le, lt
from typing import Any, TypeVar

from tui_datasize.errors import ConfigError

Choice = TypeVar("Choice", bound=str)

MOST_WHOLE = 2**63 - 1
MOST_VALUES = 50_000
"""Of a list."""
MOST_NUMBER = 1e12
"""Of a number for which nothing smaller makes sense as a bound."""
MOST_IMAGES = 10**9


class Table:
    """One table of a TOML file: every key is taken once, and `finish` refuses those that nobody took.

    Args:
        values: What the table holds.
        file: What errors name as the place; empty for values that come from no file.
        path: Where the table stands in it.
    """

    def __init__(self, values: Any, file: str, path: str = "") -> None:
        self._file = file
        self._path = path
        if not isinstance(values, Mapping):
            raise ConfigError(f"expected a table, got {show(values)}", where=self.where())
        self._values = dict(values)
        self._known: set[str] = set()

    def where(self, key: str = "") -> str:
        """File and key path, for an error."""
        dotted = ".".join(part for part in (self._path, key) if part)
        return ": ".join(part for part in (self._file, dotted) if part)

    def error(self, key: str, expected: str) -> ConfigError:
        """The error for a key whose value is not what was expected."""
        return ConfigError(f"expected {expected}, got {show(self._values.get(key))}", where=self.where(key))

    def has(self, key: str) -> bool:
        """Whether the file gives the key."""
        self._known.add(key)
        return key in self._values

    def take(self, key: str, default: Any = None) -> Any:
        """The raw value of a key."""
        self._known.add(key)
        return self._values.get(key, default)

    def take_all(self) -> dict[str, Any]:
        """Every key with its raw value."""
        self._known.update(self._values)
        return dict(self._values)

    def nested(self, key: str, values: Any) -> Table:
        """A table that stands at `key` but holds the given values."""
        self._known.add(key)
        return Table(values, self._file, ".".join(part for part in (self._path, key) if part))

    def with_values(self, values: dict[str, Any]) -> Table:
        """A table at the same place with other values."""
        return Table(values, self._file, self._path)

    def table(self, key: str) -> Table:
        """A nested table; empty where the file gives none."""
        return self.nested(key, self.take(key, {}))

    def tables(self) -> list[tuple[str, Table]]:
        """Every key of this table as a nested table, in file order."""
        return [(key, self.table(key)) for key in self._values]

    def text(self, key: str, default: str | None = None) -> str:
        """A string that is not empty."""
        value = self.take(key, default)
        if not isinstance(value, str) or (not value and key in self._values):
            raise self.error(key, "a string")
        return value

    def boolean(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self.take(key, default)
        if not isinstance(value, bool):
            raise self.error(key, "true or false")
        return value

    def integer(self, key: str, default: int | None = None, *, least: int = 0, most: int = MOST_WHOLE) -> int:
        """A whole number from `least` to `most`."""
        value = self.take(key, default)
        if not is_whole(value) or value < least:
            raise self.error(key, f"a whole number of at least {least}")
        if value > most:
            raise self.error(key, f"a whole number of at most {most:,}")
        return int(value)

    def number(
        self,
        key: str,
        default: float | None = None,
        *,
        at_least: float = 0,
        above: float | None = None,
        below: float | None = None,
        at_most: float | None = None,
    ) -> float:
        """A finite number within bounds, by default of at least 0."""
        value = self.take(key, default)
        checks = (
            ("above", above, gt),
            ("of at least", at_least if above is None else None, ge),
            ("below", below, lt),
            ("at most", at_most, le),
        )
        given = [(word, bound, holds) for word, bound, holds in checks if bound is not None and bound < inf]
        if not is_number(value) or not all(holds(value, bound) for _, bound, holds in given):
            raise self.error(key, "a number " + " and ".join(f"{word} {bound:g}" for word, bound, _ in given))
        if value > MOST_NUMBER:
            raise self.error(key, f"a number of at most {MOST_NUMBER:g}")
        return float(value)

    def choice(self, key: str, choices: Sequence[Choice], default: Choice | None = None) -> Choice:
        """One of a few words."""
        value = self.take(key, default)
        for choice in choices:
            if value == choice:
                return choice
        raise self.error(key, f"one of {', '.join(choices)}")

    def numbers(self, key: str, *, whole: bool, above: float = 0, at_most: float = MOST_IMAGES) -> list[Any]:
        """A list of distinct numbers, none empty, each above `above` and at most `at_most`."""
        values = self.take(key)
        kind = "whole numbers" if whole else "numbers"
        bounds = f"above {above:g}" + (f" and at most {at_most:g}" if at_most < MOST_IMAGES else "")
        fits = is_whole if whole else is_number
        if not isinstance(values, list) or not values:
            raise self.error(key, f"a list of {kind} {bounds}")
        if len(values) > MOST_VALUES:
            expected = f"expected at most {MOST_VALUES:,} {kind}, got {len(values):,}"
            raise ConfigError(expected, where=self.where(key))
        for value in values:
            if fits(value) and value > at_most >= MOST_IMAGES:
                expected = f"expected {kind} of at most {at_most:,g}, got {show(value)}"
                raise ConfigError(expected, where=self.where(key))
            if not fits(value) or not above < value <= at_most:
                raise ConfigError(f"expected {kind} {bounds}, got {show(value)}", where=self.where(key))
        twice = next((value for value, count in Counter(values).items() if count > 1), None)
        if twice is not None:
            raise ConfigError(f"{show(twice)} is listed twice", where=self.where(key))
        return values

    def finish(self) -> None:
        """Refuse every key that was never asked for, naming the nearest known one."""
        self.refuse_unknown(self._known)

    def refuse_unknown(self, known: Collection[str]) -> None:
        """Refuse every key that is not among those known, naming the nearest one."""
        for key in self._values:
            if key not in known:
                raise ConfigError(f"unknown key {key!r}", where=self.where(), fix=nearest(key, set(known)))


def nearest(word: str, known: set[str]) -> str:
    """A hint for a misspelt word: the nearest known one, or all of them."""
    close = get_close_matches(word, sorted(known), n=1)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(sorted(known))}"


def is_whole(value: Any) -> bool:
    """Whether a TOML value is an integer; true and false are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether a TOML value is a finite number."""
    return is_whole(value) or (isinstance(value, float) and isfinite(value))


def show(value: Any) -> str:
    """A TOML value as a person wrote it, shortened."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    try:
        text = repr(value)
    except ValueError:
        # Python writes no whole number of thousands of digits out.
        text = "a number of thousands of digits"
    return text if len(text) <= 60 else f"{text[:57]}..."

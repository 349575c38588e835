"""Reading TOML: a file, bounded in size and depth, and its tables key by key; each fault is one line."""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from math import inf, isfinite
from operator import ge, gt, le, lt
from pathlib import Path
from typing import Any, TypeVar

from tui_datasize.errors import ConfigError
from tui_datasize.files import TooLarge, has_more_levels, read_bounded
from tui_datasize.text import plural

Choice = TypeVar("Choice", bound=str)
Read = TypeVar("Read")

MOST_BYTES = 2_000_000
"""Of a file: some thousand experiments. A parser takes a second for as much."""
MOST_LEVELS = 20
"""Of tables and lists within one another."""
MOST_WHOLE = 2**63 - 1
MOST_VALUES = 50_000
"""Of a list."""
MOST_NUMBER = 1e12
"""Of a number for which nothing smaller makes sense as a bound."""
MOST_IMAGES = 10**9


def text_of(content: bytes) -> str:
    r"""Text as editors save it: UTF-8, with or without a byte order mark, or UTF-16 with one.

    Raises:
        UnicodeDecodeError: It is neither.

    >>> text_of(b"\xef\xbb\xbfa = 1"), text_of("a = 1".encode("utf-16"))
    ('a = 1', 'a = 1')
    """
    is_wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if is_wide and not content.startswith(codecs.BOM_UTF32_LE):
        return content.decode("utf-16")
    if b"\0" in content[:4]:
        # UTF-16 without a mark is UTF-8 full of null characters.
        raise UnicodeDecodeError("utf-8", content, 0, 1, "null characters")
    return content.decode("utf-8-sig")


def read_toml(file: Path, *, fix: str = "") -> dict[str, Any]:
    """The document of a file: UTF-8 with or without a byte order mark, or UTF-16 with one, any line ends.

    `fix` is what to do where there is none.

    Raises ConfigError: it is missing, no regular file, too large, in another encoding, not TOML, or too deep.
    """
    # Training reads the settings of devices where nothing but torch is installed.
    import tomli

    try:
        document = tomli.loads(text_of(read_bounded(file, MOST_BYTES)))
    except FileNotFoundError:
        raise ConfigError("no such file", where=str(file), fix=fix) from None
    except UnicodeDecodeError:
        raise ConfigError("not UTF-8 text", where=str(file), fix="save it as UTF-8") from None
    except RecursionError:
        raise _too_deep(file) from None
    except tomli.TOMLDecodeError as error:
        raise ConfigError(_problem(error), where=str(file)) from None
    except ValueError:
        raise ConfigError("a number or date in it is out of range", where=str(file)) from None
    except OSError as error:
        fix = "spread it over several projects" if isinstance(error, TooLarge) else ""
        raise ConfigError.of(error, "cannot be read", where=str(file), fix=fix) from None
    if has_more_levels(document, MOST_LEVELS):
        raise _too_deep(file)
    return document


def _too_deep(file: Path) -> ConfigError:
    return ConfigError(f"tables or lists of more than {MOST_LEVELS} levels", where=str(file))


def _problem(error: ValueError) -> str:
    twice = re.search(r"Cannot declare \((.+?),?\) twice(.*)", str(error))
    if twice:
        key = ".".join(part.strip(" '\"") for part in twice[1].split(","))
        return f"the table [{key}] is defined twice{twice[2]}; give one of them another name"
    return f"not valid TOML: {error}"


class CollectedError(ConfigError):
    """Several errors of one file, of which the first is told where one line is."""

    def __init__(self, errors: Sequence[ConfigError]) -> None:
        super().__init__(errors[0].what, where=errors[0].where, fix=errors[0].fix)
        self.errors = tuple(errors)


@dataclass(eq=False)
class Problems:
    """Keeps the errors of parts that can be read apart from each other, so that all of them are told."""

    errors: list[ConfigError] = field(default_factory=list)
    _told: dict[str, ConfigError] = field(default_factory=dict)

    @contextmanager
    def part(self) -> Iterator[None]:
        """Read one part; what is wrong with it is kept."""
        try:
            yield
        except ConfigError as problem:
            self._keep(problem)

    def _keep(self, problem: ConfigError) -> None:
        for one in problem.errors if isinstance(problem, CollectedError) else [problem]:
            # Every combination of a sweep has what is wrong beside it.
            if self._told.setdefault(one.line, one) is one:
                self.errors.append(one)

    def of(self, read: Callable[[], Read], otherwise: Any) -> Read:
        """What a part is read as, or something else where it is wrong."""
        try:
            return read()
        except ConfigError as problem:
            self._keep(problem)
            found: Read = otherwise
            return found

    def raise_all(self) -> None:
        """Raise what was kept.

        Raises ConfigError: it is one error.
        Raises CollectedError: there are several.
        """
        if self.errors:
            raise self.errors[0] if len(self.errors) == 1 else CollectedError(self.errors)


class TomlTable:
    """One table of a TOML file: every key is taken once, and `finish` refuses those that nobody took.

    Errors name `file` and `path` as the place; they are empty for values that come from no file.
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
        return ConfigError(f"expected {expected}, got {show(self._values.get(key))}", where=self.where(key))

    def has(self, key: str) -> bool:
        self._known.add(key)
        return key in self._values

    def take(self, key: str, default: Any = None) -> Any:
        self._known.add(key)
        return self._values.get(key, default)

    def take_all(self) -> dict[str, Any]:
        self._known.update(self._values)
        return dict(self._values)

    def nested(self, key: str, values: Any) -> TomlTable:
        """A table that stands at `key` but holds the given values."""
        self._known.add(key)
        return TomlTable(values, self._file, ".".join(part for part in (self._path, key) if part))

    def with_values(self, values: dict[str, Any]) -> TomlTable:
        """A table at the same place with other values."""
        return TomlTable(values, self._file, self._path)

    def table(self, key: str) -> TomlTable:
        """A nested table; empty where the file gives none."""
        return self.nested(key, self.take(key, {}))

    def tables(self) -> list[tuple[str, TomlTable]]:
        """Every key of this table as a nested table, in file order."""
        return [(key, self.table(key)) for key in self._values]

    def text(self, key: str, default: str | None = None) -> str:
        """A string that is not empty."""
        value = self.take(key, default)
        if not isinstance(value, str) or (not value and key in self._values):
            raise self.error(key, "a string")
        return value

    def boolean(self, key: str, default: bool) -> bool:
        value = self.take(key, default)
        if not isinstance(value, bool):
            raise self.error(key, "true or false")
        return value

    def integer(
        self, key: str, default: int | None = None, *, least: int = 0, most: int = MOST_WHOLE, also: str = ""
    ) -> int:
        """A whole number from `least` to `most`; `also` names a word that the caller takes as well."""
        value = self.take(key, default)
        if not is_whole(value) or value < least:
            raise self.error(key, f"a whole number of at least {least}" + (f', or "{also}"' if also else ""))
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
        problems = Problems()
        for key in self._values:
            with problems.part():
                if key not in known:
                    raise ConfigError(
                        f"unknown key {key!r}", where=self.where(), fix=nearest(key, set(known))
                    )
        problems.raise_all()


def nearest(word: str, known: set[str]) -> str:
    """A hint for a misspelt word: the nearest known one, or all of them; what follows a dot stays.

    >>> nearest("optimzer.lr", {"optimizer", "model"}), nearest("lr", {"optimizer", "model"})
    ("did you mean 'optimizer.lr'?", 'known are model, optimizer')
    """
    head, dot, rest = word.partition(".")
    ways = [one if one == head or "." in one else f"{one}{dot}{rest}" for one in sorted(known)]
    if close := get_close_matches(word, ways, n=1):
        return f"did you mean {close[0]!r}?"
    return f"known are {', '.join(sorted(known))}"


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


def refuse_more(count: int, most: int, noun: str, where: str, of_what: str = "") -> None:
    """Raise ConfigError where there are more of something than can be handled."""
    if count > most:
        counted = " ".join(filter(None, (plural(count, noun), of_what)))
        fix = "shorten the lists" if noun == "run" else "spread them over several projects"
        raise ConfigError(f"{counted}, and at most {most:,} can be handled", where=where, fix=fix)

"""Changes of `experiments.toml` by a program: shown before they are made; the rest of it is not touched."""

from __future__ import annotations

import codecs
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tui_datasize.errors import ConfigError, StorageError
from tui_datasize.experiments.load import load_project
from tui_datasize.experiments.toml import read_toml, text_of
from tui_datasize.experiments.typed_values import key_literal, literal
from tui_datasize.runlog.atomic import rename, write_bytes

_BY_HAND = "add the lines by hand"
_KEY_WIDTH = 10


@dataclass(frozen=True, slots=True)
class FileChange:
    """What a project's file holds, and what it would."""

    file: Path
    before: bytes | None
    """None where there is no file."""
    after: bytes

    @property
    def difference(self) -> list[str]:
        """Lines that go or come, and some around them, each behind a minus, a plus or a space."""
        before, after = (text_of(one or b"").splitlines() for one in (self.before, self.after))
        return [line for line in unified_diff(before, after, n=2, lineterm="") if line[:3] not in _HEADS]

    def write(self) -> None:
        """Write it, unless the file is another by now, or would not be right.

        Raises ConfigError: it would not be right; nothing was written.
        Raises StorageError: it is read-only, cannot be written, or was changed meanwhile.
        """
        place = self.file.resolve()
        # Renaming another file to its place would need no right to write it.
        if place.exists() and not (os.access(place, os.W_OK) and place.stat().st_mode & _MAY_WRITE):
            raise StorageError("is read-only", where=str(self.file), fix="chmod u+w it to have it changed")
        tried = place.with_name(f".{place.name}.tried")
        try:
            write_bytes(tried, self.after)
            try:
                if self.before is not None:
                    shutil.copymode(place, tried)
                load_project(tried)
                if _content(place) != self.before:
                    what = "was changed just now, and is left as it is"
                    raise StorageError(what, where=str(self.file), fix="try again")
                rename(tried, place)
            finally:
                tried.unlink(missing_ok=True)
        except ConfigError as error:
            what = f"cannot be extended: {error.what}"
            raise ConfigError(what, where=str(self.file), fix=error.fix) from None
        except OSError as error:
            raise StorageError.of(error, "cannot be written", where=str(self.file)) from None


_MAY_WRITE = 0o222
_HEADS = ("---", "+++", "@@ ")


def with_lines(file: Path, lines: str) -> FileChange:
    """Lines at the end of the file; the text before them stays as it is, comments and all.

    Raises ConfigError: the file is not right, or what they extend stands within braces.
    Raises StorageError: it cannot be read.
    """
    before = _content(file)
    if before is not None:
        load_project(file)
    if change := _extended(file, before, lines):
        return change
    what = "cannot be extended: what is added belongs into braces { }"
    raise ConfigError(what, where=str(file), fix=_BY_HAND)


def _extended(file: Path, before: bytes | None, lines: str) -> FileChange | None:
    """With lines at its end; None where these cannot stand there."""
    import tomli

    text = text_of(before or b"")
    end = "\r\n" if "\r\n" in text else "\n"
    added = (lines.strip("\n") + "\n").replace("\n", end)
    after = text.rstrip() + 2 * end + added if text.strip() else added
    try:
        tomli.loads(after)
    except tomli.TOMLDecodeError:
        return None
    return _changed(file, before, after)


def with_experiment(
    file: Path, name: str, values: Mapping[str, Any], paths: Mapping[str, str] = MappingProxyType({})
) -> FileChange:
    """The table of an experiment: at the end of the file, or in the place of the one that has this name.

    Of that the keys that stay the same keep their lines, and every comment is kept. Before one that is new
    `paths` are written, if any.

    Raises ConfigError: the file is not right, or its form is one that cannot be changed without harm.
    Raises StorageError: it cannot be read.
    """
    before = _content(file)
    if before is not None:
        load_project(file)
    expected = read_toml(file) if before is not None else {}
    is_new = name not in expected.get("experiments", {})
    above = "\n".join(["[paths]", *(f"{key} = {literal(value)}" for key, value in paths.items()), "", ""])
    lines = (above if paths else "") + experiment_lines(name, values)
    if is_new and (change := _extended(file, before, lines)):
        return change
    expected["experiments"][name] = dict(values)
    text = text_of(before or b"")
    after = _rewritten(text, name, values, expected)
    if not after:
        what = f"{name} is written in a way that no program can change without harm"
        raise ConfigError(what, where=str(file), fix=_BY_HAND)
    change = _changed(file, before, after)
    told = {sign: [line[1:] for line in change.difference if line[0] == sign] for sign in "+-"}
    for comment in _comments(told["-"]) - _comments(told["+"]):
        place = _key_with(text, name, comment)
        what = f'{name} cannot be changed here: the comment "# {comment}" in {place} would be lost'
        raise ConfigError(what, where=str(file), fix="move it above that key")
    return change


def _key_with(text: str, name: str, comment: str) -> str:
    """The key of an experiment beside or within whose value a comment stands."""
    import tomlkit

    table: Any = tomlkit.parse(text)["experiments"]
    keys, table = [], table[name]
    while isinstance(table, Mapping):
        texts = ((key, one, one.as_string() + one.trivia.comment) for key, one in table.items())
        inside = ((key, one) for key, one, said in texts if comment in _comments(said.splitlines()))
        key, table = next(inside, ("", None))
        keys += [key] if key else []
    return ".".join(keys) or name


def _rewritten(text: str, name: str, values: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """A document with other values in one of its experiments; empty where it would say something else."""
    # It takes a while to import, and is slow: an experiment that is new needs it not.
    import tomlkit

    # It raises errors of any kind at forms that it does not know.
    with suppress(Exception):
        document = tomlkit.parse(text)
        tables: Any = document["experiments"]
        if name in tables:
            # What stands above the next table, such as a comment on that, stays there.
            below = _last_items(tables[name])
            tail = [below.pop() for _ in range(len(below)) if below and below[-1][0] is None]
            _overlay(tables[name], values)
            _last_items(tables[name]).extend(reversed(tail))
        else:
            tables[name] = _item(values)
        after = tomlkit.dumps(document)
        if tomlkit.parse(after).unwrap() == expected:
            is_dos = text.count("\n") == text.count("\r\n")
            return after.replace("\r\n", "\n").replace("\n", "\r\n") if is_dos else after
    return ""


_STRING = re.compile(r"""\"(\\.|[^\"\\])*\"|'[^']*'""")


def _comments(lines: Iterable[str]) -> Counter[str]:
    """What is said behind lines."""
    told = (_STRING.sub("", line).partition("#")[2] for line in lines)
    return Counter(comment.strip() for comment in told if comment)


def experiment_lines(name: str, values: Mapping[str, Any]) -> str:
    """An experiment as a new file has it: its keys, then its tables."""
    path = f"experiments.{key_literal(name)}"
    lines = [f"[{path}]"]
    inner = {key: one for key, one in values.items() if key in _TABLES}
    lines += (f"{key:<{_KEY_WIDTH}} = {literal(one)}" for key, one in values.items() if key not in inner)
    for key, one in inner.items():
        for table in one if isinstance(one, list) else [one]:
            lines.append(f"[[{path}.{key}]]" if isinstance(one, list) else f"[{path}.{key}]")
            lines += (f"{key_literal(inner_key)} = {literal(value)}" for inner_key, value in table.items())
    return "\n".join(lines) + "\n"


_TABLES = ("sweep", "levers", "search", "also")


def _overlay(table: Any, values: Mapping[str, Any]) -> None:
    """Make a table of the document one with these values, where they are others."""
    import tomlkit
    from tomlkit.items import InlineTable

    for key in [key for key in table if key not in values]:
        del table[key]
    for key, value in values.items():
        there = table.get(key)
        if there is None:
            # Not `add`, which a table that stands in several places, or in dotted keys, has not.
            is_table = key in _TABLES and isinstance(value, Mapping) and not isinstance(table, InlineTable)
            table[key] = _table(value) if is_table else _item(value)
        elif isinstance(there, Mapping) and isinstance(value, Mapping):
            _overlay(there, value)
        elif literal(tomlkit.item(there).unwrap()) != literal(value):
            table[key] = _item(value)


def _last_items(table: Any) -> list[Any]:
    """The items of a table that stands in one place, or of the last within it; comments have None as key."""
    from tomlkit.items import Table

    items: list[Any] = []
    while isinstance(table, Table):
        items = table.value.body
        table = items[-1][1] if items else None
    return items


def _table(values: Mapping[str, Any]) -> Any:
    import tomlkit

    table = tomlkit.table()
    for key, value in values.items():
        table.add(tomlkit.key(key), _item(value))
    return table


def _item(value: Any) -> Any:
    import tomlkit

    return tomlkit.value(literal(value))


def _content(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError.of(error, "cannot be read", where=str(file)) from None


def _changed(file: Path, before: bytes | None, text: str) -> FileChange:
    """In the encoding that the file has."""
    encodings = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16", codecs.BOM_UTF8: "utf-8-sig"}
    marked = (encoding for mark, encoding in encodings.items() if (before or b"").startswith(mark))
    try:
        return FileChange(file, before, text.encode(next(marked, "utf-8")))
    except UnicodeEncodeError as error:
        what = f"cannot hold {text[error.start]!r}, which is no character"
        raise ConfigError(what, where=str(file), fix="leave it out") from None

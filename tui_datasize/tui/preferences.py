"""What a person has chosen of the app for all projects: colours, characters, keys; from a file of theirs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias

from tui_datasize.characters import takes_unicode
from tui_datasize.errors import ConfigError
from tui_datasize.experiments.toml import Problems, TomlTable, read_toml
from tui_datasize.text import visible

Characters: TypeAlias = Literal["auto", "unicode", "ascii"]
_CHARACTERS: tuple[Characters, ...] = ("auto", "unicode", "ascii")


MEANINGS: Mapping[str, str] = {
    "theme": "colours; ansi-dark and ansi-light are those of the terminal",
    "characters": "auto goes by LC_ALL, LC_CTYPE and LANG",
    "mouse": "whether the app has the mouse; text is then marked with shift",
    "bell": "whether the terminal rings when a run fails or an experiment ends",
    "slow": "few redraws, for a slow link; by itself where the terminal does not keep up",
    "read_only": "whether keys change nothing: neither the queue nor a file of the project",
    "keys": "what you press, and the key of docs/keys.md that it acts as",
}


@dataclass(frozen=True, slots=True)
class Preferences:
    """What holds for the app, whatever the project; see `MEANINGS`."""

    theme: str = "datasize"
    characters: Characters = "auto"
    mouse: bool = False
    bell: bool = True
    slow: bool = False
    read_only: bool = False
    keys: Mapping[str, str] = field(default_factory=dict)
    """Both as Textual names them."""

    @property
    def is_ascii(self) -> bool:
        return self.characters == "ascii" or (self.characters == "auto" and not takes_unicode())


AS_USUAL = Preferences()


def preferences_file() -> Path:
    """Where they stand, by the rules of XDG."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "datasize-tui" / "config.toml"


def load_preferences() -> tuple[Preferences, Sequence[ConfigError]]:
    """What the file says, as far as it is right, and what is wrong with it; the environment comes first."""
    file, problems = preferences_file(), Problems()
    values: dict[str, Any] = {}
    if file.exists():
        table = problems.of(lambda: TomlTable(read_toml(file), str(file)), TomlTable({}, ""))
        for name in ("mouse", "bell", "slow", "read_only"):
            with problems.part():
                values[name] = table.boolean(name, getattr(AS_USUAL, name))
        with problems.part():
            values["characters"] = table.choice("characters", _CHARACTERS, AS_USUAL.characters)
        with problems.part():
            values["theme"] = table.choice("theme", theme_names(), AS_USUAL.theme)
        with problems.part():
            values["keys"] = dict(_keys(table.table("keys"), problems))
        with problems.part():
            table.finish()
    for name in ("mouse", "bell"):
        if (told := os.environ.get(f"DATASIZE_{name.upper()}")) in ("0", "1"):
            values[name] = told == "1"
    return Preferences(**values), problems.errors


def _keys(table: TomlTable, problems: Problems) -> Iterator[tuple[str, str]]:
    for pressed, meant in table.take_all().items():
        keys = [_key(word) if isinstance(word, str) else "" for word in (pressed, meant)]
        with problems.part():
            if not all(keys):
                raise table.error(pressed, "a key such as q, ^e, F2, PgUp or space for another")
            yield keys[0], keys[1]


def theme_names() -> list[str]:
    """Names of the colours that can be chosen."""
    from textual.theme import BUILTIN_THEMES

    return ["datasize", *BUILTIN_THEMES]


def _key(word: str) -> str:
    """Textual's name of a key that is written as in docs/keys.md; empty where there is none."""
    from textual.keys import Keys, _character_to_key

    from tui_datasize.tui.keys import KEY_NAMES

    by_word = {shown.lower(): name for name, shown in KEY_NAMES.items()}
    if len(word) == 1:
        return _character_to_key(word)
    named = by_word.get(word.lower(), word.lower().replace("^", "ctrl+"))
    known = {key.value for key in Keys} | {f"ctrl+{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"}
    return named if named in known else ""


def described(preferences: Preferences) -> str:
    """The preferences as a file that says the same."""
    lines = []
    for one in fields(Preferences):
        value = getattr(preferences, one.name)
        if one.name == "keys":
            lines += ["", f"[keys]  # {MEANINGS['keys']}"]
            lines += [f'"{pressed}" = "{meant}"' for pressed, meant in value.items()]
        else:
            shown = f'"{value}"' if isinstance(value, str) else str(value).lower()
            lines.append(f"{one.name} = {shown}".ljust(24) + f"  # {MEANINGS[one.name]}")
    return visible("\n".join(lines), lines=True)

"""A TOML file as a document: bounded in size and depth, each fault one line."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Any

import tomli

from tui_datasize.errors import ConfigError

MOST_BYTES = 2_000_000
"""Of a file: some thousand experiments. A parser takes a second for as much."""
MOST_LEVELS = 20
"""Of tables and lists within one another."""


def read_toml(file: Path, *, fix: str = "") -> dict[str, Any]:
    """The document of a file.

    Args:
        file: Path of the file.
        fix: What to do where there is none.

    Raises:
        ConfigError: It is missing, no regular file, too large, not UTF-8, not TOML, or nested too deeply.
    """
    try:
        document = tomli.loads(_read(file).decode("utf-8"))
    except FileNotFoundError:
        raise ConfigError("no such file", where=str(file), fix=fix) from None
    except UnicodeDecodeError:
        raise ConfigError("not UTF-8 text", where=str(file)) from None
    except RecursionError:
        raise _too_deep(file) from None
    except ValueError as error:
        raise ConfigError(_problem(error), where=str(file)) from None
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=str(file)) from None
    if _levels(document) > MOST_LEVELS:
        raise _too_deep(file)
    return document


def _read(file: Path) -> bytes:
    # Not blocking: a pipe of that name would wait for a writer.
    with os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise ConfigError("not a regular file", where=str(file))
        data = stream.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise ConfigError(
            f"larger than {MOST_BYTES / 10**6:g} MB", where=str(file), fix="spread it over several projects"
        )
    return data


def _levels(document: dict[str, Any]) -> int:
    """How many tables and lists lie within one another; counted no further than is of interest."""
    level = 0
    within: list[Any] = [document]
    while within and level <= MOST_LEVELS:
        level += 1
        inner = [value for one in within for value in (one.values() if isinstance(one, dict) else one)]
        within = [value for value in inner if isinstance(value, dict | list)]
    return level


def _too_deep(file: Path) -> ConfigError:
    return ConfigError(f"tables or lists of more than {MOST_LEVELS} levels", where=str(file))


def _problem(error: ValueError) -> str:
    """What is wrong with a file that is not TOML; the parser's words for a repeated table are Python's."""
    twice = re.search(r"Cannot declare \((.+?),?\) twice(.*)", str(error))
    if twice:
        key = ".".join(part.strip(" '\"") for part in twice[1].split(","))
        return f"the table [{key}] stands there twice{twice[2]}; give one of them another name"
    if not isinstance(error, tomli.TOMLDecodeError):
        return "a number or date in it is out of range"
    return f"not valid TOML: {error}"

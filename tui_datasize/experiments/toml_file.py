"""A TOML file as a document: bounded in size and depth, each fault one line."""

from __future__ import annotations

import codecs
import errno
import re
from pathlib import Path
from typing import Any

import tomli

from tui_datasize.errors import ConfigError
from tui_datasize.files import has_more_levels, read_bounded

MOST_BYTES = 2_000_000
"""Of a file: some thousand experiments. A parser takes a second for as much."""
MOST_LEVELS = 20
"""Of tables and lists within one another."""


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

    Args:
        file: Path of the file.
        fix: What to do where there is none.

    Raises:
        ConfigError: It is missing, no regular file, too large, in another encoding, not TOML, or too deep.
    """
    try:
        document = tomli.loads(text_of(read_bounded(file, MOST_BYTES)))
    except FileNotFoundError:
        raise ConfigError("no such file", where=str(file), fix=fix) from None
    except UnicodeDecodeError:
        raise ConfigError("not UTF-8 text", where=str(file), fix="save it as UTF-8") from None
    except RecursionError:
        raise _too_deep(file) from None
    except ValueError as error:
        raise ConfigError(_problem(error), where=str(file)) from None
    except OSError as error:
        fix = "spread it over several projects" if error.errno == errno.EFBIG else ""
        raise ConfigError(f"cannot be read: {error.strerror}", where=str(file), fix=fix) from None
    if has_more_levels(document, MOST_LEVELS):
        raise _too_deep(file)
    return document


def _too_deep(file: Path) -> ConfigError:
    return ConfigError(f"tables or lists of more than {MOST_LEVELS} levels", where=str(file))


def _problem(error: ValueError) -> str:
    """What is wrong with a file that is not TOML; the parser's words for a repeated table are Python's."""
    twice = re.search(r"Cannot declare \((.+?),?\) twice(.*)", str(error))
    if twice:
        key = ".".join(part.strip(" '\"") for part in twice[1].split(","))
        return f"the table [{key}] is defined twice{twice[2]}; give one of them another name"
    if not isinstance(error, tomli.TOMLDecodeError):
        return "a number or date in it is out of range"
    return f"not valid TOML: {error}"

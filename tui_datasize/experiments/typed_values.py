"""Values as a person types them on one line: `optimizer.lr=1e-3,3e-3 augmentation.flip=0.5`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from tui_datasize.errors import ConfigError

_BARE = re.compile(r"[^\s\[\]{}\"',=#]+")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
IN_THOUSANDS = re.compile(r"(?<![\d_])(?<!\d[.,])[1-9]\d{0,2}(?:,\d{3})+(?![\d_]|,\d)")
"""A number whose digits are grouped by commas, or a list."""
_OPENS, _CLOSES = "[{", "]}"


def literal(value: Any) -> str:
    """A value as TOML has it on one line.

    >>> literal({"name": "resnet", "depth": 20, "rates": [0.5, 1e-05], "on": True})
    '{ name = "resnet", depth = 20, rates = [0.5, 1e-05], on = true }'
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        # Their escapes are among those of TOML; of the others TOML forbids one as it is.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", r"\u007f")
    if isinstance(value, Mapping):
        inner = ", ".join(f"{key_literal(key)} = {literal(one)}" for key, one in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    return str(value)


def key_literal(key: str) -> str:
    """A key as TOML has it: in quotes where it has a dot or the like."""
    return key if _BARE_KEY.fullmatch(key) else literal(key)


def value_of(text: str) -> Any:
    """What a text means: a value of TOML, or a word without quotes.

    Raises ConfigError: it is neither.

    >>> value_of("1e-3"), value_of("sgd"), value_of(".5"), value_of('{ flip = 0.5 }')
    (0.001, 'sgd', 0.5, {'flip': 0.5})
    """
    import tomli

    text = text.strip()
    with suppress(tomli.TOMLDecodeError, ValueError):
        return tomli.loads(f"v = {text}")["v"]
    with suppress(ValueError):
        return float(text)
    if _BARE.fullmatch(text):
        return text
    raise ConfigError(f"{text!r} is no value")


def without_commas(text: str) -> str:
    """A number as people group its digits, without the commas; other commas stay.

    >>> without_commas("12,800"), without_commas("1,2")
    ('12800', '1,2')
    """
    return IN_THOUSANDS.sub(lambda found: found[0].replace(",", ""), text)


def as_typed(value: Any) -> str:
    """The shortest text that means a value: words without quotes."""
    if isinstance(value, str) and _BARE.fullmatch(value) and value_of(value) == value:
        return value
    return literal(value)


def split_outside(text: str, at: str) -> list[str]:
    """The parts of a text between characters of `at` that stand within no brackets or quotes.

    >>> split_outside('none,{ flip = 0.5, crop_px = 8 }', ",")
    ['none', '{ flip = 0.5, crop_px = 8 }']
    """
    parts, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        else:
            depth += (character in _OPENS) - (character in _CLOSES)
        if character in at and not depth and not quote:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def listed_values(text: str) -> list[Any]:
    """The values between commas, in brackets or not; raises ConfigError: one is no value."""
    inner = text[1:-1] if text[:1] == "[" and text[-1:] == "]" else text
    return [value_of(one) for one in split_outside(inner, ",") if one.strip()]


def terms_of(text: str) -> Iterator[tuple[str, str]]:
    """Keys and texts of values.

    Raises ConfigError: something is no `key=value`, or a key comes twice.

    >>> list(terms_of("model.depth = 20, 32  batch_size=64"))
    [('model.depth', '20,32'), ('batch_size', '64')]
    """
    # What stands around them is no end of a term.
    text = re.sub(r"\s*([=,])\s*", r"\1", text.strip())
    known: set[str] = set()
    for term in filter(None, split_outside(text, " \t")):
        key, equals, value = term.partition("=")
        if not key or not equals or not value:
            raise ConfigError(f"{term!r} is no key=value")
        if key in known:
            raise ConfigError(f"{key} is there twice")
        known.add(key)
        yield key, value


def as_terms(values: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """The terms that set values, tables key by key.

    >>> " ".join(as_terms({"optimizer": {"name": "sgd", "lr": 0.1}, "batch_size": 8}))
    'optimizer.name=sgd optimizer.lr=0.1 batch_size=8'
    """
    for key, value in values.items():
        if isinstance(value, Mapping) and all(map(_BARE_KEY.fullmatch, value)):
            yield from as_terms(value, f"{before}{key}.")
        else:
            yield f"{before}{key}={as_typed(value)}"

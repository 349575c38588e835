"""Numbers of images as people write them, in columns and in names of runs."""

from __future__ import annotations

import re

LARGEST_WHOLE = 2**53
SHARE_WORDS = frozenset({"pct", "percent", "perc", "pc", "p", "%"})
"""What is written behind a number that is a share of a data set."""

_UNITS = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6}
_FORMS = re.compile(
    r"(?P<grouped>\d{1,3}(?:,\d{3})+|\d{1,3}(?:_000)+)"
    # One digit before the exponent: 500e3 may be 500 images and 3 epochs.
    r"|(?P<power>\d(?:\.\d+)?[eE]\+?\d{1,2})"
    r"|(?P<number>\d{1,16}(?:\.\d+)?)(?P<unit>[kKM]?)",
    re.ASCII,
)
_EITHER = re.compile(r"\d{1,3}(?:\.\d{3})+", re.ASCII)


def count_of(text: str) -> int:
    """A whole number of at least 0, also one like 750.0, 10,000, 10_000, 19k, 1M or 1e4.

    Raises:
        ValueError: It is none, or may be either of two.

    >>> [count_of(text) for text in ("750", "750.0", "10,000", "19k", "2.5k", "1M", "1e4", "1.0e+04")]
    [750, 750, 10000, 19000, 2500, 1000000, 10000, 10000]
    """
    if _EITHER.fullmatch(text):
        first, joined = text.partition(".")[0], text.replace(".", "")
        raise ValueError(f"{text!r} may be {int(first):,} or {int(joined):,}")
    found = _FORMS.fullmatch(text)
    if found is None:
        if _is_share(text):
            raise ValueError(f"{text!r} is a share, not a number of images")
        raise ValueError(f"{text!r} is not a whole number of 0 or more")
    if found["grouped"]:
        return int(re.sub(r"\D", "", found["grouped"]))
    number = float(found["power"] or found["number"]) * _UNITS[found["unit"] or ""]
    # 2.3k is 2300 although 2.3 * 1000 is a little less.
    nearest = round(number)
    if nearest > LARGEST_WHOLE or abs(number - nearest) > 1e-9 * max(1.0, number):
        raise ValueError(f"{text!r} is not a whole number of 0 or more")
    return nearest


def whole(text: str) -> int:
    """A whole number of at least 0 that counts no images, also one written like 750.0.

    Raises:
        ValueError: It is none.
    """
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not (0 <= number <= LARGEST_WHOLE and number.is_integer()):
        raise ValueError(f"{text!r} is not a whole number of 0 or more")
    return int(number)


def _is_share(text: str) -> bool:
    found = re.fullmatch(r"[\d.,]+ *([a-zA-Z%]+)", text, re.ASCII)
    return found is not None and found[1].lower() in SHARE_WORDS

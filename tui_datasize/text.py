"""Words that messages, tables and screens share, and the one way by which text from outside gets there."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from itertools import accumulate
from math import isfinite

LONGEST_LINE = 10_000
"""Characters of a line that are shown; what says more is a file to be looked at."""
MOST_COUNT = 10**12
"""Of images, or whatever else is counted: larger ones are slips, or meant to harm."""
_MOST_QUOTED = 200


def visible(text: str, *, lines: bool = False) -> str:
    r"""Text from outside as a person may see it: one line on which every character shows and none acts.

    Control characters (C0, C1), marks of direction and of width, lone surrogates and characters that Unicode
    has not assigned are written as Python writes them; of a very long line the beginning is left. With
    `lines`, line breaks and tabs stay what they are.

    >>> visible("letters"), visible("a\x1b[31mb\u202e\udc80")
    ('letters', 'a\\x1b[31mb\\u202e\\udc80')
    >>> visible("a\n\tb"), visible("a\n\tb\r", lines=True)
    ('a\\n\\tb', 'a\n\tb\\r')
    """
    if lines:
        return "\n".join("\t".join(map(_shown, _shortened(line).split("\t"))) for line in text.split("\n"))
    return _shown(_shortened(text))


def _shortened(line: str) -> str:
    more = len(line) - LONGEST_LINE
    return line if more <= 0 else f"{line[:LONGEST_LINE]}… ({plural(more, 'character')} more)"


def _shown(text: str) -> str:
    if text.isprintable():
        return text
    # Spaces other than the usual one do not count as printable, and are harmless.
    harmless = (
        c if c.isprintable() or unicodedata.category(c) == "Zs" else c.encode("unicode_escape").decode()
        for c in text
    )
    return "".join(harmless)


def plural(count: int, noun: str, nouns: str = "") -> str:
    """A count with its noun: of several `nouns`, or where these are empty the noun with an s.

    >>> plural(1, "run"), plural(12_000, "run"), plural(2, "class", "classes")
    ('1 run', '12,000 runs', '2 classes')
    """
    return f"{count:,} {noun if count == 1 else nouns or f'{noun}s'}"


def there_already(count: int, *, keep_terms: bool = False) -> str:
    """What is said of runs that an enqueue left alone, and of the terms asked for that they do not get.

    >>> there_already(0, keep_terms=True), there_already(1)
    ('0 were there already', '1 was there already')
    >>> there_already(1, keep_terms=True)
    '1 was there already and keeps its terms and place'
    >>> there_already(12_000, keep_terms=True)
    '12,000 were there already and keep their terms and places'
    """
    kept = " and keeps its terms and place" if count == 1 else " and keep their terms and places"
    there = f"{count:,} {'was' if count == 1 else 'were'} there already"
    return there + (kept if keep_terms and count else "")


def shortened(text: str) -> str:
    """The beginning of what somebody wrote where all of it would bury the words around it.

    >>> shortened("data"), len(shortened("x" * 5000))
    ('data', 201)
    """
    return text if len(text) <= _MOST_QUOTED else f"{text[:_MOST_QUOTED]}…"


def lost_evaluations(count: int) -> str:
    """What is said after the runs that an enqueue adds, of those that had succeeded and are incomplete.

    >>> lost_evaluations(0), lost_evaluations(2)
    ('', ' (2 incomplete: evaluations lost)')
    """
    return f" ({count:,} incomplete: evaluations lost)" if count else ""


def lost_checkpoints(count: int) -> str:
    """What is said after the runs that an enqueue adds, of finished ones that the others need.

    >>> lost_checkpoints(0), lost_checkpoints(2)
    ('', ' (2 finished ones trained anew: checkpoints gone)')
    """
    return f" ({count:,} finished ones trained anew: checkpoints gone)" if count else ""


def cancelled_left_out(count: int, include: str = "--cancelled") -> str:
    """What is said of cancelled runs that an enqueue leaves alone, and how they come along.

    >>> cancelled_left_out(0), cancelled_left_out(2)
    ('', '2 cancelled: --cancelled to include')
    """
    return f"{count:,} cancelled: {include} to include" if count else ""


def listed(words: Sequence[str], before_last: str = "and") -> str:
    """Words in a row, the last one after "and".

    >>> listed(["half"]), listed(["half", "pow2"]), listed(["half", "pow2", "pow3"])
    ('half', 'half and pow2', 'half, pow2 and pow3')
    """
    *rest, last = words
    return f"{', '.join(rest)} {before_last} {last}" if rest else last


def number_and_unit(text: str, units: Sequence[str]) -> tuple[float, str]:
    """A finite number as a person writes it, and which of some units stands behind it, if any.

    Raises:
        ValueError: It is none.

    >>> number_and_unit("95 %", ["%"]), number_and_unit(".95", ["%"])
    ((95.0, '%'), (0.95, ''))
    """
    bare = text.strip().lower()
    unit = next((unit for unit in units if bare.endswith(unit)), "")
    if not isfinite(number := float(bare.removesuffix(unit))):
        raise ValueError(text)
    return number, unit


def fit(text: str, width: int) -> str:
    """The text in exactly `width` columns, cut with an ellipsis where it is longer.

    >>> fit("letters", 9), fit("letters", 4), fit("数字", 5), fit("数字实", 5)
    ('letters  ', 'let…', '数字 ', '数字…')
    """
    text = visible(text)
    if width_of(text) > width:
        text = f"{beginning(text, width - 1)}…" if width > 0 else ""
    return text + " " * (width - width_of(text))


def width_of(text: str) -> int:
    """How many columns of a terminal a text takes.

    >>> width_of("letters"), width_of("数字")
    (7, 4)
    """
    return len(text) if text.isascii() else sum(map(_columns_of, text))


def _columns_of(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def beginning(text: str, width: int) -> str:
    """As much of it as so many columns hold."""
    ends = accumulate(map(_columns_of, text))
    return "".join(character for character, end in zip(text, ends, strict=True) if end <= width)


def number(value: float | None, spec: str, factor: float = 1.0) -> str:
    """A number as `spec` formats it; empty where there is none.

    >>> number(0.8812, ".1f", 100), number(None, ".1f")
    ('88.1', '')
    """
    return "" if value is None else format(value * factor, spec)


def duration(seconds: float | None) -> str:
    """A duration in at most seven characters, `-` where it is unknown.

    >>> [duration(s) for s in (None, 8.4, 75, 3700, 90_000, 900_000)]
    ['-', '8 s', '1:15', '1 h 01', '1 d 01', '10 d']
    """
    if seconds is None:
        return "-"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d}"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d}"
    days = whole // 86_400
    return f"{days} d" if days >= 10 else f"{days} d {whole % 86_400 // 3600:02d}"


def time_left(seconds: float | None) -> str:
    """A duration that is still to come: of a run that should be done by now it says `soon`.

    >>> [time_left(s) for s in (None, 0.3, 8.4)]
    ['-', 'soon', '8 s']
    """
    return "soon" if seconds is not None and seconds < 0.5 else duration(seconds)


def percent(fraction: float) -> str:
    """A fraction in whole percent, rounded down so that 100 means done."""
    return f"{int(100 * fraction + 1e-9)}"

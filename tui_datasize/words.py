"""Words that messages, tables and screens share."""

from __future__ import annotations

from collections.abc import Sequence


def plural(count: int, noun: str, nouns: str = "") -> str:
    """A count with its noun.

    Args:
        count: At least 0.
        noun: For one.
        nouns: For several; empty for one with an s.

    >>> plural(1, "run"), plural(12_000, "run"), plural(2, "class", "classes")
    ('1 run', '12,000 runs', '2 classes')
    """
    return f"{count:,} {noun if count == 1 else nouns or f'{noun}s'}"


def there_already(count: int, *, keep_terms: bool = False) -> str:
    """What is said of runs that an enqueue left alone.

    Args:
        count: At least 0.
        keep_terms: Whether terms were asked for, which these runs do not get.

    >>> there_already(0, keep_terms=True), there_already(1)
    ('0 were there already', '1 was there already')
    >>> there_already(1, keep_terms=True)
    '1 was there already and keeps its terms and place'
    >>> there_already(12_000, keep_terms=True)
    '12,000 were there already and keep their terms and places'
    """
    if count == 1:
        return "1 was there already" + (" and keeps its terms and place" if keep_terms else "")
    kept = " and keep their terms and places" if keep_terms and count else ""
    return f"{count:,} were there already{kept}"


def listed(words: Sequence[str]) -> str:
    """Words in a row, the last one after "and".

    >>> listed(["half"]), listed(["half", "pow2"]), listed(["half", "pow2", "pow3"])
    ('half', 'half and pow2', 'half, pow2 and pow3')
    """
    *rest, last = words
    return f"{', '.join(rest)} and {last}" if rest else last

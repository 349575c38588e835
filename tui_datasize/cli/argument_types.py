"""What the values of options are read as; each raises for a value that it does not take."""

from __future__ import annotations

import argparse
from collections.abc import Sequence


def count(text: str) -> int:
    """A whole number of at least 1."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return number


def share_or_number(text: str) -> float:
    """A number, or a percentage as its share."""
    try:
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number or a percentage, got {text!r}") from None


def whole_numbers(text: str) -> Sequence[int]:
    """Whole numbers with commas between."""
    try:
        return tuple(int(part) for part in text.replace("_", "").split(",") if part.strip())
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected whole numbers with commas between, got {text!r}"
        ) from None

"""What the values of options are read as, each raising for a value that it does not take; shared options."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence


def count(text: str) -> int:
    """A whole number of at least 1."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return number


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """A reader of whole numbers from `least` to `most`."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(
                f"expected a whole number from {least:,} to {most:,}, got {text!r}"
            )
        return number

    return read


def change(most: int) -> Callable[[str], int]:
    """A reader of whole numbers other than 0, from `-most` to `most`."""
    read_number = whole_number(-most, most)

    def read(text: str) -> int:
        if number := read_number(text):
            return number
        raise argparse.ArgumentTypeError("expected a whole number other than 0, which changes nothing")

    return read


def share_or_number(text: str) -> float:
    """A number, or a percentage as its share."""
    # Not above: most commands have no such option, and `status` is counted in milliseconds.
    from tui_datasize.analysis import question

    try:
        return question.share_or_number(text)
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


def add_fit_from(command: argparse._ActionsContainer) -> None:
    """Add `--fit-from`."""
    command.add_argument(
        "--fit-from", type=int, default=0, metavar="N", help="leave smaller train sizes out of the fits"
    )

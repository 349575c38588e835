"""What the values of options are read as, each raising for a value that it does not take; shared options."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from math import nan

from tui_datasize.experiments.toml import MOST_WHOLE
from tui_datasize.text import MOST_COUNT


def count(text: str) -> int:
    """A whole number of at least 1."""
    number = _whole(text)
    if number is None or number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    if number > MOST_COUNT:
        raise argparse.ArgumentTypeError(f"expected at most {MOST_COUNT:,}, got {text!r}")
    return number


def _whole(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """A reader of whole numbers from `least` to `most`."""

    def read(text: str) -> int:
        number = _whole(text)
        if number is None or not least <= number <= most:
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


def amount(text: str) -> float:
    """A number above 0, such as 2e6 or 1.5."""
    try:
        number = float(text)
    except ValueError:
        number = nan
    if not 0 < number <= MOST_COUNT:
        raise argparse.ArgumentTypeError(f"expected a number above 0 and at most 1e12, got {text!r}")
    return number


def whole_numbers(text: str) -> Sequence[int]:
    """Whole numbers with commas between."""
    try:
        numbers = tuple(int(part) for part in text.replace("_", "").split(",") if part.strip())
    except ValueError:
        numbers = (-1,)
    if all(0 <= number <= MOST_WHOLE for number in numbers):
        return numbers
    raise argparse.ArgumentTypeError(f"expected whole numbers with commas between, got {text!r}")


def add_flags(command: argparse._ActionsContainer, **meanings: str) -> None:
    """Add options without a value, what they mean by their names."""
    for name, meaning in meanings.items():
        command.add_argument(f"--{name.replace('_', '-')}", action="store_true", help=meaning)


def add_json(command: argparse._ActionsContainer) -> None:
    """Add `--json`."""
    add_flags(command, json="print JSON")


def add_experiment(command: argparse._ActionsContainer) -> None:
    """Add EXPERIMENT, of a command that reads its runs."""
    command.add_argument("experiment", metavar="EXPERIMENT", help="name of an experiment that has runs")


def add_metric(command: argparse._ActionsContainer) -> None:
    """Add `--metric`."""
    meaning = "column to analyse (default: test_accuracy)"
    command.add_argument("--metric", default="test_accuracy", metavar="METRIC", help=meaning)


def add_fit_from(command: argparse._ActionsContainer) -> None:
    """Add `--fit-from`."""
    command.add_argument(
        "--fit-from",
        type=whole_number(0, MOST_COUNT),
        default=0,
        metavar="N",
        help="leave smaller train sizes out of the fits",
    )


def add_force(command: argparse._ActionsContainer) -> None:
    """Add `--force`, of a command that writes a file."""
    add_flags(command, force="replace a file even where its suffix is that of another format")


def add_target(command: argparse._ActionsContainer) -> None:
    """Add `--target`, read once the metric is known."""
    command.add_argument(
        "--target",
        metavar="T",
        help="a value of the metric, such as 95 (percent), 95%% or 0.95: how many images does it need?",
    )


def add_delta(command: argparse._ActionsContainer) -> None:
    """Add `--delta`, read once the metric is known."""
    command.add_argument(
        "--delta",
        metavar="D",
        help="what a doubling has to gain to be worth it, such as 0.5%% (the default) or, of a loss, 0.02",
    )

"""What options are read as, and the options that several commands share."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from math import nan
from pathlib import Path
from typing import Any

from tui_datasize.experiments.toml import MOST_WHOLE
from tui_datasize.jobs.queue.state import MAX_ATTEMPTS, MOST_ATTEMPTS
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


class _JobsBefore(argparse.Action):
    """Words with spaces or commas between, in one option or in several."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Add the words to those of options before.

        EXPERIMENT would be taken for one of them where it stands last: that is told, where argparse would
        only say that it is missing.
        """
        given = [values] if isinstance(values, str) else values or ()
        if namespace.experiment is None and len(given) > 1:
            parser.error(
                f"{option_string} takes every word after it, {given[-1]!r} too: write EXPERIMENT first, as "
                f"in `{parser.prog} {given[-1]} {option_string} {' '.join(given[:-1])}`"
            )
        words = [word for text in given for word in text.split(",") if word]
        if not words:
            parser.error(f"{option_string}: expected a run or an experiment, got {' '.join(given)!r}")
        setattr(namespace, self.dest, (*getattr(namespace, self.dest), *words))


def add_queue_arguments(queue: argparse.ArgumentParser) -> None:
    """Those of `queue`."""
    add_run_arguments(queue)
    add_flags(queue, dry_run="show what would be queued, queue nothing")
    add_json(queue)


def add_run_arguments(run: argparse.ArgumentParser) -> None:
    """Those of `run`: which runs, and on what terms."""
    _add_selection(run)
    _add_terms(run)


def _add_selection(command: argparse.ArgumentParser) -> None:
    command.add_argument("experiment", metavar="EXPERIMENT", help="name of a table in experiments.toml")
    command.add_argument(
        "--sizes", type=whole_numbers, default=(), metavar="N,N", help="only these train sizes"
    )
    command.add_argument(
        "--seeds", type=whole_numbers, default=(), metavar="S,S", help="only these training seeds"
    )
    add_flags(command, force="run finished runs again; the old results are kept")


def _add_terms(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--after",
        action=_JobsBefore,
        nargs="+",
        default=(),
        metavar="JOB",
        help="start only when these runs, or all runs of these experiments, have succeeded; after "
        "EXPERIMENT, with spaces or commas between, may be repeated",
    )
    command.add_argument(
        "--max-attempts",
        type=whole_number(1, MOST_ATTEMPTS),
        metavar="N",
        help=f"attempts before a vanishing worker counts as a failure (default: {MAX_ATTEMPTS})",
    )
    # Only here: it takes longer to import than other commands need.
    from tui_datasize.experiments.load import ORDER_WORDS

    meanings = "; ".join(f"{order}: {words}" for order, words in ORDER_WORDS.items())
    command.add_argument(
        "--order",
        choices=tuple(ORDER_WORDS),
        help=f"in which the runs of this call are queued, behind those that wait already, which keep their "
        f"places. {meanings} (default: `order` of the experiment)",
    )


def add_import_arguments(command: argparse.ArgumentParser) -> None:
    """EXPERIMENT, FILE..., what columns mean, and what is done."""
    command.add_argument("experiment", metavar="EXPERIMENT", help="name under which the runs are analysed")
    command.add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="CSV (a row per run or evaluation, or the chart export of Weights & Biases), a TensorBoard "
        "event file, or a folder of such",
    )
    _add_columns(command.add_argument_group("what columns mean"))
    _add_left_out(command.add_argument_group("what is left out"))
    _add_told(command.add_argument_group("what the file does not say"))
    add_flags(
        command,
        dry_run="show what would be read as what, and write nothing",
        json="with --dry-run: as JSON",
    )


def _add_columns(columns: argparse._ArgumentGroup) -> None:
    columns.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="NAME=COLUMN",
        help="NAME is size, seed, draw, epoch, update, split, run or a metric such as test_accuracy, "
        "accuracy (of the row's split) or wall_s; columns of these names are found by themselves",
    )
    columns.add_argument(
        "--variant", action="append", default=[], metavar="COLUMN", help="tells curves apart; may be repeated"
    )
    columns.add_argument("--map", type=Path, metavar="FILE", help="TOML with all this; options go before it")
    columns.add_argument(
        "--run-pattern",
        metavar="REGEX",
        help=r"where the name of a run holds its size and seed: 'n(?P<size>\d+)_s(?P<seed>\d+)' "
        "(default: n750, size=750, s101, seed_101, d0 and the like)",
    )
    columns.add_argument(
        "--percent",
        action=argparse.BooleanOptionalAction,
        help="whether accuracies and other shares are in percent (default: as each column shows)",
    )
    columns.add_argument(
        "--test-split",
        metavar="NAME",
        help="what the file calls the test split (default: test; val where there is no test split)",
    )


def _add_left_out(what: argparse._ArgumentGroup) -> None:
    what.add_argument(
        "--ignore", action="append", default=[], metavar="COLUMN", help="is not read; may be repeated"
    )
    what.add_argument(
        "--skip-line",
        action="append",
        default=[],
        metavar="N",
        help="line that is not read, of one of several files runs.csv:N; may be repeated",
    )
    add_flags(
        what,
        any_state="read runs too that crashed, failed, were stopped or still ran",
        strict="import nothing where a file is damaged or refused",
    )


def _add_told(told: argparse._ArgumentGroup) -> None:
    told.add_argument("--size", type=count, metavar="N", help="train size of rows that have none")
    told.add_argument(
        "--seed",
        type=whole_number(0, 2**63 - 1),
        metavar="S",
        help="seed of rows that have none (default: repeats are numbered)",
    )
    told.add_argument(
        "--draw",
        type=whole_number(0, 2**63 - 1),
        metavar="D",
        help="subset draw of rows that have none: 0 where all runs of a size share their images",
    )
    told.add_argument("--dataset", metavar="TEXT", help="name of the data set, in free words")
    told.add_argument("--model", metavar="TEXT", help="name of the model, in free words")


def add_report_arguments(command: argparse.ArgumentParser) -> None:
    """EXPERIMENT, the file, and what is asked of the curve."""
    add_experiment(command)
    command.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="page to write: .html or .md"
    )
    add_force(command)
    add_metric(command)
    add_target(command)
    add_delta(command)
    add_fit_from(command)

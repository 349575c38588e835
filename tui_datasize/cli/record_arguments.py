"""Arguments of the commands that bring results in and hand them on."""

from __future__ import annotations

import argparse
from pathlib import Path

from tui_datasize.cli.argument_types import (
    add_delta,
    add_experiment,
    add_fit_from,
    add_flags,
    add_force,
    add_metric,
    add_target,
    count,
    whole_number,
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

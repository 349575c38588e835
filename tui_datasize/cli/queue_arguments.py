"""Arguments of the commands that queue runs: which runs, and on what terms."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from tui_datasize.cli.argument_types import whole_number, whole_numbers
from tui_datasize.experiments.run_order import ORDER_WORDS
from tui_datasize.jobs.state import MAX_ATTEMPTS

MOST_ATTEMPTS = 1000
"""A larger limit is a slip of the finger."""


def add_queue_command(command: Callable[[str, str, str], argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Add `queue`.

    Args:
        command: Makes a command of a name, a summary and an example.
    """
    queue = command(
        "queue",
        "queue the runs of an experiment that are missing",
        "queue letters --sizes 750,1500 --seeds 0 --dry-run",
    )
    _add_selection(queue)
    _add_terms(queue)
    queue.add_argument("--dry-run", action="store_true", help="show what would be queued, queue nothing")
    return queue


def add_run_command(command: Callable[[str, str, str], argparse.ArgumentParser]) -> None:
    """Add `run`.

    Args:
        command: Makes a command of a name, a summary and an example.
    """
    run = command(
        "run",
        "queue the runs of an experiment that are missing and wait for all of them",
        "run digits --sizes 40",
    )
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
    command.add_argument(
        "--force", action="store_true", help="run finished runs anew; the old ones are kept aside"
    )


def _add_terms(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--after",
        nargs="+",
        default=(),
        metavar="JOB",
        help="start only when these runs, or all runs of these experiments, have succeeded",
    )
    command.add_argument(
        "--max-attempts",
        type=whole_number(1, MOST_ATTEMPTS),
        metavar="N",
        help=f"attempts before a vanishing worker counts as a failure (default: {MAX_ATTEMPTS})",
    )
    meanings = "; ".join(f"{order}: {words}" for order, words in ORDER_WORDS.items())
    command.add_argument(
        "--order",
        choices=tuple(ORDER_WORDS),
        help=f"in which the runs of this call are queued, behind those that wait already, which keep their "
        f"places. {meanings} (default: `order` of the experiment)",
    )
